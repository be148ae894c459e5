//! The JSON schema of `--output json`: generated from the events' own types, kept in docs/, and held
//! against events here and in every scenario of the lab.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::path::Path;

use serde_json::{Value, json};
use toots::event::{Event, Outcome};
use toots::report;
use toots::spec::HostName;

const FILE: &str = "docs/events.schema.json";

fn kept() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `UPDATE_DOCS=1 cargo test --test events` writes the file.
#[test]
fn schema_file_is_current() {
    let schema = report::event_schema();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(kept(), schema, "UPDATE_DOCS=1 cargo test --test events");
}

/// Also what never reached the engine: a usage error.
#[test]
fn a_usage_error_follows_the_schema() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(["cluster", "up", "--output", "json", "--wrong"])
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let validator = jsonschema::validator_for(&kept()).unwrap();
    assert!(validator.is_valid(&result), "{result}");
    assert_eq!(result["exit_code"], 2);
}

#[test]
fn events_follow_the_schema_and_others_do_not() {
    let validator = jsonschema::validator_for(&kept()).unwrap();
    let host = HostName::new("m1").unwrap();
    let warning = |host: Option<HostName>| Event::Warning {
        host,
        text: "text".into(),
        hints: vec![toots::spec::Remedy::Agree],
    };
    for event in [
        warning(None),
        warning(Some(host.clone())),
        Event::StepProgress {
            host,
            step: "build toots/mesos".into(),
            bytes: 1,
            total: None,
            line: Some("Step 1/2".into()),
        },
        Event::Result(toots::event::RunResult::default()),
    ] {
        let line = report::json_line(&event, jiff::Timestamp::UNIX_EPOCH);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(validator.is_valid(&value), "{line}");
    }
    for wrong in [
        json!({}),
        json!({"v": 1, "type": "no-such-event"}),
        json!({"v": 1, "type": "warning", "host": null}),
        json!({"v": 1, "type": "warning", "host": null, "text": 7}),
        json!({"v": 1, "type": "result", "exit_code": 0, "changed": 0,
            "hosts": {"m1": {"outcome": "fine", "changed": 0, "failed_step": null}}}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
    assert_eq!(json!(Outcome::Untrusted), "untrusted");
}
