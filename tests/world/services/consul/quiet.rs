//! A leader whose servers are all in order reads nothing anew: another reading would say the same. The
//! times of the readings go on all the same, so that what comes next is told as late as ever.

use std::time::Duration;

use tokio::time::Instant;

use super::autopilot::{CLEANUP_INTERVAL, UPDATE_INTERVAL};
use super::catalog::RaftServer;
use super::cluster::{Key, State};
use super::raft::Raft;
use super::serf::Status;

impl State {
    /// Takes the readings for made that would have found all in order until now.
    pub fn pass_quiet_time(&mut self, me: Key, now: Instant) {
        let last = self.raft(me).map_or(0, Raft::last);
        let Some(autopilot) = self
            .autopilot_mut(me)
            .filter(|autopilot| autopilot.is_quiet)
        else {
            return;
        };
        if let Some(updated) = &mut autopilot.updated {
            let former = *updated;
            pass(updated, UPDATE_INTERVAL, now);
            if *updated > former {
                for stats in autopilot.stats.values_mut() {
                    stats.index = last;
                }
                for health in &mut autopilot.health {
                    health.index = last;
                }
            }
        }
        pass(&mut autopilot.cleaned, CLEANUP_INTERVAL, now);
    }

    /// Notes whether all servers vote, are healthy, alive and reached.
    pub fn note_quiet(&mut self, me: Key) {
        let agent = &self.agents[&me];
        let raft = agent.raft.as_ref();
        let Some((raft, lead)) = raft.and_then(|raft| Some((raft, raft.lead()?))) else {
            return;
        };
        let health = &lead.autopilot.health;
        let is_in_order = |server: &RaftServer| {
            let is_reached = server.id == agent.id || lead.reached.contains(&server.address);
            let mut peers = agent.peers.values();
            let is_alive = peers.any(|p| p.id == server.id && p.status == Status::Alive);
            let mut health = health.iter();
            let is_healthy = health.any(|h| h.server == *server && h.is_healthy);
            server.is_voter && is_reached && is_alive && is_healthy
        };
        let is_quiet = health.len() == raft.servers().len()
            && raft.servers().iter().all(is_in_order)
            && raft.committed == raft.last();
        if let Some(autopilot) = self.autopilot_mut(me) {
            autopilot.is_quiet = is_quiet;
        }
    }
}

/// Moves a time on by whole intervals, to before `now`.
fn pass(time: &mut Instant, interval: Duration, now: Instant) {
    while *time + interval < now {
        *time += interval;
    }
}
