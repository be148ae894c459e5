//! New hosts.

use std::collections::BTreeSet;

use crate::lab::{Lab, containers};

/// Adds a machine; returns the titles of the steps on it.
pub fn add(lab: &Lab, command: &str, machine: &str, address: &str) -> Vec<String> {
    lab.start(&[machine]);
    let inventory = lab.changed("grown", |text| format!("# a comment that stays\n{text}"));
    let before = containers("e1");
    let run = lab
        .toots_with(
            &inventory,
            &[
                "cluster", command, address, "--name", machine, "--output", "json",
            ],
        )
        .expect(0);
    let contacted: BTreeSet<String> = run
        .events()
        .iter()
        .filter(|event| event["type"] == "step-started")
        .filter_map(|event| event["host"].as_str().map(str::to_owned))
        .collect();
    let expected: BTreeSet<String> = ["m1", "m2", "m3", machine]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(contacted, expected, "only the machine and the masters");
    let text = std::fs::read_to_string(&inventory).expect("the inventory");
    assert!(
        text.starts_with("# a comment that stays\n") && text.contains(&format!("\"{machine}\"")),
        "{text}"
    );
    assert_eq!(before, containers("e1"));
    println!("  {command}: {:.1} s", run.took.as_secs_f32());
    let again = lab
        .toots_with(&inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
    assert_eq!(again.result()["changed"], 0);
    let done = run
        .events()
        .into_iter()
        .filter(|event| event["type"] == "step-finished" && event["host"] == machine);
    done.filter_map(|event| event["step"].as_str().map(str::to_owned))
        .collect()
}

pub fn add_slave(lab: &Lab) {
    add(lab, "add-slave", "s2", "10.42.7.22");
    let (_, slaves) = crate::lab::http(&["-L", "http://10.42.7.11:5050/slaves"]);
    assert!(
        slaves.contains("10.42.7.21") && slaves.contains("10.42.7.22"),
        "{slaves}"
    );
    // The base's inventory does not name it.
    let status = lab.toots(&["cluster", "status"]).expect(0);
    assert!(
        status.stdout.contains("s2 (10.42.7.22) still runs"),
        "{}",
        status.stdout
    );
    lab.remove(&["s2"]);
}

/// The install modes that put several roles on one machine: master + slave, master + slave + edge,
/// slave + edge; and back.
pub fn several_roles(lab: &Lab) {
    let inventory = lab.changed("several-roles", |text| {
        text.replace("slaves = [\"s1\"]", "slaves = [\"m1\", \"m2\", \"s1\"]")
            .replace("edges = [\"e1\"]", "edges = [\"m2\", \"s1\", \"e1\"]")
    });
    lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    for (machine, wanted, without) in [
        (
            "m1",
            vec![
                "zookeeper",
                "consul-server",
                "mesos-master",
                "mesos-slave",
                "registrator",
            ],
            "haproxy",
        ),
        (
            "m2",
            vec![
                "zookeeper",
                "marathon",
                "mesos-slave",
                "registrator",
                "consul-template",
                "haproxy",
            ],
            "consul-client",
        ),
        (
            "s1",
            vec![
                "consul-client",
                "mesos-slave",
                "registrator",
                "consul-template",
                "haproxy",
            ],
            "zookeeper",
        ),
    ] {
        let there = containers(machine);
        for component in wanted {
            assert!(
                there.contains_key(&format!("toots-{component}")),
                "{component} on {machine}: {:?}",
                there.keys()
            );
        }
        assert!(
            !there.contains_key(&format!("toots-{without}")),
            "{without} on {machine}"
        );
    }
    let (_, slaves) = crate::lab::http(&["-L", "http://10.42.7.11:5050/slaves"]);
    assert!(
        ["10.42.7.11", "10.42.7.12", "10.42.7.21"]
            .iter()
            .all(|address| slaves.contains(address)),
        "{slaves}"
    );
    for edge in ["10.42.7.12", "10.42.7.21", "10.42.7.31"] {
        assert_eq!(
            crate::lab::http(&[&format!("http://{edge}/")]).0,
            503,
            "{edge} answers"
        );
    }
    assert_eq!(
        lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    assert!(
        !containers("m1").contains_key("toots-mesos-slave")
            && !containers("s1").contains_key("toots-haproxy")
    );
}
