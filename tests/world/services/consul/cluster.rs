//! All Consul agents on one network. An agent's own process steps it; what it sees of the others is
//! what the network lets it see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;
use super::local::LocalService;
use super::raft::{Raft, Role};
use super::serf::{Peer, Status};
use crate::changes::{Changes, Subscription};
use crate::files::Files;
use crate::network::Network;
use crate::random::Random;
use crate::record::Record;

/// A number of its own for every started process.
pub type Key = u64;

/// How long news of an agent takes to the others.
const NEWS_TIME: Duration = Duration::from_millis(20);
/// How long a server goes on without its leader, in thousandths of raft's unit.
pub const CONTACT_UNITS: u64 = 1_000;

pub struct Agent {
    pub host: String,
    pub container: String,
    pub address: Ipv4Addr,
    pub config: Config,
    pub network: Network,
    pub record: Record,
    pub files: Files,
    /// The id of the node, kept with its data.
    pub id: String,
    /// The key of the gossip that is in force.
    pub key: String,
    pub status: Status,
    pub peers: BTreeMap<String, Peer>,
    /// Addresses that it dials, and when next.
    pub join: Vec<Ipv4Addr>,
    pub join_at: Instant,
    pub raft: Option<Raft>,
    /// Services that were registered with this agent, by their ids.
    pub services: BTreeMap<String, LocalService>,
    /// Whether it served when it was last looked at.
    pub was_serving: bool,
    /// When the next member that it misses is failed.
    pub misses_until: Option<Instant>,
    /// Whether the catalogue has its services as it has them.
    pub is_registered: bool,
}

pub struct State {
    pub agents: BTreeMap<Key, Agent>,
    pub random: Random,
    /// Changes of what is committed.
    pub committed: Changes,
    next_key: Key,
    ids: u64,
    /// Steps of all agents, which are what an idle cluster costs.
    steps: u64,
}

struct Shared {
    state: Mutex<State>,
    /// Of the places of agents.
    changed: Changes,
    committed: Changes,
}

/// Cloned handles see one cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

/// What an agent is at this moment, by the world's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    pub host: String,
    pub container: String,
    pub address: Ipv4Addr,
    pub id: String,
    pub is_server: bool,
    /// Ids and addresses of the voters by its own log.
    pub configured: BTreeMap<String, Ipv4Addr>,
    /// A voter that leads, or that heard of its leader a moment ago.
    pub is_serving: bool,
    /// Serves, is reached by its leader and has everything that the leader committed.
    pub is_synced: bool,
    pub is_leading: bool,
    /// The last entry that it applied.
    pub index: u64,
}

/// An agent that runs; dropped, it has ended.
pub struct Joined {
    cluster: Cluster,
    pub key: Key,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut state = self.cluster.lock();
        if let Some(agent) = state.agents.remove(&self.key) {
            agent.note(format!("end {}", agent.config.name));
        }
        drop(state);
        self.cluster.wake();
    }
}

impl Agent {
    pub fn note(&self, what: impl Into<String>) {
        self.record.note(&self.host, &self.container, what);
    }

    pub fn reaches(&self, other: &Self) -> bool {
        self.network.reaches(self.address, other.address)
    }

    pub fn is_leading(&self) -> bool {
        self.raft.as_ref().is_some_and(|raft| raft.lead().is_some())
    }
}

impl Cluster {
    pub fn new(seed: u64) -> Self {
        let committed = Changes::default();
        Self(Arc::new(Shared {
            committed: committed.clone(),
            state: Mutex::new(State {
                committed,
                steps: 0,
                agents: BTreeMap::new(),
                random: Random::new(seed),
                next_key: 0,
                ids: 0,
            }),
            changed: Changes::default(),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        self.0.changed.add();
    }

    pub fn changes(&self) -> Subscription {
        self.0.changed.subscribe()
    }

    /// A new node id, which no other node has.
    pub fn new_id(&self) -> String {
        let mut state = self.lock();
        state.ids += 1;
        let (a, b) = (state.random.below(1 << 32), state.ids);
        format!("{a:08x}-0000-4000-8000-{b:012x}")
    }

    pub fn join(&self, mut agent: Agent) -> Joined {
        let now = Instant::now();
        let mut state = self.lock();
        state.next_key += 1;
        let key = state.next_key;
        agent.note(format!("start {}", agent.config.name));
        let patience = state.draw_patience(&agent.config);
        if let Some(raft) = &mut agent.raft {
            raft.step_down(now, patience);
        }
        state.agents.insert(key, agent);
        state.gossip(key, now);
        drop(state);
        self.wake();
        Joined {
            cluster: self.clone(),
            key,
        }
    }

    /// Changes of what is committed.
    pub fn commits(&self) -> Subscription {
        self.0.committed.subscribe()
    }

    /// Lives one agent until it is dropped.
    pub async fn live(&self, key: Key, network: &Network) {
        let (mut changes, mut wires) = (self.changes(), network.changes());
        loop {
            let next = self.step(key);
            tokio::select! {
                biased;
                () = changes.changed() => tokio::time::sleep(NEWS_TIME).await,
                () = wires.changed() => tokio::time::sleep(NEWS_TIME).await,
                () = tokio::time::sleep_until(next) => {}
            }
            changes.mark_seen();
            wires.mark_seen();
        }
    }

    /// How many steps all agents made.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Steps an agent; says when it must be stepped again.
    fn step(&self, key: Key) -> Instant {
        let now = Instant::now();
        let mut state = self.lock();
        state.steps += 1;
        let before = (state.outline(key), state.acquaintances());
        state.gossip(key, now);
        state.step_raft(key, now);
        state.step_services(key, now);
        state.note_changes(key, now);
        let is_changed = before != (state.outline(key), state.acquaintances());
        let next = state.next_step(key, now);
        drop(state);
        if is_changed {
            self.wake();
        }
        next
    }

    /// Every key that a consistent read shows; `None` while no leader has a majority.
    pub fn committed_keys(&self) -> Option<BTreeSet<String>> {
        let (state, now) = (self.lock(), Instant::now());
        let views = state.agents.keys().map(|key| (*key, state.view(*key, now)));
        let views: Vec<(Key, AgentView)> = views.collect();
        let (leader, _) = views.iter().find(|(leader, view)| {
            let synced = views.iter().filter(|(other, theirs)| {
                let is_led = state.leader_for(*other) == Some(*leader);
                let is_voter = view.configured.contains_key(&theirs.id);
                theirs.is_synced && is_led && is_voter
            });
            view.is_leading && synced.count() * 2 > view.configured.len()
        })?;
        let keys = state.raft(*leader)?.catalog.keys.keys();
        Some(keys.cloned().collect())
    }

    /// Every agent that runs, in the order of their starts.
    pub fn members(&self) -> Vec<AgentView> {
        let (state, now) = (self.lock(), Instant::now());
        state
            .agents
            .keys()
            .map(|key| state.view(*key, now))
            .collect()
    }
}

/// What of an agent others wait for: its role, its leader, its term, its last and its committed entry,
/// and the members that it knows.
type Outline = (u8, Option<Ipv4Addr>, u64, u64, u64, Vec<Status>);

impl State {
    /// How long a server waits for a leader, drawn anew each time.
    pub fn draw_patience(&mut self, config: &Config) -> Duration {
        let more = self.random.below(1_000);
        config.raft_time(1_000 + more)
    }

    pub fn agent_at(&self, address: Ipv4Addr) -> Option<Key> {
        let mut servers = self.agents.iter().filter(|(_, agent)| agent.raft.is_some());
        servers
            .find(|(_, agent)| agent.address == address)
            .map(|(key, _)| *key)
    }

    /// Whom all agents know: an agent's step may tell others of one another.
    fn acquaintances(&self) -> (usize, u64, usize) {
        let peers = self.agents.values().flat_map(|agent| agent.peers.values());
        peers.fold((0, 0, 0), |(count, keys, statuses), peer| {
            (count + 1, keys + peer.key, statuses + peer.status as usize)
        })
    }

    fn outline(&self, key: Key) -> Option<Outline> {
        let agent = self.agents.get(&key)?;
        let peers = agent.peers.values().map(|peer| peer.status).collect();
        let Some(raft) = &agent.raft else {
            return Some((0, None, 0, 0, 0, peers));
        };
        let role = match raft.role {
            Role::Follower => 1,
            Role::Candidate => 2,
            Role::Leader(_) => 3,
        };
        Some((
            role,
            raft.leader,
            raft.term,
            raft.last(),
            raft.committed,
            peers,
        ))
    }

    /// Whether a server is a voter that leads, or that heard of its leader a moment ago.
    fn is_serving(&self, key: Key, now: Instant) -> bool {
        let agent = &self.agents[&key];
        let Some(raft) = agent.raft.as_ref().filter(|raft| raft.is_voter(&agent.id)) else {
            return false;
        };
        let heard = raft.leader.and(raft.contact);
        let was_led = heard.is_some_and(|at| now < at + agent.config.raft_time(CONTACT_UNITS));
        agent.is_leading() || was_led || self.is_led(key)
    }

    fn note_changes(&mut self, key: Key, now: Instant) {
        if !self.agents.contains_key(&key) {
            return;
        }
        let is_serving = self.is_serving(key, now);
        let Some(agent) = self.agents.get_mut(&key) else {
            return;
        };
        if is_serving != agent.was_serving {
            agent.was_serving = is_serving;
            let word = match (is_serving, agent.is_leading()) {
                (true, true) => "serving leader",
                (true, false) => "serving follower",
                (false, _) => "not serving",
            };
            agent.note(word);
        }
    }

    fn view(&self, key: Key, now: Instant) -> AgentView {
        let agent = &self.agents[&key];
        let is_serving = self.is_serving(key, now);
        let leader = agent.raft.as_ref().and_then(|raft| raft.leader);
        let leader = leader.and_then(|address| self.agent_at(address));
        let leader = leader
            .map(|key| &self.agents[&key])
            .filter(|leader| leader.is_leading() && agent.reaches(leader));
        let has_all = |leader: &Agent| {
            let (own, theirs) = (agent.raft.as_ref(), leader.raft.as_ref());
            own.zip(theirs).is_some_and(|(own, theirs)| {
                own.applied() >= theirs.applied() && own.term == theirs.term
            })
        };
        let voters = agent.raft.iter().flat_map(|raft| raft.servers());
        AgentView {
            host: agent.host.clone(),
            container: agent.container.clone(),
            address: agent.address,
            id: agent.id.clone(),
            is_server: agent.config.is_server,
            configured: voters
                .filter(|server| server.is_voter)
                .map(|server| (server.id.clone(), server.address))
                .collect(),
            is_serving,
            is_synced: is_serving && leader.is_some_and(has_all),
            is_leading: agent.is_leading(),
            index: agent.raft.as_ref().map_or(0, Raft::applied),
        }
    }
}
