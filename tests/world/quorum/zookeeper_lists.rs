//! ZooKeeper's recorded states of members that are configured wrongly or differently.

use std::time::Duration;

use super::lab::{Lab, ZK_DATA, Zk, address, seconds};
use super::zookeeper_states::{ALL, SOON, fill, others, sorted, three};

/// A machine whose number is another one's ends: that one's address is not its own.
pub async fn duplicate_number() {
    let mut lab = Lab::new();
    lab.start_zk(&Zk::new(1));
    lab.start_zk(&Zk::new(2));
    lab.start_zk(&Zk {
        id: "2".into(),
        ..Zk::new(3)
    });
    assert_eq!(lab.exit(3, SOON).await, Some(14));
    lab.until_zk(&ALL, &["F3 L3/1 x"], SOON).await;
    lab.kill(2).await;
    seconds(8.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "- x x");

    let (mut lab, leader) = three().await;
    let follower = others(leader)[0];
    lab.kill(follower).await;
    lab.start_zk(&Zk {
        id: leader.to_string(),
        ..Zk::new(follower)
    });
    assert_eq!(lab.exit(follower, SOON).await, Some(14));
    assert_eq!(sorted(&lab, &ALL).await, "F3 L3/1 x");
}

pub async fn lists_differ() {
    let mut lab = Lab::new();
    lab.start_zk(&Zk::new(1));
    lab.start_zk(&Zk::new(2));
    lab.start_zk(&Zk::new(3).with_list(&[1, 2, 3, 4, 5]));
    lab.until_zk(&ALL, &["F3 F3 L5/2"], Duration::from_secs(10))
        .await;
    lab.kill(1).await;
    seconds(16.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "x - -");
}

pub async fn lists_disjoint() {
    for lists in [
        [[1, 2, 3], [1, 3, 4]].map(|list| list.to_vec()),
        [vec![1, 2], vec![3, 4]],
    ] {
        let mut lab = Lab::new();
        for (machine, list) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
            lab.start_zk(&Zk::new(machine).with_list(&lists[list]));
        }
        let size = lists[0].len();
        let two = format!("F{size} L{size}/1 F{size} L{size}/1");
        lab.until_zk(&[1, 2, 3, 4], &[&two], Duration::from_secs(10))
            .await;
        // Both take writes.
        for machine in 1..=4 {
            fill(&lab, machine, "/a", 1).await;
        }
    }
    let mut lab = Lab::new();
    lab.start_zk(&Zk::new(1));
    lab.start_zk(&Zk::new(2));
    let mut alone = Zk::new(3);
    alone.edits = vec![("servers", None), ("standaloneEnabled", Some("true"))];
    lab.start_zk(&alone);
    lab.until_zk(&ALL, &["F3 L3/1 S"], SOON).await;
    fill(&lab, 3, "/a", 1).await;
}

pub async fn default_whitelist() {
    let mut lab = Lab::new();
    for machine in ALL {
        let mut zk = Zk::new(machine);
        zk.edits = vec![("4lw.commands.whitelist", None)];
        lab.start_zk(&zk);
    }
    seconds(3.0).await;
    let answer = lab.word(1, "srvr").await.unwrap();
    assert!(answer.contains("\nMode: follower\n"), "{answer}");
    for word in ["ruok", "mntr", "stat", "isro", "conf"] {
        let answer = lab.word(1, word).await.unwrap();
        assert_eq!(
            answer.trim(),
            format!("{word} is not executed because it is not in the whitelist.")
        );
    }
    assert!(lab.command(1, "ruok").await.unwrap()["error"].is_null());
}

/// Exit codes of a lone member; `None` goes on.
pub async fn wrong_configurations() {
    type Edits = Vec<(&'static str, Option<&'static str>)>;
    let cases: [(&str, &str, Edits, Option<i64>); 18] = [
        ("number is no number", "x", vec![], Some(2)),
        ("number is empty", " ", vec![], Some(2)),
        ("no number", "", vec![], Some(2)),
        ("negative number", "-1", vec![], Some(2)),
        ("number not listed", "9", vec![], Some(1)),
        ("number 0", "0", vec![], Some(1)),
        ("unknown key", "1", vec![("noSuchKey", Some("1"))], None),
        (
            "tick is no number",
            "1",
            vec![("tickTime", Some("x"))],
            Some(2),
        ),
        ("no tick", "1", vec![("tickTime", None)], None),
        ("no data folder", "1", vec![("dataDir", None)], Some(2)),
        (
            "data folder is absent",
            "1",
            vec![("dataDir", Some("/nowhere"))],
            Some(2),
        ),
        ("no client port", "1", vec![("clientPort", None)], Some(2)),
        ("no initLimit", "1", vec![("initLimit", None)], Some(2)),
        (
            "server without ports",
            "1",
            vec![("server.2", Some("10.0.0.12"))],
            Some(2),
        ),
        (
            "duplicate address",
            "1",
            vec![("server.4", Some("10.0.0.12:2888:3888"))],
            None,
        ),
        (
            "unresolved peer",
            "1",
            vec![("server.4", Some("nowhere:2888:3888"))],
            None,
        ),
        (
            "own address elsewhere",
            "1",
            vec![("server.1", Some("10.9.9.9:2888:3888"))],
            Some(14),
        ),
        (
            "own name does not resolve",
            "1",
            vec![("server.1", Some("none:2888:3888"))],
            Some(14),
        ),
    ];
    for (words, id, edits, code) in cases {
        let mut lab = Lab::new();
        let mut zk = Zk {
            id: id.into(),
            ..Zk::new(1)
        };
        if edits.iter().any(|(key, _)| key.starts_with("server.1")) {
            zk.list.retain(|(id, _)| *id != 1);
        }
        zk.edits = edits;
        lab.start_zk(&zk);
        assert_eq!(lab.exit(1, Duration::from_secs(6)).await, code, "{words}");
    }
    for (words, port, code) in [
        ("client port taken", 2181, Some(1)),
        ("election port taken", 3888, Some(14)),
        ("admin port taken", 2182, None),
    ] {
        let mut lab = Lab::new();
        let _taken = lab.network.listen(address(1), port).unwrap();
        lab.start_zk(&Zk::new(1));
        assert_eq!(lab.exit(1, Duration::from_secs(6)).await, code, "{words}");
    }
    for (words, name, text) in [
        ("empty epoch", "currentEpoch", ""),
        ("epoch above the accepted one", "currentEpoch", "7"),
    ] {
        let (mut lab, _) = three().await;
        lab.kill(1).await;
        let path = format!("{}/{name}", ZK_DATA[0]);
        lab.files(1).write(&path, text, 0o644);
        lab.start_zk(&Zk::new(1));
        assert_eq!(lab.exit(1, SOON).await, Some(1), "{words}");
    }
}
