//! Chronos. Instances are queried one after the other, and standbys only when the leader has just
//! answered.
//!
//! A request to a standby at the moment when the leader's node disappears ends that standby
//! (measured with Chronos 3.0.2). Mesos is therefore queried first: whether it holds an active
//! Chronos framework, and on which host its leader runs. That instance is queried next, and the
//! others only when it names itself as leader.

use std::sync::Arc;

use futures::future::join_all;

use super::answer::{Answer, ProbeError, show, split_authority};
use super::framework::{self, Framework, runs_on};
use super::http::{Http, Reply};
use super::tally::Tally;
use super::{Member, ProbeContext, Verdict, marathon};

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The frameworks that Mesos lists.
    pub frameworks: Answer<Vec<Framework>>,
    /// The leader that each instance names; `None` for an instance that is down.
    pub leaders: Vec<Option<Answer<String>>>,
}

/// The active Chronos frameworks in Mesos.
fn active(frameworks: &[Framework]) -> Vec<&Framework> {
    // The name is `chronos` or `chronos-<version>` unless `--mesos_framework_name` changes it.
    frameworks
        .iter()
        .filter(|f| f.active && f.connected && f.name.to_lowercase().starts_with("chronos"))
        .collect()
}

/// Queries Mesos, then the leader, then the others.
pub async fn read(members: &[Member], context: &ProbeContext) -> Reading {
    // A connection alone sends no request and harms no standby, so it is opened while Mesos is
    // queried.
    let mut ways: Vec<Option<Http>> = members
        .iter()
        .map(|member| {
            let session = Arc::clone(member.session.as_ref()?);
            Some(Http::new(
                session,
                member.address.to_string(),
                context.ports.chronos,
                context.deadline,
            ))
        })
        .collect();
    let knocks = join_all(ways.iter_mut().flatten().map(Http::connect_early));
    let (frameworks, _) = tokio::join!(framework::read(context), knocks);
    let not_asked = |why: &str| {
        members
            .iter()
            .map(|m| {
                m.session
                    .as_ref()
                    .map(|_| Err(ProbeError::NotAsked(why.to_owned())))
            })
            .collect()
    };
    let first = match &frameworks {
        Ok(list) => match active(list).as_slice() {
            [one] => runs_on(members, &one.hostname).map_or(0, |m| {
                members.iter().position(|o| o.host == m.host).unwrap_or(0)
            }),
            _ => {
                return Reading {
                    leaders: not_asked(
                        "Mesos lists no active Chronos framework, and a request could stop a standby",
                    ),
                    frameworks,
                };
            }
        },
        Err(_) => {
            return Reading {
                leaders: not_asked(
                    "Mesos cannot say which instance leads, and a request could stop a standby",
                ),
                frameworks,
            };
        }
    };
    let mut leaders: Vec<Option<Answer<String>>> =
        not_asked("the leader did not answer, and a request could stop a standby");
    let Some(Some(way)) = ways.get_mut(first) else {
        return Reading {
            frameworks,
            leaders,
        };
    };
    let answer = ask_instance(way).await;
    let goes_on = answer.is_ok();
    leaders[first] = Some(answer);
    if goes_on {
        let others = ways
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| *index != first);
        let answers = join_all(others.filter_map(|(index, way)| {
            way.as_mut()
                .map(|way| async move { (index, ask_instance(way).await) })
        }))
        .await;
        for (index, answer) in answers {
            leaders[index] = Some(answer);
        }
    }
    Reading {
        frameworks,
        leaders,
    }
}

async fn ask_instance(http: &mut Http) -> Answer<String> {
    // 3.x answers under /v1, 2.x without it; the other prefix returns 404 and is harmless.
    const PATHS: [&str; 2] = ["/v1/scheduler/leader", "/scheduler/leader"];
    let mut reply: Reply = http.get(PATHS[0]).await?;
    if reply.status == 404 {
        reply = http.get(PATHS[1]).await?;
    }
    marathon::parse_leader(&reply, PATHS[0])
}

/// Judges the answers.
#[must_use]
pub fn judge(members: &[Member], reading: &Reading) -> Verdict {
    let mut tally = Tally::new("chronos", members);
    let mut host = None;
    match &reading.frameworks {
        Ok(list) => match active(list).as_slice() {
            [one] => host = Some(one.hostname.clone()),
            [] => tally.cluster_fault("Mesos lists no active Chronos framework"),
            several => tally.cluster_fault(format!(
                "Mesos lists {} active Chronos frameworks",
                several.len()
            )),
        },
        Err(error) => tally.cluster_fault(format!(
            "Mesos cannot say whether the framework is active: {error}"
        )),
    }
    let named: Vec<(&Member, &Answer<String>)> = members
        .iter()
        .zip(&reading.leaders)
        .filter_map(|(m, a)| Some((m, a.as_ref()?)))
        .collect();
    let leader = marathon::agree(&mut tally, members, &named);
    for (member, answer) in &named {
        let leads = leader.as_ref() == Some(&member.host);
        tally.role(
            &member.host,
            if leads {
                "leader"
            } else if answer.is_ok() {
                "standby"
            } else {
                "unknown"
            },
        );
    }
    if let (Some(leader), Some(runs)) = (&leader, host.as_deref().and_then(|h| runs_on(members, h)))
        && &runs.host != leader
    {
        let said = named
            .iter()
            .find_map(|(_, a)| a.as_ref().ok())
            .and_then(|l| split_authority(l))
            .map_or("", |(h, _)| h);
        tally.cluster_fault(format!(
            "names {} as leader, but the framework in Mesos is on {}",
            show(said.as_bytes()),
            runs.host
        ));
    }
    tally.leader(leader);
    tally.finish(|_| String::new(), "active framework")
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &ProbeContext) -> Verdict {
    judge(members, &read(members, context).await)
}
