//! One ending in three formats: the same life, shown on a terminal, in plain lines and as JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use toots::env::WallClock;
use toots::env::memory::MemoryMachine;
use toots::event::Event;
use toots::report::{Options, OutputMode, Streams, reporter};

use super::shown::on_screen;
use super::{NEWER_CONSUL, UP, healthy, with};
use crate::chaos::on_own_clock;
use crate::life::Ending;

const SEED: u64 = 41;
const COLUMNS: u16 = 80;

/// A slave and a master are dead.
async fn run(format: &str) -> (Ending, String) {
    let began = Instant::now();
    let life = healthy(SEED).await;
    for name in ["10.0.0.13", "10.0.0.22"] {
        life.world.machine(name).cut_power();
    }
    let operator = life.operator(&[("inventory.toml", &with(NEWER_CONSUL))]);
    if format == "live" {
        operator.desk().terminal.resize(COLUMNS.into(), 24);
    }
    let ending = operator.run(&UP.replace("json", format)).await;
    let entries = life.world.record.entries();
    let lines = entries.iter().map(|entry| {
        let at = entry.at - began;
        format!("{at:?} {} {} {}\n", entry.host, entry.who, entry.what)
    });
    (ending, lines.collect())
}

/// The event of a line, and when it was sent.
fn read_line(line: &Value) -> (Option<Timestamp>, Event) {
    let mut fields = line.as_object().expect("fields").clone();
    let at = fields.remove("ts");
    let at = at.map(|at| at.as_str().expect("text").parse().expect("a time"));
    fields.remove("v");
    let event = serde_json::from_value(Value::Object(fields)).expect("an event");
    (at, event)
}

/// What the reporter of plain lines shows of these events; output and errors.
async fn show_plain(events: &[Value], took: Duration) -> (String, String) {
    let began = Instant::now();
    let first = read_line(&events[0]).0.expect("a time");
    let desk = MemoryMachine::new(0, first);
    let streams = Streams::new(desk.machine().terminal);
    let showing = async {
        let clock = WallClock::on_tokio_time(first);
        let (sink, handle) = reporter(OutputMode::Plain, Options::default(), streams, clock);
        for line in events {
            let (at, event) = read_line(line);
            let after = at.map_or(took, |at| {
                at.duration_since(first)
                    .try_into()
                    .expect("a time after it")
            });
            tokio::time::sleep_until(began + after).await;
            sink.send(event);
        }
        handle.finish().await;
        0
    };
    desk.tasks.contain(showing).await;
    (desk.terminal.output(), desk.terminal.error())
}

#[test]
fn every_format_tells_the_same() {
    let (json, events_of_json) = on_own_clock(run("json"));
    let (plain, events_of_plain) = on_own_clock(run("plain"));
    let (live, events_of_live) = on_own_clock(run("live"));
    let shown = format!("{}\n---\n{}", plain.error, plain.output);
    super::snapshot("plain", &shown);
    assert_eq!((json.exit, json.took), (plain.exit, plain.took));
    assert!(events_of_json == events_of_plain, "the hosts saw two runs");
    super::snapshot("live", &on_screen(&live, COLUMNS));
    assert_eq!((json.exit, json.took), (live.exit, live.took));
    assert!(events_of_json == events_of_live, "the hosts saw two runs");
    let events: Vec<Value> = json
        .output
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (output, error) = on_own_clock(show_plain(&events, json.took));
    assert_eq!(output, plain.output);
    assert_eq!(error, plain.error);
}
