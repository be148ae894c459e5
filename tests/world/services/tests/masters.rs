//! Mesos masters: who leads, what a majority of the log makes of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::rig::{M1, M2, M3, MASTERS, Rig, THREE, until};
use crate::services::memory::Restart;
use crate::services::mesos::CANDIDATES;
use crate::services::view::Service;
use crate::services::web::Request;

pub const PORT: u16 = 5050;

/// Seconds until the next member leads after a kill: the session ends between two thirds of its
/// timeout (the ping before the kill) and a tick after it.
pub const AFTER_A_KILL: std::ops::Range<f64> = 6.6..12.7;

pub fn health() -> Request {
    Request::post("/api/v1", &json!({ "type": "GET_HEALTH" }))
}

/// Whether a master leads with its registry.
pub async fn is_recovered(rig: &Rig) -> bool {
    for master in MASTERS {
        if rig
            .ask(master, PORT, health())
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return true;
        }
    }
    false
}

pub async fn write(rig: &Rig, master: std::net::Ipv4Addr) -> u16 {
    let weights = json!([{ "role": "web", "weight": 2.0 }]);
    let request = Request {
        method: "PUT".to_owned(),
        ..Request::post("/weights", &weights)
    };
    rig.ask(master, PORT, request)
        .await
        .map_or(0, |answer| answer.status)
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_and_the_registry_with_it() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master"]).await;
    let first = rig.leader(Service::MesosMaster);
    assert_eq!(write(&rig, first).await, 200);
    rig.kill(first, "mesos-master", Restart::Yes);
    let took = until(30, async || is_recovered(&rig).await).await;
    assert!(AFTER_A_KILL.contains(&took), "recorded: 10.5 s; {took}");
    let second = rig.leader(Service::MesosMaster);
    assert_ne!(first, second);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.world.view.serving(Service::MesosMaster), MASTERS.into());
    let replica = rig
        .files(second)
        .text("/var/lib/toots/mesos-master/replicated_log/replica");
    assert!(replica.expect("a replica").contains("\"web\":2.0"));
    // A write before and one after.
    assert_eq!(write(&rig, second).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_minority_leads_and_can_do_nothing() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master"]).await;
    let leader = rig.leader(Service::MesosMaster);
    for other in MASTERS.into_iter().filter(|other| *other != leader) {
        rig.kill(other, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(30)).await;
    let metrics = rig
        .get(leader, PORT, "/metrics/snapshot")
        .await
        .expect("metrics")
        .json();
    assert_eq!(metrics["registrar/log/ensemble_size"], 1.0);
    assert_eq!(
        rig.ask(leader, PORT, health())
            .await
            .expect("health")
            .status,
        200
    );
    assert_eq!(write(&rig, leader).await, 500);
    // The others come back, and it still can do nothing.
    for other in MASTERS.into_iter().filter(|other| *other != leader) {
        rig.start(other, "mesos-master").await;
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(write(&rig, leader).await, 500);
    assert_eq!(rig.leader(Service::MesosMaster), leader);
    // Deleting its node hands over.
    let prefix = format!("/mesos/{CANDIDATES}");
    let number = *rig
        .ensemble
        .nodes(&prefix)
        .first_key_value()
        .expect("a candidate")
        .0;
    rig.ensemble.delete(&prefix, number);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [1]);
    let second = rig.leader(Service::MesosMaster);
    assert_ne!(second, leader);
    assert_eq!(write(&rig, second).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_its_network_ends_and_keeps_what_it_acknowledged() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master"]).await;
    let leader = rig.leader(Service::MesosMaster);
    assert_eq!(write(&rig, leader).await, 200);
    rig.network.silence(leader, true);
    // What it promises alone is not acknowledged.
    assert_eq!(write(&rig, leader).await, 0);
    until(60, async || !rig.exits(leader, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [1]);
    until(30, async || is_recovered(&rig).await).await;
    let second = rig.leader(Service::MesosMaster);
    assert_eq!(write(&rig, second).await, 200);
    rig.network.silence(leader, false);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.leader(Service::MesosMaster), second);
    assert_eq!(rig.world.view.serving(Service::MesosMaster).len(), 3);
}

/// A change of a command line.
pub type Change<'a> = &'a dyn Fn(&mut Vec<String>);

#[tokio::test(start_paused = true)]
pub async fn wrong_starts_end_with_the_recorded_codes() {
    let rig = Rig::new(THREE);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut container = rig.container(M1, "mesos-master");
        container.restarts = false;
        change(&mut container.command);
        container
    };
    let replaced = |flag: &'static str, value: &'static str| {
        move |command: &mut Vec<String>| {
            command.retain(|word| !word.starts_with(&format!("--{flag}=")));
            if !value.is_empty() {
                command.push(format!("--{flag}={value}"));
            }
        }
    };
    let cases: [(&str, Change, i64); 7] = [
        ("unknown flag", &replaced("nonsense", "x"), 1),
        ("no quorum", &replaced("quorum", ""), 1),
        ("no work_dir", &replaced("work_dir", ""), 1),
        ("a bad ip", &replaced("ip", "x"), 1),
        ("a foreign ip", &replaced("ip", "10.0.0.99"), 134),
        ("quorum 0", &replaced("quorum", "0"), 134),
        (
            "a flag twice",
            &|command| command.push("--port=5050".to_owned()),
            1,
        ),
    ];
    let mut codes = Vec::new();
    for (name, change, code) in &cases {
        rig.run(M1, with(*change)).await;
        sleep(Duration::from_secs(1)).await;
        codes.push(*code);
        assert_eq!(rig.exits(M1, "mesos-master"), codes, "{name}");
    }
    // The port is taken.
    rig.start(M2, "mesos-master").await;
    sleep(Duration::from_secs(1)).await;
    let second = crate::services::engine::Container {
        name: "toots-other".to_owned(),
        restarts: false,
        ..rig.container(M2, "mesos-master")
    };
    rig.run(M2, second).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.exits(M2, "other"), [134]);
    assert!(rig.exits(M3, "mesos-master").is_empty());
}
