//! The gossip: who each agent believes to be there. A member that nobody hears is failed after the
//! suspicion's time, which is longer where few can confirm it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Agent, Key, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Alive = 1,
    Leaving = 2,
    Left = 3,
    Failed = 4,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// A member as one agent knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: Ipv4Addr,
    pub id: String,
    pub is_server: bool,
    pub expect: usize,
    pub status: Status,
    pub unheard_since: Option<Instant>,
    /// The process that it was last heard from.
    pub key: Key,
}

/// How long probes take before a member is suspected.
const PROBE_TIME: Duration = Duration::from_millis(1_500);
const SUSPICION_TIME: f64 = 4.0;
const LONGEST_SUSPICION: f64 = 6.0;
/// Others that confirm a suspicion make it as short as it can be.
const CONFIRMATIONS: usize = 2;

/// How long a member is unheard before it is failed, in a pool of so many that are alive, for one who
/// hears so many of them beside itself.
fn failure_time(pool: usize, others: usize) -> Duration {
    let scale = u32::try_from(pool).map_or(1.0, |n| f64::from(n.max(1)).log10().max(1.0));
    let shortest = SUSPICION_TIME * scale;
    let longest = shortest * LONGEST_SUSPICION;
    let wanted = if pool < CONFIRMATIONS + 2 {
        0
    } else {
        CONFIRMATIONS
    };
    let time = match (others.min(wanted), wanted) {
        (confirmed, wanted) if confirmed == wanted => shortest,
        (0, _) => longest,
        _ => longest - (longest - shortest) * (2f64.ln() / 3f64.ln()),
    };
    PROBE_TIME + Duration::from_secs_f64(time)
}

impl Agent {
    fn knows(&self, other: &Self) -> bool {
        let peer = self.peers.get(&other.config.name);
        peer.is_some_and(|peer| peer.address == other.address)
    }

    /// Whether both may be in one pool.
    fn speaks_to(&self, other: &Self) -> bool {
        self.reaches(other)
            && self.key == other.key
            && self.config.datacenter == other.config.datacenter
    }

    fn as_peer(&self, key: Key) -> Peer {
        Peer {
            address: self.address,
            id: self.id.clone(),
            is_server: self.config.is_server,
            expect: self.config.expect,
            status: self.status,
            unheard_since: None,
            key,
        }
    }
}

impl State {
    /// The agents of one's pool that are heard, oneself included: directly or through others.
    fn pool(&self, me: Key) -> BTreeSet<Key> {
        let mut found = BTreeSet::from([me]);
        let mut open = vec![me];
        while let Some(key) = open.pop() {
            let agent = &self.agents[&key];
            for (other_key, other) in &self.agents {
                let is_linked = agent.knows(other) && other.knows(agent) && agent.speaks_to(other);
                if is_linked && found.insert(*other_key) {
                    open.push(*other_key);
                }
            }
        }
        found
    }

    /// One agent's step: what it hears of the others, and whom it misses.
    pub fn gossip(&mut self, me: Key, now: Instant) {
        self.retry_join(me, now);
        let pool = self.pool(me);
        let heard: Vec<(String, Peer)> = pool
            .iter()
            .map(|key| (*key, &self.agents[key]))
            .map(|(key, agent)| (agent.config.name.clone(), agent.as_peer(key)))
            .collect();
        let Some(agent) = self.agents.get_mut(&me) else {
            return;
        };
        let before = agent.peers.len();
        agent.misses_until = None;
        for (name, peer) in heard {
            agent.peers.insert(name, peer);
        }
        let is_alive = |peer: &&Peer| peer.status == Status::Alive;
        let alive = agent.peers.values().filter(is_alive).count();
        let limit = failure_time(alive, pool.len() - 1);
        for (name, peer) in &mut agent.peers {
            if pool.contains(&peer.key) || name == &agent.config.name {
                continue;
            }
            let since = *peer.unheard_since.get_or_insert(now);
            if !matches!(peer.status, Status::Alive | Status::Leaving) {
                continue;
            }
            let failed = since + limit;
            if now < failed {
                agent.misses_until = Some(agent.misses_until.map_or(failed, |at| at.min(failed)));
            }
            if now >= failed {
                let was_leaving = peer.status == Status::Leaving;
                peer.status = if was_leaving {
                    Status::Left
                } else {
                    Status::Failed
                };
            }
        }
        if agent.peers.len() != before {
            self.remember_peers(me);
        }
    }

    /// Addresses for the next start.
    fn remember_peers(&self, me: Key) {
        let agent = &self.agents[&me];
        let others = agent
            .peers
            .values()
            .filter(|peer| peer.address != agent.address);
        let text: String = others.map(|peer| format!("{}\n", peer.address)).collect();
        let path = format!("{}/serf/local.snapshot", agent.config.data_dir);
        agent.files.write(&path, text, 0o644);
    }

    /// Dials the servers that the configuration names, and those that were known before, until one
    /// answers. Real agents are content with themselves if they are in their own list; the others
    /// then find them.
    fn retry_join(&mut self, me: Key, now: Instant) {
        let agent = &self.agents[&me];
        if now < agent.join_at {
            return;
        }
        let targets: BTreeSet<Ipv4Addr> = agent.join.iter().copied().collect();
        let found: Vec<Key> = self
            .agents
            .iter()
            .filter(|(key, other)| **key != me && targets.contains(&other.address))
            .filter(|(_, other)| agent.speaks_to(other) && other.status == Status::Alive)
            .map(|(key, _)| *key)
            .collect();
        for other in &found {
            self.meet(me, *other);
        }
        let is_alone = self.pool(me).len() == 1;
        if let Some(agent) = self.agents.get_mut(&me) {
            let pause = agent.config.retry_interval;
            // One that lost everybody goes on, as the gossip of those that are failed does.
            agent.join_at = now + if is_alone { pause } else { pause * 10 };
        }
    }

    /// Two agents learn of each other and of everybody that either knows, unless another agent has
    /// the name.
    fn meet(&mut self, me: Key, other: Key) {
        for (a, b) in [(me, other), (other, me)] {
            let newcomer = self.agents[&a].as_peer(a);
            let name = self.agents[&a].config.name.clone();
            let Some(agent) = self.agents.get_mut(&b) else {
                continue;
            };
            let is_taken = agent.peers.get(&name).is_some_and(|peer| {
                peer.address != newcomer.address && peer.status == Status::Alive
            });
            if !is_taken {
                agent.peers.insert(name, newcomer);
            }
        }
        for (a, b) in [(me, other), (other, me)] {
            let known = self.agents[&b].peers.clone();
            if let Some(agent) = self.agents.get_mut(&a) {
                for (name, peer) in known {
                    agent.peers.entry(name).or_insert(peer);
                }
            }
        }
        // Those that either knows hear of the other at once.
        for (a, b) in [(me, other), (other, me)] {
            let name = self.agents[&a].config.name.clone();
            let newcomer = self.agents[&a].as_peer(a);
            for key in self.pool(b) {
                if let Some(agent) = self.agents.get_mut(&key).filter(|_| key != a) {
                    let is_taken = agent.peers.get(&name).is_some_and(|peer| {
                        peer.address != newcomer.address && peer.status == Status::Alive
                    });
                    if !is_taken {
                        agent.peers.insert(name.clone(), newcomer.clone());
                    }
                }
            }
        }
    }

    /// Everybody in an agent's pool takes a member for one that left.
    pub fn declare_left(&mut self, me: Key, name: &str, is_pruned: bool) {
        for key in self.pool(me) {
            if let Some(agent) = self.agents.get_mut(&key) {
                if agent.config.name == name {
                    continue;
                }
                if is_pruned {
                    agent.peers.remove(name);
                } else if let Some(peer) = agent.peers.get_mut(name) {
                    peer.status = Status::Left;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_that_confirm_a_failure_see_it_late() {
        let seconds = |pool, others| failure_time(pool, others).as_secs_f64();
        // Three servers and a member of theirs, as recorded.
        assert!((5.0..6.5).contains(&seconds(3, 1)));
        assert!((5.0..6.5).contains(&seconds(3, 0)));
        // A client that lost all three servers.
        assert!((24.0..27.0).contains(&seconds(4, 0)));
        assert!((5.0..6.5).contains(&seconds(4, 2)));
    }
}
