//! Judges the answers of Consul's servers and clients. Sends no request.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answers, ConsulAgent, Health, RaftServer, Reading, SerfMember};
use crate::probe::answer::{Answer, is_member, show, split_authority};
use crate::probe::tally::Tally;
use crate::probe::{Member, ProbeContext, Verdict};
use crate::spec::HostName;

/// Log entries that a server may be behind the most advanced one: autopilot's own limit
/// (`max_trailing_logs`).
const MAX_TRAILING_ENTRIES: u64 = 250;

/// Judges a reading.
#[must_use]
pub fn judge(members: &[Member], reading: &Reading, context: &ProbeContext) -> Verdict {
    let mut tally = Tally::new("consul", members);
    let furthest = reading
        .servers
        .iter()
        .flatten()
        .filter_map(|a| a.agent.as_ref().ok()?.applied)
        .max();
    for (member, answers) in members.iter().zip(&reading.servers) {
        if let Some(answers) = answers {
            judge_server(&mut tally, members, member, answers, context, furthest);
        }
    }
    let leader = agree_on_leader(&mut tally, members, reading);
    same_view(&mut tally, members, reading);
    own_ids(&mut tally, members, reading, context);
    for client in &context.consul_clients {
        judge_client(&mut tally, members, reading, context, client);
    }
    tally.leader(leader);
    let alive = alive(reading);
    for member in alive.values() {
        if !context.inventory_nodes.is_empty() && !context.inventory_nodes.contains(&member.name) {
            tally.cluster_remark(format!(
                "{} ({}) still runs and takes part, but the inventory does not name it",
                show(member.name.as_bytes()),
                show(member.addr.as_bytes())
            ));
        }
    }
    let alive = alive.len();
    let voters = reading
        .servers
        .iter()
        .flatten()
        .find_map(|a| a.raft.as_ref().ok())
        .map_or(0, |r| r.iter().filter(|s| s.voter).count());
    tally.finish(
        |_| format!("{voters} voters, {alive} alive"),
        "consistent read from each server",
    )
}

/// Nodes that every answering server reports as alive.
fn alive(reading: &Reading) -> BTreeMap<&str, &SerfMember> {
    let mut views = reading
        .servers
        .iter()
        .flatten()
        .filter_map(|a| a.members.as_ref().ok());
    let is_same_server = |view: &'_ Vec<SerfMember>| {
        view.iter()
            .filter(|m| m.status == 1)
            .map(|m| m.name.clone())
            .collect::<BTreeSet<_>>()
    };
    let Some(first) = views.next() else {
        return BTreeMap::new();
    };
    let rest: Vec<BTreeSet<String>> = views.map(is_same_server).collect();
    first
        .iter()
        .filter(|m| m.status == 1 && rest.iter().all(|r| r.contains(&m.name)))
        .map(|m| (m.name.as_str(), m))
        .collect()
}

/// Judges everything that one server reports about itself.
fn judge_server(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    answers: &Answers,
    context: &ProbeContext,
    furthest: Option<u64>,
) {
    let host = &member.host;
    match &answers.agent {
        Ok(agent) => {
            tally.version(host, &agent.version);
            tally.role(
                host,
                &agent
                    .raft_state
                    .as_deref()
                    .unwrap_or("server")
                    .to_lowercase(),
            );
            identity(tally, member, agent, context.consul_node(host));
            if !agent.server {
                tally.fault(host, "runs as a client, must be a server");
            }
            if let (Some(applied), Some(furthest)) = (agent.applied, furthest)
                && furthest.saturating_sub(applied) > MAX_TRAILING_ENTRIES
            {
                tally.fault(
                    host,
                    format!("applied index is {applied}, others have {furthest}"),
                );
            }
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    if let Err(error) = &answers.consistent {
        tally.fault(host, error.to_string());
    }
    match &answers.raft {
        Ok(servers) => {
            let addresses = servers.iter().filter_map(|s| split_authority(&s.address));
            tally.committed(addresses.map(|(host, _)| host.to_owned()));
            judge_voters(tally, members, member, servers, context);
        }
        Err(error) => tally.fault(host, error.to_string()),
    }
    match &answers.health {
        Ok(health) => judge_health(tally, members, member, health, context),
        Err(error) => tally.fault(host, error.to_string()),
    }
    if let Err(error) = &answers.members {
        tally.fault(host, error.to_string());
    }
}

fn identity(tally: &mut Tally, member: &Member, agent: &ConsulAgent, node: &str) {
    if agent.name != node {
        tally.fault(
            &member.host,
            format!(
                "node name is {}, expected {node}",
                show(agent.name.as_bytes())
            ),
        );
    }
    if let Some(address) = &agent.address
        && !is_member(member, address)
    {
        tally.fault(
            &member.host,
            format!(
                "advertised address is {}, expected {}",
                show(address.as_bytes()),
                member.address
            ),
        );
    }
}

/// The voters must be exactly the configured servers, by name and address. One that is down may
/// already be pruned.
fn judge_voters(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    servers: &[RaftServer],
    context: &ProbeContext,
) {
    let is_same_server = |m: &Member, s: &RaftServer| {
        s.voter
            && s.node == context.consul_node(&m.host)
            && split_authority(&s.address).is_some_and(|(host, _)| is_member(m, host))
    };
    let complete = members
        .iter()
        .filter(|m| m.session.is_some())
        .all(|m| servers.iter().any(|s| is_same_server(m, s)));
    let known = servers
        .iter()
        .all(|s| members.iter().any(|m| is_same_server(m, s)));
    if !complete || !known || servers.len() > members.len() {
        let said: Vec<String> = servers
            .iter()
            .map(|s| {
                format!(
                    "{}={}{}",
                    show(s.node.as_bytes()),
                    show(s.address.as_bytes()),
                    if s.voter { "" } else { " (non-voter)" }
                )
            })
            .collect();
        let said = if said.is_empty() {
            "nobody".to_owned()
        } else {
            said.join(" ")
        };
        let expected: Vec<String> = members
            .iter()
            .map(|m| format!("{}={}", context.consul_node(&m.host), m.address))
            .collect();
        tally.fault(
            &member.host,
            format!("voters are {said}, expected {}", expected.join(" ")),
        );
    }
}

fn judge_health(
    tally: &mut Tally,
    members: &[Member],
    member: &Member,
    health: &Health,
    context: &ProbeContext,
) {
    let host = &member.host;
    let all_up = members.iter().all(|m| m.session.is_some());
    let tolerance = i64::try_from((members.len().saturating_sub(1)) / 2).unwrap_or(i64::MAX);
    // Verdicts on the whole cluster: one server that is down makes every other one report them.
    if all_up && (health.status != 200 || !health.healthy) {
        tally.cluster_note(format!("{host}: autopilot: {} not healthy", health.status));
    }
    if all_up && health.failure_tolerance != tolerance {
        tally.cluster_note(format!(
            "{host}: autopilot: failure tolerance {}, expected {tolerance}",
            health.failure_tolerance
        ));
    }
    for expected in members.iter().filter(|m| m.session.is_some()) {
        let node = context.consul_node(&expected.host);
        match health.servers.iter().find(|s| s.name == node) {
            Some(server) if server.healthy && server.voter && server.serf_status == "alive" => {}
            Some(server) => {
                let voter = if server.voter { "voter" } else { "non-voter" };
                let healthy = if server.healthy {
                    "healthy"
                } else {
                    "not healthy"
                };
                // What one server reports about another is a fault of the other one.
                tally.fault(
                    &expected.host,
                    format!(
                        "autopilot: {healthy}, {voter}, {}",
                        show(server.serf_status.as_bytes())
                    ),
                );
            }
            None => tally.fault(&expected.host, "autopilot does not list it"),
        }
    }
}

/// Every server must name the same leader, one that is a configured member and not down.
fn agree_on_leader(tally: &mut Tally, members: &[Member], reading: &Reading) -> Option<HostName> {
    let mut named: Vec<(&Member, &str)> = Vec::new();
    for (member, answers) in members.iter().zip(&reading.servers) {
        match answers.as_ref().map(|a| &a.leader) {
            Some(Ok(leader)) if leader.is_empty() => tally.fault(&member.host, "no leader known"),
            Some(Ok(leader)) => named.push((member, leader)),
            Some(Err(error)) => tally.fault(&member.host, error.to_string()),
            None => {}
        }
    }
    let Some((_, first)) = named.first().copied() else {
        tally.cluster_fault("no server names a leader");
        return None;
    };
    if named.iter().any(|(_, leader)| *leader != first) {
        for (member, leader) in &named {
            tally.fault(
                &member.host,
                format!(
                    "names {} as leader, others name another server",
                    show(leader.as_bytes())
                ),
            );
        }
        return None;
    }
    let leader = members
        .iter()
        .find(|m| split_authority(first).is_some_and(|(host, _)| is_member(m, host)));
    match leader {
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

/// Every server must report the same raft configuration, the leader included.
fn same_view(tally: &mut Tally, members: &[Member], reading: &Reading) {
    let views: Vec<(&Member, &Vec<RaftServer>)> = members
        .iter()
        .zip(&reading.servers)
        .filter_map(|(m, a)| Some((m, a.as_ref()?.raft.as_ref().ok()?)))
        .collect();
    if let Some((first, view)) = views.first() {
        for (member, other) in &views[1..] {
            if other != view {
                tally.fault(
                    &member.host,
                    format!("raft configuration differs from that of {}", first.host),
                );
            }
        }
    }
}

/// Raft's ids must be the servers' current ids: a wiped or cloned server has a different one.
fn own_ids(tally: &mut Tally, members: &[Member], reading: &Reading, context: &ProbeContext) {
    let agents: Vec<(&Member, &ConsulAgent)> = members
        .iter()
        .zip(&reading.servers)
        .filter_map(|(m, a)| Some((m, a.as_ref()?.agent.as_ref().ok()?)))
        .collect();
    for (member, agent) in &agents {
        let node = context.consul_node(&member.host);
        for answers in reading.servers.iter().flatten() {
            let raft: &Answer<Vec<RaftServer>> = &answers.raft;
            let ids = raft
                .iter()
                .flatten()
                .filter(|s| s.node == node)
                .map(|s| &s.id);
            let ids = ids.chain(
                answers
                    .health
                    .iter()
                    .flat_map(|h| &h.servers)
                    .filter(|s| s.name == node)
                    .map(|s| &s.id),
            );
            for id in ids {
                if *id != agent.id {
                    tally.fault(
                        &member.host,
                        format!(
                            "server id is {}, the voter's id is {}",
                            show(agent.id.as_bytes()),
                            show(id.as_bytes())
                        ),
                    );
                }
            }
        }
        if agents
            .iter()
            .any(|(other, a)| other.host != member.host && a.id == agent.id)
        {
            tally.fault(
                &member.host,
                format!(
                    "server id {} is also used by another server",
                    show(agent.id.as_bytes())
                ),
            );
        }
    }
}

/// A client must name itself, know servers, and be alive on every server: either side alone may be
/// outdated.
fn judge_client(
    tally: &mut Tally,
    members: &[Member],
    reading: &Reading,
    context: &ProbeContext,
    client: &Member,
) {
    let host = &client.host;
    let node = context.consul_node(host);
    let position = context
        .consul_clients
        .iter()
        .position(|c| c.host == client.host);
    match position
        .and_then(|p| reading.clients.get(p))
        .and_then(Option::as_ref)
    {
        Some(Ok(agent)) => {
            tally.version(host, &agent.version);
            tally.role(host, "client");
            if agent.name != node {
                tally.note(
                    host,
                    format!(
                        "node name is {}, expected {node}",
                        show(agent.name.as_bytes())
                    ),
                );
            }
            if agent.known_servers == Some(0) {
                tally.note(host, "no servers known");
            }
        }
        Some(Err(error)) => tally.note(host, error.to_string()),
        None => {
            tally.role(host, Verdict::DOWN);
            tally.remark(host, "host of the client is unreachable");
            return;
        }
    }
    for (member, answers) in members.iter().zip(&reading.servers) {
        let Some(Ok(seen)) = answers.as_ref().map(|a| &a.members) else {
            continue;
        };
        let said = seen.iter().find(|m| m.name == node);
        let right = said.is_some_and(|m| m.status == 1 && is_member(client, &m.addr));
        if !right {
            let said = match said {
                Some(m) if m.status == 1 => format!("at {}", show(m.addr.as_bytes())),
                Some(m) => ["unknown", "alive", "leaving", "left", "failed"]
                    .get(usize::from(m.status))
                    .unwrap_or(&"unknown")
                    .to_string(),
                None => "no such member".to_owned(),
            };
            tally.note(host, format!("{} lists it as {said}", member.host));
        }
    }
}
