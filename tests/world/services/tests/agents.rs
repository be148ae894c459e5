//! Agents: how they register, come back and are given up.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::masters::PORT;
use super::rig::{Rig, S1, THREE, until};
use crate::services::memory::Restart;
use crate::services::view::Service;

/// The listed agents, and whether each is connected.
pub async fn slaves(rig: &Rig) -> Vec<(String, bool)> {
    let leader = rig.leader(Service::MesosMaster);
    let answer = rig
        .get(leader, PORT, "/slaves")
        .await
        .expect("slaves")
        .json();
    let items = answer["slaves"].as_array().cloned().unwrap_or_default();
    let text = |slave: &Value| slave["id"].as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|slave| (text(slave), slave["active"] == true))
        .collect()
}

#[tokio::test(start_paused = true)]
pub async fn an_agent_that_stays_away_is_unreachable_and_comes_back_as_itself() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master", "mesos-slave"]).await;
    let before = slaves(&rig).await;
    rig.kill(S1, "mesos-slave", Restart::No);
    let took = until(120, async || slaves(&rig).await.is_empty()).await;
    assert!((75.0..90.0).contains(&took), "recorded: 80 s; {took}");
    rig.start(S1, "mesos-slave").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(slaves(&rig).await, before);
}

#[tokio::test(start_paused = true)]
pub async fn a_new_master_waits_for_the_agents_that_the_former_had() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master", "mesos-slave"]).await;
    let before = slaves(&rig).await;
    let first = rig.leader(Service::MesosMaster);
    rig.kill(S1, "mesos-slave", Restart::No);
    rig.kill(first, "mesos-master", Restart::Yes);
    sleep(Duration::from_secs(20)).await;
    let leader = rig.leader(Service::MesosMaster);
    let answer = rig
        .get(leader, PORT, "/slaves")
        .await
        .expect("slaves")
        .json();
    assert_eq!(answer["recovered_slaves"][0]["id"], before[0].0.as_str());
    assert_eq!(answer["slaves"], json!([]));
    // Ten minutes later it is given up.
    sleep(Duration::from_secs(600)).await;
    let answer = rig
        .get(leader, PORT, "/slaves")
        .await
        .expect("slaves")
        .json();
    assert_eq!(answer["recovered_slaves"], json!([]));
}

#[tokio::test(start_paused = true)]
pub async fn an_agent_with_other_attributes_does_not_start() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master", "mesos-slave"]).await;
    rig.kill(S1, "mesos-slave", Restart::No);
    let mut changed = rig.container(S1, "mesos-slave");
    changed.restarts = false;
    for word in changed
        .command
        .iter_mut()
        .filter(|word| word.starts_with("--attributes="))
    {
        *word = "--attributes=type:data".to_owned();
    }
    rig.run(S1, changed.clone()).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.exits(S1, "mesos-slave"), [1]);
    // Without its record it is a new agent.
    rig.files(S1).remove("/var/lib/toots/mesos-slave/meta");
    rig.run(S1, changed).await;
    sleep(Duration::from_secs(5)).await;
    let items = slaves(&rig).await;
    assert_eq!(
        items.iter().filter(|(_, active)| *active).count(),
        1,
        "{items:?}"
    );
    assert_eq!(
        items.len(),
        1,
        "the former agent at its address is gone: {items:?}"
    );
}

#[tokio::test(start_paused = true)]
pub async fn a_restarted_agent_is_the_same() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["mesos-master", "mesos-slave"]).await;
    let agents = slaves(&rig).await;
    assert_eq!(agents.len(), 1);
    rig.term(S1, "mesos-slave");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.exits(S1, "mesos-slave"), [143]);
    assert_eq!(slaves(&rig).await, [(agents[0].0.clone(), false)]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(slaves(&rig).await, agents);
}
