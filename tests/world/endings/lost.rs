//! Runs that lose a host or a connection, and go on.

use std::time::Duration;

use super::run_report::RunReport;
use super::{HOSTS, INVENTORY, NEWER_CONSUL, NEWER_ZOOKEEPER, UP, healthy, recover, with};
use crate::chaos::on_own_clock;
use crate::directed::at_point;
use crate::host::faults::{Fault, Faults, PointKind};
use crate::life::Life;

/// The connection is lost while a host creates a container; or the host itself is.
async fn lose_in_a_step(life: &Life, fault: Fault) -> RunReport {
    let (points, record) = (life.world.points.clone(), life.world.record.clone());
    let before = record.changes().len();
    at_point(
        life,
        move |point| {
            let changes = record.changes();
            let mut changes = changes[before..].iter();
            point.kind == PointKind::Read
                && changes.any(|change| {
                    change.host == point.host && change.what.contains("/containers/create")
                })
        },
        move |point| points.set_faults(Faults::at(point.number, fault)),
    );
    let report = RunReport::run(life, &with(NEWER_ZOOKEEPER), UP).await;
    assert_eq!(life.world.counts()[fault.name()], 1);
    report
}

#[test]
fn the_connection_is_lost_in_a_step() {
    on_own_clock(async {
        let life = healthy(11).await;
        let fault = Fault::ConnectionLost {
            noticed_after: Duration::from_secs(45),
            host_notices: false,
        };
        let report = lose_in_a_step(&life, fault).await;
        report.record("connection_lost_in_a_step");
        report.snapshot("connection_lost_in_a_step");
        recover(&life, &with(NEWER_ZOOKEEPER)).await;
    });
}

#[test]
fn a_host_dies_in_a_step() {
    on_own_clock(async {
        let life = healthy(12).await;
        let report = lose_in_a_step(&life, Fault::HostDies).await;
        report.record("host_dies_in_a_step");
        report.snapshot("host_dies_in_a_step");
        life.heal().await;
        let ending = life
            .run(&with(NEWER_ZOOKEEPER), "toots cluster up --yes")
            .await;
        assert_eq!(ending.exit, Some(0), "{}", ending.output);
    });
}

#[test]
fn a_slave_is_dead() {
    on_own_clock(async {
        let life = healthy(13).await;
        life.world.machine("10.0.0.22").cut_power();
        let report = RunReport::run(&life, &with(NEWER_CONSUL), UP).await;
        report.record("one_slave_dead");
        report.snapshot("one_slave_dead");
        assert_eq!(report.exit(), Some(5), "{report}");
        let outcomes = HOSTS.map(|(name, _)| report.outcome(name));
        let expected = ["changed", "changed", "changed", "changed", "unreachable"];
        assert_eq!(outcomes, expected, "{report}");
        recover(&life, &with(NEWER_CONSUL)).await;
    });
}

/// A master is dead: no other member is stopped, and what needs none is done.
#[test]
fn a_master_is_dead() {
    on_own_clock(async {
        let life = healthy(14).await;
        life.world.machine("10.0.0.13").cut_power();
        // Consul and the frameworks elect without it first.
        tokio::time::sleep(Duration::from_secs(120)).await;
        let report = RunReport::run(&life, &with("[params.marathon]\nheap = \"256m\"\n"), UP).await;
        report.record("one_master_dead");
        report.snapshot("one_master_dead");
        assert_eq!(report.outcome("10.0.0.13"), "unreachable", "{report}");
        recover(&life, INVENTORY).await;
    });
}
