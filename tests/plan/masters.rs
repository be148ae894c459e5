//! The masters of a cluster: their records, their numbers, and inventories that list other ones.

use std::collections::BTreeMap;

use toots::desired::{Desired, Recorded};
use toots::plan::{self, MemberLists, Observed, Plan, Step};
use toots::spec::{HostName, Membership, NodeRecord};

use super::{INVENTORY, build, empty, fresh, host, settled, wanted};

/// The hosts after a completed run, with their records as an observation parses them.
fn running() -> Observed {
    let mut out = settled(&wanted(""));
    for status in out.values_mut() {
        let machine = &mut status.machine;
        let content = |path: &str| machine.files.get(path)?.content.clone();
        machine.node = content(NodeRecord::PATH).map(|text| NodeRecord::parse(&text));
        machine.membership = content(Membership::PATH).map(|text| Membership::parse(&text));
    }
    out
}

/// The same hosts as a toots left them that kept no record of the masters.
fn made_before() -> Observed {
    let mut out = running();
    for status in out.values_mut() {
        status.files.remove(Membership::PATH);
        status.membership = None;
    }
    out
}

/// Replaces the record of the masters on one host.
fn record(observed: &mut Observed, n: u8, change: impl FnOnce(&mut Membership)) {
    let status = observed.get_mut(&host(n)).unwrap();
    let mut membership = status.membership.clone().unwrap().unwrap();
    change(&mut membership);
    let file = status.files.get_mut(Membership::PATH).unwrap();
    file.content = Some(membership.content());
    file.sha256 = Some(toots::spec::digest(&membership.content()));
    status.membership = Some(Ok(membership));
}

/// The lists of running members: number → last part of the address.
fn lists(lists: &[(u8, &[(u32, u8)])]) -> MemberLists {
    let list = |entries: &[(u32, u8)]| -> BTreeMap<u32, String> {
        let entry = |(number, n): &(u32, u8)| (*number, format!("10.0.0.{n}"));
        entries.iter().map(entry).collect()
    };
    MemberLists {
        lists: lists
            .iter()
            .map(|(n, entries)| (host(*n), list(entries)))
            .collect(),
        silent: BTreeMap::new(),
    }
}

/// The snapshots of messages are in the folder of all others.
fn check_snapshot(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../snapshots", omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

const THREE: &[(u32, u8)] = &[(1, 1), (2, 2), (3, 3)];

fn with_masters(list: &[u8]) -> String {
    let names: Vec<String> = list.iter().map(|n| format!("\"10.0.0.{n}\"")).collect();
    INVENTORY.replace(
        "\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"",
        &names.join(", "),
    )
}

fn records(observed: &Observed, text: &str) -> Result<(Recorded, Desired), String> {
    let offline = build(text, Recorded::default());
    let recorded = plan::recorded(&offline.cluster, observed, &offline).map_err(|errors| {
        let texts: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {} → {}", error.host, error.why, error.hint))
            .collect();
        texts.join("\n")
    })?;
    Ok((recorded, offline))
}

/// Plans as a run does. The members are asked only when a run would ask them.
fn planned(text: &str, observed: &Observed, members: &MemberLists) -> Result<Plan, String> {
    let (mut recorded, offline) = records(observed, text)?;
    let asked = plan::needs_member_lists(&offline, observed, &recorded);
    let nobody = MemberLists::default();
    let check = |recorded: &Recorded, members: &MemberLists| {
        plan::check_masters(&offline, recorded, members)
            .map_err(|error| format!("{error} → {}", error.hint()))
    };
    recorded.committed = check(&recorded, if asked { members } else { &nobody })?;
    let plan = plan::diff(&build(text, recorded.clone()), observed);
    if !asked && plan::changes_unrecorded_masters(&offline, &recorded, &plan) {
        check(&recorded, members)?;
    }
    Ok(plan)
}

fn titles(plan: &Plan) -> Vec<String> {
    let steps = |host: &plan::HostPlan| -> Vec<String> {
        host.steps()
            .map(|step| format!("{}: {}", host.host, step.title()))
            .collect()
    };
    plan.hosts.iter().flat_map(steps).collect()
}

/// Hosts and paths of records that the next run with a change writes, with their content.
fn late_records(plan: &Plan) -> Vec<(HostName, String, Vec<u8>)> {
    let mut out = Vec::new();
    for host in &plan.hosts {
        for step in &host.records {
            let Step::Place { files, .. } = step else {
                panic!("{}", step.title())
            };
            let named = files.iter().map(|change| {
                let file = &change.file;
                (host.host.clone(), file.path.clone(), file.content.clone())
            });
            out.extend(named);
        }
    }
    out
}

#[test]
fn creation_records_the_masters_on_every_master() {
    let plan = plan::diff(&wanted(""), &fresh());
    assert_eq!(late_records(&plan), [], "a new host gets them prepared");
    let mut on = Vec::new();
    for host in &plan.hosts {
        for step in &host.prepare {
            let Step::Place { files, .. } = step else {
                continue;
            };
            let written = files.iter().map(|change| &change.file);
            for file in written.filter(|file| file.path == Membership::PATH) {
                let membership = Membership::parse(&file.content).unwrap();
                assert_eq!(
                    membership.to_string(),
                    "serial 1: 1=10.0.0.1 (10.0.0.1), 2=10.0.0.2 (10.0.0.2), 3=10.0.0.3 (10.0.0.3)"
                );
                assert_eq!((membership.cluster_id.as_str(), file.mode), ("0123", 0o644));
                on.push(host.host.clone());
            }
        }
    }
    assert_eq!(on, [host(1), host(2), host(3)]);
}

/// A cluster's id is drawn by each plan until it is recorded, so a saved plan does not hold it.
#[test]
fn saved_creations_are_bound_to_no_id() {
    let saved = |desired: &Desired| {
        plan::SavedPlan::from_plan("dc1", INVENTORY, &plan::diff(desired, &fresh()))
    };
    let first = wanted("");
    let mut second = wanted("");
    for host in &mut second.hosts {
        for file in &mut host.files {
            if [NodeRecord::PATH, Membership::PATH].contains(&file.path.as_str()) {
                let text = String::from_utf8(file.content.clone()).unwrap();
                assert!(text.contains("\"0123\""));
                file.content = text.replace("\"0123\"", "\"4567\"").into_bytes();
            }
        }
    }
    saved(&first).check(&saved(&second)).unwrap();
}

#[test]
fn reordered_masters_get_an_empty_plan() {
    for observed in [running(), made_before()] {
        for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1], [3, 2, 1]] {
            let plan = planned(&with_masters(&order), &observed, &lists(&[])).unwrap();
            assert_eq!(titles(&plan), Vec::<String>::new(), "{order:?}");
        }
    }
    let plan = planned(&with_masters(&[3, 2, 1]), &running(), &lists(&[])).unwrap();
    assert_eq!(late_records(&plan), []);
}

#[test]
fn clusters_made_before_get_their_record_without_a_change() {
    let plan = planned(INVENTORY, &made_before(), &lists(&[])).unwrap();
    assert_eq!(plan.changes(), 0);
    let late = late_records(&plan);
    let hosts: Vec<&HostName> = late.iter().map(|(host, ..)| host).collect();
    assert_eq!(hosts, [&host(1), &host(2), &host(3)]);
    for (_, path, content) in &late {
        assert_eq!(path, Membership::PATH);
        let membership = Membership::parse(content).unwrap();
        assert_eq!(
            (membership.serial, membership.number(&host(3))),
            (1, Some(3))
        );
    }
}

/// The number of a master that is down is known from the others' records, and from the running
/// members where there are none. Guessed by the order of this list, it would be 1 or 4.
#[test]
fn numbers_are_never_guessed() {
    let text = with_masters(&[3, 1, 2]);
    let without_the_third = |mut observed: Observed| {
        observed.remove(&host(3));
        observed
    };
    let observed = without_the_third(running());
    let plan = planned(&text, &observed, &lists(&[])).unwrap();
    assert_eq!(titles(&plan), Vec::<String>::new());

    let observed = without_the_third(made_before());
    let members = lists(&[(1, THREE), (2, THREE)]);
    let plan = planned(&text, &observed, &members).unwrap();
    assert_eq!(titles(&plan), Vec::<String>::new());
    let (_, _, content) = &late_records(&plan)[0];
    assert_eq!(
        Membership::parse(content).unwrap().number(&host(3)),
        Some(3)
    );

    let nobody = MemberLists {
        silent: [(host(1), "conf: connection refused".to_owned())].into(),
        ..MemberLists::default()
    };
    check_snapshot(
        "unknown_member_number",
        &planned(&text, &observed, &nobody).unwrap_err(),
    );
    // The host is there, and its identity is lost.
    let mut observed = made_before();
    let status = observed.get_mut(&host(3)).unwrap();
    status.files.remove(NodeRecord::PATH);
    status.node = None;
    assert!(planned(&text, &observed, &nobody).is_err());
    let plan = planned(&text, &observed, &members).unwrap();
    assert_eq!(titles(&plan), ["10.0.0.3: write 2 files"]);
}

#[test]
fn other_masters_are_refused() {
    let three = lists(&[(1, THREE), (2, THREE), (3, THREE)]);
    let mut texts = Vec::new();
    for observed in [running(), made_before()] {
        let mut observed = observed;
        for n in [6, 7] {
            observed.insert(host(n), empty(n));
        }
        for list in [&[1, 2, 6][..], &[1, 2, 3, 6, 7], &[1, 6, 7]] {
            texts.push(planned(&with_masters(list), &observed, &three).unwrap_err());
        }
    }
    assert_eq!(texts[..3], texts[3..], "the same with and without records");
    check_snapshot(
        "other_masters",
        &texts[..3].join(
            "
",
        ),
    );
}

/// Every number is recorded, and only the running members tell that a master was removed: from a
/// cluster without a record, the plan that results is confirmed by them.
#[test]
fn removed_masters_are_missed_in_clusters_made_before() {
    let five = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.6\", \"10.0.0.7\"]\n";
    let desired = build(five, Recorded::default());
    let offline = build(&with_masters(&[1, 2, 3]), Recorded::default());
    let mut observed = made_before();
    for host in desired.hosts.iter().take(3) {
        let node = serde_json::to_vec(&host.node).unwrap();
        let status = observed.get_mut(&host.name).unwrap();
        status.node = Some(NodeRecord::parse(&node));
        // Their files list five masters.
        status.files.remove("/etc/toots/zookeeper/zoo.cfg");
    }
    let full: &[(u32, u8)] = &[(1, 1), (2, 2), (3, 3), (4, 6), (5, 7)];
    let members = lists(&[(1, full), (2, full), (3, full)]);
    let (recorded, _) = records(&observed, INVENTORY).unwrap();
    assert!(!plan::needs_member_lists(&offline, &observed, &recorded));
    let refused = planned(INVENTORY, &observed, &members).unwrap_err();
    assert!(
        refused.starts_with(
            "masters are 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.6, 10.0.0.7 in the cluster"
        ),
        "{refused}"
    );
}

#[test]
fn moved_masters_are_refused() {
    let mut recorded = running();
    for n in [1, 2, 3] {
        record(&mut recorded, n, |membership| {
            membership.members[1].address = [10, 0, 0, 9].into();
        });
    }
    // The members are asked because their files change.
    let mut unrecorded = made_before();
    for status in unrecorded.values_mut() {
        status.files.remove("/etc/toots/zookeeper/zoo.cfg");
    }
    let moved: &[(u32, u8)] = &[(1, 1), (2, 9), (3, 3)];
    let members = lists(&[(1, moved), (3, moved)]);
    for observed in [recorded, unrecorded] {
        let refused = planned(INVENTORY, &observed, &members).unwrap_err();
        assert_eq!(
            refused,
            "address of master 10.0.0.2 is 10.0.0.9 in the cluster, the inventory says 10.0.0.2: \
             toots does not change the address of a master yet → set address in \
             [hosts.10.0.0.2] back to 10.0.0.9"
        );
    }
}

#[test]
fn a_master_that_became_a_slave_is_a_changed_set() {
    let text = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.5\"]\nslaves = [\"10.0.0.3\"]\n";
    for observed in [running(), made_before()] {
        let refused = planned(text, &observed, &lists(&[])).unwrap_err();
        assert!(
            refused.starts_with("masters are 10.0.0.1, 10.0.0.2, 10.0.0.3 in the cluster"),
            "{refused}"
        );
    }
}

/// Before the first proof nothing depends on the set. Numbers are not given twice all the same.
#[test]
fn creation_may_change_the_set() {
    let mut observed = fresh();
    let prepared = running();
    for n in [1, 2] {
        let (from, to) = (&prepared[&host(n)], observed.get_mut(&host(n)).unwrap());
        (to.node, to.membership) = (from.node.clone(), from.membership.clone());
    }
    observed.insert(host(6), empty(6));
    let text = with_masters(&[6, 1, 2]);
    planned(&text, &observed, &lists(&[])).unwrap();
    let (recorded, _) = records(&observed, &text).unwrap();
    let desired = build(&text, recorded);
    let content = desired.hosts[0].files.iter();
    let file = content
        .filter(|file| file.path == Membership::PATH)
        .map(|file| Membership::parse(&file.content).unwrap().to_string());
    assert_eq!(
        file.collect::<Vec<_>>(),
        [
            "serial 2: 1=10.0.0.1 (10.0.0.1), 2=10.0.0.2 (10.0.0.2), 4=10.0.0.6 (10.0.0.6); \
          retired 3=10.0.0.3 (10.0.0.3)"
        ]
    );
}

#[test]
fn stale_and_missing_records_are_brought_up_by_a_run_with_a_change() {
    let mut observed = running();
    for n in [1, 2] {
        record(&mut observed, n, |membership| membership.serial = 2);
    }
    let status = observed.get_mut(&host(2)).unwrap();
    status.membership = None;
    status.files.remove(Membership::PATH);
    let members = lists(&[(1, THREE), (3, THREE)]);
    let plan = planned(INVENTORY, &observed, &members).unwrap();
    assert_eq!(plan.changes(), 0);
    let late = late_records(&plan);
    let hosts: Vec<&HostName> = late.iter().map(|(host, ..)| host).collect();
    assert_eq!(hosts, [&host(2), &host(3)]);
    for (_, _, content) in &late {
        assert_eq!(Membership::parse(content).unwrap().serial, 2);
    }
}

/// The newest record is not followed when the running members are others.
#[test]
fn unconfirmed_records_are_refused() {
    let mut observed = running();
    record(&mut observed, 1, |membership| {
        membership.serial = 2;
        membership.members[2].number = 4;
    });
    observed.remove(&host(3));
    let contradicting = lists(&[(1, THREE), (2, THREE)]);
    check_snapshot(
        "unconfirmed_master_record",
        &planned(INVENTORY, &observed, &contradicting).unwrap_err(),
    );
    let confirming: &[(u32, u8)] = &[(1, 1), (2, 2), (4, 3)];
    // The member that missed the change still lists the former masters.
    let members = lists(&[(1, confirming), (2, confirming), (3, THREE)]);
    planned(INVENTORY, &observed, &members).unwrap();
    let divided = lists(&[(1, confirming), (2, THREE)]);
    planned(INVENTORY, &observed, &divided).unwrap_err();
}

#[test]
fn contradicting_records_are_refused() {
    let refused = |change: &dyn Fn(&mut Observed)| {
        let mut observed = running();
        change(&mut observed);
        records(&observed, INVENTORY).map(drop).unwrap_err()
    };
    let texts = [
        refused(&|observed| record(observed, 2, |m| m.members[1].address = [10, 0, 0, 9].into())),
        refused(&|observed| record(observed, 2, |m| m.cluster_id = "4567".into())),
        refused(&|observed| {
            let node = observed.get_mut(&host(2)).unwrap().node.as_mut().unwrap();
            node.as_mut().unwrap().cluster_id = "4567".into();
        }),
        refused(&|observed| {
            let node = observed.get_mut(&host(2)).unwrap().node.as_mut().unwrap();
            node.as_mut().unwrap().member = Some(4);
        }),
        refused(&|observed| {
            observed.remove(&host(3));
            let node = observed.get_mut(&host(4)).unwrap().node.as_mut().unwrap();
            node.as_mut().unwrap().member = Some(3);
        }),
        refused(&|observed| {
            let status = observed.get_mut(&host(2)).unwrap();
            status.membership = Some(Membership::parse(b"{}"));
        }),
        refused(&|observed| {
            let status = observed.get_mut(&host(2)).unwrap();
            status.membership = Some(Membership::parse(br#"{"format":2}"#));
        }),
    ];
    check_snapshot("contradicting_master_records", &texts.join("\n"));
}
