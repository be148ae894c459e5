//! Runs that nothing disturbs, and runs that only look. With `recorded.rs` of tests/bundle they complete
//! what the reporters' tests read: every kind of event, bytes of images, two hundred hosts.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::run_report::RunReport;
use super::{NEWER_CONSUL, UP, empty, empty_with_edge, healthy, with, with_edge};
use crate::chaos::on_own_clock;
use crate::docker::{Image, Registry};
use crate::host::controller::ControllerFault;
use crate::host::machine::MachineProcess;
use crate::life::Life;

const CHECK: &str = "toots cluster check --output json";
const PLAN: &str = "toots cluster plan --output json";

/// Gives images a layer of some megabytes; every layer takes its time.
fn enlarge_images(registry: &Registry) {
    let sizes = [
        ("zookeeper", "3.9.5", 40),
        ("hashicorp/consul", "1.22", 55),
        ("mesosphere/marathon", "v1.11.24", 75),
        ("mesosphere/chronos", "v3.0.2", 60),
        ("haproxy", "3.2.22", 20),
    ];
    for (name, version, megabytes) in sizes {
        let mut layers = Image::new(name, version).layers;
        layers.insert(1, Bytes::from(vec![0; megabytes * 1_000_000]));
        let image = Image::from_layers(layers, json!({}), "2026-01-01T00:00:00Z");
        registry.push(&format!("{name}:{version}"), image);
    }
    registry.set_layer_time(Duration::from_secs(8));
}

#[test]
fn a_first_up_and_a_second() {
    on_own_clock(async {
        let life = empty_with_edge(51);
        enlarge_images(&life.registry);
        let first = RunReport::run(&life, &with_edge(""), UP).await;
        first.record("first_up");
        first.assert_done();
        let second = RunReport::run(&life, &with_edge(""), UP).await;
        second.record("second_up");
        second.assert_done();
        assert_eq!(second.changed(), 0, "{second}");
    });
}

#[test]
fn checks_pass_and_refuse() {
    on_own_clock(async {
        let life = empty_with_edge(52);
        let report = RunReport::run(&life, &with_edge(""), CHECK).await;
        report.record("check");
        report.assert_done();
        for name in ["10.0.0.12", "10.0.0.21"] {
            life.world.machine(name).state().facts.mem_total_kib = 256 << 10;
        }
        let java = MachineProcess {
            name: "java".to_owned(),
            container: None,
            sockets: vec![("tcp".to_owned(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2181)],
        };
        let machine = life.world.machine("10.0.0.11");
        machine.state().processes.insert(7, java);
        let report = RunReport::run(&life, &with_edge(""), CHECK).await;
        report.record("check_refused");
        assert_eq!((report.exit(), report.changed()), (Some(4), 0), "{report}");
    });
}

#[test]
fn plans_without_and_with_changes() {
    on_own_clock(async {
        let life = healthy(53).await;
        let plan = RunReport::run(&life, &with(""), PLAN).await;
        plan.record("plan_of_nothing");
        plan.assert_done();
        let line = format!("{PLAN} --exit-code");
        let plan = RunReport::run(&life, &with(NEWER_CONSUL), &line).await;
        plan.record("plan_with_exit_code");
        assert_eq!(plan.exit(), Some(10), "{plan}");
    });
}

#[test]
fn a_run_reaches_its_deadline() {
    on_own_clock(async {
        let life = empty(54);
        let report = RunReport::run(&life, &with(""), &format!("{UP} --timeout 10s")).await;
        report.record("deadline");
        report.snapshot("deadline");
        assert_eq!(report.exit(), Some(8), "{report}");
    });
}

/// Hosts of which some are dead, in a first `up` that is interrupted while images are pulled.
#[test]
fn two_hundred_hosts() {
    on_own_clock(async {
        let address = |n: u8| {
            let address = Ipv4Addr::new(10, 0, 1, n);
            (&*address.to_string().leak(), address)
        };
        let hosts: Vec<(&'static str, Ipv4Addr)> = (1..=200).map(address).collect();
        let life = Life::with_masters(55, &hosts, 3);
        life.registry.set_layer_time(Duration::from_secs(20));
        for (at, (name, _)) in hosts.iter().enumerate().skip(3) {
            if at % 40 == 0 {
                life.world.machine(name).cut_power();
            }
        }
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let (masters, slaves) = names.split_at(3);
        let inventory = format!("masters = {masters:?}\nslaves = {slaves:?}\n");
        let operator = life.operator(&[("inventory.toml", &inventory)]);
        let controller = operator.controller.clone();
        let interrupt = async {
            tokio::time::sleep(Duration::from_secs(16)).await;
            controller.suffer(ControllerFault::Interrupted);
        };
        let report = RunReport::run_as(&life, operator, UP);
        let (report, ()) = tokio::join!(biased; report, interrupt);
        report.record("two_hundred");
        assert_eq!(report.exit(), Some(130), "{report}");
    });
}
