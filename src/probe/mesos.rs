//! Mesos masters. An election proves nothing: a leader without its registry, or without followers,
//! answers everything with 200. The leader must therefore report that recovery is finished, show
//! the metrics of the registry, and count all masters in its log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use serde::Deserialize;

use super::answer::{Answer, ProbeError, is_member, show, split_authority};
use super::http::{Http, Reply};
use super::tally::Tally;
use super::{Member, ProbeContext, Verdict};
use crate::host::HostSession;
use crate::spec::HostName;

/// A master's answer to `GET_HEALTH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Leads, and recovery is finished.
    Healthy,
    /// Leads, and recovery is not finished.
    Recovering,
    /// Knows no leader.
    NoLeader,
    /// Follows another leader, `host:port`.
    Follows(String),
}

/// The metrics that prove something.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// `master/elected`.
    pub elected: bool,
    /// `registrar/log/recovered`: its own replica only.
    pub recovered: bool,
    /// `registrar/log/ensemble_size`.
    pub ensemble: Option<usize>,
    /// Whether `registrar/registry_size_bytes` and `registrar/state_fetch_ms` exist: the registry
    /// was fetched.
    pub registry: bool,
}

/// A registered slave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slave {
    /// The host name that it registered.
    pub hostname: String,
    /// `slave(1)@address:port`.
    pub pid: String,
    /// Whether it is connected.
    pub active: bool,
    /// Whether an operator has deactivated it.
    #[serde(default)]
    pub deactivated: bool,
}

impl Slave {
    /// The address at which the master reaches it; empty when `pid` has another form.
    fn address(&self) -> &str {
        self.pid
            .split_once('@')
            .and_then(|(_, authority)| split_authority(authority))
            .map_or("", |(host, _)| host)
    }
}

/// The answers of one master.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// POST `/api/v1` `GET_HEALTH`.
    pub health: Answer<Health>,
    /// `/metrics/snapshot`.
    pub metrics: Answer<Metrics>,
    pub version: Answer<String>,
    /// `/slaves`, requested from the leader only.
    pub slaves: Answer<Vec<Slave>>,
}

/// Parses the answer to `GET_HEALTH`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_health(reply: &Reply) -> Answer<Health> {
    const QUESTION: &str = "GET_HEALTH";
    match reply.status {
        200 => {
            let body: serde_json::Value = reply.json(QUESTION)?;
            let healthy = body
                .pointer("/get_health/healthy")
                .and_then(serde_json::Value::as_bool);
            if healthy == Some(true) {
                Ok(Health::Healthy)
            } else {
                Err(ProbeError::malformed(QUESTION, "not healthy", &reply.body))
            }
        }
        307 => {
            let location = reply.header("location").unwrap_or_default();
            let host = location
                .strip_prefix("//")
                .and_then(|rest| rest.split('/').next())
                .unwrap_or_default();
            match split_authority(host) {
                Some(_) => Ok(Health::Follows(host.to_owned())),
                None => Err(ProbeError::malformed(
                    QUESTION,
                    "redirect without a location",
                    location.as_bytes(),
                )),
            }
        }
        503 if reply.body.starts_with(b"Master has not finished recovery") => {
            Ok(Health::Recovering)
        }
        503 if reply.body.starts_with(b"No leader elected") => Ok(Health::NoLeader),
        _ => Err(reply.unwanted(QUESTION)),
    }
}

/// Reads `/metrics/snapshot`.
///
/// # Errors
/// When the form is unexpected or no election is reported.
pub fn parse_metrics(body: &[u8]) -> Answer<Metrics> {
    const QUESTION: &str = "/metrics/snapshot";
    let metrics: BTreeMap<String, serde_json::Value> = serde_json::from_slice(body)
        .map_err(|e| ProbeError::malformed(QUESTION, format!("unexpected JSON ({e})"), body))?;
    let number = |key: &str| metrics.get(key).and_then(serde_json::Value::as_f64);
    let Some(elected) = number("master/elected") else {
        return Err(ProbeError::malformed(QUESTION, "no master/elected", body));
    };
    Ok(Metrics {
        elected: elected > 0.5,
        recovered: number("registrar/log/recovered").is_some_and(|r| r > 0.5),
        // A count of masters: the cast of a small non-negative number is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        ensemble: number("registrar/log/ensemble_size")
            .filter(|e| (0.0..1000.0).contains(e))
            .map(|e| e as usize),
        registry: number("registrar/registry_size_bytes").is_some()
            && number("registrar/state_fetch_ms").is_some(),
    })
}

/// Reads `/slaves`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_slaves(body: &[u8]) -> Answer<Vec<Slave>> {
    #[derive(Deserialize)]
    struct Slaves {
        slaves: Vec<Slave>,
    }
    let reply: Slaves = serde_json::from_slice(body)
        .map_err(|e| ProbeError::malformed("/slaves", format!("unexpected JSON ({e})"), body))?;
    Ok(reply.slaves)
}

/// Queries every master in parallel; `None` for one that is down.
pub async fn read(members: &[Member], context: &ProbeContext) -> Vec<Option<Answers>> {
    join_all(members.iter().map(|member| async move {
        let session = member.session.as_ref()?;
        Some(ask_master(session, member, context).await)
    }))
    .await
}

async fn ask_master(
    session: &Arc<dyn HostSession>,
    member: &Member,
    context: &ProbeContext,
) -> Answers {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let http = || {
        Http::new(
            Arc::clone(session),
            member.address.to_string(),
            context.ports.mesos,
            context.deadline,
        )
    };
    let leading = async {
        let mut http = http();
        let health = http
            .post("/api/v1", r#"{"type":"GET_HEALTH"}"#)
            .await
            .and_then(|r| parse_health(&r));
        let judged = !context.slaves.is_empty() || !context.known_slaves.is_empty();
        let slaves = if health == Ok(Health::Healthy) && judged {
            const PATH: &str = "/slaves";
            async { parse_slaves(&http.get(PATH).await?.ok(PATH)?.body) }.await
        } else {
            Err(ProbeError::NotAsked(
                "not the leader, or slaves are not judged".into(),
            ))
        };
        (health, slaves)
    };
    let own = async {
        let mut http = http();
        let metrics = async {
            const PATH: &str = "/metrics/snapshot";
            parse_metrics(&http.get(PATH).await?.ok(PATH)?.body)
        }
        .await;
        (
            metrics,
            http.get_json::<Version>("/version")
                .await
                .map(|v| v.version),
        )
    };
    let ((health, slaves), (metrics, version)) = tokio::join!(leading, own);
    Answers {
        health,
        metrics,
        version,
        slaves,
    }
}

/// Judges the answers, one per member in the same order.
#[must_use]
pub fn judge(members: &[Member], answers: &[Option<Answers>], context: &ProbeContext) -> Verdict {
    let mut tally = Tally::new("mesos", members);
    let leader = elected(&mut tally, members, answers);
    for (member, answers) in members.iter().zip(answers) {
        if let Some(answers) = answers {
            judge_master(&mut tally, members, member, answers, leader.as_ref());
        }
    }
    let mut registered = 0;
    if let Some(leading) = members
        .iter()
        .zip(answers)
        .find(|(m, _)| leader.as_ref() == Some(&m.host))
        .and_then(|(_, a)| a.as_ref())
    {
        registered = judge_slaves(&mut tally, context, &leading.slaves);
        name_former_slaves(&mut tally, context, &leading.slaves);
    }
    tally.leader(leader);
    let slaves = if context.slaves.is_empty() {
        String::new()
    } else {
        format!(
            ", {registered} slave{}",
            if registered == 1 { "" } else { "s" }
        )
    };
    tally.finish(
        |synced| format!("{synced} in the log{slaves}"),
        "registry recovered",
    )
}

/// The one elected master.
fn elected(tally: &mut Tally, members: &[Member], answers: &[Option<Answers>]) -> Option<HostName> {
    let elected: Vec<&Member> = members
        .iter()
        .zip(answers)
        .filter(|(_, a)| {
            a.as_ref()
                .and_then(|a| a.metrics.as_ref().ok())
                .is_some_and(|m| m.elected)
        })
        .map(|(m, _)| m)
        .collect();
    match elected.as_slice() {
        [one] => Some(one.host.clone()),
        [] => {
            tally.cluster_fault("no master is elected");
            None
        }
        several => {
            for member in several {
                tally.fault(
                    &member.host,
                    format!("is elected, as {} masters are", several.len()),
                );
            }
            None
        }
    }
}

fn judge_master(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    answers: &Answers,
    leader: Option<&HostName>,
) {
    let host = &member.host;
    let leads = leader == Some(host);
    if let Ok(version) = &answers.version {
        tally.version(host, version);
    }
    match &answers.metrics {
        Ok(metrics) => {
            tally.role(host, if metrics.elected { "leader" } else { "standby" });
            if !metrics.recovered {
                tally.fault(host, "log replica is not recovered");
            }
            if leads {
                judge_registry(tally, members, host, metrics);
            }
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    match &answers.health {
        Ok(Health::Healthy) if leads => {}
        Ok(Health::Healthy) => tally.fault(host, "answers as leader but is not elected"),
        Ok(Health::Recovering) => {
            tally.fault(host, "is elected but has not recovered the registry")
        }
        Ok(Health::NoLeader) => tally.fault(host, "no leader known"),
        Ok(Health::Follows(other)) => {
            let address = split_authority(other).map_or("", |(h, _)| h);
            let followed = members.iter().find(|m| is_member(m, address));
            // A name that belongs to no member may still be the leader's own `--hostname`.
            if leads || followed.is_some_and(|f| leader.is_some() && Some(&f.host) != leader) {
                tally.fault(
                    host,
                    format!(
                        "follows {}, but {} leads according to others",
                        show(other.as_bytes()),
                        leader.map_or("nobody", HostName::as_str)
                    ),
                );
            }
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
}

fn judge_registry(tally: &mut Tally, members: &[Member], host: &HostName, metrics: &Metrics) {
    if !metrics.registry {
        tally.fault(host, "leads without a registry");
    }
    let up = members.iter().filter(|m| m.session.is_some()).count();
    let ensemble = metrics.ensemble.unwrap_or(0);
    // With masters known to be down, the log may be as small as the rest. More members than
    // configured would belong to a second cluster.
    if ensemble < up || ensemble > members.len() {
        tally.fault(
            host,
            format!("log has {ensemble} replicas, expected {}", members.len()),
        );
    }
}

/// Every expected slave must be registered and active. Returns how many are.
fn judge_slaves(tally: &mut Tally, context: &ProbeContext, slaves: &Answer<Vec<Slave>>) -> usize {
    if context.slaves.is_empty() {
        return 0;
    }
    let slaves = match slaves {
        Ok(slaves) => slaves,
        Err(error) => {
            tally.cluster_fault(error.to_string());
            return 0;
        }
    };
    let mut right = 0;
    for expected in &context.slaves {
        let of_host =
            |s: &&Slave| is_member(expected, s.address()) || is_member(expected, &s.hostname);
        // A former agent of the host may be listed beside the one that runs.
        let found = slaves.iter().filter(of_host).max_by_key(|s| s.active);
        match found {
            Some(slave) if slave.active && !slave.deactivated => {
                right += 1;
                tally.role(&expected.host, "slave");
            }
            Some(slave) if slave.deactivated => tally.note(&expected.host, "slave is deactivated"),
            Some(_) => tally.note(&expected.host, "slave is registered but not active"),
            None if expected.session.is_none() => {
                tally.remark(&expected.host, "host of the slave is unreachable")
            }
            None => tally.note(&expected.host, "slave is not registered"),
        }
    }
    right
}

/// Names the active slaves of hosts that the inventory does not name: they still receive tasks.
fn name_former_slaves(tally: &mut Tally, context: &ProbeContext, slaves: &Answer<Vec<Slave>>) {
    if context.known_slaves.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = context.known_slaves.keys().map(HostName::as_str).collect();
    let addresses: BTreeSet<&IpAddr> = context.known_slaves.values().collect();
    let is_known = |slave: &&Slave| {
        [slave.address(), slave.hostname.as_str()]
            .iter()
            .any(|name| {
                names.contains(name) || name.parse().is_ok_and(|a: IpAddr| addresses.contains(&a))
            })
    };
    let active = slaves.iter().flatten().filter(|slave| slave.active);
    for slave in active.filter(|slave| !is_known(slave)) {
        tally.cluster_remark(format!(
            "{} ({}) is still an active slave, but the inventory does not name it",
            show(slave.hostname.as_bytes()),
            show(slave.address().as_bytes())
        ));
    }
}

/// Reads and judges.
pub async fn ask(members: &[Member], context: &ProbeContext) -> Verdict {
    judge(members, &read(members, context).await, context)
}
