use std::collections::BTreeMap;
use std::sync::Arc;

use toots::probe::{Context, Proof, Verdict, ask};

use super::play::{Server, World, members, recorded, renamed};

async fn judge(servers: BTreeMap<u8, Server>, net: &str, count: u8, down: &[u8]) -> Verdict {
    let world = Arc::new(World::new(
        servers.into_iter().map(|(n, s)| (format!("{net}{n}"), s)),
    ));
    let (members, sessions) = members(&world, "m", net, count, down);
    let verdict = ask("zookeeper", &members, Proof::Read, &Context::default()).await;
    for session in sessions {
        assert!(
            toots::transport::Session::cost(&*session).streams <= 3,
            "mntr, conf and one connection to the AdminServer"
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

/// Three servers as they answer when all is well. The recording is of a moment when their data differed, which of all answers only
/// the count of digest mismatches tells; that line is added here.
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

#[tokio::test]
async fn data_that_differ_show_in_digests_alone() {
    // 34 is what a member with another cluster's data counted.
    let verdict = judge(three([34, 0, 0]), "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: 34 digest mismatches");
    assert_eq!(verdict.synced.len(), 2);
}

#[tokio::test]
async fn ruok_is_not_believed() {
    let servers = recorded("zookeeper/one-of-three-started.txt");
    assert_eq!(servers[&1]["ruok"].body, "imok");
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: mntr: it does not serve");
    says(&verdict, "not voting, no state");
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
async fn a_known_failure_is_told_and_an_unexpected_one_is_not_healthy() {
    let servers = recorded("zookeeper/follower-killed.txt");
    let verdict = judge(servers.clone(), "10.88.31.", 3, &[1]).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.membership, "2 of 3, 1 synced; m1 down");
    says(&verdict, "m1: the host is down");
    assert_eq!(verdict.roles.values().next().unwrap(), "down");
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m1: mntr: open");
}

#[tokio::test]
async fn two_machines_with_one_number() {
    let mut servers = recorded("zookeeper/duplicate-myid.txt");
    let verdict = judge(servers.clone(), "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy);
    // While the swap lasts the third host also says that it is number 2.
    let second = servers[&2].clone();
    servers.insert(3, second);
    let verdict = judge(servers, "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy && verdict.leader.is_none());
    says(
        &verdict,
        "m3: its number is 2 in zabstate, 3 is recorded for it",
    );
    says(&verdict, "m3: it leads, as 2 do");
}

#[tokio::test]
async fn lists_that_differ() {
    let verdict = judge(recorded("zookeeper/lists-differ.txt"), "10.88.33.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(&verdict, "m3: it counts 5 members, 3 are configured");
    says(
        &verdict,
        "m3: it lists 1=10.88.33.1 2=10.88.33.2 3=10.88.33.3 4=10.88.33.4 5=10.88.33.5, configured are 1=10.88.33.1",
    );
    assert_eq!(verdict.synced.len(), 2);
}

#[tokio::test]
async fn two_leaders_of_disjoint_lists() {
    let verdict = judge(
        recorded("zookeeper/lists-disjoint.txt"),
        "10.88.33.",
        4,
        &[],
    )
    .await;
    assert!(!verdict.healthy && verdict.leader.is_none() && verdict.synced.is_empty());
    says(&verdict, "m2: it leads, as 2 do");
    says(&verdict, "m4: it leads, as 2 do");
    // Seen with the three that are configured: the third follows a stranger.
    let verdict = judge(
        recorded("zookeeper/lists-disjoint.txt"),
        "10.88.33.",
        3,
        &[],
    )
    .await;
    assert!(!verdict.healthy);
    says(&verdict, "m3: it follows member 4, others follow m2");
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
        "m1: it is standalone and not a member of a quorum",
    );
    says(&verdict, "m1: it counts no members");
}

#[tokio::test]
async fn a_word_that_is_not_allowed_is_told() {
    let mut servers = three([0; 3]);
    servers.get_mut(&2).unwrap().get_mut("mntr").unwrap().body =
        "mntr is not executed because it is not in the whitelist.".into();
    let verdict = judge(servers, "10.88.31.", 3, &[]).await;
    assert!(!verdict.healthy);
    says(
        &verdict,
        "m2: mntr: it does not serve: mntr is not executed because it is not in the whitelist.",
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
