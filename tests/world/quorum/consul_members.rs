//! Consul's recorded states of servers that come and leave, of clients, and of wrong configurations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::consul_lab::{ALL, LONG, healthy, list, node_id, others, put, three, until_healthy};
use super::lab::{Cs, Lab, address, seconds};

pub async fn leave() {
    let (mut lab, leader) = three().await;
    let gone = others(leader)[0];
    let left: Vec<u8> = ALL.into_iter().filter(|machine| *machine != gone).collect();
    let limit = Duration::from_secs(20);
    let began = tokio::time::Instant::now();
    let answer = lab
        .http(gone, 8500, "PUT", "/v1/agent/leave", "", limit)
        .await;
    assert_eq!(answer.unwrap().0, 200);
    assert_eq!(lab.exit(gone, limit).await, Some(0));
    assert!(
        (5.0..14.0).contains(&began.elapsed().as_secs_f64()),
        "{:?}",
        began.elapsed()
    );
    for machine in &left {
        let state = lab.consul_state(*machine).await;
        assert_eq!(state, format!("{} (s{gone} left)", healthy(&left, leader)));
    }
    let second = left.into_iter().find(|machine| *machine != leader).unwrap();
    lab.kill(second).await;
    seconds(4.0).await;
    assert!(
        lab.consul_state(leader).await.starts_with("none "),
        "one of two leads nobody"
    );
}

pub async fn replace_dead() {
    let (mut lab, leader) = three().await;
    let dead = others(leader)[0];
    let rest: Vec<u8> = ALL.into_iter().filter(|machine| *machine != dead).collect();
    lab.kill(dead).await;
    let began = tokio::time::Instant::now();
    while !lab
        .consul_state(leader)
        .await
        .contains(&format!("(s{dead} "))
    {
        seconds(0.1).await;
    }
    assert!(
        (5.0..7.5).contains(&began.elapsed().as_secs_f64()),
        "{:?}",
        began.elapsed()
    );
    lab.start_consul(&Cs::server(4));
    seconds(1.0).await;
    let state = lab.consul_state(leader).await;
    let four = format!("{leader} [{},4n]", list(&rest, leader));
    assert!(
        state.starts_with(&four),
        "the dead one is pruned at once: {state}"
    );
    let now = [rest[0], rest[1], 4];
    until_healthy(&lab, &now, LONG).await;
    lab.start_consul(&Cs::server(dead));
    seconds(1.0).await;
    let state = lab.consul_state(leader).await;
    assert!(
        state.contains(&format!("{dead}n")),
        "it comes back without a vote: {state}"
    );
    until_healthy(&lab, &[1, 2, 3, 4], LONG).await;
}

pub async fn remove_by_hand() {
    let mut lab = Lab::new();
    let server = |machine| {
        let autopilot = json!({ "cleanup_dead_servers": false });
        Cs::server(machine).with("autopilot", autopilot)
    };
    for machine in ALL {
        lab.start_consul(&server(machine));
    }
    let leader = until_healthy(&lab, &ALL, LONG).await;
    let (dead, live) = (others(leader)[0], others(leader)[1]);
    lab.kill(dead).await;
    seconds(30.0).await;
    let state = lab.consul_state(leader).await;
    let stays = format!(
        "{leader} [{}] 429/0/s{dead} 404 (s{dead} failed)",
        list(&ALL, leader)
    );
    assert_eq!(state, stays, "nobody removes it");
    let limit = Duration::from_secs(3);
    let uri = format!("/v1/agent/force-leave/s{dead}");
    assert_eq!(
        lab.http(leader, 8500, "PUT", &uri, "", limit)
            .await
            .unwrap()
            .0,
        200
    );
    seconds(1.0).await;
    assert!(
        lab.consul_state(leader)
            .await
            .contains(&format!("(s{dead} left)"))
    );
    let unknown = lab
        .http(
            leader,
            8500,
            "PUT",
            "/v1/agent/force-leave/nobody",
            "",
            limit,
        )
        .await;
    assert_eq!(unknown.unwrap().0, 500);
    lab.start_consul(&server(dead));
    until_healthy(&lab, &ALL, LONG).await;
    let id = node_id(&lab, live).await;
    let uri = format!("/v1/operator/raft/peer?id={id}");
    let left = others(live);
    let without = format!("{} ()", healthy(&left, leader));
    // A leader takes in whoever is alive each 60 s: of two removals one is at least 15 s before that.
    for attempt in 1..=2 {
        let answer = lab.http(leader, 8500, "DELETE", &uri, "", limit).await;
        assert_eq!(answer.unwrap().0, 200);
        seconds(15.0).await;
        let state = lab.consul_state(leader).await;
        if state == without {
            break;
        }
        assert!(attempt == 1, "alive, and out of raft: {state}");
    }
    assert!(lab.consul_state(live).await.starts_with("none "));
}

pub async fn grow_and_shrink() {
    const FIVE: [u8; 5] = [1, 2, 3, 4, 5];
    let (mut lab, leader) = three().await;
    lab.start_consul(&Cs::server(4));
    lab.start_consul(&Cs::server(5));
    seconds(4.0).await;
    let state = lab.consul_state(leader).await;
    let first = format!("{leader} [{},4n,5n] 200/1/ 404 ()", list(&ALL, leader));
    assert_eq!(state, first, "new ones do not vote at once");
    let began = tokio::time::Instant::now();
    until_healthy(&lab, &FIVE, LONG).await;
    assert!(
        (6.0..25.0).contains(&began.elapsed().as_secs_f64()),
        "{:?}",
        began.elapsed()
    );
    for machine in [4, 5] {
        let limit = Duration::from_secs(20);
        lab.http(machine, 8500, "PUT", "/v1/agent/leave", "", limit)
            .await
            .unwrap();
        assert_eq!(lab.exit(machine, limit).await, Some(0));
    }
    until_healthy(&lab, &ALL, LONG).await;
}

/// Servers that do not belong to the cluster, and servers that expect different numbers.
pub async fn strangers() {
    let (mut lab, leader) = three().await;
    let key = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    for edit in [
        ("encrypt", key),
        ("encrypt", Value::Null),
        ("datacenter", json!("dc2")),
    ] {
        lab.start_consul(&Cs::server(4).with(edit.0, edit.1));
        seconds(12.0).await;
        assert_eq!(lab.consul_state(4).await, "none [-] - - ()");
        let state = lab.consul_state(leader).await;
        assert_eq!(
            state,
            format!("{} ()", healthy(&ALL, leader)),
            "nobody took it in"
        );
        lab.kill(4).await;
        lab.wipe_consul(4);
    }
    lab.start_consul(&Cs::server(4).with("bootstrap_expect", json!(5)));
    seconds(3.0).await;
    assert!(lab.consul_state(4).await.contains("4n"));

    for (expects, outcome) in [
        (
            [json!(3), json!(3), json!(1)],
            "one leads alone and takes in the others",
        ),
        ([json!(3), json!(3), json!(2)], "nobody leads"),
        ([json!(1), json!(1), json!(1)], "three clusters"),
        ([Value::Null, Value::Null, Value::Null], "nobody founds one"),
    ] {
        let mut lab = Lab::new();
        for (machine, expect) in ALL.into_iter().zip(expects) {
            lab.start_consul(&Cs::server(machine).with("bootstrap_expect", expect));
        }
        seconds(12.0).await;
        let mut leaders = BTreeMap::new();
        for machine in ALL {
            let state = lab.consul_state(machine).await;
            leaders.insert(
                machine,
                state.split(' ').next().unwrap_or_default().to_owned(),
            );
        }
        let leaders: Vec<&str> = leaders.values().map(String::as_str).collect();
        match outcome {
            "three clusters" => assert_eq!(leaders, ["1", "2", "3"]),
            "one leads alone and takes in the others" => assert_eq!(leaders, ["3", "3", "3"]),
            _ => assert_eq!(leaders, ["none", "none", "none"], "{outcome}"),
        }
    }
}

pub async fn client() {
    let (mut lab, leader) = three().await;
    lab.start_consul(&Cs::client(5));
    seconds(3.0).await;
    let (_, body) = lab.ask(5, "/v1/agent/self").await.unwrap();
    let own: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&own["Config"]["Server"], &own["Stats"]["raft"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(own["Stats"]["consul"]["known_servers"], "3");
    assert_eq!(
        lab.consul_state(5).await,
        format!("{} ()", healthy(&ALL, leader))
    );
    assert_eq!(put(&lab, 5, "k").await, Some((200, "true".into())));
    let service = json!({
        "ID": "w", "Name": "w", "Tags": ["haproxy"], "Address": "10.0.0.15", "Port": 8500,
        "Check": { "TTL": "60s", "Status": "passing", "DeregisterCriticalServiceAfter": "1m" },
    });
    let limit = Duration::from_secs(3);
    let uri = "/v1/agent/service/register";
    let answer = lab
        .http(5, 8500, "PUT", uri, &service.to_string(), limit)
        .await;
    assert_eq!(answer.unwrap().0, 200);
    let instances = |body: String| -> Vec<Value> { serde_json::from_str(&body).unwrap() };
    let found = instances(
        lab.ask(1, "/v1/health/service/w?passing=1")
            .await
            .unwrap()
            .1,
    );
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["Node"]["Node"], &found[0]["Service"]["Port"]),
        (&json!("s5"), &json!(8500))
    );
    seconds(61.0).await;
    let found = instances(
        lab.ask(1, "/v1/health/service/w?passing=1")
            .await
            .unwrap()
            .1,
    );
    assert!(found.is_empty(), "nobody reported");
    seconds(62.0).await;
    let found = instances(lab.ask(1, "/v1/health/service/w").await.unwrap().1);
    assert!(found.is_empty(), "removed");

    for machine in ALL {
        lab.kill(machine).await;
    }
    seconds(1.0).await;
    let (status, body) = lab.ask(5, "/v1/status/leader").await.unwrap();
    assert!(
        status == 500 && body.starts_with("rpc error getting client"),
        "{status} {body}"
    );
    seconds(20.0).await;
    let state = lab.ask(5, "/v1/agent/members").await.unwrap().1;
    assert!(
        !state.contains("\"Status\":4"),
        "it takes them for alive: {state}"
    );
    seconds(12.0).await;
    let state = lab.ask(5, "/v1/agent/members").await.unwrap().1;
    assert!(state.contains("\"Status\":4"), "{state}");
    for machine in ALL {
        lab.start_consul(&Cs::server(machine));
    }
    until_healthy(&lab, &ALL, LONG).await;
    assert_eq!(put(&lab, 5, "k").await, Some((200, "true".into())));
    assert_eq!(
        lab.terminate(5).await,
        Some(1),
        "toots' clients do not leave"
    );
    lab.start_consul(&Cs::client(5).with("leave_on_terminate", Value::Null));
    seconds(2.0).await;
    assert_eq!(lab.terminate(5).await, Some(0));
    seconds(1.0).await;
    assert!(lab.consul_state(1).await.ends_with("(s5 left)"));
}

/// Exit codes of a lone server; `None` goes on.
pub async fn wrong_configurations() {
    let cases = [
        ("unknown key", "no_such_key", json!(1), Some(1)),
        ("wrong type", "server", json!("x"), Some(1)),
        ("two ways to found", "bootstrap", json!(true), Some(1)),
        ("expects 2", "bootstrap_expect", json!(2), None),
        ("expects 4", "bootstrap_expect", json!(4), None),
        ("bad node name", "node_name", json!("a b!"), None),
        ("bad datacenter", "datacenter", json!("a b!"), Some(1)),
        ("bad key", "encrypt", json!("no key"), Some(1)),
        ("foreign address", "bind_addr", json!("10.9.9.9"), Some(1)),
    ];
    for (words, key, value, code) in cases {
        let mut lab = Lab::new();
        lab.start_consul(&Cs::server(1).with(key, value));
        assert_eq!(lab.exit(1, Duration::from_secs(5)).await, code, "{words}");
    }
    for port in [8500, 8301, 8300] {
        let mut lab = Lab::new();
        let _taken = lab.network.listen(address(1), port).unwrap();
        lab.start_consul(&Cs::server(1));
        assert_eq!(
            lab.exit(1, Duration::from_secs(5)).await,
            Some(1),
            "{port} taken"
        );
    }
    let mut lab = Lab::new();
    lab.start_consul(&Cs::server(1));
    seconds(1.0).await;
    lab.kill(1).await;
    // A keyring that is there wins, without an error.
    let other = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    lab.start_consul(&Cs::server(1).with("encrypt", other));
    assert_eq!(lab.exit(1, Duration::from_secs(4)).await, None);
    lab.kill(1).await;
    lab.files(1)
        .write("/var/lib/toots/consul/raft/log.1", "damaged", 0o644);
    lab.start_consul(&Cs::server(1));
    assert_eq!(lab.exit(1, Duration::from_secs(4)).await, Some(1));
}
