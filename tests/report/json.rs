//! JSON lines: what was recorded is what is written, and every kind of event was recorded.

use std::collections::BTreeSet;

use serde_json::Value;
use toots::event::Event;
use toots::report::json_line;

use crate::recorded::{Recording, names};

const SCHEMA: &str = include_str!("../../docs/events.schema.json");

#[test]
fn recorded_lines_are_written_as_they_were_read() {
    for name in names() {
        let run = Recording::read(&name);
        for line in &run.lines {
            assert_eq!(json_line(&line.event, line.time), line.text, "{name}");
            let value: Value = serde_json::from_str(&line.text).unwrap();
            assert_eq!(value["v"], 1, "{name}");
            assert_eq!(value.get("ts").is_none(), value["type"] == "result");
        }
        let results = run.events().filter(|e| matches!(e, Event::Result(_)));
        assert_eq!(results.count(), 1, "{name}");
    }
}

#[test]
fn every_event_kind_was_recorded() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let kinds = schema["oneOf"].as_array().unwrap().iter();
    let kind = |kind: &Value| {
        let name = kind["properties"]["type"]["const"].as_str();
        name.expect("the name of a kind").to_owned()
    };
    let kinds: BTreeSet<String> = kinds.map(kind).collect();
    let runs = names().into_iter().map(|name| Recording::read(&name));
    let lines = runs.flat_map(|run| run.lines);
    let seen = lines.map(|line| serde_json::from_str::<Value>(&line.text).unwrap());
    let seen: BTreeSet<String> = seen
        .map(|line| line["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(seen, kinds);
}

/// A reporter names the phases that are open.
#[test]
fn every_phase_ends_before_its_run() {
    for name in names() {
        let mut open: Vec<String> = Vec::new();
        for event in Recording::read(&name).events() {
            match event {
                Event::PhaseStarted { phase } => open.push(phase.to_string()),
                Event::PhaseFinished { phase, .. } => {
                    let phase = phase.to_string();
                    let at = open.iter().position(|other| *other == phase);
                    open.remove(at.unwrap_or_else(|| panic!("{name}: {phase} did not begin")));
                }
                Event::Result(_) => assert_eq!(open, [""; 0], "{name}"),
                _ => {}
            }
        }
    }
}
