//! Raft among the servers: how a cluster is founded, how a leader is elected, what it replicates, and
//! when it gives up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::autopilot::Autopilot;
use super::catalog::{Command, RaftServer};
use super::cluster::{Agent, Key, State};
use super::raft::{Lead, Raft, Role};
use super::serf::Status;

impl State {
    pub fn raft(&self, key: Key) -> Option<&Raft> {
        self.agents.get(&key)?.raft.as_ref()
    }

    pub fn raft_mut(&mut self, key: Key) -> Option<&mut Raft> {
        self.agents.get_mut(&key)?.raft.as_mut()
    }

    pub fn step_raft(&mut self, me: Key, now: Instant) {
        let Some(raft) = self.raft(me) else {
            return;
        };
        if raft.lead().is_some() {
            self.lead(me, now);
            return;
        }
        if raft.last() == 0 {
            self.found_cluster(me, now);
        }
        let is_led = self.is_led(me);
        let Some(raft) = self.raft_mut(me) else {
            return;
        };
        // Whoever was led until now heard of its leader until now.
        if is_led || raft.is_led {
            raft.contact = Some(now);
            raft.waits_since = now;
        }
        raft.is_led = is_led;
        if now >= raft.waits_since + raft.patience {
            self.stand_for_election(me, now);
            self.lead(me, now);
        }
    }

    /// Whether a server's leader reaches it.
    pub fn is_led(&self, me: Key) -> bool {
        let agent = &self.agents[&me];
        let Some(raft) = agent.raft.as_ref().filter(|raft| raft.lead().is_none()) else {
            return false;
        };
        let leader = raft.leader.and_then(|address| self.agent_at(address));
        let Some(leader) = leader.and_then(|leader| self.agents.get(&leader)) else {
            return false;
        };
        let theirs = leader
            .raft
            .as_ref()
            .filter(|theirs| theirs.lead().is_some());
        let is_listed = theirs.is_some_and(|theirs| {
            let mut servers = theirs.servers().iter();
            theirs.term == raft.term && servers.any(|server| server.address == agent.address)
        });
        is_listed && agent.reaches(leader)
    }

    /// A server without data founds a cluster once it sees as many as it expects, unless one of them
    /// expects another number or has data. One that expects only itself asks nobody.
    fn found_cluster(&mut self, me: Key, now: Instant) {
        let agent = &self.agents[&me];
        let expect = agent.config.expect;
        let servers: Vec<(Ipv4Addr, String, usize)> = agent
            .peers
            .values()
            .filter(|peer| peer.is_server && peer.status == Status::Alive)
            .filter(|peer| expect != 1 || peer.id == agent.id)
            .map(|peer| (peer.address, peer.id.clone(), peer.expect))
            .collect();
        let is_agreed = servers
            .iter()
            .all(|(.., theirs)| *theirs == 0 || *theirs == expect);
        let others = servers
            .iter()
            .filter_map(|(address, ..)| self.agent_at(*address));
        let has_data = others
            .into_iter()
            .any(|key| self.raft(key).is_some_and(|raft| raft.last() > 0));
        if expect == 0 || servers.len() < expect || !is_agreed || has_data {
            return;
        }
        let servers = servers.into_iter();
        let servers = servers.map(|(address, id, _)| RaftServer {
            id,
            address,
            is_voter: true,
        });
        let command = Command::Servers(servers.collect());
        let patience = self.draw_patience(&self.agents[&me].config.clone());
        if let Some(raft) = self.raft_mut(me) {
            raft.enter_term(1, None);
            raft.push(1, command);
            raft.step_down(now, patience);
        }
    }

    /// Asks every voter beforehand, so that a server that nobody would elect disturbs nobody.
    fn stand_for_election(&mut self, me: Key, now: Instant) {
        let agent = &self.agents[&me];
        let patience = agent.config.clone();
        let Some(raft) = agent.raft.as_ref().filter(|raft| raft.is_voter(&agent.id)) else {
            let patience = self.draw_patience(&patience);
            if let Some(raft) = self.raft_mut(me) {
                raft.step_down(now, patience);
            }
            return;
        };
        let granted: Vec<Key> = raft
            .servers()
            .iter()
            .filter(|server| server.is_voter)
            .filter_map(|server| self.agent_at(server.address))
            .filter(|key| *key == me || self.grants(*key, agent))
            .collect();
        let is_elected = granted.len() >= raft.majority();
        let highest = granted
            .iter()
            .filter_map(|key| self.raft(*key))
            .map(|raft| raft.term)
            .max();
        let term = highest.unwrap_or(0) + 1;
        let id = agent.id.clone();
        let patience = self.draw_patience(&patience);
        if !is_elected {
            if let Some(raft) = self.raft_mut(me) {
                raft.step_down(now, patience);
                raft.role = Role::Candidate;
            }
            return;
        }
        for key in granted {
            if let Some(raft) = self.raft_mut(key) {
                raft.enter_term(term, Some(id.clone()));
            }
        }
        self.take_over(me, term, now);
    }

    /// Votes go to whoever has at least the same log, when no leader is known. A server without data
    /// votes as well.
    fn grants(&self, key: Key, candidate: &Agent) -> bool {
        let voter = &self.agents[&key];
        let (Some(own), Some(theirs)) = (&voter.raft, &candidate.raft) else {
            return false;
        };
        let is_listed = own.servers().is_empty() || own.is_voter(&candidate.id);
        let has_all = (theirs.last_term(), theirs.last()) >= (own.last_term(), own.last());
        voter.reaches(candidate) && own.leader.is_none() && is_listed && has_all
    }

    fn take_over(&mut self, me: Key, term: u64, now: Instant) {
        let agent = self.agents.get_mut(&me).expect("a server");
        agent.note(format!("leader term {term}"));
        let (address, autopilot) = (agent.address, agent.config.autopilot);
        let joined = BTreeMap::new();
        let Some(raft) = &mut agent.raft else {
            return;
        };
        raft.leader = Some(address);
        raft.contact = Some(now);
        raft.push(term, Command::Nothing);
        raft.role = Role::Leader(Box::new(Lead {
            since: now,
            contacts: BTreeMap::new(),
            reached: BTreeSet::new(),
            autopilot: Autopilot::new(now),
            reconcile_at: now,
            joined,
        }));
        self.replicate(me, now);
        // The file's settings count for a new cluster only.
        let has_settings = self.raft(me).is_some_and(|raft| {
            raft.catalog.autopilot.is_some()
                || raft
                    .log
                    .iter()
                    .any(|entry| matches!(entry.command, Command::Autopilot(_)))
        });
        if !has_settings && let Some(raft) = self.raft_mut(me) {
            raft.push(term, Command::Autopilot(autopilot));
        }
        self.replicate(me, now);
    }

    /// Sends every server that the leader reaches what it lacks, and commits what a majority has.
    pub fn replicate(&mut self, me: Key, now: Instant) {
        let agent = &self.agents[&me];
        let Some(raft) = agent.raft.as_ref().filter(|raft| raft.lead().is_some()) else {
            return;
        };
        let (term, address) = (raft.term, agent.address);
        let servers: Vec<RaftServer> = raft.servers().to_vec();
        let mut reached = Vec::new();
        for server in servers.iter().filter(|server| server.address != address) {
            let Some(key) = self.agent_at(server.address) else {
                continue;
            };
            if !self.agents[&me].reaches(&self.agents[&key]) {
                continue;
            }
            if self.raft(key).is_some_and(|raft| raft.term > term) {
                // A newer term was agreed on without this leader.
                let theirs = self.raft(key).map_or(term, |raft| raft.term);
                self.give_up(me, now);
                if let Some(raft) = self.raft_mut(me) {
                    raft.enter_term(theirs, None);
                }
                return;
            }
            self.send_entries(me, key, now);
            reached.push((key, server.is_voter));
        }
        self.commit(me, &reached, now);
    }

    fn send_entries(&mut self, me: Key, to: Key, now: Instant) {
        let Some(mut other) = self.agents.remove(&to) else {
            return;
        };
        let address = self.agents[&me].address;
        let is_new = other
            .raft
            .as_ref()
            .is_some_and(|own| own.leader != Some(address) || !matches!(own.role, Role::Follower));
        if is_new {
            let patience = self.draw_patience(&other.config);
            if let Some(own) = &mut other.raft {
                own.step_down(now, patience);
            }
        }
        let leader = &self.agents[&me];
        if let (Some(own), Some(theirs)) = (&mut other.raft, &leader.raft) {
            if own.term < theirs.term {
                own.enter_term(theirs.term, None);
            }
            own.leader = Some(leader.address);
            own.contact = Some(now);
            own.waits_since = now;
            own.is_led = true;
            own.follow(theirs);
        }
        self.agents.insert(to, other);
    }

    fn commit(&mut self, me: Key, reached: &[(Key, bool)], now: Instant) {
        let agent = &self.agents[&me];
        let Some(raft) = &agent.raft else {
            return;
        };
        let own = usize::from(raft.is_voter(&agent.id));
        let voters = reached.iter().filter(|(_, is_voter)| *is_voter).count() + own;
        let (last, is_enough) = (raft.last(), voters >= raft.majority());
        let is_news = is_enough && raft.committed < last;
        let addresses: Vec<Ipv4Addr> = reached
            .iter()
            .map(|(key, _)| self.agents[key].address)
            .collect();
        for key in reached.iter().map(|(key, _)| *key).chain([me]) {
            if let Some(raft) = self.raft_mut(key).filter(|_| is_enough) {
                raft.commit(last);
            }
        }
        if let Some(Role::Leader(lead)) = self.raft_mut(me).map(|raft| &mut raft.role) {
            // Whoever was reached until now was heard until now.
            let heard = lead.reached.iter().chain(&addresses);
            lead.contacts.extend(heard.map(|address| (*address, now)));
            lead.reached = addresses.into_iter().collect();
        }
        if is_news {
            self.committed.add();
        }
    }

    /// Whether a leader has heard of a majority within `limit` thousandths of raft's unit.
    pub fn has_majority(&self, me: Key, now: Instant, limit: u64) -> bool {
        let agent = &self.agents[&me];
        let Some((raft, lead)) = agent
            .raft
            .as_ref()
            .and_then(|raft| Some((raft, raft.lead()?)))
        else {
            return false;
        };
        let limit = agent.config.raft_time(limit);
        let is_heard = |address: Ipv4Addr| {
            address == agent.address
                || lead
                    .contacts
                    .get(&address)
                    .is_some_and(|at| now < *at + limit)
        };
        let voters = raft.servers().iter().filter(|server| server.is_voter);
        voters.filter(|server| is_heard(server.address)).count() >= raft.majority()
    }

    /// Whether a leader reaches a majority at this moment, which a consistent read asks.
    pub fn reaches_majority(&mut self, me: Key, now: Instant) -> bool {
        self.replicate(me, now);
        self.has_followers(me)
    }

    /// Whether a leader reached a majority when it last replicated.
    pub fn has_followers(&self, me: Key) -> bool {
        let agent = &self.agents[&me];
        let raft = agent.raft.as_ref();
        let Some((raft, lead)) = raft.and_then(|raft| Some((raft, raft.lead()?))) else {
            return false;
        };
        let voters = raft.servers().iter().filter(|server| server.is_voter);
        let is_reached = |address| address == agent.address || lead.reached.contains(&address);
        voters.filter(|server| is_reached(server.address)).count() >= raft.majority()
    }

    fn give_up(&mut self, me: Key, now: Instant) {
        let patience = self.draw_patience(&self.agents[&me].config.clone());
        let Some(agent) = self.agents.get_mut(&me) else {
            return;
        };
        agent.note("lost leadership");
        if let Some(raft) = &mut agent.raft {
            raft.step_down(now, patience);
        }
    }

    fn lead(&mut self, me: Key, now: Instant) {
        self.pass_quiet_time(me, now);
        self.replicate(me, now);
        let Some(lead) = self.raft(me).and_then(Raft::lead) else {
            return;
        };
        // A new leader's lease begins with its election.
        let lease = self.agents[&me].config.raft_time(500);
        if now >= lead.since + lease && !self.has_majority(me, now, 500) {
            self.give_up(me, now);
            return;
        }
        self.reconcile(me, now);
        self.step_autopilot(me, now);
        self.replicate(me, now);
        self.note_quiet(me);
    }

    /// Hands the leadership to the voter with the given id, or to the first that is reached.
    ///
    /// # Errors
    /// When there is none.
    pub fn transfer(&mut self, me: Key, id: Option<&str>, now: Instant) -> Result<(), String> {
        self.replicate(me, now);
        let agent = &self.agents[&me];
        let servers = agent.raft.as_ref().map(Raft::servers).unwrap_or_default();
        let others = servers
            .iter()
            .filter(|server| server.is_voter && server.id != agent.id);
        let found = others
            .filter(|server| id.is_none_or(|id| id == server.id))
            .find_map(|server| self.agent_at(server.address))
            .filter(|key| agent.reaches(&self.agents[key]));
        let Some(target) = found else {
            return Err(match id {
                Some(id) => format!("Could not find address for server id {id}"),
                None => "cannot find peer".into(),
            });
        };
        let term = self.raft(me).map_or(0, |raft| raft.term) + 1;
        let id = self.agents[&target].id.clone();
        self.give_up(me, now);
        for key in [me, target] {
            if let Some(raft) = self.raft_mut(key) {
                raft.enter_term(term, Some(id.clone()));
            }
        }
        self.take_over(target, term, now);
        Ok(())
    }
}
