//! Consul's recorded states of servers that start again, with their data or without.

use std::time::Duration;

use serde_json::{Value, json};

use super::consul_lab::{ALL, LONG, count, fill, node_id, others, three, until_healthy, until_led};
use super::lab::{Cs, address, seconds};

pub async fn full_restart() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, 0, 20).await;
    for machine in ALL {
        assert_eq!(lab.terminate(machine).await, Some(1));
    }
    for machine in ALL {
        lab.start_consul(&Cs::server(machine));
    }
    seconds(1.0).await;
    assert_eq!(lab.consul_state(1).await, "none [-] - - ()");
    assert_eq!(
        serde_json::from_str::<Value>(&lab.ask(1, "/v1/status/peers").await.unwrap().1)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let (leader, time) = until_led(&lab, &ALL, LONG).await;
    assert!(time.as_secs_f64() < 11.0, "{time:?}");
    until_healthy(&lab, &ALL, LONG).await;
    assert_eq!(count(&lab, leader).await, 20);
}

/// A wiped server has another id, and does not vote for ten seconds.
pub async fn one_wiped() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, 0, 20).await;
    let wiped = others(leader)[0];
    let id = node_id(&lab, wiped).await;
    lab.kill(wiped).await;
    lab.wipe_consul(wiped);
    lab.start_consul(&Cs::server(wiped));
    seconds(1.0).await;
    assert_ne!(node_id(&lab, wiped).await, id);
    let state = lab.consul_state(wiped).await;
    assert!(
        state.starts_with(&format!("{leader} [")) && state.contains(&format!("{wiped}n")),
        "{state}"
    );
    let began = tokio::time::Instant::now();
    until_healthy(&lab, &ALL, LONG).await;
    assert!(
        (7.0..16.0).contains(&began.elapsed().as_secs_f64()),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(count(&lab, wiped).await, 20);
}

/// The one that is left names itself as the only server.
pub async fn recovery() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, 0, 50).await;
    let id = node_id(&lab, leader).await;
    for machine in ALL {
        lab.kill(machine).await;
    }
    let peers =
        json!([{ "id": id, "address": format!("{}:8300", address(leader)), "non_voter": false }]);
    let path = "/var/lib/toots/consul/raft/peers.json";
    lab.files(leader).write(path, peers.to_string(), 0o644);
    lab.start_consul(&Cs::server(leader));
    let (_, time) = until_led(&lab, &[leader], LONG).await;
    assert!((4.0..11.0).contains(&time.as_secs_f64()), "{time:?}");
    assert_eq!(count(&lab, leader).await, 50);
    for machine in others(leader) {
        lab.wipe_consul(machine);
        lab.start_consul(&Cs::server(machine));
    }
    until_healthy(&lab, &ALL, LONG).await;
    assert_eq!(count(&lab, others(leader)[0]).await, 50);
    lab.kill(leader).await;
    lab.files(leader).write(path, "no list", 0o644);
    lab.start_consul(&Cs::server(leader));
    assert_eq!(lab.exit(leader, Duration::from_secs(2)).await, Some(1));
}

/// Acknowledged writes are gone, as with the real one.
pub async fn wiped_and_lagging() {
    let (mut lab, leader) = three().await;
    let (lagging, wiped) = (others(leader)[0], others(leader)[1]);
    fill(&lab, leader, 0, 50).await;
    lab.kill(lagging).await;
    fill(&lab, leader, 50, 50).await;
    assert_eq!(count(&lab, wiped).await, 100);
    lab.kill(wiped).await;
    lab.kill(leader).await;
    lab.wipe_consul(wiped);
    lab.start_consul(&Cs::server(lagging));
    lab.start_consul(&Cs::server(wiped));
    seconds(60.0).await;
    lab.start_consul(&Cs::server(leader));
    until_led(&lab, &ALL, LONG).await;
    seconds(15.0).await;
    for machine in ALL {
        assert_eq!(
            count(&lab, machine).await,
            50,
            "acknowledged writes are lost, s{machine}"
        );
    }
}

pub async fn two_wiped() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, 0, 50).await;
    for machine in ALL {
        lab.kill(machine).await;
    }
    for machine in others(leader) {
        lab.wipe_consul(machine);
        lab.start_consul(&Cs::server(machine));
    }
    seconds(15.0).await;
    for machine in others(leader) {
        assert_eq!(lab.consul_state(machine).await, "none [-] - - ()");
    }
    lab.start_consul(&Cs::server(leader));
    let (_, time) = until_led(&lab, &ALL, LONG).await;
    assert!(time.as_secs_f64() < 12.0, "{time:?}");
    until_healthy(&lab, &ALL, LONG).await;
    for machine in ALL {
        assert_eq!(count(&lab, machine).await, 50, "s{machine}");
    }
    for machine in ALL {
        lab.kill(machine).await;
        lab.wipe_consul(machine);
    }
    for machine in ALL {
        lab.start_consul(&Cs::server(machine));
    }
    until_healthy(&lab, &ALL, LONG).await;
    assert_eq!(count(&lab, 1).await, 0, "a new, empty cluster");
}
