//! ZooKeeper's recorded states of members that run, end, are cut off or are configured wrongly.

use std::time::Duration;

use super::lab::{Lab, Zk, address, seconds};
use crate::services::zookeeper::{Client, Failure, Mode, Writer};

pub const ALL: [u8; 3] = [1, 2, 3];
/// Longer than any recorded election.
pub const SOON: Duration = Duration::from_secs(5);
/// Three in sync, whoever leads.
pub const HEALTHY: [&str; 3] = ["L3/2 F3 F3", "F3 L3/2 F3", "F3 F3 L3/2"];

/// A lab with three members in sync, and the number of the leader.
pub async fn three() -> (Lab, u8) {
    let mut lab = Lab::new();
    for machine in ALL {
        lab.start_zk(&Zk::new(machine));
    }
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    // The AdminServer's port opens last.
    seconds(1.0).await;
    let leader = leader(&lab).await;
    (lab, leader)
}

pub async fn leader(lab: &Lab) -> u8 {
    let modes = lab.zk_modes(&[1, 2, 3, 4, 5]).await;
    let at = modes.split(' ').position(|mode| mode.starts_with('L'));
    u8::try_from(at.expect("a leader") + 1).expect("small")
}

pub fn others(machine: u8) -> Vec<u8> {
    ALL.into_iter().filter(|other| *other != machine).collect()
}

/// Modes without their order.
pub async fn sorted(lab: &Lab, machines: &[u8]) -> String {
    let modes = lab.zk_modes(machines).await;
    let mut modes: Vec<&str> = modes.split(' ').collect();
    modes.sort_unstable();
    modes.join(" ")
}

pub async fn client(lab: &Lab, machine: u8) -> Option<Client> {
    let (from, to) = (address(machine), (address(machine), 2181));
    let connect = Client::connect(&lab.network, from, to, Duration::from_secs(10), 0);
    tokio::time::timeout(Duration::from_secs(8), connect)
        .await
        .ok()?
        .ok()
}

/// Creates nodes through a member.
pub async fn fill(lab: &Lab, machine: u8, parent: &str, count: u32) {
    let mut client = client(lab, machine).await.expect("a session");
    let _ = client.create(parent, b"", Mode::Persistent).await;
    for n in 0..count {
        let path = format!("{parent}/n-");
        let data = n.to_string();
        let made = client.create(&path, data.as_bytes(), Mode::PersistentSequential);
        made.await.expect("a node");
    }
    client.close().await;
}

/// Children of a node as a member itself shows them; `None` without the node.
pub async fn count(lab: &Lab, machine: u8, parent: &str) -> Option<usize> {
    let mut client = client(lab, machine).await.expect("a session");
    let found = client.children(parent).await;
    client.close().await;
    found.ok().map(|children| children.len())
}

pub async fn start_up() {
    let mut lab = Lab::new();
    lab.start_zk(&Zk::new(1));
    seconds(4.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "- x x");
    assert_eq!(lab.word(1, "ruok").await.unwrap(), "imok");
    assert_eq!(lab.word(1, "isro").await.unwrap(), "null");
    for word in ["srvr", "mntr", "conf"] {
        let answer = lab.word(1, word).await.unwrap();
        assert!(
            answer.contains("not currently serving requests"),
            "{word}: {answer}"
        );
    }
    let leader = lab.command(1, "leader").await.unwrap();
    assert!(
        leader["error"]
            .as_str()
            .unwrap()
            .contains("not currently serving")
    );
    let zab = lab.command(1, "zabstate").await.unwrap();
    assert_eq!(
        (&zab["voting"], &zab["zabstate"]),
        (&false.into(), &"".into())
    );
    assert!(zab["error"].is_null() && lab.command(1, "monitor").await.is_none());
    assert!(client(&lab, 1).await.is_none(), "no session");

    lab.start_zk(&Zk::new(2));
    let time = lab.until_zk(&ALL, &["F3 L3/1 x"], SOON).await;
    assert!(time.as_secs_f64() < 1.5, "{time:?}");
    fill(&lab, 1, "/a", 1).await;
    let leader = lab.command(1, "leader").await.unwrap();
    assert_eq!(
        (&leader["leader_id"], &leader["is_leader"]),
        (&2.into(), &false.into())
    );

    lab.start_zk(&Zk::new(3));
    let time = lab.until_zk(&ALL, &["F3 L3/2 F3"], SOON).await;
    assert!(time.as_secs_f64() < 1.5, "{time:?}");
    assert_eq!(count(&lab, 3, "/a").await, Some(1));
}

pub async fn steady() {
    let (lab, leader) = three().await;
    let follower = others(leader)[0];
    let monitor = lab.word(follower, "mntr").await.unwrap();
    for line in [
        "zk_server_state\tfollower",
        "zk_peer_state\tfollowing - broadcast",
        "zk_quorum_size\t3",
        "zk_digest_mismatches_count\t0",
    ] {
        assert!(
            monitor.lines().any(|found| found == line),
            "{line} in {monitor}"
        );
    }
    assert!(monitor.starts_with("zk_version\t3.9.5-"), "{monitor}");
    let conf = lab.word(leader, "conf").await.unwrap();
    for line in [
        format!("serverId={leader}"),
        "server.1=10.0.0.11:2888:3888:participant".into(),
        "server.3=10.0.0.13:2888:3888:participant".into(),
        "membership: ".into(),
    ] {
        assert!(conf.lines().any(|found| found == line), "{line} in {conf}");
    }
    let server = lab.word(leader, "srvr").await.unwrap();
    assert!(
        server.contains("\nMode: leader\n") && server.contains("\nZxid: 0x1"),
        "{server}"
    );
    assert_eq!(lab.word(follower, "isro").await.unwrap(), "rw");
    let zab = lab.command(follower, "zabstate").await.unwrap();
    assert_eq!(zab["myid"], u32::from(follower));
    assert_eq!(
        (&zab["voting"], &zab["zabstate"]),
        (&true.into(), &"broadcast".into())
    );
    let view = lab.command(leader, "voting_view").await.unwrap();
    assert_eq!(
        view["current_config"]["2"]["server_addresses"][0],
        "10.0.0.12:2888"
    );
    let said = lab.command(follower, "leader").await.unwrap();
    assert_eq!(
        (&said["leader_id"], &said["is_leader"]),
        (&leader.into(), &false.into())
    );
    assert!(said["error"].is_null());
    for (_, view) in ALL.into_iter().zip(lab.ensemble.members()) {
        assert!(view.is_serving && view.is_synced, "{view:?}");
        assert_eq!(
            (view.configured.len(), view.is_leading),
            (3, view.id == u32::from(leader))
        );
    }
}

pub async fn follower_killed() {
    let (mut lab, leader) = three().await;
    let follower = others(leader)[0];
    lab.kill(follower).await;
    seconds(0.5).await;
    assert_eq!(sorted(&lab, &ALL).await, "F3 L3/1 x");
    fill(&lab, leader, "/a", 5).await;
    lab.start_zk(&Zk::new(follower));
    let time = lab.until_zk(&ALL, &HEALTHY, SOON).await;
    assert!((0.3..4.8).contains(&time.as_secs_f64()), "{time:?}");
    assert_eq!(count(&lab, follower, "/a").await, Some(5));
}

pub async fn leader_gone(is_terminated: bool) {
    let (mut lab, leader) = three().await;
    let mut session = client(&lab, others(leader)[0]).await.unwrap();
    session.create("/e", b"", Mode::Ephemeral).await.unwrap();
    if is_terminated {
        assert_eq!(lab.terminate(leader).await, Some(143));
    } else {
        lab.kill(leader).await;
    }
    seconds(0.1).await;
    assert!(
        session.ping().await.is_err(),
        "all connections of all members end"
    );
    let rest = others(leader);
    let time = lab.until_zk(&rest, &["F3 L3/1", "L3/1 F3"], SOON).await;
    assert!((0.2..1.2).contains(&time.as_secs_f64()), "{time:?}");
    let to = (address(rest[1]), 2181);
    let again = Client::connect(
        &lab.network,
        to.0,
        to,
        Duration::from_secs(10),
        session.session,
    );
    let mut session = again.await.expect("the session lives on another member");
    assert!(session.exists("/e").await.unwrap());
    lab.start_zk(&Zk::new(leader));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for _ in 0..4 {
        seconds(4.0).await;
        assert!(session.ping().await.is_ok(), "the connection is open");
    }
    drop(session);
    seconds(12.0).await;
    let mut other = client(&lab, 1).await.unwrap();
    assert!(
        !other.exists("/e").await.unwrap(),
        "it went with its session"
    );
}

pub async fn leader_frozen() {
    let (lab, leader) = three().await;
    let rest = others(leader);
    lab.network.silence(address(leader), true);
    seconds(3.0).await;
    assert_eq!(lab.zk_modes(&rest).await, "F3 F3");
    let both = ["F3 L3/1", "L3/1 F3"];
    let time = lab.until_zk(&rest, &both, Duration::from_secs(20)).await;
    assert!((6.0..14.0).contains(&time.as_secs_f64()), "{time:?}");
    seconds(20.0).await;
    lab.network.silence(address(leader), false);
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
}

pub async fn follower_frozen() {
    let (lab, leader) = three().await;
    let follower = others(leader)[0];
    lab.network.silence(address(follower), true);
    seconds(8.0).await;
    assert_eq!(
        lab.zk_modes(&[leader]).await,
        "L3/2",
        "it lies for ten seconds"
    );
    seconds(4.0).await;
    assert_eq!(lab.zk_modes(&[leader]).await, "L3/1");
    lab.network.silence(address(follower), false);
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
}

pub async fn minority(is_leader: bool) {
    let (mut lab, leader) = three().await;
    let alone = if is_leader { leader } else { others(leader)[0] };
    for machine in others(alone) {
        lab.kill(machine).await;
    }
    seconds(3.0).await;
    assert_eq!(lab.zk_modes(&[alone]).await, "-");
    assert!(client(&lab, alone).await.is_none());
    seconds(14.0).await;
    assert_eq!(lab.zk_modes(&[alone]).await, "-");
    let second = others(alone)[0];
    lab.start_zk(&Zk::new(second));
    lab.until_zk(&[alone, second], &["F3 L3/1", "L3/1 F3"], SOON)
        .await;
    lab.start_zk(&Zk::new(others(alone)[1]));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
}

pub async fn leader_cut_off() {
    let (lab, leader) = three().await;
    let rest = others(leader);
    let mut writer = client(&lab, leader).await.unwrap();
    lab.cut(leader, &rest, true);
    let lost = tokio::spawn(async move { writer.create("/lost", b"", Mode::Persistent).await });
    seconds(1.0).await;
    assert_eq!(sorted(&lab, &ALL).await, "F3 F3 L3/2");
    let synced = lab
        .ensemble
        .members()
        .iter()
        .filter(|view| view.is_synced)
        .count();
    assert_eq!(synced, 1, "only the old leader has itself");
    let both = ["F3 L3/1", "L3/1 F3"];
    let time = lab.until_zk(&rest, &both, Duration::from_secs(20)).await;
    assert!((8.0..12.5).contains(&time.as_secs_f64()), "{time:?}");
    seconds(2.0).await;
    assert_eq!(lab.zk_modes(&[leader]).await, "-");
    let lost: Result<String, Failure> = lost.await.unwrap();
    assert_eq!(lost, Err(None), "never acknowledged");
    lab.cut(leader, &rest, false);
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for machine in ALL {
        let mut client = client(&lab, machine).await.unwrap();
        assert!(!client.exists("/lost").await.unwrap(), "m{machine}");
    }
}

pub async fn follower_cut_off() {
    let (lab, leader) = three().await;
    let follower = others(leader)[0];
    lab.cut(follower, &others(follower), true);
    seconds(8.0).await;
    assert_eq!(sorted(&lab, &ALL).await, "F3 F3 L3/2", "nobody noticed");
    seconds(5.0).await;
    assert_eq!(sorted(&lab, &ALL).await, "- F3 L3/1");
    seconds(14.0).await;
    assert_eq!(lab.zk_modes(&[follower]).await, "-");
    lab.cut(follower, &others(follower), false);
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
}

pub async fn stale_reads() {
    let (lab, leader) = three().await;
    let follower = others(leader)[0];
    let mut reader = client(&lab, follower).await.unwrap();
    fill(&lab, leader, "/a", 1).await;
    lab.cut(follower, &others(follower), true);
    fill(&lab, leader, "/a", 3).await;
    for _ in 0..8 {
        let seen = reader.children("/a").await.expect("an answer").len();
        assert_eq!(seen, 1, "old data");
        seconds(1.0).await;
    }
    let synced = tokio::time::timeout(Duration::from_secs(1), reader.sync("/")).await;
    assert!(synced.is_err(), "a sync waits for the leader");
    seconds(3.0).await;
    assert_eq!(lab.zk_modes(&[follower]).await, "-");
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    LeaderFirst,
    LeaderLast,
    WithoutPause,
}

pub async fn rolling(order: Order) {
    let (mut lab, leader) = three().await;
    let servers = ALL.map(|machine| (address(machine), 2181)).to_vec();
    let writer = Writer::new(&lab.network, &lab.record, address(9), servers);
    let running = writer.clone();
    let task = tokio::spawn(async move { running.run().await });
    let mut machines = others(leader);
    let at = if order == Order::LeaderFirst { 0 } else { 2 };
    machines.insert(at, leader);
    for machine in machines {
        seconds(1.0).await;
        let before = writer.acknowledged().len();
        assert_eq!(lab.terminate(machine).await, Some(143));
        lab.start_zk(&Zk::new(machine));
        seconds(1.0).await;
        if order != Order::WithoutPause {
            lab.until_zk(&ALL, &HEALTHY, SOON).await;
            seconds(2.0).await;
            assert!(writer.acknowledged().len() > before, "writes go on");
        }
    }
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    seconds(3.0).await;
    task.abort();
    assert!(writer.acknowledged().len() > 100);
    for machine in ALL {
        let lost = writer
            .lost_at((address(machine), 2181))
            .await
            .expect("an answer");
        assert!(lost.is_empty(), "{lost:?}");
    }
}

pub async fn full_restart() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, "/a", 40).await;
    for machine in ALL {
        assert_eq!(lab.terminate(machine).await, Some(143));
    }
    assert_eq!(lab.zk_modes(&ALL).await, "x x x");
    for machine in ALL {
        lab.start_zk(&Zk::new(machine));
    }
    let time = lab.until_zk(&ALL, &HEALTHY, SOON).await;
    assert!(time.as_secs_f64() < 3.0, "{time:?}");
    for machine in ALL {
        assert_eq!(count(&lab, machine, "/a").await, Some(40));
    }
}
