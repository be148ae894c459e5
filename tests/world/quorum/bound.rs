//! Programs' sessions and catalogues on the simulated ZooKeeper and Consul.

use std::collections::BTreeMap;
use std::time::Duration;

use super::consul_lab;
use super::lab::{Cs, Lab, address, seconds};
use super::zookeeper_states::{leader, others, three};
use crate::services::coordination::{Instance, Link, Session};

const TIMEOUT: Duration = Duration::from_secs(10);

fn open(lab: &Lab, machine: u8) -> std::sync::Arc<dyn Session> {
    let servers = [1, 2, 3].map(|machine| (address(machine), 2181));
    let sessions = lab.quorums.coordination();
    sessions.open(address(machine), &servers, TIMEOUT)
}

async fn values(session: &dyn Session) -> Vec<String> {
    let members = session.members("/mesos/json.info_").await;
    members.expect("connected").into_values().collect()
}

#[tokio::test(start_paused = true)]
async fn programs_elect_by_sessions() {
    let (lab, _) = three().await;
    let (first, second) = (open(&lab, 1), open(&lab, 2));
    seconds(1.0).await;
    assert_eq!(first.link(), Link::Connected);
    assert_eq!(second.server(), Some(address(2)), "its own machine's first");
    assert_eq!(values(&*second).await, Vec::<String>::new());
    let number = first.join("/mesos/json.info_", "a").await;
    assert_eq!(number, Some(0));
    let seen = second.version();
    assert_eq!(second.join("/mesos/json.info_", "b").await, Some(1));
    assert_eq!(values(&*second).await, ["a", "b"]);
    assert_eq!(second.read("/mesos/state").await, Some(None));
    assert_eq!(first.write("/mesos/state", "x").await, Some(()));
    let changed = tokio::time::timeout(Duration::from_secs(1), second.changed(seen));
    changed.await.expect("a change of what was read");
    assert_eq!(second.read("/mesos/state").await, Some(Some("x".into())));
    first.close().await;
    seconds(1.0).await;
    assert_eq!(first.link(), Link::Expired);
    assert_eq!(values(&*second).await, ["b"], "its member went at once");
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_at_another_server() {
    let (mut lab, leader) = three().await;
    let follower = others(leader)[0];
    let (session, other) = (open(&lab, follower), open(&lab, leader));
    seconds(1.0).await;
    session.join("/mesos/json.info_", "a").await.unwrap();
    lab.kill(follower).await;
    seconds(0.2).await;
    assert_eq!(session.link(), Link::Disconnected);
    seconds(6.0).await;
    assert_eq!(session.link(), Link::Connected);
    assert_ne!(session.server(), Some(address(follower)));
    seconds(30.0).await;
    assert_eq!(values(&*other).await, ["a"], "kept by its pings");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_while_its_program_is_cut_off() {
    let (lab, leader_) = three().await;
    assert_eq!(leader_, leader(&lab).await);
    let (session, other) = (open(&lab, 9), open(&lab, 1));
    seconds(1.0).await;
    session.join("/mesos/json.info_", "a").await.unwrap();
    assert_eq!(values(&*other).await, ["a"]);
    let seen = other.version();
    lab.cut(9, &[1, 2, 3], true);
    seconds(11.0).await;
    assert_eq!(session.link(), Link::Disconnected);
    let gone = tokio::time::timeout(Duration::from_secs(15), other.changed(seen));
    gone.await.expect("its member went");
    assert_eq!(values(&*other).await, Vec::<String>::new());
    lab.cut(9, &[1, 2, 3], false);
    seconds(160.0).await;
    assert_eq!(session.link(), Link::Expired);
    assert_eq!(session.join("/mesos/json.info_", "a").await, None);
}

/// A program that is killed is a session that is dropped.
#[tokio::test(start_paused = true)]
async fn a_dropped_session_lasts_until_its_timeout() {
    let (lab, _) = three().await;
    let (session, other) = (open(&lab, 1), open(&lab, 2));
    seconds(1.0).await;
    session.join("/mesos/json.info_", "a").await.unwrap();
    drop(session);
    seconds(5.0).await;
    assert_eq!(values(&*other).await, ["a"]);
    seconds(8.0).await;
    assert_eq!(values(&*other).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn services_come_and_go_in_the_catalogue() {
    let (mut lab, _) = consul_lab::three().await;
    lab.start_consul(&Cs::client(4));
    seconds(10.0).await;
    let catalog = lab.quorums.catalog();
    let own = (address(4), address(4));
    let instance = Instance {
        id: "m4:web:80".into(),
        name: "web".into(),
        address: "10.0.0.14".into(),
        port: 31_000,
        tags: vec!["haproxy".into()],
        meta: BTreeMap::from([("a".into(), "b".into())]),
    };
    let (index, before) = catalog.passing(own.0, own.1, 0).await.unwrap();
    assert!(!before.contains_key("web"));
    let asking = catalog.clone();
    let waiting = tokio::spawn(async move { asking.passing(address(1), address(1), index).await });
    seconds(5.0).await;
    assert!(!waiting.is_finished(), "it waits for a change");
    let registered = catalog.register(own.0, own.1, instance.clone());
    registered.await.unwrap();
    seconds(1.0).await;
    assert!(waiting.is_finished(), "a change ends the wait");
    let (index, found) = waiting.await.unwrap().unwrap();
    assert_eq!(found["web"], std::slice::from_ref(&instance));
    assert_eq!(catalog.of_agent(own.0, own.1).await.unwrap(), [instance]);
    catalog.deregister(own.0, own.1, "m4:web:80").await.unwrap();
    let (_, after) = catalog.passing(own.0, own.1, index).await.unwrap();
    assert!(!after.contains_key("web"));
    lab.kill(4).await;
    assert!(catalog.of_agent(own.0, own.1).await.is_err());
}
