//! When a member must be stepped again by the clock. Everything else that concerns it wakes it, so that
//! an ensemble in order costs next to nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::election::{ALONE_LIMIT, CONNECT_LIMIT, FINALIZE_WAIT};
use super::ensemble::State;
use super::member::{Key, Leading, Member, Phase, Stage};

/// Nothing is forgotten for longer than that.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);

impl State {
    pub fn next_step(&self, me: Key, now: Instant) -> Instant {
        let idle = now + IDLE_INTERVAL;
        let Some(member) = self.members.get(&me) else {
            return idle;
        };
        let mut times = match &member.phase {
            Phase::Looking { agreed } => {
                let agreed = agreed.map(|(_, since)| since + FINALIZE_WAIT);
                agreed.into_iter().chain([member.follows_from]).collect()
            }
            Phase::Leading(leading) => times_of_leader(member, leading),
            Phase::Following {
                since,
                stage,
                is_reached,
                heard,
                ..
            } => {
                let mut times = vec![*since + member.config.init_time()];
                times.extend((*stage == Stage::Connecting).then_some(*since + CONNECT_LIMIT));
                if let Stage::Syncing(until) = stage {
                    times.push(*until);
                }
                times.extend((!is_reached).then_some(*heard + member.config.sync_time()));
                times
            }
        };
        times.extend(self.session_deadlines(me).map(|(_, deadline)| deadline));
        let next = times.into_iter().filter(|time| *time > now).min();
        next.unwrap_or(idle).min(idle)
    }

    /// When each session ends of which nothing more is heard, for a leader that can end them. Every
    /// session's time begins anew with a leader.
    pub fn session_deadlines(&self, me: Key) -> impl Iterator<Item = (i64, Instant)> {
        let member = self.members.get(&me);
        let leader = member.filter(|member| member.is_leading() && member.store.is_applied());
        let since = leader.and_then(|leader| Some(leader.leading()?.since));
        let sessions = leader
            .into_iter()
            .flat_map(|leader| &leader.store.tree.sessions);
        sessions.filter_map(move |(session, timeout)| {
            let heard = self.touches.get(session).filter(|(by, _)| *by == me);
            let last = heard.map(|(_, at)| *at).max(since).or_else(|| {
                // One that runs alone may have started again.
                leader.map(|leader| leader.follows_from)
            })?;
            let limit = Duration::from_millis(u64::try_from(*timeout).unwrap_or(0));
            Some((*session, last + limit))
        })
    }
}

fn times_of_leader(member: &Member, leading: &Leading) -> Vec<Instant> {
    if !leading.is_active {
        return vec![leading.since + member.config.init_time()];
    }
    let silent = leading.heard.iter();
    let silent = silent.filter(|(learner, _)| !leading.reached.contains(learner));
    let given_up = silent.map(|(_, last)| *last + member.config.sync_time());
    let alone = leading.alone_since.map(|since| since + ALONE_LIMIT);
    given_up.chain(alone).collect()
}
