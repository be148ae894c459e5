use std::collections::BTreeMap;
use std::sync::Arc;

use toots::host::HostSession;
use toots::probe::{ProbeContext, Proof, Verdict, ask};
use toots::spec::HostName;

use super::play::{Server, World, members, recorded, renamed};

const NET: &str = "127.0.0.1";

fn server(state: &str) -> Server {
    recorded(&format!("mesos/{state}.txt")).remove(&1).unwrap()
}

/// The first master leads, as in the recording; `ensemble` replicas are in its log.
fn three(ensemble: u8) -> BTreeMap<u8, Server> {
    let size = format!("\"registrar/log/ensemble_size\": {ensemble}.0");
    let leader = renamed(
        &server("leader"),
        &[("\"registrar/log/ensemble_size\": 3.0", &size)],
    );
    BTreeMap::from([(1, leader), (2, server("standby")), (3, server("standby"))])
}

async fn judge(servers: BTreeMap<u8, Server>, down: &[u8], slaves: u8) -> Verdict {
    let world = Arc::new(World::new(
        servers.into_iter().map(|(n, s)| (format!("{NET}{n}"), s)),
    ));
    let (masters, sessions) = members(&world, "m", NET, 3, down);
    let (slaves, _) = members(&world, "slave", "127.0.0.5", slaves, &[]);
    let context = ProbeContext {
        slaves,
        ..ProbeContext::default()
    };
    let verdict = ask("mesos", &masters, Proof::Read, &context).await;
    for session in sessions.iter().filter(|_| verdict.healthy) {
        assert!(
            session.cost().streams <= 2,
            "two connections for all questions"
        );
    }
    verdict
}

fn says(verdict: &Verdict, part: &str) {
    assert!(
        verdict.faults.iter().any(|f| f.contains(part)),
        "{part:?} is not in {:#?}",
        verdict.faults
    );
}

#[tokio::test]
async fn leader_with_its_registry() {
    let verdict = judge(three(3), &[], 0).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.leader.as_ref().unwrap().as_str(), "m1");
    assert_eq!(verdict.membership, "3 of 3, 3 in the log");
    assert!(
        verdict
            .roles
            .values()
            .map(String::as_str)
            .eq(["leader", "standby", "standby"])
    );
    assert!(verdict.versions.values().all(|v| v == "1.11.0"));
}

#[tokio::test]
async fn a_leader_that_looks_healthy_without_its_registry() {
    let mut servers = three(3);
    let leader = server("leader-without-registry");
    assert_eq!(
        (leader["GET /health"].status, leader["GET /slaves"].status),
        (200, 200)
    );
    servers.insert(1, leader);
    let verdict = judge(servers, &[], 0).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m1: is elected but has not recovered the registry",
    );
    says(&verdict, "m1: leads without a registry");
    says(&verdict, "m1: log has 2 replicas, expected 3");
}

#[tokio::test]
async fn lone_leader_looks_green() {
    let mut servers = three(1);
    servers.retain(|n, _| *n == 1);
    for down in [&[][..], &[2, 3][..]] {
        let verdict = judge(servers.clone(), down, 0).await;
        assert!(
            !verdict.healthy && verdict.synced.len() < verdict.quorum,
            "{verdict:#?}"
        );
    }
    // With all three back and a log of one, the leader still does not count.
    let verdict = judge(three(1), &[], 0).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: log has 1 replicas, expected 3");
}

#[tokio::test]
async fn a_standby_known_to_be_down() {
    let mut servers = three(2);
    servers.remove(&3);
    let verdict = judge(servers.clone(), &[3], 0).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.membership, "2 of 3, 2 in the log; m3 down");
    assert!(!judge(servers, &[], 0).await.healthy);
}

#[tokio::test]
async fn nobody_or_two_are_elected() {
    let none = BTreeMap::from([
        (1, server("no-leader")),
        (2, server("no-leader")),
        (3, server("no-leader")),
    ]);
    let verdict = judge(none, &[], 0).await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(&verdict, "no master is elected");
    says(&verdict, "m2: no leader known");
    let mut two = three(3);
    two.insert(2, server("leader"));
    let verdict = judge(two, &[], 0).await;
    assert!(!verdict.healthy && verdict.leader.is_none() && verdict.synced.is_empty());
    says(&verdict, "m2: is elected, as 2 masters are");
}

#[tokio::test]
async fn a_standby_that_follows_another() {
    let mut servers = three(3);
    servers.insert(
        3,
        renamed(&server("standby"), &[("//127.0.0.11:", "//127.0.0.12:")]),
    );
    let verdict = judge(servers, &[], 0).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m3: follows 127.0.0.12:5050, but m1 leads according to others",
    );
}

#[tokio::test]
async fn every_slave_registered_and_active() {
    let mut servers = three(3);
    servers.insert(1, server("leader-with-agent"));
    let verdict = judge(servers.clone(), &[], 1).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.membership, "3 of 3, 3 in the log, 1 slave");
    let verdict = judge(servers.clone(), &[], 2).await;
    assert!(!verdict.healthy);
    says(&verdict, "slave2: slave is not registered");
    assert_eq!(verdict.synced.len(), 3, "a slave costs no master its vote");
    servers.insert(
        1,
        renamed(&servers[&1], &[("\"active\":true", "\"active\":false")]),
    );
    let verdict = judge(servers, &[], 1).await;
    assert!(!verdict.healthy);
    says(&verdict, "slave1: slave is registered but not active");
}

#[tokio::test]
async fn an_active_slave_outside_the_inventory_is_named() {
    let sentence = "127.0.0.51 (127.0.0.51) is still an active slave, but the inventory does not \
                    name it";
    let ask_with = async |leader: &Server, known: &[(&str, &str)]| {
        let mut servers = three(3);
        servers.insert(1, leader.clone());
        let world = Arc::new(World::new(
            servers.into_iter().map(|(n, s)| (format!("{NET}{n}"), s)),
        ));
        let (masters, _) = members(&world, "m", NET, 3, &[]);
        let known = known
            .iter()
            .map(|(host, address)| (HostName::new(*host).unwrap(), address.parse().unwrap()));
        let context = ProbeContext {
            known_slaves: known.collect(),
            ..ProbeContext::default()
        };
        ask("mesos", &masters, Proof::Read, &context).await
    };
    let leader = server("leader-with-agent");
    let verdict = ask_with(&leader, &[("m1", "127.0.0.11")]).await;
    assert!(
        verdict.healthy,
        "the service works all the same: {verdict:#?}"
    );
    assert_eq!(verdict.faults, [sentence]);
    // Known by its address or by its name; not judged without an inventory.
    for known in [
        &[("s1", "127.0.0.51")][..],
        &[("127.0.0.51", "10.0.0.9")][..],
        &[][..],
    ] {
        assert_eq!(ask_with(&leader, known).await.faults, Vec::<String>::new());
    }
    // One that no longer answers is no machine that serves.
    let gone = renamed(&leader, &[("\"active\":true", "\"active\":false")]);
    let verdict = ask_with(&gone, &[("m1", "127.0.0.11")]).await;
    assert_eq!(verdict.faults, Vec::<String>::new());
}
