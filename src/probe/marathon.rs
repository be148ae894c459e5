//! Marathon. A standby proxies everything, including `/ping`, and everything looks healthy without
//! a Mesos master. The leader is therefore taken from `/v2/leader` of each instance, and Mesos must
//! list the framework of `/v2/info` as active.

use std::sync::Arc;

use futures::future::join_all;
use serde::Deserialize;

use super::answer::{Answer, ProbeError, is_member, show, split_authority};
use super::framework::{self, Framework};
use super::http::{Http, Reply};
use super::tally::Tally;
use super::{Member, ProbeContext, Verdict};
use crate::spec::HostName;

/// An instance's answer about itself (or the leader's, through it).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Version.
    #[serde(default)]
    pub version: String,
    /// Framework id; absent until it has registered with Mesos once.
    #[serde(default)]
    pub framework_id: Option<String>,
}

/// The answers of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// `/v2/leader`: `host:port`.
    pub leader: Answer<String>,
    /// `X-Marathon-Leader` of that answer.
    pub header: Option<String>,
    /// Whether the answer was proxied (`X-Marathon-Via`), so the instance is a standby.
    pub proxied: bool,
    /// `/v2/info`.
    pub info: Answer<Info>,
}

/// Parses the answer of Marathon or Chronos to a question for the leader.
///
/// # Errors
/// When there is no leader, or the form is unexpected.
pub fn parse_leader(reply: &Reply, question: &str) -> Answer<String> {
    #[derive(Deserialize)]
    struct Body {
        leader: String,
    }
    if reply.status != 200 {
        return Err(reply.unwanted(question));
    }
    let body: Body = reply.json(question)?;
    if split_authority(&body.leader).is_none() {
        return Err(ProbeError::malformed(question, "no leader", &reply.body));
    }
    Ok(body.leader)
}

/// Queries every instance and every Mesos master in parallel.
pub async fn read(
    members: &[Member],
    context: &ProbeContext,
) -> (Vec<Option<Answers>>, Answer<Vec<Framework>>) {
    let instances = join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        let mut http = Http::new(
            Arc::clone(session),
            member.address.to_string(),
            context.ports.marathon,
            context.deadline,
        );
        Some(ask_instance(&mut http).await)
    }));
    tokio::join!(instances, framework::read(context))
}

async fn ask_instance(http: &mut Http) -> Answers {
    const PATH: &str = "/v2/leader";
    match http.get(PATH).await {
        Ok(reply) => Answers {
            leader: parse_leader(&reply, PATH),
            header: reply.header("x-marathon-leader").map(str::to_owned),
            proxied: reply.header("x-marathon-via").is_some(),
            info: if reply.status == 200 {
                http.get_json("/v2/info").await
            } else {
                Err(reply.unwanted(PATH))
            },
        },
        Err(error) => Answers {
            leader: Err(error.clone()),
            header: None,
            proxied: false,
            info: Err(error),
        },
    }
}

/// Judges the answers, one per member in the same order, and the frameworks in Mesos.
#[must_use]
pub fn judge(
    members: &[Member],
    answers: &[Option<Answers>],
    frameworks: &Answer<Vec<Framework>>,
) -> Verdict {
    let mut tally = Tally::new("marathon", members);
    let leader = {
        let named: Vec<(&Member, &Answer<String>)> = members
            .iter()
            .zip(answers)
            .filter_map(|(m, a)| Some((m, &a.as_ref()?.leader)))
            .collect();
        agree(&mut tally, members, &named)
    };
    for (member, answers) in members.iter().zip(answers) {
        if let Some(answers) = answers {
            judge_instance(&mut tally, member, answers, leader.as_ref());
        }
    }
    let ids: Vec<&str> = answers
        .iter()
        .flatten()
        .filter_map(|a| a.info.as_ref().ok()?.framework_id.as_deref())
        .collect();
    if leader.is_some() && ids.is_empty() {
        tally.cluster_fault("never registered with Mesos: no frameworkId");
    }
    if let Some(id) = ids.first() {
        match frameworks {
            Ok(list) => match list.iter().find(|f| f.id == *id) {
                Some(f) if f.active && f.connected => {}
                Some(_) => tally.cluster_fault(format!(
                    "framework {} is not active in Mesos",
                    show(id.as_bytes())
                )),
                None => tally.cluster_fault(format!(
                    "framework {} is unknown to Mesos",
                    show(id.as_bytes())
                )),
            },
            Err(error) => tally.cluster_fault(format!(
                "Mesos cannot say whether the framework is active: {error}"
            )),
        }
    }
    if ids.iter().any(|id| Some(id) != ids.first()) {
        tally.cluster_fault("instances report several frameworks");
    }
    tally.leader(leader);
    tally.finish(|_| String::new(), "active framework")
}

fn judge_instance(
    tally: &mut Tally,
    member: &Member,
    answers: &Answers,
    leader: Option<&HostName>,
) {
    let host = &member.host;
    let leads = leader == Some(host);
    tally.role(
        host,
        if leads {
            "leader"
        } else if answers.leader.is_ok() {
            "standby"
        } else {
            "unknown"
        },
    );
    match &answers.info {
        Ok(info) => tally.version(host, &info.version),
        Err(error) => tally.fault(host, error.to_string()),
    }
    if let Ok(said) = &answers.leader {
        if leads && answers.proxied {
            tally.fault(host, "is named as leader but forwards requests");
        }
        let header = answers
            .header
            .as_deref()
            .and_then(|h| h.split_once("//"))
            .map(|(_, rest)| rest.trim_end_matches('/'));
        if header.is_some_and(|h| h != said) {
            tally.fault(
                host,
                format!(
                    "/v2/leader names {}, X-Marathon-Leader {}",
                    show(said.as_bytes()),
                    show(header.unwrap_or("").as_bytes())
                ),
            );
        }
    }
}

/// The leader that all instances name; used for Chronos too.
pub(super) fn agree(
    tally: &mut Tally,
    members: &[Member],
    named: &[(&Member, &Answer<String>)],
) -> Option<HostName> {
    for (member, answer) in named {
        if let Err(error) = answer {
            tally.fault(&member.host, error.to_string());
        }
    }
    let said: Vec<(&Member, &String)> = named
        .iter()
        .filter_map(|(m, a)| Some((*m, a.as_ref().ok()?)))
        .collect();
    let Some((_, first)) = said.first() else {
        tally.cluster_fault("no instance names a leader");
        return None;
    };
    if said.iter().any(|(_, s)| s != first) {
        for (member, other) in &said {
            tally.fault(
                &member.host,
                format!(
                    "names {} as leader, others name another instance",
                    show(other.as_bytes())
                ),
            );
        }
        return None;
    }
    let host = split_authority(first).map_or("", |(h, _)| h);
    match members.iter().find(|m| is_member(m, host)) {
        Some(leader) if leader.session.is_some() => Some(leader.host.clone()),
        Some(leader) => {
            tally.cluster_fault(format!(
                "{} is named as leader but is unreachable",
                leader.host
            ));
            None
        }
        None => {
            tally.cluster_fault(format!(
                "{} is named as leader but is not configured",
                show(first.as_bytes())
            ));
            None
        }
    }
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &ProbeContext) -> Verdict {
    let (answers, frameworks) = read(members, context).await;
    judge(members, &answers, &frameworks)
}
