//! How a request comes to the leader, from whatever agent it was sent to, and what becomes of a write.

use std::time::Duration;

use tokio::time::Instant;

use super::catalog::Command;
use super::cluster::{Cluster, Key, State};
use super::serf::Status;
use crate::changes::Subscription;

/// How long a request waits for a leader.
const HOLD_TIME: Duration = Duration::from_secs(7);
/// How long a connection to a server is tried.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long one write takes.
const WRITE_TIME: Duration = Duration::from_millis(25);
/// A request that waits looks again after that: not every change wakes it.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The text of an answer with status 500.
pub type Failure = String;

const NO_LEADER: &str = "No cluster leader";
const LOST: &str = "leadership lost while committing log";

/// Where a request goes from an agent.
enum Way {
    Leader(Key),
    /// Nobody leads, as far as the server knows.
    Wait,
    /// The network swallows it.
    Dialling,
    Failed(Failure),
}

impl State {
    /// The leader that an agent's requests reach at this moment.
    pub fn leader_for(&self, me: Key) -> Option<Key> {
        match self.way(me) {
            Way::Leader(key) => Some(key),
            _ => None,
        }
    }

    fn way(&self, me: Key) -> Way {
        let Some(agent) = self.agents.get(&me) else {
            return Way::Wait;
        };
        let Some(raft) = &agent.raft else {
            return self.way_of_client(me);
        };
        let Some(address) = raft.leader else {
            return Way::Wait;
        };
        if address == agent.address {
            return Way::Leader(me);
        }
        let mut peers = agent.peers.values();
        let is_known = peers.any(|peer| peer.address == address && peer.status == Status::Alive);
        if !is_known {
            return Way::Failed("Raft leader not found in server lookup mapping".into());
        }
        if !agent.network.reaches(agent.address, address) {
            return Way::Dialling;
        }
        match self.agent_at(address) {
            Some(key) if self.agents[&key].is_leading() => Way::Leader(key),
            Some(_) => Way::Wait,
            None => Way::Failed(refused(address)),
        }
    }

    /// The server that a client's requests reach: the first that it believes to be alive.
    pub fn server_for(&self, me: Key) -> Result<Key, Failure> {
        let agent = self.agents.get(&me).ok_or(NO_LEADER)?;
        if agent.raft.is_some() {
            return Ok(me);
        }
        let servers = agent.peers.values().filter(|peer| peer.is_server);
        let mut failure = "No known Consul servers".to_owned();
        for peer in servers.filter(|peer| peer.status == Status::Alive) {
            failure = refused(peer.address);
            let is_reached = agent.network.reaches(agent.address, peer.address);
            if let Some(key) = self.agent_at(peer.address).filter(|_| is_reached) {
                return Ok(key);
            }
        }
        Err(failure)
    }

    fn way_of_client(&self, me: Key) -> Way {
        match self.server_for(me) {
            Ok(server) => self.way(server),
            Err(failure) => Way::Failed(failure),
        }
    }
}

fn refused(address: std::net::Ipv4Addr) -> Failure {
    format!(
        "rpc error getting client: failed to get conn: dial tcp {address}:8300: connect: connection refused"
    )
}

impl Cluster {
    async fn changed(&self, changes: &mut Subscription) {
        let mut commits = self.commits();
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = commits.changed() => {}
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
        }
    }

    /// Waits for a leader that the agent's requests reach.
    ///
    /// # Errors
    /// As the real agent: at once, or after it waited in vain.
    pub async fn find_leader(&self, me: Key) -> Result<Key, Failure> {
        let began = Instant::now();
        let mut changes = self.changes();
        loop {
            let way = self.lock().way(me);
            match way {
                Way::Leader(key) => return Ok(key),
                Way::Failed(failure) => return Err(failure),
                Way::Wait if began.elapsed() >= HOLD_TIME => return Err(NO_LEADER.into()),
                Way::Dialling if began.elapsed() >= DIAL_TIME => {
                    return Err("rpc error getting client: failed to get conn: i/o timeout".into());
                }
                Way::Wait | Way::Dialling => self.changed(&mut changes).await,
            }
        }
    }

    /// Writes through an agent; returns the entry's index and whether it did what it said.
    ///
    /// # Errors
    /// When there is no leader, or it lost its leadership: the write may be there or not.
    pub async fn write(&self, me: Key, command: &Command) -> Result<(u64, bool), Failure> {
        let leader = self.find_leader(me).await?;
        tokio::time::sleep(WRITE_TIME).await;
        let mut changes = self.changes();
        let mut proposed = None;
        loop {
            {
                let (mut state, now) = (self.lock(), Instant::now());
                let term = proposed.map(|(_, term, _): (u64, u64, bool)| term);
                let raft = state.raft(leader).filter(|raft| {
                    raft.lead().is_some() && term.is_none_or(|term| term == raft.term)
                });
                let raft = raft.ok_or(LOST)?;
                let (term, is_done) = (raft.term, would_do(raft, command));
                let (index, _, is_done) = match proposed {
                    Some(proposed) => proposed,
                    None => (state.propose(leader, command.clone(), now), term, is_done),
                };
                proposed = Some((index, term, is_done));
                state.replicate(leader, now);
                let is_committed = |raft: &super::raft::Raft| raft.committed >= index;
                let is_reached = state.leader_for(me) == Some(leader);
                if state.raft(leader).is_some_and(is_committed) && is_reached {
                    let agent = &state.agents[&leader];
                    agent.note(format!("acknowledged {index}"));
                    return Ok((index, is_done));
                }
            }
            self.changed(&mut changes).await;
        }
    }

    /// The leader, once a majority confirmed it.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn find_confirmed_leader(&self, me: Key) -> Result<Key, Failure> {
        let leader = self.find_leader(me).await?;
        let mut changes = self.changes();
        loop {
            {
                let mut state = self.lock();
                if state.raft(leader).is_none_or(|raft| raft.lead().is_none()) {
                    return Err(LOST.into());
                }
                if state.reaches_majority(leader, Instant::now()) {
                    return Ok(leader);
                }
            }
            self.changed(&mut changes).await;
        }
    }
}

fn would_do(raft: &super::raft::Raft, command: &Command) -> bool {
    match command {
        Command::Put {
            key,
            cas: Some(cas),
            ..
        } => *cas == raft.catalog.keys.get(key).map_or(0, |value| value.modified),
        _ => true,
    }
}
