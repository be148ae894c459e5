//! The first day of a new user: machines as they are sold, the README's commands, and the shipped
//! defaults.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::{Lab, Run, on};

pub const MASTERS: [&str; 3] = ["d1", "d2", "d3"];
const ADDRESSES: &str = "10.42.7.61,10.42.7.62,10.42.7.63";

/// Three machines without an Engine, each with every role. The inventory has addresses, the user, and
/// the recipe's arguments that the lab's packages ask for.
pub fn first(lab: &Lab) {
    let folder = tempfile::tempdir().expect("a folder");
    let toots = |words: &[&str]| {
        let mut command = Command::new(lab.program());
        command.args(words).current_dir(folder.path());
        Run::start(command)
    };
    let check = [
        "cluster", "check", "--hosts", ADDRESSES, "--user", "vagrant",
    ];
    let unknown = toots(&check).expect(3);
    let words = unknown.stdout.clone() + &unknown.stderr;
    assert!(words.contains("SHA256:"), "{words}");

    let roles = ["--masters", "--slaves", "--edges"].map(|role| [role, ADDRESSES]);
    let init = ["init", "--user", "vagrant", "--out", "inventory.toml"];
    toots(&[&init[..], roles.as_flattened()].concat()).expect(0);
    complete(lab, &folder.path().join("inventory.toml"));
    toots(&["inventory", "check"]).expect(0);
    toots(&["ssh", "trust", "--yes"]).expect(0);
    // The keys are those that the machines themselves show.
    let machines = lab.folder.join(".lab/known_hosts");
    let known = std::fs::read_to_string(machines).expect("the lab's keys");
    let recorded = std::fs::read_to_string(folder.path().join("known_hosts")).expect("keys");
    assert!(recorded.lines().count() >= MASTERS.len(), "{recorded}");
    for key in recorded.lines().filter_map(|line| line.split(' ').nth(2)) {
        assert!(known.contains(key), "{key}");
    }
    toots(&["cluster", "check"]).expect(0);
    let plan = toots(&["cluster", "plan", "--output", "plain"]).expect(0);
    assert!(plan.stdout.contains("docker: absent"), "{}", plan.stdout);
    let up = toots(&["cluster", "up", "--yes", "--output", "json"]).expect(0);
    println!(
        "  up on three machines without an Engine in {:.1} s",
        up.took.as_secs_f32()
    );
    record(&up, folder.path());
    let again = toots(&["cluster", "up", "--output", "json"]).expect(0);
    assert_eq!(again.result()["changed"], 0);
    let status = toots(&["cluster", "status", "--output", "plain"]).expect(0);
    assert!(
        status.stdout.contains("-standin"),
        "stand-ins are named: {}",
        status.stdout
    );
    // Every component runs on each of them.
    stops_by_its_signal(MASTERS[0]);
    toots(&["cluster", "up", "--output", "json"]).expect(0);
    // The lane's own cluster has other names. It keeps the machines, their Engines and images.
    for machine in MASTERS {
        on(
            machine,
            "docker rm -f $(docker ps -aq); rm -rf /etc/toots /var/lib/toots",
        );
    }
}

/// The lab with these machines as its only hosts.
pub fn three_masters(lab: &Lab) -> Lab {
    let inventory = lab.changed("three-masters", |text| {
        let (before, rest) = text.split_once("slaves = ").expect("slaves");
        let (_, rest) = rest.split_once("[hosts.m1]").expect("the masters");
        let (hosts, rest) = rest.split_once("[hosts.s1]").expect("the slave");
        let (_, rest) = rest.split_once("[network]").expect("the network");
        let hosts = format!("[hosts.m1]{hosts}").replace("10.42.7.1", "10.42.7.6");
        let text = format!("{before}\n{hosts}[network]{rest}");
        MASTERS
            .iter()
            .zip(lab.masters)
            .fold(text, |text, (new, former)| {
                text.replace(&format!("\"{former}\""), &format!("\"{new}\""))
                    .replace(&format!("[hosts.{former}]"), &format!("[hosts.{new}]"))
            })
    });
    Lab {
        folder: lab.folder.clone(),
        inventory,
        masters: MASTERS,
        machines: &MASTERS,
        guests: &["bare"],
        clients: &[],
    }
}

/// Adds the lab's key and its `[images.mesos]`. The user's own known_hosts stays as it is.
fn complete(lab: &Lab, inventory: &Path) {
    let text = std::fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let mut mine = std::fs::read_to_string(inventory).expect("the inventory");
    let ssh = format!(
        "user = \"vagrant\"\nidentity_files = [{:?}]\nknown_hosts_files = [\"known_hosts\"]\n",
        lab.folder.join(".lab/key")
    );
    mine = mine.replacen("user = \"vagrant\"\n", &ssh, 1);
    if let Some((_, table)) = text.split_once("[images.mesos]\n") {
        let table = table.split("\n\n").next().unwrap_or_default();
        let table = table.replace("registry.toots.test:5000/lab/debian:12", "debian:13-slim");
        let _ = write!(mine, "\n[images.mesos]\n{table}\n");
    }
    std::fs::write(inventory, mine).expect("the inventory");
}

/// Writes inventory and events for the simulated world, which brings the same inventory up and compares.
/// What only this machine has is left out, and output of programs.
fn record(up: &Run, from: &Path) {
    let Some(folder) = std::env::var_os("TOOTS_LAB_UP").map(PathBuf::from) else {
        return;
    };
    let mut events = up.events();
    events.retain(|event| event["type"] != "step-progress");
    let result = events.last_mut().and_then(Value::as_object_mut);
    result.expect("a result").remove("log");
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("first_up.jsonl"), lines.join("\n") + "\n").expect("the events");
    let inventory = std::fs::read_to_string(from.join("inventory.toml")).expect("the inventory");
    let lines = inventory.lines().map(|line| match line {
        line if line.starts_with("identity_files") => "identity_files = [\"key\"]",
        line => line,
    });
    let inventory = lines.collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(folder.join("first_up.toml"), inventory).expect("the inventory");
}

/// Each program ends by its stop signal: 137 would be the end by SIGKILL, after the whole grace time.
pub fn stops_by_its_signal(machine: &str) {
    let names = on(
        machine,
        "docker ps --format '{{.Names}}' --filter label=toots.cluster",
    );
    assert!(names.lines().count() > 2, "{names}");
    for name in names.lines() {
        let stop = format!(
            "docker stop {name} >/dev/null; docker inspect -f '{{{{.State.ExitCode}}}}' {name}; docker start {name} >/dev/null"
        );
        assert_ne!(on(machine, &stop).trim(), "137", "{machine} {name}");
    }
}
