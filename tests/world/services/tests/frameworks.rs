//! Marathon and Chronos: their leader, and what becomes of them when ZooKeeper or Mesos goes.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::masters::{AFTER_A_KILL, PORT};
use super::rig::{M1, M2, M3, MASTERS, Rig, THREE, until};
use crate::services::memory::Restart;
use crate::services::view::Service;
use crate::services::web::Request;

pub const MARATHON: u16 = 8080;
pub const CHRONOS: u16 = 4400;
pub const SCHEDULERS: [&str; 4] = ["mesos-master", "mesos-slave", "marathon", "chronos"];

/// The leader that an instance names.
pub async fn named(rig: &Rig, machine: Ipv4Addr, port: u16) -> Option<String> {
    let path = if port == MARATHON {
        "/v2/leader"
    } else {
        "/v1/scheduler/leader"
    };
    let answer = rig.get(machine, port, path).await.ok()?;
    Some(answer.json()["leader"].as_str()?.to_owned())
}

/// The frameworks that Mesos lists as active.
pub async fn active(rig: &Rig) -> Vec<String> {
    let leader = rig.leader(Service::MesosMaster);
    let request = Request::post("/api/v1", &json!({ "type": "GET_FRAMEWORKS" }));
    let answer = rig
        .ask(leader, PORT, request)
        .await
        .expect("frameworks")
        .json();
    let items = answer["get_frameworks"]["frameworks"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let active = items.iter().filter(|framework| framework["active"] == true);
    active
        .map(|framework| {
            framework["framework_info"]["name"]
                .as_str()
                .unwrap_or("")
                .to_owned()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
pub async fn each_has_a_single_leader_that_everybody_names_and_mesos_lists() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    for (service, port) in [(Service::Marathon, MARATHON), (Service::Chronos, CHRONOS)] {
        let leader = format!("{}:{port}", rig.leader(service));
        for master in MASTERS {
            assert_eq!(named(&rig, master, port).await.as_ref(), Some(&leader));
        }
    }
    let names = active(&rig).await;
    assert!(names.iter().any(|name| name == "marathon"), "{names:?}");
    assert!(
        names.iter().any(|name| name.starts_with("chronos")),
        "{names:?}"
    );
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn marathon_ends_while_zookeeper_blinks_and_chronos_waits() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    let chronos = rig.leader(Service::Chronos);
    let lost = Instant::now();
    for master in [M2, M3] {
        rig.ensemble.set_up(master, false);
    }
    sleep(Duration::from_secs(1)).await;
    for master in MASTERS {
        assert_eq!(rig.exits(master, "marathon"), [101]);
    }
    // Chronos answers nobody, and ends with nothing.
    let ask = rig.get(chronos, CHRONOS, "/ping");
    assert!(
        tokio::time::timeout(Duration::from_secs(5), ask)
            .await
            .is_err()
    );
    for master in [M2, M3] {
        rig.ensemble.set_up(master, true);
    }
    until(60, async || named(&rig, M1, MARATHON).await.is_some()).await;
    let took = lost.elapsed().as_secs_f64();
    assert!(took > 9.0, "a Java process does not start in {took} s");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(
        rig.get(chronos, CHRONOS, "/ping")
            .await
            .expect("an answer")
            .text(),
        "pong\n"
    );
    assert!(
        MASTERS
            .iter()
            .all(|master| rig.exits(*master, "chronos").is_empty())
    );
    let leader = format!("{}:{MARATHON}", rig.leader(Service::Marathon));
    assert_eq!(named(&rig, M3, MARATHON).await, Some(leader));
    assert_eq!(active(&rig).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_marathon_ends_with_the_server_that_it_is_connected_to() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    rig.ensemble.set_up(M1, false);
    sleep(Duration::from_millis(500)).await;
    // Each is connected to the server of its own machine.
    assert_eq!(rig.exits(M1, "marathon"), [101]);
    assert!(rig.exits(M2, "marathon").is_empty() && rig.exits(M3, "marathon").is_empty());
    assert!(
        MASTERS
            .iter()
            .all(|master| rig.exits(*master, "chronos").is_empty())
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_marathon_leads_soon_after_a_stop_and_late_after_a_kill() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    let first = rig.leader(Service::Marathon);
    rig.term(first, "marathon");
    let other = *MASTERS
        .iter()
        .find(|master| **master != first)
        .expect("a standby");
    let gone = format!("{first}:{MARATHON}");
    let moved = async || {
        let named = named(&rig, other, MARATHON).await;
        named.is_some_and(|named| named != gone)
    };
    let took = until(10, moved).await;
    assert!((0.5..1.5).contains(&took), "recorded: 0.85 s; {took}");
    assert_eq!(rig.exits(first, "marathon"), [143]);
    sleep(Duration::from_secs(30)).await;
    let second = rig.leader(Service::Marathon);
    rig.kill(second, "marathon", Restart::Yes);
    let gone = format!("{second}:{MARATHON}");
    let other = *MASTERS
        .iter()
        .find(|master| **master != second)
        .expect("a standby");
    let moved = async || {
        let named = named(&rig, other, MARATHON).await;
        named.is_some_and(|named| named != gone)
    };
    let took = until(20, moved).await;
    assert!(AFTER_A_KILL.contains(&took), "recorded: 12 s; {took}");
}

#[tokio::test(start_paused = true)]
async fn the_leading_marathon_ends_with_the_mesos_leader() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    let (mesos, marathon) = (
        rig.leader(Service::MesosMaster),
        rig.leader(Service::Marathon),
    );
    rig.kill(mesos, "mesos-master", Restart::No);
    let took = until(20, async || !rig.exits(marathon, "marathon").is_empty()).await;
    assert_eq!(rig.exits(marathon, "marathon"), [103]);
    assert!(AFTER_A_KILL.contains(&took), "recorded: 11 s; {took}");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(active(&rig).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_a_chronos_standby_while_the_leader_vanishes() {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    let leader = rig.leader(Service::Chronos);
    let standby = *MASTERS
        .iter()
        .rfind(|master| **master != leader)
        .expect("a standby");
    rig.term(leader, "chronos");
    sleep(Duration::from_millis(100)).await;
    assert!(rig.get(standby, CHRONOS, "/ping").await.is_err());
    // Its port is closed at once, its end takes half a minute.
    assert!(!rig.network.listens(standby, CHRONOS));
    sleep(Duration::from_secs(31)).await;
    assert_eq!(rig.exits(standby, "chronos"), [1]);
    assert_eq!(rig.exits(leader, "chronos"), [143]);
    sleep(Duration::from_secs(30)).await;
    let leader = format!("{}:{CHRONOS}", rig.leader(Service::Chronos));
    assert_eq!(named(&rig, standby, CHRONOS).await, Some(leader));
}
