//! Failures of Mesos masters and of their ZooKeeper that were recorded, brought about in the world.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::masters::{AFTER_A_KILL, PORT, health, is_recovered, write};
use super::replays::{follower, metrics, redirect, start_once, three_once};
use super::rig::{M1, M2, MASTERS, S1, until};
use crate::services::memory::Restart;
use crate::services::mesos::CANDIDATES;
use crate::services::view::Service;

/// The leader is killed; what is told of it until the next one leads.
pub async fn leader_sigkill() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    let other = follower(leader);
    rig.kill(leader, "mesos-master", Restart::No);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        redirect(&rig, other).await,
        (307, format!("//{leader}:5050"))
    );
    let took = 5.0 + until(20, async || is_recovered(&rig).await).await;
    assert!(AFTER_A_KILL.contains(&took), "recorded: 10.5 s; {took}");
    assert_eq!(
        metrics(&rig, other).await["registrar/log/ensemble_size"],
        2.0
    );
    start_once(&rig, leader).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        metrics(&rig, leader).await["registrar/log/ensemble_size"],
        3.0
    );
    5
}

pub async fn leader_sigterm() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    rig.term(leader, "mesos-master");
    let took = until(20, async || is_recovered(&rig).await).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [143]);
    assert!(AFTER_A_KILL.contains(&took), "recorded: 8.7 s; {took}");
    3
}

pub async fn leader_node_deleted() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    let prefix = format!("/mesos/{CANDIDATES}");
    let number = *rig
        .ensemble
        .nodes(&prefix)
        .first_key_value()
        .expect("a candidate")
        .0;
    rig.ensemble.delete(&prefix, number);
    let next = async || {
        rig.leading(Service::MesosMaster)
            .iter()
            .any(|m| *m != leader)
    };
    let took = until(5, next).await;
    assert!(took < 1.0, "recorded: 0.3 s; {took}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [1]);
    // The replica of the one that ended is counted until its session has ended.
    let other = rig.leader(Service::MesosMaster);
    assert_eq!(
        metrics(&rig, other).await["registrar/log/ensemble_size"],
        3.0
    );
    sleep(Duration::from_secs(12)).await;
    assert_eq!(
        metrics(&rig, other).await["registrar/log/ensemble_size"],
        2.0
    );
    5
}

/// ZooKeeper is lost for half a minute: as a whole, or its majority.
async fn zookeeper_lost(lost: &[Ipv4Addr]) -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    let others = || MASTERS.into_iter().filter(|master| *master != leader);
    for server in lost {
        rig.ensemble.set_up(*server, false);
    }
    let took = until(15, async || !rig.exits(leader, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [1]);
    assert!((9.0..14.0).contains(&took), "recorded: 10 s; {took}");
    sleep(Duration::from_secs(2)).await;
    for other in others() {
        assert_eq!(redirect(&rig, other).await.0, 503);
        assert_eq!(
            rig.get(other, PORT, "/health")
                .await
                .expect("health")
                .status,
            200
        );
        assert_eq!(
            metrics(&rig, other).await["registrar/log/ensemble_size"],
            1.0
        );
    }
    sleep(Duration::from_secs(15)).await;
    for server in lost {
        rig.ensemble.set_up(*server, true);
    }
    // All point at the dead leader for some seconds.
    sleep(Duration::from_secs(4)).await;
    for other in others() {
        assert_eq!(
            redirect(&rig, other).await,
            (307, format!("//{leader}:5050"))
        );
    }
    until(15, async || is_recovered(&rig).await).await;
    assert_eq!(rig.leading(Service::MesosMaster).len(), 1);
    12
}

pub async fn zookeeper_gone() -> usize {
    zookeeper_lost(&MASTERS).await
}

pub async fn zookeeper_quorum_lost() -> usize {
    zookeeper_lost(&[M1, M2]).await
}

pub async fn zookeeper_rolling_restart() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    for server in MASTERS {
        rig.ensemble.set_up(server, false);
        sleep(Duration::from_secs(1)).await;
        rig.ensemble.set_up(server, true);
        sleep(Duration::from_secs(8)).await;
    }
    assert_eq!(rig.leader(Service::MesosMaster), leader);
    assert!(
        MASTERS
            .iter()
            .all(|master| rig.exits(*master, "mesos-master").is_empty())
    );
    2
}

/// One of three is left, leads on, and takes no write, then or later.
pub async fn alone() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    for other in MASTERS.into_iter().filter(|master| *master != leader) {
        rig.kill(other, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(15)).await;
    let seen = metrics(&rig, leader).await;
    assert_eq!(seen["master/elected"], 1.0);
    assert_eq!(seen["registrar/log/recovered"], 1.0);
    assert_eq!(seen["registrar/log/ensemble_size"], 1.0);
    let began = Instant::now();
    assert_eq!(write(&rig, leader).await, 500);
    let took = began.elapsed().as_secs_f64();
    assert!((19.0..22.0).contains(&took), "recorded: 20 s; {took}");
    for other in MASTERS.into_iter().filter(|master| *master != leader) {
        start_once(&rig, other).await;
    }
    sleep(Duration::from_secs(20)).await;
    let began = Instant::now();
    assert_eq!(write(&rig, leader).await, 500);
    assert!(began.elapsed() < Duration::from_secs(1));
    let seen = metrics(&rig, leader).await;
    assert_eq!(seen["registrar/log/ensemble_size"], 3.0);
    assert!(seen["registrar/registry_size_bytes"].is_number());
    assert_eq!(
        rig.ask(leader, PORT, health())
            .await
            .expect("health")
            .status,
        200
    );
    9
}

pub async fn agent_registers_alone() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    for other in MASTERS.into_iter().filter(|master| *master != leader) {
        rig.kill(other, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(14)).await;
    rig.start(S1, "mesos-slave").await;
    let took = until(30, async || !rig.exits(leader, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(leader, "mesos-master"), [134]);
    assert!((19.0..23.0).contains(&took), "recorded: 20 s; {took}");
    2
}
