//! HAProxy: each edge answers by itself at its entrance and on its statistics page, and leads to the canary where there is one.

use std::sync::Arc;

use futures::future::join_all;

use super::answer::{Answer, ProbeError};
use super::http::Http;
use super::tally::Tally;
use super::{Context, Member, Route, Verdict, tcp};
use crate::transport::{Session, Target};

/// What one edge answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Status at the entrance.
    pub entrance: Answer<u16>,
    /// Proxies on the statistics page.
    pub stats: Answer<usize>,
    /// Version from the runtime socket, when that is asked.
    pub version: Option<Answer<String>>,
    /// Whether the canary answered, when there is one.
    pub route: Option<Answer<()>>,
}

/// Counts the proxies in the statistics page's CSV.
///
/// # Errors
/// When it is not that.
pub fn parse_stats(body: &[u8]) -> Answer<usize> {
    let text = String::from_utf8_lossy(body);
    let mut lines = text.lines();
    if !lines.next().is_some_and(|l| l.starts_with("# pxname,svname")) {
        return Err(ProbeError::malformed("/;csv", "no statistics", body));
    }
    Ok(lines.filter(|l| matches!(l.split(',').nth(1), Some("FRONTEND" | "BACKEND"))).count())
}

/// Reads `Version:` of `show info`.
///
/// # Errors
/// When it is not there.
pub fn parse_info(body: &[u8]) -> Answer<String> {
    let text = String::from_utf8_lossy(body);
    text.lines()
        .find_map(|l| l.strip_prefix("Version:"))
        .map(|v| v.trim().to_owned())
        .ok_or_else(|| ProbeError::malformed("show info", "no version", body))
}

/// Asks every edge at once; `None` for one that is down.
pub async fn read(members: &[Member], context: &Context) -> Vec<Option<Answers>> {
    join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_edge(session, member, context).await)
    }))
    .await
}

async fn ask_edge(session: &Arc<dyn Session>, member: &Member, context: &Context) -> Answers {
    let address = member.address.to_string();
    let mut http = Http::new(Arc::clone(session), address.clone(), context.ports.haproxy, context.deadline);
    let entrance = async {
        let status = http.get("/").await.map(|r| r.status);
        let route = match &context.route {
            Some(route) => Some(follow(&mut http, route).await),
            None => None,
        };
        (status, route)
    };
    let stats = async {
        const PATH: &str = "/;csv";
        let mut http = Http::new(Arc::clone(session), address.clone(), context.ports.haproxy_stats, context.deadline)
            .with_login(context.haproxy_login.as_ref());
        parse_stats(&http.get(PATH).await?.ok(PATH)?.body)
    };
    let version = async {
        let path = context.haproxy_socket.clone()?;
        let info = tcp::exchange(session, Target::Unix { path }, "show info\n", None, context.deadline).await;
        Some(info.and_then(|b| parse_info(&b)))
    };
    let ((entrance, route), stats, version) = tokio::join!(entrance, stats, version);
    Answers { entrance, stats, version, route }
}

async fn follow(http: &mut Http, route: &Route) -> Answer<()> {
    let question = format!("{} for {}", route.path, route.host);
    let reply = http.get_as(&route.host, &route.path).await?.ok(&question)?;
    let found = reply.body.windows(route.expect.len().max(1)).any(|w| w == route.expect.as_bytes());
    if found || route.expect.is_empty() { Ok(()) } else { Err(ProbeError::malformed(&question, "not the canary's answer", &reply.body)) }
}

/// Judges the answers, one per edge in the same order.
#[must_use]
pub fn judge(members: &[Member], answers: &[Option<Answers>]) -> Verdict {
    let mut tally = Tally::leaderless("haproxy", members);
    let mut routed = Vec::new();
    for (member, answers) in members.iter().zip(answers) {
        let Some(answers) = answers else { continue };
        let host = &member.host;
        tally.role(host, "edge");
        if let Err(error) = &answers.entrance {
            tally.fault(host, error.to_string());
        }
        if let Err(error) = &answers.stats {
            tally.fault(host, error.to_string());
        }
        match &answers.version {
            Some(Ok(version)) => tally.version(host, version),
            Some(Err(error)) => tally.fault(host, error.to_string()),
            None => {}
        }
        match &answers.route {
            Some(Ok(())) => routed.push(host.as_str()),
            Some(Err(error)) => tally.fault(host, error.to_string()),
            None => {}
        }
    }
    let proof = if routed.is_empty() {
        "answers on each edge".to_owned()
    } else {
        format!("canary answered through {}", super::tally::list(&routed))
    };
    tally.finish(|_| String::new(), &proof)
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &Context) -> Verdict {
    judge(members, &read(members, context).await)
}
