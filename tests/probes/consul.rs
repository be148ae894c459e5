use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toots::host::HostSession;
use toots::probe::{Member, ProbeContext, Proof, Verdict, ask};
use toots::spec::HostName;

use super::play::{Server, World, members, recorded, renamed};

const NET: &str = "10.88.32.";

async fn judge(
    servers: BTreeMap<u8, Server>,
    net: &str,
    down: &[u8],
    context: &ProbeContext,
) -> Verdict {
    let world = Arc::new(World::new(
        servers.into_iter().map(|(n, s)| (format!("{net}{n}"), s)),
    ));
    let (members, sessions) = members(&world, "s", net, 3, down);
    let verdict = ask("consul", &members, Proof::Read, context).await;
    for session in sessions.iter().filter(|_| verdict.healthy) {
        let readings = if context.after_change { 2 } else { 1 };
        assert!(
            session.cost().streams <= 3 * readings,
            "three connections for all questions of a reading"
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

/// The recording holds the first two servers; the third one answers like the second, under its own
/// name and id.
fn steady() -> BTreeMap<u8, Server> {
    let mut servers = recorded("consul/steady.txt");
    let own = [
        ("\"NodeName\": \"s2\"", "\"NodeName\": \"s3\""),
        (
            "\"NodeID\": \"803d27c1-ff31-49da-e871-67776f380471\"",
            "\"NodeID\": \"f2a2e31e-d7c6-2da8-115f-aca0ca69e9d5\"",
        ),
        ("\"Addr\": \"10.88.32.2\"", "\"Addr\": \"10.88.32.3\""),
    ];
    for question in [
        "GET /v1/operator/raft/configuration?stale",
        "GET /v1/operator/autopilot/health",
        "GET /v1/kv/toots/proof?consistent",
    ] {
        // The recording ends within the second server; all servers gave the same answers to these
        // questions.
        let leader = servers[&1][question].clone();
        servers.get_mut(&2).unwrap().insert(question.into(), leader);
    }
    let mut third = servers[&2].clone();
    let agent = renamed(&third, &own).remove("GET /v1/agent/self").unwrap();
    third.insert("GET /v1/agent/self".into(), agent);
    servers.insert(3, third);
    servers
}

#[tokio::test]
async fn three_voters_are_healthy() {
    let verdict = judge(steady(), NET, &[], &ProbeContext::default()).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.leader.unwrap().as_str(), "s1");
    assert_eq!(verdict.membership, "3 of 3, 3 voters, 3 alive");
    assert_eq!(verdict.proof, "consistent read from each server");
    assert!(
        verdict
            .roles
            .values()
            .map(String::as_str)
            .eq(["leader", "follower", "follower"])
    );
    assert!(verdict.versions.values().all(|v| v == "1.21.0"));
}

#[tokio::test(start_paused = true)]
async fn after_a_change_it_is_read_twice_ten_seconds_apart() {
    let start = tokio::time::Instant::now();
    let context = ProbeContext {
        after_change: true,
        ..ProbeContext::default()
    };
    let verdict = judge(steady(), NET, &[], &context).await;
    assert!(verdict.healthy);
    assert_eq!(verdict.proof, "consistent read from each server, twice");
    assert!(start.elapsed() >= Duration::from_secs(10));
    // An earlier healthy reading counts.
    let context = ProbeContext {
        healthy_since: Some(start),
        ..context
    };
    let start = tokio::time::Instant::now();
    assert!(judge(steady(), NET, &[], &context).await.healthy);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_write_goes_through_each_and_leaves_nothing() {
    let world = Arc::new(World::new(
        steady().into_iter().map(|(n, s)| (format!("{NET}{n}"), s)),
    ));
    let (members, _) = members(&world, "s", NET, 3, &[]);
    let verdict = ask(
        "consul-server",
        &members,
        Proof::Write,
        &ProbeContext::default(),
    )
    .await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(
        verdict.proof,
        "consistent write at index 41 through s1, s2 and s3"
    );
    assert_eq!(world.written(), 0);
}

#[tokio::test]
async fn a_lone_leader_that_looks_perfect() {
    let servers = recorded("consul/leader-alone-at-once.txt");
    let health = &servers[&3]["GET /v1/operator/autopilot/health"];
    assert!(
        health.status == 200
            && health
                .body
                .starts_with(r#"{"Healthy":true,"FailureTolerance":1"#)
    );
    for down in [&[][..], &[1, 2][..]] {
        let verdict = judge(servers.clone(), NET, down, &ProbeContext::default()).await;
        assert!(!verdict.healthy);
        says(
            &verdict,
            "s3: /v1/kv/toots/proof?consistent: 500 leadership lost while committing log",
        );
    }
    let verdict = judge(
        recorded("consul/leader-alone-later.txt"),
        NET,
        &[],
        &ProbeContext::default(),
    )
    .await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(&verdict, "s3: no leader known");
}

#[tokio::test]
async fn stale_health_after_a_leaders_death() {
    // The servers agree on the new leader; autopilot still reports the dead one as leader and
    // nobody as healthy. The gate waits for that.
    let verdict = judge(
        recorded("consul/leader-killed-just-after.txt"),
        NET,
        &[1],
        &ProbeContext::default(),
    )
    .await;
    assert_eq!(verdict.leader.as_ref().unwrap().as_str(), "s3");
    assert!(!verdict.healthy && verdict.synced.is_empty());
    says(&verdict, "s2: autopilot: not healthy, voter, alive");
}

#[tokio::test]
async fn a_follower_known_to_be_down() {
    let mut servers = recorded("consul/follower-killed-10s.txt");
    // The recording ends within the last server's answers.
    for (question, reply) in servers[&1].clone() {
        servers
            .get_mut(&3)
            .unwrap()
            .entry(question)
            .or_insert(reply);
    }
    let verdict = judge(servers.clone(), NET, &[2], &ProbeContext::default()).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.membership, "2 of 3, 3 voters, 2 alive; s2 down");
    let verdict = judge(servers, NET, &[], &ProbeContext::default()).await;
    assert!(!verdict.healthy);
    says(&verdict, "s1: autopilot: failure tolerance 0, expected 1");
    says(&verdict, "s2: autopilot: not healthy, voter, failed");
    // What they report of the whole cluster costs the two that serve no vote: the third one can
    // be replaced.
    let synced: Vec<&str> = verdict.synced.iter().map(HostName::as_str).collect();
    assert_eq!(synced, ["s1", "s3"]);
}

#[tokio::test]
async fn a_dead_leader_that_is_still_named() {
    // For some seconds the others name a leader that is gone, and answer from its data.
    let mut servers = steady();
    servers.remove(&1);
    let verdict = judge(servers, NET, &[1], &ProbeContext::default()).await;
    assert!(!verdict.healthy && verdict.leader.is_none() && verdict.synced.is_empty());
    says(&verdict, "s1 is named as leader but is unreachable");
}

#[tokio::test]
async fn healthy_with_two_voters_and_no_tolerance() {
    let verdict = judge(
        recorded("consul/two-wiped.txt"),
        NET,
        &[],
        &ProbeContext::default(),
    )
    .await;
    assert!(!verdict.healthy);
    says(&verdict, "s1: autopilot: failure tolerance 0, expected 1");
    says(&verdict, "s1: voters are");
}

#[tokio::test]
async fn a_follower_that_raft_does_not_reach() {
    let servers = recorded("consul/follower-raft-port-blocked.txt");
    assert_eq!(servers[&1]["GET /v1/operator/autopilot/health"].status, 200);
    let verdict = judge(servers, NET, &[], &ProbeContext::default()).await;
    assert!(!verdict.healthy);
    assert!(
        verdict.faults.iter().any(|f| f.starts_with("s2: ")),
        "{verdict:#?}"
    );
}

#[tokio::test]
async fn wiped_server_returns_with_its_name_and_another_id() {
    let servers = recorded("consul/one-wiped.txt");
    let ids = |s: &Server| s["GET /v1/operator/raft/configuration?stale"].body.clone();
    assert_eq!(ids(&servers[&1]).matches("\"ID\"").count(), 3);
    let verdict = judge(servers.clone(), NET, &[], &ProbeContext::default()).await;
    // All three agree on the new id in this recording; one with the old id would be named.
    let stale = renamed(
        &servers[&1],
        &[(
            "803d27c1-ff31-49da-e871-67776f380471",
            "00000000-0000-0000-0000-000000000000",
        )],
    );
    let mut mixed = servers;
    mixed.insert(1, stale);
    let other = judge(mixed, NET, &[], &ProbeContext::default()).await;
    assert!(!other.healthy, "{verdict:#?}");
    says(&other, "server id is ");
}

#[tokio::test]
async fn three_single_member_clusters() {
    // Three servers with bootstrap_expect 1: each is its own leader, and autopilot answers 200
    // healthy with tolerance 0 and one voter.
    let base = steady();
    let servers: BTreeMap<u8, Server> = (1..=3u8)
        .map(|i| {
            let mut server = base[&i].clone();
            let id = format!("0000000{i}");
            let configuration = format!(r#"{{"Servers":[{{"ID":"{id}","Node":"s{i}","Address":"10.88.32.{i}:8300","Leader":true,"ProtocolVersion":"3","Voter":true}}],"Index":0}}"#);
            server.get_mut("GET /v1/operator/raft/configuration?stale").unwrap().body = configuration;
            server.get_mut("GET /v1/status/leader").unwrap().body = format!("\"10.88.32.{i}:8300\"");
            server.get_mut("GET /v1/operator/autopilot/health").unwrap().body = format!(
                r#"{{"Healthy":true,"FailureTolerance":0,"Servers":[{{"ID":"{id}","Name":"s{i}","Address":"10.88.32.{i}:8300","SerfStatus":"alive","Healthy":true,"Voter":true}}]}}"#
            );
            (i, server)
        })
        .collect();
    let verdict = judge(servers, NET, &[], &ProbeContext::default()).await;
    assert!(!verdict.healthy && verdict.leader.is_none() && verdict.synced.is_empty());
    says(
        &verdict,
        "s2: names 10.88.32.2:8300 as leader, others name another server",
    );
    says(
        &verdict,
        "s1: voters are s1=10.88.32.1:8300, expected s1=10.88.32.1 s2=10.88.32.2 s3=10.88.32.3",
    );
}

#[tokio::test]
async fn clients_must_be_alive_in_the_servers_eyes() {
    let client = recorded("consul/client.txt").remove(&5).unwrap();
    let seen = &client["GET /v1/agent/members"].body;
    assert!(
        seen.contains(r#""Name":"cl5","Addr":"10.88.34.5""#),
        "{seen}"
    );
    let host = HostName::new("slave1").unwrap();
    let check = async |status: &str| {
        let mut servers = steady();
        for server in servers.values_mut() {
            let members = server.get_mut("GET /v1/agent/members").unwrap();
            members.body = format!(
                r#"{},{{"Name":"cl5","Addr":"10.88.34.5","Status":{status}}}]"#,
                members.body.trim_end_matches(']')
            );
        }
        let mut parsed: Vec<(String, Server)> = servers
            .into_iter()
            .map(|(n, s)| (format!("{NET}{n}"), s))
            .collect();
        parsed.push(("10.88.34.5".into(), client.clone()));
        let world = Arc::new(World::new(parsed));
        let (servers, _) = members(&world, "s", NET, 3, &[]);
        let (clients, _) = members(&world, "c", "10.88.34.", 5, &[]);
        let member = Member {
            host: host.clone(),
            ..clients[4].clone()
        };
        let nodes = BTreeMap::from([(host.clone(), "cl5".to_owned())]);
        let context = ProbeContext {
            consul_clients: vec![member],
            consul_nodes: nodes,
            ..ProbeContext::default()
        };
        ask("consul", &servers, Proof::Read, &context).await
    };
    let verdict = check("1").await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.roles[&host], "client");
    assert_eq!(verdict.membership, "3 of 3, 3 voters, 4 alive");
    let verdict = check("4").await;
    assert!(!verdict.healthy);
    says(&verdict, "slave1: s1 lists it as failed");
    assert_eq!(verdict.synced.len(), 3, "a client costs no server its vote");
}

#[tokio::test]
async fn a_host_that_left_the_inventory_is_named_while_it_runs() {
    let context = ProbeContext {
        inventory_nodes: ["s1", "s2"].map(str::to_owned).into(),
        ..ProbeContext::default()
    };
    let verdict = judge(steady(), NET, &[], &context).await;
    assert!(verdict.healthy, "{verdict:#?}");
    says(
        &verdict,
        "s3 (10.88.32.3) still runs and takes part, but the inventory does not name it",
    );
}
