//! What a terminal shows of commands that are read as text: status and plan.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::{UP, empty_with_edge, healthy_with_edge, snapshot, with_edge};
use crate::chaos::on_own_clock;
use crate::docker::Image;
use crate::life::{Ending, Life};

/// Rows of a terminal that shows all of an output.
const ROWS: u16 = 2_000;
const STATUS: &str = "toots cluster status";

/// Its exit code, and what stands on a terminal of so many columns after a command.
async fn screen(life: &Life, inventory: &str, line: &str, columns: u16) -> (Option<u8>, String) {
    let operator = life.operator(&[("inventory.toml", inventory)]);
    operator.desk().terminal.resize(columns.into(), 24);
    let ending = operator.run(line).await;
    (ending.exit, on_screen(&ending, columns))
}

/// The text that a run leaves on a terminal of so many columns.
pub fn on_screen(ending: &Ending, columns: u16) -> String {
    let mut screen = vt100::Parser::new(ROWS, columns, 0);
    for written in [&ending.error, &ending.output] {
        screen.process(written.replace('\n', "\r\n").as_bytes());
    }
    let rows = screen.screen().rows(0, columns);
    let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    rows.join("\n").trim_end().to_owned()
}

/// The status in two widths and as JSON; each with the same exit code.
async fn status(life: &Life, inventory: &str) -> (Option<u8>, String) {
    let json = life
        .run(inventory, &format!("{STATUS} --output json"))
        .await;
    assert_eq!(json.output.lines().count(), 1, "{}", json.output);
    let mut shown = String::new();
    for columns in [100, 80, 40] {
        let (exit, text) = screen(life, inventory, STATUS, columns).await;
        assert_eq!(exit, json.exit);
        let _ = writeln!(shown, "=== {columns} columns\n{text}\n");
    }
    let value: Value = serde_json::from_str(&json.output).expect("JSON");
    let _ = writeln!(shown, "=== JSON\n{value:#}");
    (json.exit, shown)
}

#[test]
fn a_healthy_cluster_shows_its_status() {
    on_own_clock(async {
        let life = healthy_with_edge(61, "").await;
        let (exit, shown) = status(&life, &with_edge("")).await;
        snapshot("status_healthy", &shown);
        assert_eq!(exit, Some(0));
    });
}

/// Marathon's program ends as soon as it starts, a master is dead, a slave lost its containers, and
/// another image is wanted.
#[test]
fn a_broken_cluster_shows_its_status() {
    on_own_clock(async {
        let life = empty_with_edge(62);
        let name = "mesosphere/marathon:v1.11.24";
        life.registry.push(name, Image::new("broken", "1"));
        let ending = life.run(&with_edge(""), UP).await;
        assert_eq!(ending.exit, Some(6), "{}", ending.output);
        life.world.machine("10.0.0.12").cut_power();
        life.world.machine("10.0.0.21").engine.wipe();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let wanted = with_edge("[images]\nhaproxy = \"haproxy:3.2.23\"\n");
        let (exit, shown) = status(&life, &wanted).await;
        snapshot("status_broken", &shown);
        assert_eq!(exit, Some(3));
    });
}

/// Somebody changed a file and removed a host's containers; parameters and images changed, and a
/// component is not wanted any more.
#[test]
fn a_plan_shows_every_change_kind() {
    on_own_clock(async {
        let life = healthy_with_edge(63, "[components]\nbalancer_on_slaves = true\n").await;
        let files = life.world.machine("10.0.0.12").files();
        let path = "/etc/toots/zookeeper/zoo.cfg";
        let text = files.text(path).expect("a file") + "maxClientCnxns=1\n";
        files.write(path, text, 0o644);
        life.world.machine("10.0.0.21").engine.wipe();
        let wanted = with_edge(
            "[images]\nhaproxy = \"haproxy:3.2.23\"\n[params.marathon]\nheap = \"256m\"\n",
        );
        let (exit, shown) = screen(&life, &wanted, "toots cluster plan", 100).await;
        snapshot("plan", &shown);
        assert_eq!(exit, Some(0));
        for sign in ["  + ", "  ~ ", "  ! ", "  - "] {
            assert!(shown.contains(sign), "no change of kind {sign}: {shown}");
        }
    });
}
