use std::collections::BTreeMap;
use std::sync::Arc;

use toots::probe::{ProbeContext, Proof, Verdict, ask};

use super::play::{Server, World, members, recorded, renamed};

async fn judge(servers: BTreeMap<u8, Server>, net: &str, count: u8, down: &[u8]) -> Verdict {
    let world = Arc::new(World::new(
        servers.into_iter().map(|(n, s)| (format!("{net}{n}"), s)),
    ));
    let (members, sessions) = members(&world, "m", net, count, down);
    let verdict = ask("zookeeper", &members, Proof::Read, &ProbeContext::default()).await;
    for session in sessions {
        assert!(
            toots::host::HostSession::cost(&*session).streams <= 4,
            "mntr, conf and the AdminServer, once more for digests"
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

/// Three healthy servers. In the recording their data differed, which only the count of digest
/// mismatches shows; that line is added here.
fn three(mismatches: [u32; 3]) -> BTreeMap<u8, Server> {
    let mut servers = recorded("zookeeper/three-serve-data-differ.txt");
    for (number, server) in &mut servers {
        let mntr = server.get_mut("mntr").unwrap();
        mntr.body.push_str(&format!(
            "\nzk_digest_mismatches_count\t{}",
            mismatches[usize::from(*number) - 1]
        ));
    }
    servers
}

#[tokio::test]
async fn three_that_serve_are_healthy() {
    let verdict = judge(three([0; 3]), "10.88.31.", 3, &[]).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.leader.unwrap().as_str(), "m3");
    assert_eq!(
        (verdict.synced.len(), verdict.members, verdict.quorum),
        (3, 3, 2)
    );
    assert_eq!(verdict.membership, "3 of 3, 2 synced");
    assert!(
        verdict
            .roles
            .values()
            .map(String::as_str)
            .eq(["follower", "follower", "leader"])
    );
    assert!(verdict.versions.values().all(|v| v == "3.8.0"));
    assert_eq!(verdict.faults, Vec::<String>::new());
}

/// Three servers of which m2 holds other data, recorded after m2 was started again: it kept three
/// digests, the others five.
fn one_differs() -> BTreeMap<u8, Server> {
    recorded("zookeeper/one-holds-other-data.txt")
}

#[tokio::test]
async fn data_that_differ_are_found_by_comparison() {
    let verdict = judge(one_differs(), "10.88.41.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m2: its data differ from the majority's at transaction 0x100000280",
    );
    let names = |hosts: &mut dyn Iterator<Item = &toots::spec::HostName>| -> Vec<String> {
        hosts.map(ToString::to_string).collect()
    };
    assert_eq!(names(&mut verdict.different.iter()), ["m2"]);
    assert_eq!(names(&mut verdict.synced.iter()), ["m1", "m3"]);
    assert_eq!(verdict.faults.len(), 1, "{:#?}", verdict.faults);
}

#[tokio::test]
async fn counted_mismatches_are_a_remark_while_the_data_agree() {
    let mut servers = one_differs();
    let digests = servers[&1]["GET /commands/hash"].clone();
    let second = servers.get_mut(&2).unwrap();
    second.insert("GET /commands/hash".into(), digests);
    let verdict = judge(servers, "10.88.41.", 3, &[]).await;
    assert!(verdict.healthy, "{verdict:#?}");
    says(
        &verdict,
        "m2: 344 digest mismatches are in its log; at transaction 0x100000280 its data are the majority's",
    );
}

#[tokio::test]
async fn members_that_cannot_be_compared_stay_healthy() {
    // 34 is the count of a member with another cluster's data; this version tells no digests.
    let verdict = judge(three([34, 0, 0]), "10.88.31.", 3, &[]).await;
    assert!(verdict.healthy, "{verdict:#?}");
    says(
        &verdict,
        "m1: 34 digest mismatches; its data could not be compared",
    );
    assert_eq!(verdict.different.len(), 0);
}

#[tokio::test]
async fn a_split_is_unhealthy() {
    let mut servers = one_differs();
    for (number, server) in &mut servers {
        let hash = server.get_mut("GET /commands/hash").unwrap();
        hash.body = hash
            .body
            .replace("\"digest\": 1", &format!("\"digest\": {number}1"));
    }
    let verdict = judge(servers, "10.88.41.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "no majority holds the same");
    assert_eq!(verdict.different.len(), 0);
}

#[tokio::test]
async fn ruok_is_not_believed() {
    let servers = recorded("zookeeper/one-of-three-started.txt");
    assert_eq!(servers[&1]["ruok"].body, "imok");
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: mntr: not serving");
    says(&verdict, "not voting, unknown state");
    assert!(verdict.synced.is_empty());
}

#[tokio::test]
async fn a_lone_leader_is_not_healthy() {
    let servers = recorded("zookeeper/leader-alone-at-once.txt");
    for down in [&[][..], &[1, 2][..]] {
        let verdict = judge(servers.clone(), "10.88.31.", 3, down).await;
        assert!(!verdict.healthy, "{verdict:#?}");
        assert!(verdict.synced.len() < verdict.quorum);
    }
}

#[tokio::test]
async fn known_and_unexpected_failures_are_reported() {
    let servers = recorded("zookeeper/follower-killed.txt");
    let verdict = judge(servers.clone(), "10.88.31.", 3, &[1]).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.membership, "2 of 3, 1 synced; m1 down");
    says(&verdict, "m1: host is unreachable");
    assert_eq!(verdict.roles.values().next().unwrap(), "down");
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: mntr: cannot open");
}

#[tokio::test]
async fn two_machines_with_the_same_number() {
    let mut servers = recorded("zookeeper/duplicate-myid.txt");
    let verdict = judge(servers.clone(), "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy);
    // During the swap the third host, too, reports number 2.
    let second = servers[&2].clone();
    servers.insert(3, second);
    let verdict = judge(servers, "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(&verdict, "m3: server id is 2 in zabstate, 3 is recorded");
    says(&verdict, "m3: leads, as 2 members do");
}

#[tokio::test]
async fn lists_that_differ() {
    let verdict = judge(recorded("zookeeper/lists-differ.txt"), "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m3: ensemble has 5 members, 3 are configured");
    says(
        &verdict,
        "m3: lists 1=10.88.33.1 2=10.88.33.2 3=10.88.33.3 4=10.88.33.4 5=10.88.33.5, configured are 1=10.88.33.1",
    );
    assert_eq!(verdict.synced.len(), 2);
}

#[tokio::test]
async fn two_leaders_with_disjoint_lists() {
    let verdict = judge(
        recorded("zookeeper/lists-disjoint.txt"),
        "10.88.33.",
        4,
        &[],
    )
    .await;
    assert!(!verdict.healthy && verdict.leader.is_none() && verdict.synced.is_empty());
    says(&verdict, "m2: leads, as 2 members do");
    says(&verdict, "m4: leads, as 2 members do");
    // As seen by the three configured members: the third one follows a stranger.
    let verdict = judge(
        recorded("zookeeper/lists-disjoint.txt"),
        "10.88.33.",
        3,
        &[],
    )
    .await;
    assert!(!verdict.healthy);
    says(&verdict, "m3: follows member 4, others follow m2");
}

#[tokio::test]
async fn a_follower_without_a_vote_and_a_standalone_server() {
    let mut servers = three([0; 3]);
    let without_vote = renamed(&servers[&1], &[("\"voting\": true", "\"voting\": false")]);
    servers.insert(1, without_vote);
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m1: not voting, broadcast instead of voting in broadcast",
    );

    let mut servers = three([0; 3]);
    let alone = renamed(
        &servers[&1],
        &[
            ("zk_server_state\tfollower", "zk_server_state\tstandalone"),
            ("zk_quorum_size\t3", ""),
        ],
    );
    servers.insert(1, alone);
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    says(
        &verdict,
        "m1: mode is standalone, must be a member of a quorum",
    );
    says(&verdict, "m1: ensemble has no members");
}

#[tokio::test]
async fn forbidden_words_are_reported() {
    let mut servers = three([0; 3]);
    servers.get_mut(&2).unwrap().get_mut("mntr").unwrap().body =
        "mntr is not executed because it is not in the whitelist.".into();
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m2: mntr: not serving: mntr is not executed because it is not in the whitelist.",
    );
}

#[tokio::test]
async fn what_a_server_sends_cannot_drive_the_terminal() {
    let mut servers = three([0; 3]);
    servers.get_mut(&2).unwrap().get_mut("mntr").unwrap().body =
        "zk_version\t\x1b[2J\nzk_server_state\t\x1b]0;x\x07".into();
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(
        !format!(
            "{} {:?} {:?}",
            verdict.faults.join(" "),
            verdict.roles.values(),
            verdict.versions.values()
        )
        .contains('\x1b')
    );
    assert!(
        !verdict
            .roles
            .values()
            .chain(verdict.versions.values())
            .any(|t| t.contains('\x1b'))
    );
}
