//! Judges the answers of ZooKeeper's members. Sends no request.

use std::collections::BTreeMap;

use super::{Answers, Comparison};
use crate::probe::answer::{is_member, show};
use crate::probe::tally::Tally;
use crate::probe::{Member, Verdict};
use crate::spec::HostName;

/// Judges the answers, one per member in the same order; `None` for a member that is down.
#[must_use]
pub fn judge(members: &[Member], answers: &[Option<Answers>], comparison: &Comparison) -> Verdict {
    let mut tally = Tally::new("zookeeper", members);
    for (member, answers) in members.iter().zip(answers) {
        if let Some(answers) = answers {
            judge_member(&mut tally, members, member, answers);
            judge_data(&mut tally, member, answers, comparison);
        }
    }
    if let Some(at) = comparison.at.filter(|_| comparison.split) {
        tally.cluster_note(format!(
            "the members' data differ at transaction {at:#x}, and no majority holds the same"
        ));
    }
    let leader = agree_on_leader(&mut tally, members, answers);
    if let Some(leader) = &leader {
        for (member, answers) in members.iter().zip(answers) {
            if let Some(answers) = answers {
                follows(&mut tally, members, member, answers, leader);
            }
        }
    }
    tally.leader(leader);
    tally.finish(
        |synced| format!("{} synced", synced.saturating_sub(1)),
        "every member votes (read-only check)",
    )
}

/// Judges everything that one member reports about itself.
fn judge_member(tally: &mut Tally, members: &[Member], member: &Member, answers: &Answers) {
    let host = &member.host;
    match &answers.monitor {
        Ok(monitor) => {
            tally.version(host, &monitor.version);
            tally.role(host, &monitor.state);
            if !matches!(monitor.state.as_str(), "leader" | "follower") {
                tally.fault(
                    host,
                    format!(
                        "mode is {}, must be a member of a quorum",
                        show(monitor.state.as_bytes())
                    ),
                );
            }
            if monitor.quorum_size != Some(members.len()) {
                let size = monitor
                    .quorum_size
                    .map_or_else(|| "no".to_owned(), |s| s.to_string());
                tally.fault(
                    host,
                    format!(
                        "ensemble has {size} members, {} are configured",
                        members.len()
                    ),
                );
            }
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    match &answers.zab {
        Ok(zab) => {
            if !zab.voting || zab.zabstate != "broadcast" {
                let state = if zab.zabstate.is_empty() {
                    "unknown state".to_owned()
                } else {
                    show(zab.zabstate.as_bytes())
                };
                let voting = if zab.voting { "voting" } else { "not voting" };
                tally.fault(
                    host,
                    format!("{voting}, {state} instead of voting in broadcast"),
                );
            }
            check_number(tally, member, zab.myid, "zabstate");
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    match &answers.conf {
        Ok(conf) => {
            check_number(tally, member, Some(conf.id), "conf");
            tally.committed(conf.servers.values().cloned());
            check_list(tally, members, member, &conf.servers, "lists");
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    match &answers.view {
        Ok(view) => {
            tally.committed(view.values().cloned());
            check_list(tally, members, member, view, "sees as voters");
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    if let Err(error) = &answers.leader {
        tally.fault(host, error.to_string());
    }
}

/// A count of mismatches never goes back, so it is no fault by itself: what counts is whether the
/// data differ now.
fn judge_data(tally: &mut Tally, member: &Member, answers: &Answers, comparison: &Comparison) {
    let host = &member.host;
    let count = answers.monitor.as_ref().map_or(0, |m| m.digest_mismatches);
    match comparison.at {
        Some(at) if comparison.different.contains(host) => tally.different(
            host,
            format!("its data differ from the majority's at transaction {at:#x}"),
        ),
        _ if count == 0 => {}
        Some(at) if comparison.compared.contains(host) && !comparison.split => tally.remark(
            host,
            &format!("{count} digest mismatches are in its log; at transaction {at:#x} its data are the majority's"),
        ),
        _ => tally.remark(
            host,
            &format!("{count} digest mismatches; its data could not be compared with the others'"),
        ),
    }
}

fn check_number(tally: &mut Tally, member: &Member, said: Option<u32>, question: &str) {
    if let (Some(expected), Some(said)) = (member.member.map(u32::from), said)
        && expected != said
    {
        tally.fault(
            &member.host,
            format!("server id is {said} in {question}, {expected} is recorded"),
        );
    }
}

/// The list must contain exactly the configured members, each under its recorded number.
fn check_list(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    list: &BTreeMap<u32, String>,
    says: &str,
) {
    let right = list.len() == members.len()
        && members.iter().all(|m| match m.member {
            Some(number) => list
                .get(&u32::from(number))
                .is_some_and(|host| is_member(m, host)),
            None => list.values().any(|host| is_member(m, host)),
        });
    if !right {
        let text: Vec<String> = list
            .iter()
            .map(|(id, host)| format!("{id}={}", show(host.as_bytes())))
            .collect();
        let text = if text.is_empty() {
            "nobody".to_owned()
        } else {
            text.join(" ")
        };
        tally.fault(
            &member.host,
            format!("{says} {text}, configured are {}", configured(members)),
        );
    }
}

fn configured(members: &[Member]) -> String {
    let text: Vec<String> = members
        .iter()
        .map(|m| {
            m.member.map_or_else(
                || m.address.to_string(),
                |number| format!("{number}={}", m.address),
            )
        })
        .collect();
    text.join(" ")
}

/// The only member that reports itself as leader. More than one is a split, and then there is no
/// leader.
fn agree_on_leader(
    tally: &mut Tally,
    members: &[Member],
    answers: &[Option<Answers>],
) -> Option<HostName> {
    let leads = |a: &Answers| a.monitor.as_ref().is_ok_and(|m| m.state == "leader");
    let leaders: Vec<&Member> = members
        .iter()
        .zip(answers)
        .filter(|(_, a)| a.as_ref().is_some_and(leads))
        .map(|(member, _)| member)
        .collect();
    match leaders.as_slice() {
        [one] => Some(one.host.clone()),
        [] => {
            tally.cluster_fault("no member leads");
            None
        }
        several => {
            for member in several {
                tally.fault(
                    &member.host,
                    format!("leads, as {} members do", several.len()),
                );
            }
            None
        }
    }
}

fn follows(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    answers: &Answers,
    leader: &HostName,
) {
    let Ok(said) = &answers.leader else { return };
    if said.is_leader != (&member.host == leader) {
        tally.fault(
            &member.host,
            format!("follows member {}, others follow {leader}", said.leader_id),
        );
        return;
    }
    let expected = members
        .iter()
        .find(|m| &m.host == leader)
        .and_then(|m| m.member)
        .map(u32::from);
    if expected.is_some_and(|number| number != said.leader_id) {
        tally.fault(
            &member.host,
            format!("follows member {}, others follow {leader}", said.leader_id),
        );
    }
}
