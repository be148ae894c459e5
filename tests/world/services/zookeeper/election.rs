//! Elections, and how learners come to their leader. Each member acts for itself, on what the members
//! that it hears show it: its vote, its leader, its data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::ensemble::State;
use super::member::{Key, Leading, Member, Phase, Stage, Vote};
use super::store::Sync;

/// How long a member waits for a better vote once a quorum agrees.
pub const FINALIZE_WAIT: Duration = Duration::from_millis(200);
/// How long a learner tries a leader that does not lead.
pub const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// Between two tries of a learner with the same leader.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How long the smallest sync takes.
const SYNC_TIME: Duration = Duration::from_millis(120);
/// How long a leader without a quorum goes on.
pub const ALONE_LIMIT: Duration = Duration::from_millis(1_500);

impl State {
    /// Members that a member exchanges votes with.
    fn heard(&self, me: Key) -> Vec<(Key, &Member)> {
        let own = &self.members[&me];
        let others = self.members.iter().filter(|(key, _)| **key != me);
        others
            .filter(|(_, other)| own.hears(other))
            .map(|(key, other)| (*key, other))
            .collect()
    }

    /// One step of one member.
    pub fn step(&mut self, me: Key, now: Instant) {
        let Some(member) = self.members.get(&me) else {
            return;
        };
        if member.config.is_standalone() {
            return;
        }
        match member.phase {
            Phase::Looking { .. } => self.vote(me, now),
            Phase::Leading(_) => self.lead(me, now),
            Phase::Following { .. } => self.follow(me, now),
        }
    }

    fn vote(&mut self, me: Key, now: Instant) {
        let own = &self.members[&me];
        if now >= own.follows_from
            && let Some(leader) = self.established_leader(me)
        {
            self.start_following(me, leader, now);
            return;
        }
        if !own.can_vote() {
            return;
        }
        let (mut round, mut vote) = (own.round, own.vote);
        // Those that decided already still count: what they voted for is known.
        let votes: Vec<(bool, u32, u64, Vote)> = self
            .heard(me)
            .into_iter()
            .filter(|(_, other)| other.can_vote())
            .map(|(_, other)| {
                let is_looking = matches!(other.phase, Phase::Looking { .. });
                (is_looking, other.config.id, other.round, other.vote)
            })
            .filter(|(_, id, _, vote)| own.config.is_voter(*id) && own.config.is_voter(vote.id))
            .collect();
        for (is_looking, _, other_round, other_vote) in &votes {
            if !*is_looking {
                continue;
            }
            if *other_round > round {
                (round, vote) = (*other_round, own.own_vote().max(*other_vote));
            } else if *other_round == round {
                vote = vote.max(*other_vote);
            }
        }
        let mut supporters: BTreeSet<u32> = votes
            .iter()
            .filter(|(_, _, other_round, other)| *other_round == round && *other == vote)
            .map(|(_, id, ..)| *id)
            .collect();
        supporters.insert(own.config.id);
        let is_quorum = supporters.len() >= own.config.quorum();
        let agreed = match own.phase {
            Phase::Looking { agreed } => agreed.filter(|(agreed, _)| *agreed == vote),
            _ => None,
        };
        let agreed = is_quorum.then(|| agreed.unwrap_or((vote, now)));
        let is_final = agreed.is_some_and(|(_, since)| now >= since + FINALIZE_WAIT);
        let is_mine = vote.id == own.config.id;
        let chosen = self
            .heard(me)
            .into_iter()
            .find(|(_, other)| other.config.id == vote.id);
        let chosen = chosen.map(|(key, _)| key);
        let own = self.members.get_mut(&me).expect("a member");
        (own.round, own.vote) = (round, vote);
        own.phase = Phase::Looking { agreed };
        match (is_final, is_mine, chosen) {
            (true, true, _) => {
                own.phase = Phase::Leading(Leading {
                    since: now,
                    epoch: None,
                    is_active: false,
                    heard: BTreeMap::new(),
                    reached: BTreeSet::new(),
                    alone_since: None,
                    next: 1,
                });
            }
            (true, false, Some(leader)) => self.start_following(me, leader, now),
            (true, false, None) => own.look_for_leader(),
            (false, ..) => {}
        }
    }

    /// A leader that a quorum of this member's list follows already.
    fn established_leader(&self, me: Key) -> Option<Key> {
        let own = &self.members[&me];
        let heard = self.heard(me);
        let leaders = heard.iter().filter(|(_, other)| other.leading().is_some());
        leaders
            .filter(|(_, leader)| own.config.is_voter(leader.config.id))
            .find(|(key, leader)| {
                let mut followers: BTreeSet<u32> = heard
                    .iter()
                    .filter(|(_, other)| other.leader().is_some_and(|(led_by, _)| led_by == *key))
                    .map(|(_, other)| other.config.id)
                    .filter(|id| own.config.is_voter(*id))
                    .collect();
                followers.insert(leader.config.id);
                let is_same_round = own.can_vote() && leader.round == own.round;
                if is_same_round && own.vote.id == leader.config.id {
                    followers.insert(own.config.id);
                }
                followers.len() >= own.config.quorum()
            })
            .map(|(key, _)| *key)
    }

    fn start_following(&mut self, me: Key, leader: Key, now: Instant) {
        let own = self.members.get_mut(&me).expect("a member");
        own.phase = Phase::Following {
            leader,
            since: now,
            stage: Stage::Connecting,
            is_reached: true,
            heard: now,
        };
    }

    fn lead(&mut self, me: Key, now: Instant) {
        let own = &self.members[&me];
        let Some(leading) = own.leading().cloned() else {
            return;
        };
        let learners: Vec<Key> = self
            .members
            .iter()
            .filter(|(_, other)| other.leader().is_some_and(|(leader, _)| leader == me))
            .filter(|(_, other)| own.reaches(other))
            .map(|(key, _)| *key)
            .collect();
        if !leading.is_active {
            self.found_epoch(me, &leading, &learners, now);
            return;
        }
        let (sync_time, quorum) = (own.config.sync_time(), own.config.quorum());
        let mut heard = leading.heard.clone();
        // Whoever was reached until now was heard until now.
        heard.extend(leading.reached.iter().map(|learner| (*learner, now)));
        for learner in &learners {
            heard.insert(*learner, now);
            self.replicate(me, *learner);
        }
        // A process that ended closes its connection; one that is cut off is waited for.
        heard.retain(|key, last| {
            let is_mine = self.members.get(key).is_some_and(|other| {
                other.leader().is_some_and(|(leader, _)| leader == me)
                    || !self.members[&me].reaches(other)
            });
            let is_silent = !self.members.contains_key(key) && self.is_silenced(me, *key);
            (is_mine || is_silent) && now < *last + sync_time
        });
        let voters = self.voters_among(me, heard.keys().copied(), |stage| {
            matches!(stage, Stage::Broadcast)
        });
        let alone_since = (voters < quorum).then(|| leading.alone_since.unwrap_or(now));
        let own = self.members.get_mut(&me).expect("a member");
        own.phase = Phase::Leading(Leading {
            heard,
            reached: learners.into_iter().collect(),
            alone_since,
            ..leading
        });
        if alone_since.is_some_and(|since| now >= since + ALONE_LIMIT) {
            own.look_for_leader();
            return;
        }
        self.commit(me);
    }

    /// Whether a member that is gone was on a machine that is not reached, so that nobody heard of
    /// its end.
    fn is_silenced(&self, me: Key, gone: Key) -> bool {
        let own = &self.members[&me];
        let address = self.gone.get(&gone);
        address.is_some_and(|address| !own.network.reaches(own.address, *address))
    }

    /// Voters of a leader's list: itself and those of `keys` at a stage.
    pub fn voters_among(
        &self,
        leader: Key,
        keys: impl Iterator<Item = Key>,
        is_wanted: impl Fn(Stage) -> bool,
    ) -> usize {
        let own = &self.members[&leader];
        let mut voters: BTreeSet<u32> = keys
            .filter_map(|key| self.members.get(&key))
            .filter(|other| {
                let stage = other.leader().filter(|(led_by, _)| *led_by == leader);
                stage.is_some_and(|(_, stage)| is_wanted(stage))
            })
            .map(|other| other.config.id)
            .filter(|id| own.config.is_voter(*id))
            .collect();
        voters.insert(own.config.id);
        voters.len()
    }

    /// An elected leader waits for a quorum of learners, then for a quorum that has its data.
    fn found_epoch(&mut self, me: Key, leading: &Leading, learners: &[Key], now: Instant) {
        let own = &self.members[&me];
        let (quorum, mine) = (own.config.quorum(), own.own_vote());
        let is_late = now >= leading.since + own.config.init_time();
        let is_behind = learners.iter().any(|key| {
            let other = &self.members[key];
            let theirs = other.own_vote();
            other.store.is_initialized() && (theirs.epoch, theirs.zxid) > (mine.epoch, mine.zxid)
        });
        let came = self.voters_among(me, learners.iter().copied(), |_| true);
        let has_data = |stage| matches!(stage, Stage::Synced | Stage::Broadcast);
        let synced = self.voters_among(me, learners.iter().copied(), has_data);
        let accepted = learners
            .iter()
            .map(|key| self.members[key].store.accepted_epoch);
        let accepted = accepted.max().unwrap_or(-1).max(own.store.accepted_epoch);
        let own = self.members.get_mut(&me).expect("a member");
        match leading.epoch {
            None if came >= quorum && is_behind => own.look_for_leader(),
            None if came >= quorum => {
                let epoch = accepted.max(0) + 1;
                own.store.accept_epoch(epoch);
                let epoch = Some(epoch);
                own.phase = Phase::Leading(Leading {
                    epoch,
                    ..leading.clone()
                });
            }
            Some(epoch) if synced >= quorum => {
                own.store.commit_all();
                own.store.enter_epoch(epoch);
                own.note(format!("leader epoch {epoch}"));
                let heard = learners.iter().map(|key| (*key, now)).collect();
                own.phase = Phase::Leading(Leading {
                    is_active: true,
                    heard,
                    reached: learners.iter().copied().collect(),
                    since: now,
                    ..leading.clone()
                });
            }
            _ if is_late => own.look_for_leader(),
            _ => {}
        }
    }

    fn follow(&mut self, me: Key, now: Instant) {
        let own = &self.members[&me];
        let Phase::Following {
            leader,
            since,
            stage,
            is_reached: was_reached,
            heard,
        } = own.phase
        else {
            return;
        };
        // Whoever was reached until now was heard until now.
        let heard = if was_reached { now } else { heard };
        let Some(other) = self.members.get(&leader) else {
            // The connection closed, unless the whole machine vanished.
            let address = self.gone.get(&leader);
            let is_silent = address.is_some_and(|a| !own.network.reaches(own.address, *a));
            self.wait_for_leader(me, is_silent, heard, now);
            return;
        };
        if !own.reaches(other) {
            self.wait_for_leader(me, true, heard, now);
            return;
        }
        let Some(leading) = other.leading() else {
            // It does not lead, or no longer; a learner that just came tries for a while.
            if stage != Stage::Connecting || now >= since + CONNECT_LIMIT {
                self.leave(me, now);
            }
            return;
        };
        let (epoch, is_active) = (leading.epoch, leading.is_active);
        // A leader that gave this learner up has closed the connection.
        let is_given_up =
            stage == Stage::Broadcast && is_active && !leading.heard.contains_key(&me);
        let next = match (stage, epoch) {
            (Stage::Connecting, Some(epoch)) if epoch < own.store.accepted_epoch => None,
            (Stage::Connecting, Some(_)) => {
                let time = self.sync_time(me, leader);
                Some(Stage::Syncing(now + time))
            }
            (Stage::Connecting, None) => {
                let is_late = now >= since + own.config.init_time();
                (!is_late).then_some(stage)
            }
            (Stage::Syncing(until), Some(_)) if now >= until => Some(Stage::Synced),
            (Stage::Syncing(_), _) => {
                let is_late = now >= since + own.config.init_time();
                (!is_late).then_some(stage)
            }
            (Stage::Synced, _) if is_active => Some(Stage::Broadcast),
            (Stage::Broadcast, _) if is_given_up => None,
            _ => Some(stage),
        };
        let Some(next) = next else {
            self.leave(me, now);
            return;
        };
        if next == Stage::Synced && stage != Stage::Synced {
            self.sync(me, leader);
        }
        let own = self.members.get_mut(&me).expect("a member");
        if let (Stage::Syncing(_), Stage::Connecting, Some(epoch)) = (next, stage, epoch)
            && epoch > own.store.accepted_epoch
        {
            own.store.accept_epoch(epoch);
        }
        own.phase = Phase::Following {
            leader,
            since,
            stage: next,
            is_reached: true,
            heard: now,
        };
        if next == Stage::Broadcast && stage != Stage::Broadcast {
            let leader = self.members.get_mut(&leader).expect("a leader");
            if let Phase::Leading(leading) = &mut leader.phase {
                leading.heard.insert(me, now);
                leading.reached.insert(me);
            }
        }
    }

    /// Goes on without its leader for a while, when only the network keeps it away.
    fn wait_for_leader(&mut self, me: Key, is_silent: bool, last: Instant, now: Instant) {
        let limit = self.members[&me].config.sync_time();
        if !is_silent || now >= last + limit {
            self.leave(me, now);
            return;
        }
        let own = self.members.get_mut(&me).expect("a member");
        if let Phase::Following {
            is_reached, heard, ..
        } = &mut own.phase
        {
            (*is_reached, *heard) = (false, last);
        }
    }

    fn leave(&mut self, me: Key, now: Instant) {
        if let Some(own) = self.members.get_mut(&me) {
            own.follows_from = now + RETRY_INTERVAL;
            own.look_for_leader();
        }
    }

    fn sync_time(&self, me: Key, leader: Key) -> Duration {
        let (own, leader) = (&self.members[&me], &self.members[&leader]);
        let slow = self.slow.get(&own.address).copied().unwrap_or_default();
        match own.store.plan_sync(&leader.store) {
            Sync::Snapshot => SYNC_TIME + slow,
            Sync::Difference | Sync::Truncate(_) => SYNC_TIME,
        }
    }

    fn sync(&mut self, me: Key, leader: Key) {
        let Some(mut own) = self.members.remove(&me) else {
            return;
        };
        let leader = &self.members[&leader];
        own.store.sync_from(&leader.store);
        if let Some(epoch) = leader.leading().and_then(|leading| leading.epoch) {
            own.store.enter_epoch(epoch);
        }
        own.note(format!("synced from {}", leader.config.id));
        self.members.insert(me, own);
    }

    /// Sends a learner what it does not have yet.
    pub fn replicate(&mut self, leader: Key, learner: Key) {
        let Some(mut own) = self.members.remove(&learner) else {
            return;
        };
        if let Some(leader) = self.members.get(&leader)
            && matches!(own.leader(), Some((_, Stage::Synced | Stage::Broadcast)))
        {
            own.store.follow(&leader.store);
        }
        self.members.insert(learner, own);
    }

    /// Commits what a quorum has, at the leader and at those that it reaches.
    pub fn commit(&mut self, me: Key) {
        let own = &self.members[&me];
        if !own.leading().is_some_and(|leading| leading.is_active) {
            return;
        }
        let last = own.store.last();
        let quorum = own.config.quorum();
        let holders: Vec<Key> = self
            .members
            .iter()
            .filter(|(_, other)| {
                let stage = other.leader().filter(|(leader, _)| *leader == me);
                stage.is_some_and(|(_, stage)| matches!(stage, Stage::Synced | Stage::Broadcast))
            })
            .filter(|(_, other)| own.reaches(other) && other.store.last() == last)
            .map(|(key, _)| *key)
            .collect();
        if self.voters_among(me, holders.iter().copied(), |_| true) < quorum {
            return;
        }
        for key in holders.into_iter().chain([me]) {
            if let Some(member) = self.members.get_mut(&key) {
                member.store.commit(last);
            }
        }
    }
}
