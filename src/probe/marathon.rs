//! Marathon: a standby proxies everything, `/ping` too, and all is green without any Mesos master; so the leader is taken from
//! `/v2/leader` of each, and Mesos must hold the framework of `/v2/info` as active.

use std::sync::Arc;

use futures::future::join_all;
use serde::Deserialize;

use super::answer::{Answer, ProbeError, is_member, show, split_authority};
use super::framework::{self, Framework};
use super::http::{Http, Reply};
use super::tally::Tally;
use super::{Context, Member, Verdict};
use crate::spec::HostName;

/// What an instance (or the leader through it) says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Version.
    #[serde(default)]
    pub version: String,
    /// Its framework's id; absent until it has registered with Mesos once.
    #[serde(default)]
    pub framework_id: Option<String>,
}

/// What one instance answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// `/v2/leader`: `host:port`.
    pub leader: Answer<String>,
    /// `X-Marathon-Leader` of that answer.
    pub header: Option<String>,
    /// Whether the answer came through a proxy (`X-Marathon-Via`): it is a standby.
    pub proxied: bool,
    /// `/v2/info`.
    pub info: Answer<Info>,
}

/// Reads the answer to a leader question of Marathon or Chronos.
///
/// # Errors
/// When there is no leader or the answer is of another form.
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

/// Asks every instance and every Mesos master at once.
pub async fn read(
    members: &[Member],
    context: &Context,
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

/// Judges the answers, one per member in the same order, and what Mesos holds.
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
        tally.general("it has never registered with Mesos: no frameworkId");
    }
    if let Some(id) = ids.first() {
        match frameworks {
            Ok(list) => match list.iter().find(|f| f.id == *id) {
                Some(f) if f.active && f.connected => {}
                Some(_) => tally.general(format!(
                    "Mesos holds its framework {} as not active",
                    show(id.as_bytes())
                )),
                None => tally.general(format!(
                    "Mesos does not know its framework {}",
                    show(id.as_bytes())
                )),
            },
            Err(error) => tally.general(format!(
                "Mesos cannot say whether its framework is active: {error}"
            )),
        }
    }
    if ids.iter().any(|id| Some(id) != ids.first()) {
        tally.general("its instances have several frameworks");
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
            tally.fault(host, "it is named as leader and passes its questions on");
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

/// The leader that all name; used for Chronos too.
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
        tally.general("no instance names a leader");
        return None;
    };
    if said.iter().any(|(_, s)| s != first) {
        for (member, other) in &said {
            tally.fault(
                &member.host,
                format!(
                    "it names {} as leader, others name another",
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
            tally.general(format!("{} is named as leader, which is down", leader.host));
            None
        }
        None => {
            tally.general(format!(
                "{} is named as leader, which is not configured",
                show(first.as_bytes())
            ));
            None
        }
    }
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &Context) -> Verdict {
    let (answers, frameworks) = read(members, context).await;
    judge(members, &answers, &frameworks)
}
