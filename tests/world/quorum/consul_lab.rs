//! What the tests of Consul's states have in common. Servers are named by the numbers of their machines.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::lab::{Cs, Lab, address};
use crate::services::consul::Writer;

pub const ALL: [u8; 3] = [1, 2, 3];

pub const LONG: Duration = Duration::from_secs(90);

/// A lab with three healthy servers of a multiplier, and the number of the leader.
pub async fn three_of(multiplier: u32) -> (Lab, u8) {
    let mut lab = Lab::new();
    for machine in ALL {
        lab.start_consul(&Cs {
            multiplier,
            ..Cs::server(machine)
        });
    }
    let leader = until_healthy(&lab, &ALL, LONG).await;
    (lab, leader)
}

pub async fn three() -> (Lab, u8) {
    three_of(5).await
}

pub fn others(machine: u8) -> Vec<u8> {
    ALL.into_iter().filter(|other| *other != machine).collect()
}

/// Servers by their numbers, as the short form of a state shows them.
pub fn list(machines: &[u8], leader: u8) -> String {
    let mut machines = machines.to_vec();
    machines.sort_unstable();
    let servers = machines.iter().map(|machine| {
        let mark = if *machine == leader { "*" } else { "" };
        format!("{machine}{mark}")
    });
    servers.collect::<Vec<_>>().join(",")
}

/// How a healthy cluster of these looks from each of them.
pub fn healthy(machines: &[u8], leader: u8) -> String {
    let tolerance = (machines.len() - 1) / 2;
    format!("{leader} [{}] 200/{tolerance}/ 404", list(machines, leader))
}

/// Waits until each server shows a healthy cluster of exactly these; the number of the leader.
pub async fn until_healthy(lab: &Lab, machines: &[u8], limit: Duration) -> u8 {
    let began = tokio::time::Instant::now();
    loop {
        let state = match show_healthy(lab, machines).await {
            Ok(leader) => return leader,
            Err(state) => state,
        };
        assert!(began.elapsed() < limit, "{state}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The number of the leader, or the first state that is not of a healthy cluster.
async fn show_healthy(lab: &Lab, machines: &[u8]) -> Result<u8, String> {
    // By the world's own table first, which costs less than the questions.
    let views = lab.cluster.members();
    let leader = views.iter().find(|view| view.is_leading && view.is_synced);
    let leader = leader.map_or(0, |view| view.address.octets()[3] - 10);
    if !machines.contains(&leader) {
        return Err(format!("{views:#?}"));
    }
    let wanted = healthy(machines, leader);
    for machine in machines {
        let state = lab.consul_state(*machine).await;
        if !state.starts_with(&wanted) {
            return Err(format!("s{machine}: {state}"));
        }
    }
    Ok(leader)
}

/// Waits for a leader among these that all of them name and that takes writes.
pub async fn until_led(lab: &Lab, machines: &[u8], limit: Duration) -> (u8, Duration) {
    let began = tokio::time::Instant::now();
    loop {
        let views = lab.cluster.members();
        let leader = views.iter().find(|view| {
            view.is_leading
                && machines
                    .iter()
                    .any(|machine| address(*machine) == view.address)
        });
        if let Some(leader) = leader
            && views.iter().filter(|view| view.is_synced).count() * 2 > leader.configured.len()
        {
            return (leader.address.octets()[3] - 10, began.elapsed());
        }
        assert!(began.elapsed() < limit, "{views:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn put(lab: &Lab, machine: u8, key: &str) -> Option<(u16, String)> {
    let uri = format!("/v1/kv/{key}");
    lab.http(machine, 8500, "PUT", &uri, "x", Duration::from_secs(15))
        .await
}

pub async fn fill(lab: &Lab, machine: u8, from: u32, count: u32) {
    for n in from..from + count {
        let answer = put(lab, machine, &format!("d/{n}"))
            .await
            .expect("an answer");
        assert_eq!(answer, (200, "true".into()));
    }
}

pub async fn count(lab: &Lab, machine: u8) -> usize {
    let (status, body) = lab.ask(machine, "/v1/kv/d/?keys").await.expect("an answer");
    let keys: Value = serde_json::from_str(&body).unwrap_or_default();
    assert!(matches!(status, 200 | 404), "{status} {body}");
    keys.as_array().map_or(0, Vec::len)
}

pub async fn agent_state(lab: &Lab, machine: u8) -> String {
    let (_, body) = lab.ask(machine, "/v1/agent/self").await.expect("an answer");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    body["Stats"]["raft"]["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub fn start_writer(lab: &Lab) -> (Writer, JoinHandle<()>) {
    let agents = ALL.map(|machine| (address(machine), 8500)).to_vec();
    let writer = Writer::new(&lab.network, &lab.record, address(9), agents);
    let running = writer.clone();
    (writer, tokio::spawn(async move { running.run().await }))
}

pub async fn node_id(lab: &Lab, machine: u8) -> String {
    let (_, body) = lab.ask(machine, "/v1/agent/self").await.expect("an answer");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    body["Config"]["NodeID"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
