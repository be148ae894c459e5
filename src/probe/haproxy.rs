//! HAProxy: each edge answers on its frontend and its statistics page, serves the newest
//! configuration, and routes to the canary when there is one. The newest configuration is checked
//! because an edge that could not load it continues with the previous one and answers like a
//! healthy edge.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::answer::{Answer, ProbeError, show};
use super::http::Http;
use super::tally::Tally;
use super::{Member, ProbeContext, Route, Verdict};
use crate::host::{HostSession, OperationError, ReadState, ServiceState};

/// A reload takes less than a second; after this long the workers have the configuration or never
/// will.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);

/// The answers of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// HTTP status of the frontend.
    pub entrance: Answer<u16>,
    /// Proxies on the statistics page.
    pub stats: Answer<usize>,
    /// The newest configuration and the one in use, when requested.
    pub configuration: Option<Answer<Configuration>>,
    /// Whether the canary answered, when there is one.
    pub route: Option<Answer<()>>,
}

/// Counts the proxies in the statistics page's CSV.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_stats(body: &[u8]) -> Answer<usize> {
    let text = String::from_utf8_lossy(body);
    let mut lines = text.lines();
    if !lines
        .next()
        .is_some_and(|l| l.starts_with("# pxname,svname"))
    {
        return Err(ProbeError::malformed("/;csv", "no statistics", body));
    }
    Ok(lines
        .filter(|l| matches!(l.split(',').nth(1), Some("FRONTEND" | "BACKEND")))
        .count())
}

/// The state of the newest configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newest {
    /// Accepted; its number.
    Taken(String),
    /// Refused; HAProxy's own words.
    Refused(String),
}

/// The newest configuration and the one in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Its fate.
    pub newest: Newest,
    /// Time since that state was reached.
    pub since: Duration,
    /// The number of the configuration that the workers serve.
    pub served: String,
}

/// Parses the edge's record (`TIME taken NUMBER` or `TIME refused WHY`).
///
/// # Errors
/// When the form is unexpected.
pub fn parse_state(state: &ServiceState) -> Answer<(Newest, Duration)> {
    let text = String::from_utf8_lossy(&state.record);
    let read = || {
        let mut words = text.trim_end().splitn(3, ' ');
        let (at, result, detail) = (
            words.next()?.parse::<jiff::Timestamp>().ok()?,
            words.next()?,
            words.next()?.to_owned(),
        );
        let newest = match result {
            "taken" => Newest::Taken(detail),
            "refused" => Newest::Refused(detail),
            _ => return None,
        };
        Some((
            newest,
            Duration::try_from(state.now.duration_since(at)).unwrap_or_default(),
        ))
    };
    read().ok_or_else(|| ProbeError::malformed(NEWEST, "no record", &state.record))
}

/// Queries every edge in parallel; `None` for one that is down.
pub async fn read(members: &[Member], context: &ProbeContext) -> Vec<Option<Answers>> {
    join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_edge(session, member, context).await)
    }))
    .await
}

async fn ask_edge(
    session: &Arc<dyn HostSession>,
    member: &Member,
    context: &ProbeContext,
) -> Answers {
    let address = member.address.to_string();
    let mut http = Http::new(
        Arc::clone(session),
        address.clone(),
        context.ports.haproxy,
        context.deadline,
    );
    let entrance = async {
        let status = http.get("/").await.map(|r| r.status);
        let route = match &context.route {
            Some(route) => Some(follow(&mut http, route).await),
            None => None,
        };
        (status, route)
    };
    let stats = async {
        let mut http = Http::new(
            Arc::clone(session),
            address.clone(),
            context.ports.haproxy_stats,
            context.deadline,
        )
        .with_login(context.haproxy_login.as_ref());
        let stats = async { parse_stats(&http.get(STATS).await?.ok(STATS)?.body) }.await;
        let served = async {
            Ok(
                String::from_utf8_lossy(&http.get(SERVED).await?.ok(SERVED)?.body)
                    .trim()
                    .to_owned(),
            )
        };
        (
            stats,
            if context.haproxy_state.is_some() {
                served.await
            } else {
                Ok(String::new())
            },
        )
    };
    let newest =
        async { Some(newest(session, context.haproxy_state.as_ref()?, context.deadline).await) };
    let ((entrance, route), (stats, served), newest) = tokio::join!(entrance, stats, newest);
    let configuration = newest.map(|newest| {
        let ((newest, since), served) = (newest?, served?);
        Ok(Configuration {
            newest,
            since,
            served,
        })
    });
    Answers {
        entrance,
        stats,
        configuration,
        route,
    }
}

const STATS: &str = "/;csv";
const SERVED: &str = "/generation";

const NEWEST: &str = "newest configuration";

async fn newest(
    session: &Arc<dyn HostSession>,
    path: &str,
    limit: Duration,
) -> Answer<(Newest, Duration)> {
    let operation = ReadState {
        path: path.to_owned(),
        deadline: limit,
    };
    match session.perform(operation).await {
        Ok(state) => parse_state(&state),
        Err(OperationError::Answer { output, .. }) => {
            Err(ProbeError::malformed(NEWEST, "no record", &output))
        }
        Err(error) => Err(ProbeError::operation(NEWEST, error)),
    }
}

async fn follow(http: &mut Http, route: &Route) -> Answer<()> {
    let question = format!("{} for {}", route.path, route.host);
    let reply = http.get_as(&route.host, &route.path).await?.ok(&question)?;
    let found = reply
        .body
        .windows(route.expect.len().max(1))
        .any(|w| w == route.expect.as_bytes());
    if found || route.expect.is_empty() {
        Ok(())
    } else {
        Err(ProbeError::malformed(
            &question,
            "answer is not the canary's",
            &reply.body,
        ))
    }
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
        match &answers.configuration {
            Some(Ok(configuration)) => {
                if let Some(why) = stale(configuration) {
                    tally.fault(host, why);
                }
            }
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
        "every edge answers".to_owned()
    } else {
        format!("canary answered through {}", super::tally::list(&routed))
    };
    tally.finish(|_| String::new(), &proof)
}

/// Why an edge does not serve the newest configuration.
fn stale(
    Configuration {
        newest,
        since,
        served,
    }: &Configuration,
) -> Option<String> {
    match newest {
        Newest::Refused(why) => Some(format!(
            "refused its newest configuration and continues with the previous one: {}",
            show(why.as_bytes())
        )),
        Newest::Taken(newest) if newest != served && *since > RELOAD_LIMIT => Some(format!(
            "serves configuration {}, but {} was accepted {} s ago: the reload failed (docker logs toots-haproxy)",
            show(served.as_bytes()),
            show(newest.as_bytes()),
            since.as_secs()
        )),
        Newest::Taken(_) => None,
    }
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &ProbeContext) -> Verdict {
    judge(members, &read(members, context).await)
}
