//! Consul's recorded states of servers that start, end or are cut off.

use std::time::Duration;

use serde_json::{Value, json};

use super::consul_lab::{
    ALL, LONG, agent_state, healthy, list, others, put, start_writer, three, until_healthy,
    until_led,
};
use super::lab::{Cs, Lab, address, seconds};

pub async fn start_up() {
    let mut lab = Lab::new();
    lab.start_consul(&Cs::server(1));
    seconds(6.0).await;
    assert_eq!(lab.consul_state(1).await, "none [-] - - ()");
    assert_eq!(
        lab.ask(1, "/v1/status/peers").await,
        Some((200, "[]".into()))
    );
    assert_eq!(agent_state(&lab, 1).await, "Follower");
    let late = lab
        .http(1, 8500, "GET", "/v1/kv/k", "", Duration::from_secs(15))
        .await;
    assert_eq!(late, Some((500, "No cluster leader".into())));
    lab.start_consul(&Cs::server(2));
    seconds(6.0).await;
    assert_eq!(lab.consul_state(1).await, "none [-] - - ()");
    assert_eq!(lab.consul_state(2).await, "none [-] - - ()");
    lab.start_consul(&Cs::server(3));
    let (leader, time) = until_led(&lab, &ALL, LONG).await;
    assert!((5.0..11.0).contains(&time.as_secs_f64()), "{time:?}");
    let state = lab.consul_state(leader).await;
    let first = format!("{leader} [{}] 429/0/s1,s2,s3 404 ()", list(&ALL, leader));
    assert_eq!(state, first, "at first nobody is healthy");
    seconds(2.5).await;
    for machine in ALL {
        assert_eq!(
            lab.consul_state(machine).await,
            format!("{} ()", healthy(&ALL, leader))
        );
    }
}

pub async fn steady() {
    let (lab, leader) = three().await;
    let follower = others(leader)[0];
    let json = |answer: Option<(u16, String)>| -> Value {
        let (status, body) = answer.expect("an answer");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let own = json(lab.ask(follower, "/v1/agent/self").await);
    assert_eq!(own["Config"]["NodeName"], format!("s{follower}"));
    assert_eq!(
        (&own["Config"]["Server"], &own["Config"]["Datacenter"]),
        (&json!(true), &json!("dc1"))
    );
    assert_eq!(own["Member"]["Addr"], address(follower).to_string());
    assert_eq!(own["Stats"]["raft"]["state"], "Follower");
    assert_eq!(own["Stats"]["raft"]["num_peers"], "2");
    assert!(
        own["Stats"]["raft"]["applied_index"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 3
    );
    let named = json(lab.ask(follower, "/v1/status/leader").await);
    assert_eq!(named, format!("{}:8300", address(leader)));
    let raft = json(
        lab.ask(follower, "/v1/operator/raft/configuration?stale")
            .await,
    );
    let server = raft["Servers"].as_array().unwrap();
    let server = server
        .iter()
        .find(|server| server["Node"] == format!("s{follower}"))
        .unwrap();
    assert_eq!(server["ID"], own["Config"]["NodeID"]);
    assert_eq!(
        (&server["Voter"], &server["Leader"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(raft["Index"], 0);
    let health = json(lab.ask(follower, "/v1/operator/autopilot/health").await);
    assert_eq!(
        (&health["Healthy"], &health["FailureTolerance"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(health["Servers"][0]["SerfStatus"], "alive");
    let members = json(lab.ask(follower, "/v1/agent/members").await);
    assert_eq!(members.as_array().unwrap().len(), 3);
    assert_eq!(members[0]["Status"], 1);
    let services = json(lab.ask(follower, "/v1/health/state/critical").await);
    assert_eq!(services, json!([]));
    assert_eq!(put(&lab, follower, "k").await, Some((200, "true".into())));
    let value = json(lab.ask(leader, "/v1/kv/k?consistent").await);
    assert_eq!(
        (&value[0]["Value"], &value[0]["Key"]),
        (&json!("eA=="), &json!("k"))
    );
    assert_eq!(
        lab.ask(leader, "/v1/kv/k?raw").await,
        Some((200, "x".into()))
    );
    assert_eq!(
        lab.ask(leader, "/v1/kv/nothing?consistent").await,
        Some((404, String::new()))
    );
    for view in lab.cluster.members() {
        assert!(
            view.is_serving && view.is_synced && view.configured.len() == 3,
            "{view:?}"
        );
    }
}

/// The dead one stays a voter for some seconds, then leaves raft behind a healthy face.
pub async fn follower_killed() {
    let (mut lab, leader) = three().await;
    let dead = others(leader)[0];
    let left: Vec<u8> = ALL.into_iter().filter(|machine| *machine != dead).collect();
    lab.kill(dead).await;
    seconds(4.0).await;
    for machine in &left {
        assert_eq!(
            lab.consul_state(*machine).await,
            format!("{} ()", healthy(&ALL, leader))
        );
    }
    seconds(5.0).await;
    let state = lab.consul_state(leader).await;
    assert!(
        state.contains(&format!("429/0/s{dead}")) || state.contains("200/0/"),
        "{state}"
    );
    let began = tokio::time::Instant::now();
    let settled = format!("{} (s{dead} left)", healthy(&left, leader));
    while lab.consul_state(leader).await != settled {
        assert!(
            began.elapsed().as_secs_f64() < 14.0,
            "{}",
            lab.consul_state(leader).await
        );
        seconds(0.2).await;
    }
    // Two voters are left, and one of them is not enough.
    let second = left
        .iter()
        .copied()
        .find(|machine| *machine != leader)
        .unwrap();
    lab.kill(second).await;
    seconds(20.0).await;
    assert!(
        lab.consul_state(leader).await.starts_with("none "),
        "no leader"
    );
    lab.start_consul(&Cs::server(second));
    until_healthy(&lab, &left, LONG).await;
    lab.start_consul(&Cs::server(dead));
    seconds(4.0).await;
    let state = lab.consul_state(dead).await;
    assert!(
        state.contains(&format!("{dead}n")),
        "no voter at first: {state}"
    );
    until_healthy(&lab, &ALL, LONG).await;
}

pub async fn leader_gone(is_terminated: bool) {
    let (mut lab, leader) = three().await;
    let rest = others(leader);
    if is_terminated {
        assert_eq!(lab.terminate(leader).await, Some(1));
    } else {
        lab.kill(leader).await;
    }
    seconds(2.0).await;
    for machine in &rest {
        let state = lab.consul_state(*machine).await;
        let dead = format!("{leader} [{}] 500 500 ()", list(&ALL, leader));
        assert_eq!(state, dead, "the dead one is still named");
    }
    let answer = lab.ask(rest[0], "/v1/kv/k").await.unwrap();
    assert!(
        answer
            .1
            .starts_with("rpc error getting client: failed to get conn"),
        "{answer:?}"
    );
    let (second, time) = until_led(&lab, &rest, LONG).await;
    assert!((3.0..13.0).contains(&time.as_secs_f64()), "{time:?}");
    let state = lab.consul_state(second).await;
    assert!(
        state.starts_with(&format!("{second} [{}] 429/0/", list(&ALL, second))),
        "{state}"
    );
    lab.start_consul(&Cs::server(leader));
    until_healthy(&lab, &ALL, LONG).await;
}

pub async fn leader_frozen() {
    let (lab, leader) = three().await;
    let rest = others(leader);
    lab.network.silence(address(leader), true);
    seconds(1.0).await;
    let state = lab.consul_state(rest[0]).await;
    assert_eq!(state, format!("{leader} [{}] - - ()", list(&ALL, leader)));
    let (second, time) = until_led(&lab, &rest, LONG).await;
    assert!((1.0..14.0).contains(&time.as_secs_f64()), "{time:?}");
    seconds(5.0).await;
    let state = lab.consul_state(second).await;
    assert!(
        state.contains(&format!("s{leader} failed")) || state.contains("left"),
        "{state}"
    );
    seconds(20.0).await;
    lab.network.silence(address(leader), false);
    until_healthy(&lab, &ALL, LONG).await;
}

pub async fn follower_frozen() {
    let (lab, leader) = three().await;
    let frozen = others(leader)[0];
    let left: Vec<u8> = ALL
        .into_iter()
        .filter(|machine| *machine != frozen)
        .collect();
    lab.network.silence(address(frozen), true);
    seconds(22.0).await;
    assert!(
        lab.consul_state(leader)
            .await
            .starts_with(&healthy(&left, leader))
    );
    lab.network.silence(address(frozen), false);
    let began = tokio::time::Instant::now();
    until_healthy(&lab, &ALL, LONG).await;
    let time = began.elapsed().as_secs_f64();
    assert!((8.0..20.0).contains(&time), "{time}");
}

pub async fn follower_alone() {
    let (mut lab, leader) = three().await;
    let alone = others(leader)[0];
    for machine in others(alone) {
        lab.kill(machine).await;
    }
    seconds(1.0).await;
    let state = lab.consul_state(alone).await;
    assert_eq!(
        state,
        format!("{leader} [{}] 500 500 ()", list(&ALL, leader))
    );
    seconds(24.0).await;
    let state = lab.consul_state(alone).await;
    assert!(state.starts_with("none [1,2,3] - - (s"), "{state}");
    assert_eq!(agent_state(&lab, alone).await, "Candidate");
    lab.start_consul(&Cs::server(others(alone)[0]));
    until_led(&lab, &ALL, LONG).await;
    lab.start_consul(&Cs::server(others(alone)[1]));
    until_healthy(&lab, &ALL, LONG).await;
}

/// A lone leader looks perfect for 2.5 s; only a consistent read tells.
pub async fn leader_alone() {
    let (mut lab, leader) = three().await;
    for machine in others(leader) {
        lab.kill(machine).await;
    }
    let write = async {
        let began = tokio::time::Instant::now();
        (put(&lab, leader, "k").await, began.elapsed())
    };
    let state = async {
        seconds(0.3).await;
        lab.consul_state(leader).await
    };
    let ((answer, time), state) = tokio::join!(write, state);
    assert_eq!(
        state,
        format!("{leader} [{}] 200/1/ - ()", list(&ALL, leader))
    );
    let (status, body) = answer.expect("an answer");
    assert!(
        status == 500 && body.contains("leadership lost while committing log"),
        "{body}"
    );
    assert!((2.3..3.2).contains(&time.as_secs_f64()), "{time:?}");
    let state = lab.consul_state(leader).await;
    assert!(state.starts_with("none [1,2,3] - -"), "{state}");
    seconds(24.0).await;
    assert!(
        lab.consul_state(leader)
            .await
            .starts_with("none [1,2,3] - - (s")
    );
    lab.start_consul(&Cs::server(others(leader)[0]));
    until_led(&lab, &ALL, LONG).await;
    lab.start_consul(&Cs::server(others(leader)[1]));
    until_healthy(&lab, &ALL, LONG).await;
}

pub async fn leader_cut_off() {
    let (lab, leader) = three().await;
    let rest = others(leader);
    lab.cut(leader, &rest, true);
    let write = put(&lab, leader, "lost");
    let state = async {
        seconds(0.2).await;
        (
            lab.consul_state(leader).await,
            lab.consul_state(rest[0]).await,
        )
    };
    let (answer, (old, other)) = tokio::join!(write, state);
    assert_eq!(
        old,
        format!("{leader} [{}] 200/1/ - ()", list(&ALL, leader))
    );
    assert!(
        other.starts_with(&format!("{leader} [{}] -", list(&ALL, leader))),
        "{other}"
    );
    let (status, body) = answer.expect("an answer");
    assert!(status == 500 && body.contains("leadership lost"), "{body}");
    let (second, time) = until_led(&lab, &rest, LONG).await;
    assert!(time.as_secs_f64() < 12.0, "{time:?}");
    seconds(18.0).await;
    let state = lab.consul_state(second).await;
    assert!(
        state.starts_with(&healthy(&rest, second)),
        "the cut one left raft: {state}"
    );
    assert!(
        lab.consul_state(leader)
            .await
            .starts_with("none [1,2,3] - -")
    );
    lab.cut(leader, &rest, false);
    until_healthy(&lab, &ALL, LONG).await;
    assert_eq!(
        lab.ask(leader, "/v1/kv/lost?consistent").await.unwrap().0,
        404
    );
}

pub async fn follower_cut_off() {
    let (lab, leader) = three().await;
    let cut = others(leader)[0];
    let left: Vec<u8> = ALL.into_iter().filter(|machine| *machine != cut).collect();
    lab.cut(cut, &left, true);
    seconds(18.0).await;
    assert!(
        lab.consul_state(leader)
            .await
            .starts_with(&healthy(&left, leader))
    );
    let state = lab.consul_state(cut).await;
    assert!(state.starts_with("none [1,2,3] - - (s"), "{state}");
    lab.cut(cut, &left, false);
    until_healthy(&lab, &ALL, LONG).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    LeaderFirst,
    LeaderLast,
    WithoutPause,
}

pub async fn rolling(order: Order) {
    let (mut lab, leader) = three().await;
    let (writer, task) = start_writer(&lab);
    let mut machines = others(leader);
    machines.insert(if order == Order::LeaderFirst { 0 } else { 2 }, leader);
    for machine in machines {
        seconds(1.0).await;
        assert_eq!(lab.terminate(machine).await, Some(1));
        lab.start_consul(&Cs::server(machine));
        if order != Order::WithoutPause {
            until_healthy(&lab, &ALL, LONG).await;
            seconds(3.0).await;
        }
    }
    until_healthy(&lab, &ALL, LONG).await;
    seconds(2.0).await;
    task.abort();
    assert!(writer.acknowledged().len() > 100);
    for machine in ALL {
        let lost = writer
            .lost_at((address(machine), 8500))
            .await
            .expect("an answer");
        assert!(lost.is_empty(), "{lost:?}");
    }
}

pub async fn transfer() {
    let (mut lab, leader) = three().await;
    let (writer, task) = start_writer(&lab);
    seconds(1.0).await;
    let follower = others(leader)[0];
    let limit = Duration::from_secs(2);
    let uri = "/v1/operator/raft/transfer-leader?id=00000000-0000-0000-0000-000000000000";
    let (status, body) = lab
        .http(follower, 8500, "POST", uri, "", limit)
        .await
        .unwrap();
    assert!(
        status == 500 && body.contains("Could not find address for server id"),
        "{body}"
    );
    let uri = "/v1/operator/raft/transfer-leader";
    let answer = lab
        .http(follower, 8500, "POST", uri, "", limit)
        .await
        .unwrap();
    assert_eq!(answer, (200, json!({ "Success": true }).to_string()));
    let (second, time) = until_led(&lab, &ALL, LONG).await;
    assert!(
        second != leader && time.as_secs_f64() < 0.3,
        "{second} {time:?}"
    );
    let before = writer.acknowledged().len();
    seconds(0.5).await;
    assert!(writer.acknowledged().len() > before, "no gap");
    assert_eq!(lab.terminate(leader).await, Some(1));
    lab.start_consul(&Cs::server(leader));
    seconds(0.5).await;
    until_healthy(&lab, &ALL, LONG).await;
    task.abort();
    let lost = writer
        .lost_at((address(leader), 8500))
        .await
        .expect("an answer");
    assert!(lost.is_empty(), "{lost:?}");
}

pub async fn election_times(multiplier: u32) {
    let unit = f64::from(multiplier);
    for _ in 0..3 {
        let mut lab = Lab::new();
        for machine in ALL {
            lab.start_consul(&Cs {
                multiplier,
                ..Cs::server(machine)
            });
        }
        let (_, time) = until_led(&lab, &ALL, LONG).await;
        assert!(
            (unit..unit * 2.0 + 0.6).contains(&time.as_secs_f64()),
            "first: {time:?}"
        );
        let leader = until_healthy(&lab, &ALL, LONG).await;
        lab.kill(leader).await;
        let (_, time) = until_led(&lab, &others(leader), LONG).await;
        // Both must have lost patience, and the first one tries again later.
        assert!(
            (unit * 0.8..unit * 3.2).contains(&time.as_secs_f64()),
            "next: {time:?}"
        );
    }
}
