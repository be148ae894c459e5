//! The frameworks that the leading Mesos master lists as active: Marathon and Chronos look healthy
//! even without a Mesos master.

use std::sync::Arc;

use futures::future::join_all;
use serde::Deserialize;

use super::answer::{Answer, ProbeError};
use super::http::{Http, Reply};
use super::{Member, ProbeContext};

/// A framework as the leading master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framework {
    pub id: String,
    /// The name that it registered.
    pub name: String,
    /// The host that it registered: where its leader runs.
    pub hostname: String,
    /// Registered and not failed over.
    pub active: bool,
    /// Connected now.
    pub connected: bool,
}

/// Parses the answer to `GET_FRAMEWORKS`; `None` from a master that does not lead.
///
/// # Errors
/// When the master is not ready, or the form is unexpected.
pub fn parse_frameworks(reply: &Reply) -> Answer<Option<Vec<Framework>>> {
    #[derive(Deserialize)]
    struct Id {
        value: String,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        id: Option<Id>,
        #[serde(default)]
        name: String,
        #[serde(default)]
        hostname: String,
    }
    #[derive(Deserialize)]
    struct Entry {
        framework_info: Info,
        active: bool,
        connected: bool,
    }
    #[derive(Deserialize, Default)]
    struct List {
        #[serde(default)]
        frameworks: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        get_frameworks: List,
    }
    const QUESTION: &str = "GET_FRAMEWORKS";
    match reply.status {
        200 => {
            let body: Body = reply.json(QUESTION)?;
            let list = body
                .get_frameworks
                .frameworks
                .into_iter()
                .map(|f| Framework {
                    id: f.framework_info.id.map(|i| i.value).unwrap_or_default(),
                    name: f.framework_info.name,
                    hostname: f.framework_info.hostname,
                    active: f.active,
                    connected: f.connected,
                });
            Ok(Some(list.collect()))
        }
        307 => Ok(None),
        _ => Err(reply.unwanted(QUESTION)),
    }
}

/// Queries all masters in parallel and returns the frameworks of the leading one.
///
/// # Errors
/// When no master, or more than one, answers as leader.
pub async fn read(context: &ProbeContext) -> Answer<Vec<Framework>> {
    if context.mesos_masters.is_empty() {
        return Err(ProbeError::NotAsked(
            "no Mesos masters known; only they know whether a framework is active".into(),
        ));
    }
    let answers = join_all(
        context
            .mesos_masters
            .iter()
            .filter_map(|m| Some((m, m.session.as_ref()?)))
            .map(|(member, session)| async move {
                let mut http = Http::new(
                    Arc::clone(session),
                    member.address.to_string(),
                    context.ports.mesos,
                    context.deadline,
                );
                parse_frameworks(&http.post("/api/v1", r#"{"type":"GET_FRAMEWORKS"}"#).await?)
            }),
    )
    .await;
    let mut leading: Vec<Vec<Framework>> = Vec::new();
    let mut why = None;
    for answer in answers {
        match answer {
            Ok(Some(frameworks)) => leading.push(frameworks),
            Ok(None) => {}
            Err(error) => why = Some(error),
        }
    }
    match (leading.len(), leading.pop()) {
        (1, Some(frameworks)) => Ok(frameworks),
        (0, _) => Err(why.unwrap_or_else(|| ProbeError::NotAsked("no Mesos master leads".into()))),
        (n, _) => Err(ProbeError::NotAsked(format!(
            "{n} Mesos masters answer as leader"
        ))),
    }
}

/// The member whose address or name a framework or a leader registered as its host.
pub(super) fn runs_on<'a>(members: &'a [Member], hostname: &str) -> Option<&'a Member> {
    members
        .iter()
        .find(|m| super::answer::is_member(m, hostname))
}
