//! Lives of whole clusters that nothing disturbs.

use std::net::Ipv4Addr;

use crate::chaos::on_own_clock;
use crate::life::{Hosts, Life};

const UP: &str = "toots cluster up --yes";

const fn host(name: &'static str, last: u8) -> (&'static str, Ipv4Addr) {
    (name, Ipv4Addr::new(10, 0, 0, last))
}

const FIVE: [(&str, Ipv4Addr); 6] = [
    host("10.0.0.11", 11),
    host("10.0.0.12", 12),
    host("10.0.0.13", 13),
    host("10.0.0.21", 21),
    host("10.0.0.22", 22),
    host("10.0.0.31", 31),
];
const WITH_SLAVE_AND_EDGE: &str = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
    slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n";

async fn comes_up(life: &Life, inventory: &str, line: &str) {
    let ending = life.run(inventory, line).await;
    assert_eq!(
        ending.exit,
        Some(0),
        "{line}: {}{}",
        ending.output,
        ending.error
    );
}

async fn is_empty(life: &Life, inventory: &str) {
    let again = life.run(inventory, UP).await;
    assert_eq!(again.exit, Some(0), "{}{}", again.output, again.error);
    let changes = life.world.record.changes().into_iter();
    let changes: Vec<_> = changes.filter(|change| change.by == again.by).collect();
    assert!(changes.is_empty(), "{changes:#?}");
}

fn hosts(hosts: &Hosts) -> Life {
    Life::new(1, hosts)
}

#[test]
fn a_cluster_with_slaves_and_edges_comes_up() {
    on_own_clock(async {
        let life = hosts(&FIVE);
        comes_up(&life, WITH_SLAVE_AND_EDGE, UP).await;
        is_empty(&life, WITH_SLAVE_AND_EDGE).await;
        assert_eq!(life.judge.violations(), [""; 0]);
    });
}
