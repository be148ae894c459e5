//! New hosts.

use std::collections::BTreeSet;

use crate::lab::{Lab, containers};

fn add(lab: &Lab, command: &str, machine: &str, address: &str) {
    lab.demo(&["lab", machine]);
    let inventory = lab.changed("grown", |text| format!("# a comment that stays\n{text}"));
    let before = containers("e1");
    let run = lab.toots_with(&inventory, &["cluster", command, address, "--name", machine, "--output", "json"]).expect(0);
    let contacted: BTreeSet<String> = run
        .events()
        .iter()
        .filter(|event| event["type"] == "step-started")
        .filter_map(|event| event["host"].as_str().map(str::to_owned))
        .collect();
    let expected: BTreeSet<String> = ["m1", "m2", "m3", machine].iter().map(ToString::to_string).collect();
    assert_eq!(contacted, expected, "only the machine and the masters");
    let text = std::fs::read_to_string(&inventory).expect("the inventory");
    assert!(text.starts_with("# a comment that stays\n") && text.contains(&format!("\"{machine}\"")), "{text}");
    assert_eq!(before, containers("e1"));
    println!("  {command}: {:.1} s", run.took.as_secs_f32());
    let again = lab.toots_with(&inventory, &["cluster", "up", "--output", "json"]).expect(0);
    assert_eq!(again.result()["changed"], 0);
    lab_keeps(lab, &inventory);
}

/// Later scenarios go on with the grown cluster.
fn lab_keeps(lab: &Lab, inventory: &std::path::Path) {
    std::fs::copy(inventory, lab.inventory.with_file_name(".lab/with-all.toml")).expect("a copy");
}

pub fn add_slave(lab: &Lab) {
    add(lab, "add-slave", "s2", "10.42.7.22");
    let (_, slaves) = crate::lab::http(&["-L", "http://10.42.7.11:5050/slaves"]);
    assert!(slaves.contains("10.42.7.21") && slaves.contains("10.42.7.22"), "{slaves}");
}

pub fn add_edge(lab: &Lab) {
    add(lab, "add-edge", "e2", "10.42.7.32");
    assert_eq!(crate::lab::http(&["http://10.42.7.32/"]).0, 503, "the new edge answers");
}
