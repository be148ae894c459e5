//! What a leader does for its servers: it takes in who joined, promotes whom it found stable, and
//! removes who is dead. What it tells about them is some seconds old.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::catalog::{Command, RaftServer};
use super::cluster::{Key, State};
use super::raft::{Raft, Role};
use super::serf::Status;

/// Between two readings.
pub(super) const UPDATE_INTERVAL: Duration = Duration::from_secs(2);
/// Between two removals of dead servers.
pub(super) const CLEANUP_INTERVAL: Duration = Duration::from_secs(10);
/// Between two comparisons of all members with raft's servers.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a new server is healthy before it votes.
const STABILIZATION_TIME: Duration = Duration::from_secs(10);
/// A server that was not heard for longer is not healthy.
const CONTACT_LIMIT: Duration = Duration::from_millis(450);
const MAX_TRAILING_ENTRIES: u64 = 250;

#[derive(Debug, Clone)]
pub struct Health {
    pub server: RaftServer,
    pub name: String,
    pub status: Status,
    pub is_healthy: bool,
    pub is_leader: bool,
    pub last_contact: Duration,
    pub index: u64,
    pub term: u64,
}

#[derive(Debug, Clone)]
pub struct Autopilot {
    pub(super) updated: Option<Instant>,
    pub(super) cleaned: Instant,
    pub(super) health: Vec<Health>,
    stable_since: BTreeMap<String, Instant>,
    /// What each server told last. One that is not reached keeps its old numbers.
    pub(super) stats: BTreeMap<String, Stats>,
    /// All is in order, and another reading would say the same.
    pub(super) is_quiet: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    last_contact: Duration,
    pub(super) index: u64,
    term: u64,
}

impl Autopilot {
    pub fn new(now: Instant) -> Self {
        Self {
            updated: None,
            cleaned: now,
            health: Vec::new(),
            stable_since: BTreeMap::new(),
            stats: BTreeMap::new(),
            is_quiet: false,
        }
    }

    pub fn is_healthy(&self) -> bool {
        !self.health.is_empty() && self.health.iter().all(|server| server.is_healthy)
    }

    pub fn is_new(&self) -> bool {
        self.updated.is_none()
    }

    /// When something has to be read or cleaned up; `None`: not before something happens.
    pub fn next_step(&self) -> Option<Instant> {
        let updated = self.updated.map(|updated| updated + UPDATE_INTERVAL);
        let next = updated.map(|updated| updated.min(self.cleaned + CLEANUP_INTERVAL));
        next.filter(|_| !self.is_quiet)
    }

    fn failure_tolerance(&self) -> usize {
        let voters = self.health.iter().filter(|health| health.server.is_voter);
        let (all, healthy) = voters.fold((0, 0), |(all, healthy), health| {
            (all + 1, healthy + usize::from(health.is_healthy))
        });
        healthy.saturating_sub(all / 2 + 1)
    }

    /// The answer of `/v1/operator/autopilot/health`, with its status.
    pub fn answer(&self, version: &str) -> (u16, Value) {
        let servers = self.health.iter().map(|health| {
            json!({
                "ID": health.server.id,
                "Name": health.name,
                "Address": format!("{}:8300", health.server.address),
                "SerfStatus": health.status.name(),
                "Version": version,
                "Leader": health.is_leader,
                "LastContact": format!("{}ms", health.last_contact.as_millis()),
                "LastTerm": health.term,
                "LastIndex": health.index,
                "Healthy": health.is_healthy,
                "Voter": health.server.is_voter,
                "StableSince": "2026-01-01T00:00:00Z",
            })
        });
        let servers: Vec<Value> = servers.collect();
        let servers = if servers.is_empty() {
            Value::Null
        } else {
            json!(servers)
        };
        let status = if self.is_healthy() { 200 } else { 429 };
        let body = json!({
            "Healthy": self.is_healthy(),
            "FailureTolerance": self.failure_tolerance(),
            "Servers": servers,
        });
        (status, body)
    }
}

impl State {
    pub fn autopilot_mut(&mut self, me: Key) -> Option<&mut Autopilot> {
        match &mut self.raft_mut(me)?.role {
            Role::Leader(lead) => Some(&mut lead.autopilot),
            _ => None,
        }
    }

    /// Proposes a command as the leader.
    pub fn propose(&mut self, me: Key, command: Command, now: Instant) -> u64 {
        let Some(raft) = self.raft_mut(me) else {
            return 0;
        };
        let index = raft.push(raft.term, command);
        self.replicate(me, now);
        index
    }

    /// Changes the servers, one change at a time.
    pub fn change_servers(
        &mut self,
        me: Key,
        now: Instant,
        change: impl FnOnce(&mut Vec<RaftServer>),
    ) -> bool {
        let Some(raft) = self.raft(me).filter(|raft| !raft.is_changing()) else {
            return false;
        };
        let mut servers = raft.servers().to_vec();
        change(&mut servers);
        if servers == raft.servers() {
            return true;
        }
        let removed: Vec<Key> = raft
            .servers()
            .iter()
            .filter(|old| servers.iter().all(|server| server.address != old.address))
            .filter_map(|old| self.agent_at(old.address))
            .collect();
        let index = self.propose(me, Command::Servers(servers), now);
        // Whoever is removed hears of it, and from then on of nothing more.
        for key in removed {
            let is_reached = self.agents[&me].reaches(&self.agents[&key]) && key != me;
            if is_reached && let Some(mut other) = self.agents.remove(&key) {
                if let (Some(own), Some(leader)) = (&mut other.raft, self.raft(me)) {
                    own.follow(leader);
                }
                self.agents.insert(key, other);
            }
        }
        self.raft(me).is_some_and(|raft| raft.committed >= index)
    }

    /// Takes in the members that came since, and registers who is there.
    pub fn reconcile(&mut self, me: Key, now: Instant) {
        let Some(lead) = self.raft(me).and_then(Raft::lead) else {
            return;
        };
        let (joined, is_due) = (lead.joined.clone(), now >= lead.reconcile_at);
        let peers: Vec<_> = self.agents[&me]
            .peers
            .iter()
            .map(|(name, peer)| (name.clone(), peer.clone()))
            .collect();
        let mut came = false;
        for (name, peer) in &peers {
            let is_new = joined.get(name) != Some(&peer.key);
            let is_alive = peer.status == Status::Alive;
            if peer.expect == 1 && peer.id != self.agents[&me].id {
                // It leads a cluster of its own.
                continue;
            }
            if peer.is_server && is_alive && (is_new || is_due) {
                if !self.add_server(me, &peer.id, peer.address, now) {
                    continue;
                }
                came |= is_new;
            }
            if let Some(Role::Leader(lead)) = self.raft_mut(me).map(|raft| &mut raft.role) {
                if is_alive {
                    lead.joined.insert(name.clone(), peer.key);
                } else {
                    lead.joined.remove(name);
                }
            }
            if peer.status == Status::Left {
                self.change_servers(me, now, |servers| servers.retain(|s| s.id != peer.id));
            }
            self.register_node(me, name, peer, now);
        }
        if let Some(Role::Leader(lead)) = self.raft_mut(me).map(|raft| &mut raft.role)
            && is_due
        {
            lead.reconcile_at = now + RECONCILE_INTERVAL;
        }
        // A server that joins lets the dead ones be removed at once; the first ones of a new leader
        // do not.
        if came && !joined.is_empty() {
            self.clean_up(me, now);
        }
    }

    fn add_server(&mut self, me: Key, id: &str, address: std::net::Ipv4Addr, now: Instant) -> bool {
        let is_known = |server: &RaftServer| server.id == id && server.address == address;
        if self
            .raft(me)
            .is_some_and(|raft| raft.servers().iter().any(is_known))
        {
            return true;
        }
        // Another id at the address, or another address of the id, gives way first.
        let is_removed = self.change_servers(me, now, |servers| {
            servers.retain(|server| server.address != address || server.id == id);
        });
        is_removed
            && self.change_servers(me, now, |servers| {
                if let Some(server) = servers.iter_mut().find(|server| server.id == id) {
                    server.address = address;
                } else {
                    servers.push(RaftServer {
                        id: id.to_owned(),
                        address,
                        is_voter: false,
                    });
                }
            })
    }

    fn register_node(&mut self, me: Key, name: &str, peer: &super::serf::Peer, now: Instant) {
        let Some(raft) = self.raft(me) else {
            return;
        };
        let known = raft.catalog.nodes.get(name);
        let command = match peer.status {
            Status::Left => known.map(|_| Command::NodeLeft {
                name: name.to_owned(),
            }),
            Status::Leaving => None,
            status => {
                let is_passing = status == Status::Alive;
                let is_same = known.is_some_and(|node| {
                    node.id == peer.id
                        && node.address == peer.address
                        && node.is_passing == is_passing
                });
                (!is_same).then(|| Command::Node {
                    name: name.to_owned(),
                    id: peer.id.clone(),
                    address: peer.address,
                    is_passing,
                })
            }
        };
        let is_settled = raft.committed == raft.last();
        if let Some(command) = command.filter(|_| is_settled) {
            self.propose(me, command, now);
        }
    }

    pub fn step_autopilot(&mut self, me: Key, now: Instant) {
        let Some(lead) = self.raft(me).and_then(Raft::lead) else {
            return;
        };
        let (updated, cleaned) = (lead.autopilot.updated, lead.autopilot.cleaned);
        if updated.is_none_or(|updated| now >= updated + UPDATE_INTERVAL) {
            // A new leader has no numbers of the others yet, and takes nobody for healthy.
            if updated.is_some() {
                self.read_stats(me, now);
            }
            let health = self.judge_health(me);
            if let Some(autopilot) = self.autopilot_mut(me) {
                autopilot.updated = Some(now);
                autopilot.stable_since.retain(|id, _| {
                    health
                        .iter()
                        .any(|health| health.server.id == *id && health.is_healthy)
                });
                for health in health.iter().filter(|health| health.is_healthy) {
                    autopilot
                        .stable_since
                        .entry(health.server.id.clone())
                        .or_insert(now);
                }
                autopilot.health = health;
            }
            self.promote(me, now);
        }
        if now >= cleaned + CLEANUP_INTERVAL {
            self.clean_up(me, now);
        }
    }

    fn read_stats(&mut self, me: Key, now: Instant) {
        let agent = &self.agents[&me];
        let Some((raft, lead)) = agent
            .raft
            .as_ref()
            .and_then(|raft| Some((raft, raft.lead()?)))
        else {
            return;
        };
        let stats = raft.servers().iter().filter_map(|server| {
            let key = self.agent_at(server.address)?;
            let theirs = self
                .agents
                .get(&key)
                .filter(|other| agent.reaches(other))?
                .raft
                .as_ref()?;
            let heard = lead.contacts.get(&server.address);
            let stats = Stats {
                last_contact: if key == me {
                    Duration::ZERO
                } else {
                    now - *heard?
                },
                index: theirs.last(),
                term: theirs.term,
            };
            Some((server.id.clone(), stats))
        });
        let stats: Vec<(String, Stats)> = stats.collect();
        if let Some(autopilot) = self.autopilot_mut(me) {
            autopilot.stats.extend(stats);
        }
    }

    fn judge_health(&self, me: Key) -> Vec<Health> {
        let agent = &self.agents[&me];
        let Some((raft, lead)) = agent
            .raft
            .as_ref()
            .and_then(|raft| Some((raft, raft.lead()?)))
        else {
            return Vec::new();
        };
        let is_first = lead.autopilot.updated.is_none();
        let health = raft.servers().iter().filter_map(|server| {
            let (name, peer) = agent.peers.iter().find(|(_, peer)| peer.id == server.id)?;
            let stats = lead.autopilot.stats.get(&server.id).copied();
            // One that just came is not listed before it told something.
            if stats.is_none() && !is_first && !server.is_voter {
                return None;
            }
            let is_healthy = peer.status == Status::Alive
                && stats.is_some_and(|stats| {
                    stats.last_contact <= CONTACT_LIMIT
                        && stats.term == raft.term
                        && stats.index + MAX_TRAILING_ENTRIES >= raft.last()
                });
            Some(Health {
                server: server.clone(),
                name: name.clone(),
                status: peer.status,
                is_healthy,
                is_leader: server.id == agent.id,
                last_contact: stats.map_or(Duration::ZERO, |stats| stats.last_contact),
                index: stats.map_or(0, |stats| stats.index),
                term: stats.map_or(0, |stats| stats.term),
            })
        });
        health.collect()
    }

    fn promote(&mut self, me: Key, now: Instant) {
        let Some(autopilot) = self.autopilot_mut(me).cloned() else {
            return;
        };
        let is_stable = |id: &str| {
            let since = autopilot.stable_since.get(id);
            since.is_some_and(|since| now >= *since + STABILIZATION_TIME)
        };
        self.change_servers(me, now, |servers| {
            for server in servers {
                server.is_voter |= is_stable(&server.id);
            }
        });
    }

    /// Removes dead servers, unless those that are left would be too few.
    fn clean_up(&mut self, me: Key, now: Instant) {
        let Some(autopilot) = self.autopilot_mut(me) else {
            return;
        };
        autopilot.cleaned = now;
        let agent = &self.agents[&me];
        let Some(raft) = &agent.raft else {
            return;
        };
        let settings = raft.catalog.autopilot.unwrap_or(agent.config.autopilot);
        let is_dead = |server: &RaftServer| {
            let peer = agent.peers.values().find(|peer| peer.id == server.id);
            peer.is_none_or(|peer| matches!(peer.status, Status::Failed | Status::Left))
        };
        let servers = raft.servers();
        let voters = servers.iter().filter(|server| server.is_voter).count();
        let dead: Vec<RaftServer> = servers
            .iter()
            .filter(|server| is_dead(server))
            .cloned()
            .collect();
        let dead_voters = dead.iter().filter(|server| server.is_voter).count();
        let left = servers.len() - dead.len();
        if dead.is_empty()
            || !settings.cleans_up
            || dead_voters > voters.saturating_sub(1) / 2
            || left < settings.min_quorum
        {
            return;
        }
        let names = agent
            .peers
            .iter()
            .filter(|(_, peer)| dead.iter().any(|d| d.id == peer.id));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for server in dead {
            self.change_servers(me, now, |servers| servers.retain(|other| *other != server));
        }
        for name in names {
            self.declare_left(me, &name, false);
        }
    }
}
