//! States and courses of Marathon and Chronos that were recorded, brought about in the world.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::frameworks::{CHRONOS, MARATHON, SCHEDULERS, named};
use super::recorded::{Side, compare};
use super::rig::{M1, M2, M3, MASTERS, Rig, S1, THREE, until};
use crate::services::memory::Restart;
use crate::services::view::Service;
use crate::services::web::Request;

async fn settled() -> Rig {
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    rig
}

fn standby(leader: Ipv4Addr) -> Ipv4Addr {
    *MASTERS
        .iter()
        .find(|master| **master != leader)
        .expect("a standby")
}

async fn compare_marathon(rig: &Rig, machine: Ipv4Addr, leads: &str, state: &str) -> usize {
    let recorded = Side::new(&[(leads, "LEADER")]);
    let leader = rig
        .leading(Service::Marathon)
        .first()
        .copied()
        .unwrap_or(M1);
    let simulated = Side::new(&[(&format!("{leader}:{MARATHON}"), "LEADER")]);
    let questions = ["GET /v2/leader", "GET /v2/info"];
    let name = format!("marathon/{state}.txt");
    compare(
        rig,
        (machine, MARATHON),
        &name,
        &questions,
        &recorded,
        &simulated,
    )
    .await
}

pub async fn marathon_leader() -> usize {
    let rig = settled().await;
    let leader = rig.leader(Service::Marathon);
    assert_eq!(
        rig.get(leader, MARATHON, "/ping")
            .await
            .expect("an answer")
            .text(),
        "pong"
    );
    let lost = rig
        .get(leader, MARATHON, "/v2/nothing-here")
        .await
        .expect("an answer");
    assert_eq!(
        (lost.status, lost.json()),
        (500, json!({ "message": "URI not found" }))
    );
    3 + compare_marathon(&rig, leader, "127.0.0.1:18081", "leader").await
}

pub async fn marathon_standby() -> usize {
    let rig = settled().await;
    let standby = standby(rig.leader(Service::Marathon));
    let head = rig
        .ask(standby, MARATHON, Request::new("HEAD", "/ping"))
        .await;
    assert_eq!(head.expect("an answer").status, 500);
    1 + compare_marathon(&rig, standby, "127.0.0.1:18081", "standby").await
}

/// Nobody stands for election.
pub async fn marathon_no_leader() -> usize {
    let rig = settled().await;
    let standby = standby(rig.leader(Service::Marathon));
    let prefix = "/marathon/leader-curator/latch-";
    for number in rig.ensemble.nodes(prefix).into_keys() {
        rig.ensemble.delete(prefix, number);
    }
    sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    let questions = ["GET /v2/leader"];
    let side = Side::new(&[]);
    let at = (standby, MARATHON);
    let count = compare(&rig, at, "marathon/no-leader.txt", &questions, &side, &side).await;
    let took = asked.elapsed().as_secs_f64();
    assert!((2.7..2.9).contains(&took), "recorded: 2.8 s; {took}");
    1 + count
}

/// The Mesos master is gone since before Marathon was started: all is 200, and nothing is launched.
pub async fn marathon_without_mesos() -> usize {
    let rig = settled().await;
    for master in MASTERS {
        rig.kill(master, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(60)).await;
    let leader = rig.leader(Service::Marathon);
    compare_marathon(&rig, leader, "127.0.0.1:18082", "leader-no-mesos-master").await
}

/// Just after the Mesos leader was killed, everything is as before.
pub async fn marathon_mesos_killed() -> usize {
    let rig = settled().await;
    let leader = rig.leader(Service::Marathon);
    rig.kill(
        rig.leader(Service::MesosMaster),
        "mesos-master",
        Restart::No,
    );
    sleep(Duration::from_secs(2)).await;
    compare_marathon(&rig, leader, "127.0.0.1:18081", "leader").await
}

pub async fn marathon_startup() -> usize {
    let rig = Rig::new(THREE);
    for component in ["mesos-master", "marathon"] {
        rig.start_all(component).await;
    }
    sleep(Duration::from_secs(2)).await;
    assert!(rig.get(M1, MARATHON, "/ping").await.is_err());
    let took = until(30, async || named(&rig, M1, MARATHON).await.is_some()).await;
    assert!(
        (4.0..14.0).contains(&took),
        "recorded: 13.4 s with three on two cores; {took}"
    );
    2
}

pub async fn marathon_failover() -> usize {
    let rig = settled().await;
    // Abdication: that process ends, and the next one leads.
    let leader = rig.leader(Service::Marathon);
    let abdicate = Request::new("DELETE", "/v2/leader");
    let answer = rig
        .ask(leader, MARATHON, abdicate)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.exits(leader, "marathon"), [103]);
    let other = standby(leader);
    let moved = async || {
        let named = named(&rig, other, MARATHON).await;
        named.is_some_and(|named| named != format!("{leader}:{MARATHON}"))
    };
    let took = until(10, moved).await;
    assert!(took < 1.5, "recorded: 1 s; {took}");
    // Two with one name.
    sleep(Duration::from_secs(30)).await;
    let leader = rig.leader(Service::Marathon);
    let mut twin = rig.container(S1, "mesos-slave");
    twin.name = "toots-twin".to_owned();
    twin.image = rig.container(leader, "marathon").image;
    twin.command = rig.container(leader, "marathon").command;
    twin.restarts = false;
    rig.run(S1, twin).await;
    until(30, async || !rig.exits(leader, "marathon").is_empty()).await;
    assert!(rig.exits(leader, "marathon").contains(&104));
    4
}

pub async fn marathon_zookeeper_gone() -> usize {
    let rig = settled().await;
    for server in [M2, M3] {
        rig.ensemble.set_up(server, false);
    }
    sleep(Duration::from_secs(4)).await;
    for master in MASTERS {
        assert_eq!(
            rig.exits(master, "marathon"),
            [101],
            "recorded: all within 3 s"
        );
        assert!(rig.get(master, MARATHON, "/ping").await.is_err());
    }
    6
}

/// Wrong starts, and a ZooKeeper that is not there.
pub async fn marathon_flags() -> usize {
    let rig = Rig::new(THREE);
    let port = |command: &mut Vec<String>, value: &str| {
        let at = command
            .iter()
            .position(|word| word == "--http_port")
            .expect("a port");
        value.clone_into(&mut command[at + 1]);
    };
    let zk = |command: &mut Vec<String>, value: &str| {
        let at = command
            .iter()
            .position(|word| word == "--zk")
            .expect("a list");
        value.clone_into(&mut command[at + 1]);
    };
    let cases: [(super::masters::Change, i64); 5] = [
        (
            &|command| command.extend(["--no_such_flag".to_owned(), "x".to_owned()]),
            1,
        ),
        (&|command| port(command, "99999"), 107),
        (&|command| zk(command, "10.0.0.11:2181/marathon"), 1),
        (&|command| drop(command.drain(..2)), 1),
        (&|command| zk(command, "zk://10.0.0.99:2181/marathon"), 100),
    ];
    let mut codes = Vec::new();
    for (change, code) in &cases {
        let mut container = rig.container(M1, "marathon");
        container.restarts = false;
        change(&mut container.command);
        rig.run(M1, container).await;
        sleep(Duration::from_secs(30)).await;
        codes.push(*code);
        assert_eq!(rig.exits(M1, "marathon"), codes);
    }
    let _taken = rig.network.listen(M1, MARATHON).expect("a port");
    let mut container = rig.container(M1, "marathon");
    container.restarts = false;
    rig.run(M1, container).await;
    sleep(Duration::from_secs(30)).await;
    codes.push(111);
    assert_eq!(rig.exits(M1, "marathon"), codes);
    codes.len()
}

/// Nodes below /marathon.
pub async fn marathon_nodes() -> usize {
    let rig = settled().await;
    let latches = rig.ensemble.nodes("/marathon/leader-curator/latch-");
    assert_eq!(latches.len(), 3);
    let leader = format!("{}:{MARATHON}", rig.leader(Service::Marathon));
    assert_eq!(latches.first_key_value().expect("a latch").1, &leader);
    2
}

async fn compare_chronos(rig: &Rig, machine: Ipv4Addr, leads: &str, state: &str) -> usize {
    let recorded = Side::new(&[(leads, "LEADER")]);
    let leader = rig.leader(Service::Chronos);
    let simulated = Side::new(&[(&format!("{leader}:{CHRONOS}"), "LEADER")]);
    let name = format!("chronos/{state}.txt");
    let questions = ["GET /v1/scheduler/leader"];
    compare(
        rig,
        (machine, CHRONOS),
        &name,
        &questions,
        &recorded,
        &simulated,
    )
    .await
}

pub async fn chronos_leader() -> usize {
    let rig = settled().await;
    let leader = rig.leader(Service::Chronos);
    for (path, status) in [
        ("/ping", 200),
        ("/scheduler/leader", 404),
        ("/v1/nope", 404),
    ] {
        assert_eq!(
            rig.get(leader, CHRONOS, path)
                .await
                .expect("an answer")
                .status,
            status
        );
    }
    3 + compare_chronos(&rig, leader, "127.0.0.1:14401", "leader").await
}

pub async fn chronos_standby() -> usize {
    let rig = settled().await;
    let standby = standby(rig.leader(Service::Chronos));
    // The body of an error never arrives.
    let lost = rig.get(standby, CHRONOS, "/v1/nope");
    assert!(
        tokio::time::timeout(Duration::from_secs(6), lost)
            .await
            .is_err()
    );
    1 + compare_chronos(&rig, standby, "127.0.0.1:14401", "standby").await
}

pub async fn chronos_without_mesos() -> usize {
    let rig = settled().await;
    for master in MASTERS {
        rig.kill(master, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(60)).await;
    let leader = rig.leader(Service::Chronos);
    assert_eq!(
        rig.get(leader, CHRONOS, "/ping")
            .await
            .expect("an answer")
            .text(),
        "pong\n"
    );
    1 + compare_chronos(&rig, leader, "127.0.0.1:14402", "leader-no-mesos-master").await
}

pub async fn chronos_failover() -> usize {
    let rig = settled().await;
    let leader = rig.leader(Service::Chronos);
    rig.kill(leader, "chronos", Restart::No);
    sleep(Duration::from_secs(3)).await;
    for other in MASTERS.into_iter().filter(|master| *master != leader) {
        assert_eq!(
            rig.get(other, CHRONOS, "/ping")
                .await
                .expect("an answer")
                .status,
            500
        );
    }
    // Asked of the view, since a question at the wrong moment ends a standby.
    let took = 3.0
        + until(60, async || {
            rig.leading(Service::Chronos).iter().any(|at| *at != leader)
        })
        .await;
    // Its session lasts 40 s, and the ping before the kill may be a third of that old.
    assert!((26.6..43.0).contains(&took), "recorded: 42 s; {took}");
    // One server of ZooKeeper is lost: nothing happens.
    let leader = rig.leader(Service::Chronos);
    rig.ensemble.set_up(M2, false);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.leader(Service::Chronos), leader);
    assert_eq!(
        rig.get(leader, CHRONOS, "/ping")
            .await
            .expect("an answer")
            .status,
        200
    );
    5
}

pub async fn chronos_flags() -> usize {
    let rig = Rig::new(THREE);
    let more = |words: [&str; 2]| {
        let mut container = rig.container(M1, "chronos");
        container.restarts = false;
        container.command.extend(words.map(str::to_owned));
        container
    };
    let mut codes = Vec::new();
    for words in [["--http_port", "abc"], ["--no_such_flag", "x"]] {
        rig.run(M1, more(words)).await;
        sleep(Duration::from_secs(10)).await;
        codes.push(1);
        assert_eq!(rig.exits(M1, "chronos"), codes);
    }
    // ZooKeeper is not there: no HTTP, and no end.
    rig.run(M1, more(["--zk_hosts", "10.0.0.99:2181"])).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.exits(M1, "chronos"), codes);
    assert!(!rig.network.listens(M1, CHRONOS));
    3
}

pub async fn chronos_second() -> usize {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master"]).await;
    let mut second = rig.container(M1, "chronos");
    second.image = "mesosphere/chronos:v2.5.1".to_owned();
    rig.run(M1, second).await;
    sleep(Duration::from_secs(20)).await;
    let answer = rig
        .get(M1, CHRONOS, "/scheduler/leader")
        .await
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "leader": "10.0.0.11:4400" }))
    );
    let other = rig
        .get(M1, CHRONOS, "/v1/scheduler/leader")
        .await
        .expect("an answer");
    assert_eq!(other.status, 404);
    2
}
