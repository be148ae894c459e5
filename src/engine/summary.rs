//! The end of a run: what was proven.

use super::checks::choose_exit_code;
use super::ledger::EarlyExit;
use super::outcomes::ComponentOutcomes;
use super::phases::ms;
use super::run::Run;
use crate::desired::{ComponentDesired, Desired, HostDesired};
use crate::event::{Event, ServiceRow, Totals, WebAddress};
use crate::probe::Verdict;
use crate::spec::{ComponentName, Role};

/// Sends the summary of the cluster, and chooses the exit code.
pub(super) async fn prove(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let (desired, ended) = (&run.planned.desired, &run.ended);
    let longest = ended.took.iter().max_by_key(|(_, took)| **took);
    let totals = Totals {
        hosts: desired.hosts.len(),
        containers: desired.hosts.iter().map(|host| host.components.len()).sum(),
        elapsed_ms: ms(run.started),
        longest: longest.map(|(name, took)| (name.to_string(), *took)),
    };
    run.cx.events.send(Event::Summary {
        cluster: desired.cluster.clone(),
        services: rows(ended),
        web: web(desired, ended),
        totals,
    });
    run.exit_code = match run.unrecorded {
        Some(code) => code,
        None => choose_exit_code(run.cx, &run.ledger, ended),
    };
    Ok(())
}

/// One row per service. Gates of one service (its servers, its clients) share a row: all faults,
/// the widest membership, and the strongest proof.
pub(super) fn rows(ended: &ComponentOutcomes) -> Vec<ServiceRow> {
    let mut rows: Vec<ServiceRow> = Vec::new();
    for verdict in ended.verdicts.values() {
        let row = row(verdict);
        match rows.iter_mut().find(|known| known.service == row.service) {
            Some(known) => join(known, row),
            None => rows.push(row),
        }
    }
    for (name, faults) in &ended.failed {
        rows.push(unproven(name, faults.clone()));
    }
    for (name, why) in &ended.skipped {
        rows.push(unproven(name, vec![format!("skipped: {why}")]));
    }
    rows
}

fn row(verdict: &Verdict) -> ServiceRow {
    ServiceRow {
        service: verdict.service.clone(),
        healthy: verdict.healthy,
        leader: verdict.leader.as_ref().map(ToString::to_string),
        members: verdict.membership.clone(),
        proof: verdict.proof.clone(),
        faults: verdict.faults.clone(),
        hints: verdict.remedies(),
    }
}

fn join(known: &mut ServiceRow, other: ServiceRow) {
    known.healthy &= other.healthy;
    if other.members.len() > known.members.len() {
        known.members = other.members;
    }
    if other.proof.len() > known.proof.len() {
        known.proof = other.proof;
    }
    known.leader = known.leader.take().or(other.leader);
    for fault in other.faults {
        if !known.faults.contains(&fault) {
            known.faults.push(fault);
        }
    }
    for hint in other.hints {
        if !known.hints.contains(&hint) {
            known.hints.push(hint);
        }
    }
}

fn unproven(name: &ComponentName, faults: Vec<String>) -> ServiceRow {
    ServiceRow {
        service: name.to_string(),
        healthy: false,
        leader: None,
        members: String::new(),
        proof: "not proven".into(),
        faults,
        hints: Vec::new(),
    }
}

/// One address per web interface: on the leader when there is one, else on an edge, except that a
/// master precedes it.
pub(super) fn web(desired: &Desired, ended: &ComponentOutcomes) -> Vec<WebAddress> {
    let rank = |host: &&HostDesired| match (
        host.roles.contains(&Role::Master),
        host.roles.contains(&Role::Edge),
    ) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    let mut hosts: Vec<&HostDesired> = desired.hosts.iter().collect();
    hosts.sort_by_key(rank);
    let mut out: Vec<WebAddress> = Vec::new();
    for host in hosts {
        for component in &host.components {
            let verdict = ended.verdicts.get(&component.name);
            let leader = verdict.and_then(|verdict| verdict.leader.as_ref());
            if leader.is_some_and(|leader| *leader != host.name) {
                continue;
            }
            if let Some(address) = web_address(host, component)
                && !out.iter().any(|seen| seen.service == address.service)
            {
                out.push(address);
            }
        }
    }
    out
}

fn web_address(host: &HostDesired, component: &ComponentDesired) -> Option<WebAddress> {
    let web = component.web.as_ref()?;
    let address = if host.address.is_ipv6() {
        format!("[{}]", host.address)
    } else {
        host.address.to_string()
    };
    let path = if web.path == "/" { "" } else { &web.path };
    // Only an edge's load balancer is public; all other interfaces are, where the operator set
    // listen_ip so.
    let is_public = component.name.as_str() == "haproxy" && host.roles.contains(&Role::Edge);
    let reach = if host.listen_all || is_public {
        "everyone who can reach the host"
    } else {
        "the cluster's network"
    };
    let service = component.gate.as_deref().unwrap_or(component.name.as_str());
    Some(WebAddress {
        service: service.to_owned(),
        url: format!("http://{address}:{}{path}", web.port),
        reach: reach.into(),
    })
}
