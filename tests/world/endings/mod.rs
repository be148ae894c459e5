//! How runs end: scenario, exit code and the JSON result of each ending as snapshots, and the hosts
//! after it. To add one: a test that brings the life to its ending and calls [`RunReport::snapshot`].

mod broken;
mod cancelled;
mod formats;
mod lost;
mod refused;
mod run_report;
mod shown;
mod undisturbed;

use std::net::Ipv4Addr;

use crate::life::Life;
use run_report::RunReport;

pub const UP: &str = "toots cluster up --yes --output json";

const HOSTS: [(&str, Ipv4Addr); 5] = [
    ("10.0.0.11", Ipv4Addr::new(10, 0, 0, 11)),
    ("10.0.0.12", Ipv4Addr::new(10, 0, 0, 12)),
    ("10.0.0.13", Ipv4Addr::new(10, 0, 0, 13)),
    ("10.0.0.21", Ipv4Addr::new(10, 0, 0, 21)),
    ("10.0.0.22", Ipv4Addr::new(10, 0, 0, 22)),
];

const INVENTORY: &str = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
                         slaves = [\"10.0.0.21\", \"10.0.0.22\"]\n";
const NEWER_ZOOKEEPER: &str = "[images]\nzookeeper = \"zookeeper:3.9.6\"\n";
const NEWER_CONSUL: &str = "[images]\nconsul = \"hashicorp/consul:1.23\"\n";

fn with(more: &str) -> String {
    format!("{INVENTORY}{more}")
}

/// Three masters, one of them a slave, another slave and an edge.
const WITH_EDGE: [(&str, Ipv4Addr); 5] = [
    HOSTS[0],
    HOSTS[1],
    HOSTS[2],
    HOSTS[3],
    ("10.0.0.31", Ipv4Addr::new(10, 0, 0, 31)),
];

fn with_edge(more: &str) -> String {
    let masters = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";
    let others = "slaves = [\"10.0.0.13\", \"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n";
    format!("{masters}{others}{more}")
}

fn empty_with_edge(seed: u64) -> Life {
    Life::with_masters(seed, &WITH_EDGE, 3)
}

/// The same as a cluster.
async fn healthy_with_edge(seed: u64, more: &str) -> Life {
    let life = empty_with_edge(seed);
    let report = RunReport::run(&life, &with_edge(more), UP).await;
    report.assert_done();
    life
}

/// Compares a text with the snapshot of this name.
fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Hosts without a cluster.
fn empty(seed: u64) -> Life {
    Life::with_masters(seed, &HOSTS, 3)
}

/// A cluster of three masters and two slaves.
async fn healthy(seed: u64) -> Life {
    let life = empty(seed);
    let report = RunReport::run(&life, INVENTORY, UP).await;
    report.assert_done();
    life
}

/// The cluster comes to what this inventory says, and everything held that must.
async fn recover(life: &Life, inventory: &str) {
    life.heal().await;
    let report = RunReport::run(life, inventory, UP).await;
    report.assert_done();
    let violations = life.judge.violations();
    assert!(violations.is_empty(), "VIOLATION {violations:#?}");
}
