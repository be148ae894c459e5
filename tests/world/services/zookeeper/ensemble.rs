//! The members of all ensembles on one network, and what clients ask of them. A member's own process
//! steps it; what it sees of the others is what the network lets it see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::member::{Key, Member, Phase, Stage, Vote};
use super::tree::{Change, Tree};
use super::writes::{Lost, Write};
use crate::changes::{Changes, Subscription};
use crate::network::Network;

/// How long news of a member takes to the others.
const NEWS_TIME: Duration = Duration::from_millis(20);
/// A write that waits for others looks again after that.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long one write takes: a round to a quorum of disks.
const WRITE_TIME: Duration = Duration::from_millis(25);

#[derive(Default)]
pub struct State {
    pub members: BTreeMap<Key, Member>,
    /// Where members were that ended.
    pub gone: BTreeMap<Key, Ipv4Addr>,
    /// How much longer a snapshot takes to a machine.
    pub slow: BTreeMap<Ipv4Addr, Duration>,
    next_key: Key,
    next_session: i64,
    /// Which leader last heard of a session, and when.
    pub touches: BTreeMap<i64, (Key, Instant)>,
    /// Steps of all members, which are what an idle ensemble costs.
    steps: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Of the places of members.
    changed: Changes,
    /// Of what is committed.
    committed: Changes,
}

/// Cloned handles see one ensemble.
#[derive(Clone, Default)]
pub struct Ensemble(Arc<Shared>);

/// What a member is at this moment, by the world's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    pub host: String,
    pub container: String,
    pub address: Ipv4Addr,
    pub id: u32,
    /// Numbers and addresses of the voters that it lists.
    pub configured: BTreeMap<u32, String>,
    /// Answers clients.
    pub is_serving: bool,
    /// Serves, is reached by its leader and has everything that the leader committed.
    pub is_synced: bool,
    pub is_leading: bool,
    /// The last transaction that it applied, and the digest of its data.
    pub zxid: u64,
    pub digest: i64,
}

/// What changes with a node: its last transaction, and how many children it had and has. `None`: it
/// is not there.
pub type NodeMark = Option<(u64, i32, usize)>;

/// A member that runs; dropped, it has ended.
pub struct Joined {
    ensemble: Ensemble,
    pub key: Key,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut state = self.ensemble.lock();
        if let Some(member) = state.members.remove(&self.key) {
            state.gone.insert(self.key, member.address);
            member.note(format!("end {}", member.config.id));
        }
        drop(state);
        self.ensemble.wake();
    }
}

impl Ensemble {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        self.0.changed.add();
    }

    pub fn changes(&self) -> Subscription {
        self.0.changed.subscribe()
    }

    /// Makes snapshots to a machine take longer.
    pub fn slow_down(&self, address: Ipv4Addr, more: Duration) {
        self.lock().slow.insert(address, more);
    }

    pub fn join(&self, mut member: Member) -> Joined {
        let mut state = self.lock();
        state.next_key += 1;
        let key = state.next_key;
        member.note(format!("start {}", member.config.id));
        member.look_for_leader();
        state.members.insert(key, member);
        drop(state);
        self.wake();
        Joined {
            ensemble: self.clone(),
            key,
        }
    }

    /// Changes of what is committed.
    pub fn commits(&self) -> Subscription {
        self.0.committed.subscribe()
    }

    /// Lives one member until it is dropped.
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

    /// How many steps all members made.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Steps a member; says when it must be stepped again.
    fn step(&self, key: Key) -> Instant {
        let now = Instant::now();
        let mut state = self.lock();
        state.steps += 1;
        let before = state.members.get(&key).map(outline);
        let had = state.members.get(&key).map(|member| member.store.tree.zxid);
        state.step(key, now);
        state.expire_sessions(key, now);
        state.note_changes(key);
        let after = state.members.get(&key).map(outline);
        let has = state.members.get(&key).map(|member| member.store.tree.zxid);
        let next = state.next_step(key, now);
        drop(state);
        if before != after {
            self.wake();
        }
        if had != has {
            self.0.committed.add();
        }
        next
    }

    /// Every member that runs, in the order of their starts.
    pub fn members(&self) -> Vec<MemberView> {
        let state = self.lock();
        state.members.keys().map(|key| state.view(*key)).collect()
    }

    /// Everything that can be read after a sync; `None` while no leader has a majority.
    pub fn committed_paths(&self) -> Option<BTreeSet<String>> {
        let state = self.lock();
        let mut leaders = state.members.keys().filter(|key| state.has_quorum(**key));
        let tree = &state.members[leaders.next()?].store.tree;
        Some(tree.nodes.keys().cloned().collect())
    }

    /// A node as the member shows it that serves at an address.
    pub fn mark_at(&self, address: Ipv4Addr, path: &str) -> NodeMark {
        let state = self.lock();
        let mut members = state.members.values();
        let member = members.find(|member| member.address == address && member.is_serving())?;
        let tree = &member.store.tree;
        let node = tree.nodes.get(path)?;
        let children = tree.children(path).len();
        Some((node.modified, node.children_version, children))
    }

    /// A number for a new session, which no other one has.
    pub fn new_session(&self) -> i64 {
        let mut state = self.lock();
        state.next_session += 1;
        0x0100_0000_0000_0000 + state.next_session
    }

    pub fn hear_session(&self, key: Key, session: i64) {
        let mut state = self.lock();
        // A member that is cut off tells nobody.
        if let Some(leader) = state.reached_leader(key) {
            state.touches.insert(session, (leader, Instant::now()));
        }
    }

    /// How often the member began to serve; `None` while it does not.
    pub fn serving(&self, key: Key) -> Option<u64> {
        let state = self.lock();
        let member = state.members.get(&key)?;
        member.is_serving().then_some(member.served)
    }

    /// Reads a member's own data.
    pub fn read<T>(&self, key: Key, read: impl FnOnce(&Tree) -> T) -> Option<T> {
        let state = self.lock();
        state
            .members
            .get(&key)
            .map(|member| read(&member.store.tree))
    }

    /// Writes through a member. Returns the transaction and the path, or an error code, once a quorum
    /// has it and the member shows it.
    ///
    /// # Errors
    /// When the member left its quorum meanwhile: the write may be there or not.
    pub async fn write(&self, key: Key, write: &Write) -> Result<Result<(u64, String), i32>, Lost> {
        let served = self.serving(key).ok_or(Lost)?;
        let network = self.lock().members.get(&key).map(|own| own.network.clone());
        let mut wires = network.ok_or(Lost)?.changes();
        let (mut changes, mut commits) = (self.changes(), self.commits());
        tokio::time::sleep(WRITE_TIME).await;
        let mut proposed = None;
        loop {
            if self.serving(key) != Some(served) {
                return Err(Lost);
            }
            let answer = self.lock().try_write(key, write, &mut proposed);
            if let Some(answer) = answer {
                if proposed.is_some() {
                    self.0.committed.add();
                }
                return Ok(answer);
            }
            tokio::select! {
                biased;
                () = changes.changed() => {}
                () = commits.changed() => {}
                () = wires.changed() => {}
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
            }
        }
    }
}

/// What of a member others wait for.
fn outline(member: &Member) -> (u8, u64, Option<Vote>) {
    let round = member.round;
    match &member.phase {
        Phase::Looking { agreed } => (u8::from(agreed.is_some()), round, Some(member.vote)),
        Phase::Leading(leading) => {
            let stage = 2 + u8::from(leading.epoch.is_some()) + u8::from(leading.is_active);
            (stage, round + leading.heard.len() as u64, None)
        }
        Phase::Following { leader, stage, .. } => {
            let stage = match stage {
                Stage::Connecting => 5,
                Stage::Syncing(_) => 6,
                Stage::Synced => 7,
                Stage::Broadcast => 8,
            };
            (stage, *leader, None)
        }
    }
}

impl State {
    /// A leader ends the sessions of which it did not hear in time.
    fn expire_sessions(&mut self, key: Key, now: Instant) {
        let late = self.session_deadlines(key);
        let late = late.filter(|(_, deadline)| now >= *deadline);
        let late: Vec<i64> = late.map(|(session, _)| session).collect();
        for session in late {
            // One that cannot be committed is enough.
            if self.members[&key].store.is_applied() {
                self.propose(key, Change::Close { session });
                self.commit_reached(key);
                self.touches.remove(&session);
            }
        }
    }

    /// Whether a leader has a majority that has everything of it.
    fn has_quorum(&self, key: Key) -> bool {
        let member = &self.members[&key];
        if member.config.is_standalone() {
            return true;
        }
        let others = self.members.keys().copied();
        let synced = others.filter(|other| {
            let is_led = self.reached_leader(*other) == Some(key);
            is_led && self.has_all(key, *other)
        });
        let is_serving = |stage| stage == Stage::Broadcast;
        member.is_leading() && self.voters_among(key, synced, is_serving) >= member.config.quorum()
    }

    fn note_changes(&mut self, key: Key) {
        let Some(member) = self.members.get_mut(&key) else {
            return;
        };
        let is_serving = member.is_serving();
        if is_serving == member.was_serving {
            return;
        }
        member.was_serving = is_serving;
        if is_serving {
            member.served += 1;
        }
        let word = match (is_serving, member.is_leading()) {
            (true, true) => "serving leader",
            (true, false) => "serving follower",
            (false, _) => "not serving",
        };
        member.note(word);
    }

    fn view(&self, key: Key) -> MemberView {
        let member = &self.members[&key];
        let is_serving = member.is_serving();
        let leader = self.reached_leader(key).filter(|_| is_serving);
        MemberView {
            host: member.host.clone(),
            container: member.container.clone(),
            address: member.address,
            id: member.config.id,
            configured: member
                .config
                .voters()
                .map(|(id, line)| (id, line.host.clone()))
                .collect(),
            is_serving,
            is_synced: leader.is_some_and(|leader| {
                // A leader that gave it up does not count it.
                let heard = self.members[&leader]
                    .leading()
                    .map(|leading| &leading.heard);
                let is_kept = leader == key || heard.is_some_and(|heard| heard.contains_key(&key));
                is_kept && self.has_all(leader, key)
            }),
            is_leading: member.is_leading(),
            zxid: member.store.tree.zxid,
            digest: member.store.tree.digest,
        }
    }
}
