//! When an agent must be stepped again by the clock. Everything else that concerns it wakes it, so that
//! a cluster in order costs next to nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Agent, CONTACT_UNITS, Key, State};

/// Nothing is forgotten for longer than that.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
/// While a leader's entries are not committed, or while it may lose its lease.
const LEADER_INTERVAL: Duration = Duration::from_millis(200);
/// While the catalogue does not have an agent's services.
const REGISTER_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    pub fn next_step(&self, me: Key, now: Instant) -> Instant {
        let idle = now + IDLE_INTERVAL;
        let Some(agent) = self.agents.get(&me) else {
            return idle;
        };
        let mut times = vec![agent.join_at];
        times.extend(agent.misses_until);
        times.extend(self.times_of_raft(me, now));
        times.extend(times_of_services(agent, now));
        let next = times.into_iter().filter(|time| *time > now).min();
        next.unwrap_or(idle).min(idle)
    }

    fn times_of_raft(&self, me: Key, now: Instant) -> Vec<Instant> {
        let agent = &self.agents[&me];
        let Some(raft) = &agent.raft else {
            return Vec::new();
        };
        let Some(lead) = raft.lead() else {
            if raft.is_led {
                return Vec::new();
            }
            let limit = agent.config.raft_time(CONTACT_UNITS);
            let unserved = raft.contact.map(|at| at + limit);
            let election = raft.waits_since + raft.patience;
            return unserved.into_iter().chain([election]).collect();
        };
        let is_busy = raft.committed != raft.last() || !self.has_followers(me);
        let soon = (is_busy || lead.autopilot.is_new()).then_some(now + LEADER_INTERVAL);
        let autopilot = lead.autopilot.next_step();
        let times = soon.into_iter().chain(autopilot);
        times.chain([lead.reconcile_at]).collect()
    }
}

fn times_of_services(agent: &Agent, now: Instant) -> Vec<Instant> {
    let mut times = Vec::new();
    times.extend((!agent.is_registered).then_some(now + REGISTER_INTERVAL));
    for local in agent.services.values() {
        let Some(check) = &local.check else {
            continue;
        };
        times.extend(check.listens.is_some().then_some(now + check.interval));
        let late = check.ttl.zip(local.reported).map(|(ttl, at)| at + ttl);
        let removed = local.critical_since.zip(check.removed_after);
        times.extend(late);
        times.extend(removed.map(|(since, limit)| since + limit));
    }
    times
}
