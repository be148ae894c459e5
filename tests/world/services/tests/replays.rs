//! States and courses of Mesos that were recorded, brought about in the world.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::agents::slaves;
use super::masters::{PORT, health, is_recovered};
use super::recorded::{Side, compare};
use super::rig::{M1, M2, M3, MASTERS, Rig, S1, THREE, until};
use crate::services::memory::Restart;
use crate::services::mesos::{CANDIDATES, REPLICAS};
use crate::services::view::Service;

const ASKED: [&str; 6] = [
    "POST /api/v1 GET_HEALTH",
    "POST /api/v1 GET_FRAMEWORKS",
    "GET /health",
    "GET /metrics/snapshot",
    "GET /slaves",
    "GET /version",
];

/// Compares a master's answers with a recording of the leader at 127.0.0.11.
async fn compare_master(rig: &Rig, machine: Ipv4Addr, leader: Ipv4Addr, state: &str) -> usize {
    let recorded = Side::new(&[("127.0.0.11", "LEADER"), ("127.0.0.51", "AGENT")]);
    let simulated = Side::new(&[(&leader.to_string(), "LEADER"), ("10.0.0.21", "AGENT")]);
    compare(
        rig,
        (machine, PORT),
        &format!("mesos/{state}.txt"),
        &ASKED,
        &recorded,
        &simulated,
    )
    .await
}

async fn three() -> Rig {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master"]).await;
    rig
}

/// A master that nobody starts again.
pub async fn start_once(rig: &Rig, machine: Ipv4Addr) {
    let mut container = rig.container(machine, "mesos-master");
    container.restarts = false;
    rig.run(machine, container).await;
}

pub async fn three_once() -> Rig {
    let rig = Rig::new(THREE);
    for master in MASTERS {
        start_once(&rig, master).await;
    }
    sleep(Duration::from_secs(30)).await;
    rig
}

pub async fn metrics(rig: &Rig, machine: Ipv4Addr) -> Value {
    let answer = rig.get(machine, PORT, "/metrics/snapshot").await;
    answer.map(|answer| answer.json()).unwrap_or_default()
}

pub async fn redirect(rig: &Rig, machine: Ipv4Addr) -> (u16, String) {
    let answer = rig
        .get(machine, PORT, "/redirect")
        .await
        .expect("an answer");
    (
        answer.status,
        answer.headers.get("location").cloned().unwrap_or_default(),
    )
}

pub fn follower(leader: Ipv4Addr) -> Ipv4Addr {
    *MASTERS
        .iter()
        .find(|master| **master != leader)
        .expect("a follower")
}

pub async fn leader() -> usize {
    let rig = three().await;
    let leader = rig.leader(Service::MesosMaster);
    compare_master(&rig, leader, leader, "leader").await
}

pub async fn standby() -> usize {
    let rig = three().await;
    let leader = rig.leader(Service::MesosMaster);
    compare_master(&rig, follower(leader), leader, "standby").await
}

pub async fn no_leader() -> usize {
    let rig = Rig::new(THREE);
    for master in MASTERS {
        rig.ensemble.set_up(master, false);
    }
    rig.start(M1, "mesos-master").await;
    sleep(Duration::from_secs(3)).await;
    compare_master(&rig, M1, M1, "no-leader").await
}

pub async fn with_agent() -> usize {
    let rig = three().await;
    rig.bring_up(&["mesos-slave"]).await;
    let leader = rig.leader(Service::MesosMaster);
    compare_master(&rig, leader, leader, "leader-with-agent").await
}

/// One replica with its log leads, the other was wiped; the third is down.
pub async fn one_initialised_one_wiped() -> usize {
    let rig = three_once().await;
    for master in MASTERS {
        rig.kill(master, "mesos-master", Restart::No);
    }
    rig.files(M2)
        .remove("/var/lib/toots/mesos-master/replicated_log");
    sleep(Duration::from_secs(20)).await;
    start_once(&rig, M1).await;
    sleep(Duration::from_secs(1)).await;
    start_once(&rig, M2).await;
    let began = Instant::now();
    sleep(Duration::from_secs(5)).await;
    let count = compare_master(&rig, M1, M1, "leader-without-registry").await;
    until(70, async || !rig.exits(M1, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(M1, "mesos-master"), [134]);
    let took = began.elapsed().as_secs_f64();
    assert!((57.0..62.0).contains(&took), "recorded: 60 s; {took}");
    // The other leads then, and has no log.
    until(15, async || {
        metrics(&rig, M2).await["master/elected"] == 1.0
    })
    .await;
    let metrics = metrics(&rig, M2).await;
    assert_eq!(metrics["registrar/log/recovered"], 0.0);
    assert_eq!(metrics["registrar/log/ensemble_size"], 1.0);
    count + 3
}

pub async fn single_leader() -> usize {
    let rig = Rig::new(THREE);
    let mut container = rig.container(M1, "mesos-master");
    container
        .command
        .retain(|word| !word.starts_with("--zk=") && !word.starts_with("--quorum="));
    rig.run(M1, container).await;
    until(5, async || {
        rig.ask(M1, PORT, health())
            .await
            .is_ok_and(|a| a.status == 200)
    })
    .await;
    assert_eq!(rig.leader(Service::MesosMaster), M1);
    1
}

pub async fn fresh_three_at_once() -> usize {
    let rig = Rig::new(THREE);
    rig.start_all("mesos-master").await;
    let took = until(10, async || is_recovered(&rig).await).await;
    assert!(took < 3.0, "recorded: 2 s; {took}");
    for master in MASTERS {
        assert_eq!(
            metrics(&rig, master).await["registrar/log/ensemble_size"],
            3.0
        );
    }
    4
}

pub async fn one_after_the_other() -> usize {
    let rig = Rig::new(THREE);
    rig.start(M1, "mesos-master").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(redirect(&rig, M1).await, (307, format!("//{M1}:5050")));
    assert_eq!(metrics(&rig, M1).await["master/elected"], 1.0);
    rig.start(M2, "mesos-master").await;
    sleep(Duration::from_secs(12)).await;
    for master in [M1, M2] {
        let metrics = metrics(&rig, master).await;
        assert_eq!(
            metrics["registrar/log/recovered"], 0.0,
            "two of three never begin"
        );
        assert_eq!(metrics["registrar/log/ensemble_size"], 2.0);
    }
    rig.start(M3, "mesos-master").await;
    let took = until(10, async || is_recovered(&rig).await).await;
    assert!(took < 3.0, "recorded: 1 s; {took}");
    7
}

pub async fn two_masters() -> usize {
    let rig = Rig::new(THREE);
    start_once(&rig, M1).await;
    start_once(&rig, M2).await;
    let took = until(70, async || !rig.exits(M1, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(M1, "mesos-master"), [134]);
    assert!((59.0..62.0).contains(&took), "recorded: 60 s; {took}");
    // The other one takes over when the first one's session has ended, and ends in its turn.
    let took = until(80, async || !rig.exits(M2, "mesos-master").is_empty()).await;
    assert_eq!(rig.exits(M2, "mesos-master"), [134]);
    assert!((66.0..73.0).contains(&took), "recorded: 69 s; {took}");
    4
}

const FIVE: &str = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\", \
    \"10.0.0.14\", \"10.0.0.15\"]\n";

pub async fn four_then_five() -> usize {
    let rig = Rig::new(FIVE);
    let masters: Vec<Ipv4Addr> = rig.hosts.keys().copied().collect();
    for master in &masters[..4] {
        rig.start(*master, "mesos-master").await;
    }
    sleep(Duration::from_secs(50)).await;
    for master in &masters[..4] {
        let seen = metrics(&rig, *master).await;
        assert_eq!(seen["registrar/log/recovered"], 0.0);
        assert_eq!(seen["registrar/log/ensemble_size"], 4.0);
    }
    rig.start(masters[4], "mesos-master").await;
    let recovered = async || {
        for master in &masters {
            if metrics(&rig, *master).await["registrar/log/recovered"] != 1.0 {
                return false;
            }
        }
        true
    };
    let took = until(20, recovered).await;
    assert!(took < 3.0, "recorded: 1 s; {took}");
    13
}

pub async fn restart_two_of_three() -> usize {
    let rig = three_once().await;
    for master in MASTERS {
        rig.kill(master, "mesos-master", Restart::No);
    }
    sleep(Duration::from_secs(20)).await;
    start_once(&rig, M1).await;
    start_once(&rig, M2).await;
    until(5, async || is_recovered(&rig).await).await;
    1
}

pub async fn wiped_rejoins() -> usize {
    let rig = three_once().await;
    let leader = rig.leader(Service::MesosMaster);
    let wiped = follower(leader);
    rig.kill(wiped, "mesos-master", Restart::No);
    rig.files(wiped)
        .remove("/var/lib/toots/mesos-master/replicated_log");
    start_once(&rig, wiped).await;
    let took = until(5, async || {
        metrics(&rig, wiped).await["registrar/log/recovered"] == 1.0
    })
    .await;
    assert!(took < 2.0, "recorded: 1 s; {took}");
    1
}

async fn registered(rig: &Rig) -> Value {
    let answer = rig.get(S1, 5051, "/metrics/snapshot").await;
    answer
        .map(|answer| answer.json()["slave/registered"].clone())
        .unwrap_or_default()
}

pub async fn zookeeper_gone_for_an_agent() -> usize {
    let rig = three().await;
    rig.bring_up(&["mesos-slave"]).await;
    assert_eq!(registered(&rig).await, 1.0);
    let before = slaves(&rig).await;
    for server in MASTERS {
        rig.ensemble.set_up(server, false);
    }
    sleep(Duration::from_secs(15)).await;
    assert_eq!(registered(&rig).await, 0.0);
    assert_eq!(
        rig.get(S1, 5051, "/health").await.expect("health").status,
        200
    );
    for server in MASTERS {
        rig.ensemble.set_up(server, true);
    }
    until(60, async || registered(&rig).await == 1.0).await;
    assert_eq!(slaves(&rig).await, before);
    5
}

pub async fn agent_without_a_master() -> usize {
    let rig = Rig::new(THREE);
    rig.start(S1, "mesos-slave").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(registered(&rig).await, 0.0);
    let state = rig.get(S1, 5051, "/state").await.expect("an answer");
    assert_eq!(
        (state.status, &state.json()["master_hostname"]),
        (200, &json!(null))
    );
    2
}

pub async fn agent_registered() -> usize {
    let rig = three().await;
    rig.bring_up(&["mesos-slave"]).await;
    assert_eq!(registered(&rig).await, 1.0);
    let state = rig.get(S1, 5051, "/state").await.expect("an answer").json();
    let leader = rig.leader(Service::MesosMaster).to_string();
    assert_eq!(state["master_hostname"], leader.as_str());
    assert_eq!(state["pid"], "slave(1)@10.0.0.21:5051");
    3
}

pub async fn zookeeper_nodes() -> usize {
    let rig = three().await;
    let candidates = rig.ensemble.nodes(&format!("/mesos/{CANDIDATES}"));
    let replicas = rig.ensemble.nodes(&format!("/mesos/{REPLICAS}"));
    assert_eq!((candidates.len(), replicas.len()), (3, 3));
    for text in candidates.values() {
        let info: Value = serde_json::from_str(text).expect("JSON");
        let keys: Vec<&String> = info.as_object().expect("an object").keys().collect();
        let recorded = [
            "address",
            "capabilities",
            "hostname",
            "id",
            "ip",
            "pid",
            "port",
            "version",
        ];
        assert_eq!(keys, recorded);
        assert_eq!(info["version"], "1.11.0");
    }
    assert!(
        replicas
            .values()
            .any(|text| text == "log-replica(1)@10.0.0.11:5050")
    );
    // 127.0.0.11 was recorded as 184549503.
    let ip = u32::from_le_bytes([127, 0, 0, 11]);
    assert_eq!(ip, 184_549_503);
    6
}

/// Questions that are put in the wrong way.
pub async fn http_details() -> usize {
    let rig = three().await;
    let leader = rig.leader(Service::MesosMaster);
    let with_charset = crate::services::web::Request {
        headers: [(
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        )]
        .into(),
        ..health()
    };
    assert_eq!(
        rig.ask(leader, PORT, with_charset)
            .await
            .expect("an answer")
            .status,
        415
    );
    let unknown = crate::services::web::Request::post("/api/v1", &json!({ "type": "GET_LEADER" }));
    assert_eq!(
        rig.ask(leader, PORT, unknown)
            .await
            .expect("an answer")
            .status,
        400
    );
    for (path, status) in [("/api/v1", 405), ("/state.json", 404), ("/health/", 200)] {
        assert_eq!(
            rig.get(leader, PORT, path).await.expect("an answer").status,
            status,
            "{path}"
        );
    }
    let follower = follower(leader);
    let answer = rig.get(follower, PORT, "/state").await.expect("an answer");
    assert_eq!(
        answer.headers["location"],
        format!("//{leader}:5050/master/state")
    );
    6
}
