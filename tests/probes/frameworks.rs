//! Marathon and Chronos look healthy without Mesos, so Mesos is queried.

use std::collections::BTreeMap;
use std::sync::Arc;

use toots::probe::{ProbeContext, Proof, Verdict, ask};

use super::play::{Reply, Server, World, members, recorded, renamed};

const NET: &str = "10.0.0.";
const MARATHON: &str = "c62190bd-c589-4d8e-a49f-ecee9937d245-0000";

/// A host with its Mesos master, Marathon and Chronos. The recordings are from instances on one
/// address with several ports.
fn host(number: u8, framework: &str) -> Server {
    let answers_of =
        |room: &str, state: &str| recorded(&format!("{room}/{state}.txt")).remove(&1).unwrap();
    let own = format!("10.0.0.{number}:18082");
    let (state, mesos) = if number == 1 {
        ("leader", "leader")
    } else {
        ("standby", "standby")
    };
    let mut server = answers_of("mesos", mesos);
    if number == 1 {
        server.insert(
            "POST /api/v1 GET_FRAMEWORKS".into(),
            Reply {
                status: 200,
                headers: vec![],
                body: framework.to_owned(),
            },
        );
    }
    let places = [
        ("127.0.0.1:18081", "10.0.0.1:8080"),
        ("127.0.0.1:18082", own.as_str()),
        ("127.0.0.1:14401", "10.0.0.1:4400"),
    ];
    server.extend(renamed(&answers_of("marathon", state), &places));
    server.extend(renamed(&answers_of("chronos", state), &places));
    server
}

fn frameworks(entries: &[(&str, &str, &str, bool)]) -> String {
    let list: Vec<String> = entries
        .iter()
        .map(|(id, name, host, on)| {
            format!(r#"{{"framework_info":{{"user":"root","name":"{name}","hostname":"{host}","id":{{"value":"{id}"}}}},"active":{on},"connected":{on},"recovered":false}}"#)
        })
        .collect();
    format!(
        r#"{{"type":"GET_FRAMEWORKS","get_frameworks":{{"frameworks":[{}],"completed_frameworks":[]}}}}"#,
        list.join(",")
    )
}

fn both(marathon: bool, chronos: bool) -> String {
    frameworks(&[
        (MARATHON, "marathon", "10.0.0.1", marathon),
        ("c-1", "chronos", "10.0.0.1", chronos),
    ])
}

fn three(list: &str) -> BTreeMap<u8, Server> {
    (1..=3).map(|n| (n, host(n, list))).collect()
}

async fn judge(
    service: &str,
    servers: BTreeMap<u8, Server>,
    down: &[u8],
) -> (Verdict, Vec<String>) {
    let world = Arc::new(World::new(
        servers.into_iter().map(|(n, s)| (format!("{NET}{n}"), s)),
    ));
    let (members, _) = members(&world, "m", NET, 3, down);
    let context = ProbeContext {
        mesos_masters: members.clone(),
        ..ProbeContext::default()
    };
    let verdict = ask(service, &members, Proof::Read, &context).await;
    let asked = world.asked.lock().unwrap().clone();
    (verdict, asked)
}

fn says(verdict: &Verdict, part: &str) {
    assert!(
        verdict.faults.iter().any(|f| f.contains(part)),
        "{part:?} is not in {:#?}",
        verdict.faults
    );
}

#[tokio::test]
async fn each_has_a_leader_and_an_active_framework() {
    for service in ["marathon", "chronos"] {
        let (verdict, _) = judge(service, three(&both(true, true)), &[]).await;
        assert!(verdict.healthy, "{verdict:#?}");
        assert_eq!(verdict.leader.unwrap().as_str(), "m1");
        assert_eq!(
            (verdict.membership.as_str(), verdict.proof.as_str()),
            ("3 of 3", "active framework")
        );
        assert!(
            verdict
                .roles
                .values()
                .map(String::as_str)
                .eq(["leader", "standby", "standby"])
        );
    }
}

#[tokio::test]
async fn marathon_is_green_without_mesos() {
    let (verdict, _) = judge("marathon", three(&frameworks(&[])), &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "framework c62190bd-c589-4d8e-a49f-ecee9937d245-0000 is unknown to Mesos",
    );
    let (verdict, _) = judge("marathon", three(&both(false, true)), &[]).await;
    says(
        &verdict,
        "framework c62190bd-c589-4d8e-a49f-ecee9937d245-0000 is not active in Mesos",
    );
    // No master leads.
    let mut servers = three(&both(true, true));
    for server in servers.values_mut() {
        let nobody = recorded("mesos/no-leader.txt")
            .remove(&1)
            .unwrap()
            .remove("POST /api/v1 GET_FRAMEWORKS")
            .unwrap();
        server.insert("POST /api/v1 GET_FRAMEWORKS".into(), nobody);
    }
    let (verdict, _) = judge("marathon", servers, &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "Mesos cannot say whether the framework is active: GET_FRAMEWORKS: 503 No leader elected",
    );
}

#[tokio::test]
async fn marathon_without_a_leader_or_with_two() {
    let mut servers = three(&both(true, true));
    for server in servers.values_mut() {
        server.extend(recorded("marathon/no-leader.txt").remove(&1).unwrap());
    }
    let (verdict, _) = judge("marathon", servers, &[]).await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(&verdict, "m2: /v2/leader: 502");
    let mut servers = three(&both(true, true));
    servers.insert(
        3,
        renamed(&servers[&3], &[("10.0.0.1:8080", "10.0.0.3:8080")]),
    );
    let (verdict, _) = judge("marathon", servers, &[]).await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(
        &verdict,
        "m3: names 10.0.0.3:8080 as leader, others name another instance",
    );
}

#[tokio::test]
async fn a_standby_known_to_be_down() {
    let mut servers = three(&both(true, true));
    servers.remove(&2);
    for service in ["marathon", "chronos"] {
        let (verdict, _) = judge(service, servers.clone(), &[2]).await;
        assert!(verdict.healthy, "{verdict:#?}");
        assert_eq!(verdict.membership, "2 of 3; m2 down");
        assert!(!judge(service, servers.clone(), &[]).await.0.healthy);
    }
}

#[tokio::test]
async fn no_chronos_is_asked_when_mesos_does_not_hold_its_leader() {
    for list in [frameworks(&[]), both(true, false)] {
        let (verdict, asked) = judge("chronos", three(&list), &[]).await;
        assert!(!verdict.healthy);
        says(&verdict, "Mesos lists no active Chronos framework");
        assert!(
            asked.iter().all(|q| q.ends_with("GET_FRAMEWORKS")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn chronos_is_asked_the_leader_first_and_no_standby_after_its_silence() {
    let list = frameworks(&[("c-1", "chronos", "10.0.0.3", true)]);
    let mut servers = three(&list);
    servers
        .get_mut(&3)
        .unwrap()
        .remove("GET /v1/scheduler/leader");
    let (verdict, asked) = judge("chronos", servers, &[]).await;
    assert!(!verdict.healthy);
    let questions: Vec<&String> = asked.iter().filter(|q| q.contains("leader")).collect();
    assert!(
        questions.iter().all(|q| q.starts_with("10.0.0.3 ")) && !questions.is_empty(),
        "{questions:?}"
    );
    says(
        &verdict,
        "m1: skipped: the leader did not answer, and a request could stop a standby",
    );
}

#[tokio::test]
async fn chronos_and_mesos_must_mean_the_same_leader() {
    let list = frameworks(&[("c-1", "chronos", "10.0.0.2", true)]);
    let (verdict, _) = judge("chronos", three(&list), &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "names 10.0.0.1 as leader, but the framework in Mesos is on m2",
    );
}
