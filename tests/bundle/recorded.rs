//! The events of a creation over a slow line, which the reporters' tests read.
//! `UPDATE_RECORDED=1 cargo test --test bundle recorded` writes them, with the times of that run.

use std::time::Duration;

use serde_json::Value;

use super::command::{inventory_on, run};
use super::registry::TestRegistry;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/recorded/events/bundle.jsonl"
);

/// What is the same in each creation: no times, no names of logs, and no order of what is fetched at once.
fn outline(lines: &str) -> Vec<String> {
    let mut outline = Vec::new();
    for line in lines.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let fields = event.as_object_mut().unwrap();
        fields.retain(|key, _| !["ts", "elapsed_ms", "log"].contains(&key.as_str()));
        if event["type"] != "transfer-progress" {
            outline.push(event.to_string());
        }
    }
    outline.sort();
    outline
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_as_recorded() {
    let is_recorded_anew = std::env::var_os("UPDATE_RECORDED").is_some();
    let registry = TestRegistry::start().await;
    let dir = tempfile::tempdir().unwrap();
    inventory_on(&vec![1; 4_000_000], dir.path(), &registry);
    if is_recorded_anew {
        registry.content().pause = Duration::from_millis(40);
    }
    let args = ["bundle", "create", "dc1.tar", "--output", "json"];
    let (code, out, err) = run(dir.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let address = registry.address.to_string();
    let created = out.replace(&address, "r.example.com:5000");
    let created = created.replace(dir.path().to_str().unwrap(), "/home/ops");
    if is_recorded_anew {
        std::fs::write(FILE, &created).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(outline(&created), outline(&kept), "UPDATE_RECORDED=1");
}
