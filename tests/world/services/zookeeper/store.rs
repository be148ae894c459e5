//! What a member keeps on its machine's disk: its epochs, snapshots and the log of transactions.

use super::config::Config;
use super::tree::{Tree, Txn};
use crate::files::Files;
use crate::services::journal::Journal;

pub struct Store {
    files: Files,
    data_dir: String,
    journal: Journal,
    /// `None`: this member has no data and may not take part in elections.
    base: Option<Tree>,
    /// Transactions after `base`.
    pub log: Vec<Txn>,
    /// The data after the committed part of the log.
    pub tree: Tree,
    /// Transactions of the log that `tree` contains.
    applied: usize,
    pub accepted_epoch: i64,
    pub current_epoch: i64,
}

/// Exit code of a server whose data cannot be read.
const BAD_DATA: i64 = 1;

impl Store {
    /// # Errors
    /// The exit code of a server that finds such data.
    pub fn open(files: &Files, config: &Config) -> Result<Self, i64> {
        let epoch = |name: &str| match files.text(&format!("{}/{name}", config.data_dir)) {
            Some(text) => text.trim().parse().map(Some).map_err(|_| BAD_DATA),
            None => Ok(None),
        };
        let (current, accepted) = (epoch("currentEpoch")?, epoch("acceptedEpoch")?);
        let journal = Journal::open(files, &config.log_dir, "log.").ok_or(BAD_DATA)?;
        let snapshot = newest_snapshot(files, &config.data_dir)?;
        let log = journal.lines().map(|(_, line)| serde_json::from_str(line));
        let log: Vec<Txn> = log.collect::<Result<_, _>>().map_err(|_| BAD_DATA)?;
        if snapshot.is_none() && !log.is_empty() {
            // Without a snapshot a log is not trusted.
            return Err(BAD_DATA);
        }
        // One that was started without the file once stays without data.
        let base = snapshot.or_else(|| current.is_none().then(|| found(files, config))?);
        let none = if base.is_some() { 0 } else { -1 };
        let mut store = Self {
            files: files.clone(),
            data_dir: config.data_dir.clone(),
            journal,
            log,
            tree: Tree::founded(),
            applied: 0,
            accepted_epoch: accepted.unwrap_or(none),
            current_epoch: current.unwrap_or(none),
            base,
        };
        if store.current_epoch > store.accepted_epoch {
            return Err(BAD_DATA);
        }
        let base = store.base.as_ref().map_or(0, |tree| tree.zxid);
        store.log.retain(|txn| txn.zxid > base);
        store.write_epochs();
        if let Some(base) = &store.base {
            store.write_snapshot(base);
        }
        store.replay();
        Ok(store)
    }

    pub fn is_initialized(&self) -> bool {
        self.base.is_some()
    }

    /// The last transaction in the log, committed or not.
    pub fn last(&self) -> u64 {
        let base = || self.base.as_ref().map_or(0, |tree| tree.zxid);
        self.log.last().map_or_else(base, |txn| txn.zxid)
    }

    fn first(&self) -> u64 {
        self.base.as_ref().map_or(0, |tree| tree.zxid)
    }

    /// Whether everything in the log is applied.
    pub fn is_applied(&self) -> bool {
        self.applied == self.log.len()
    }

    fn write_epochs(&self) {
        for (name, epoch) in [
            ("acceptedEpoch", self.accepted_epoch),
            ("currentEpoch", self.current_epoch),
        ] {
            let path = format!("{}/{name}", self.data_dir);
            self.files.write(&path, epoch.to_string(), 0o644);
        }
    }

    pub fn accept_epoch(&mut self, epoch: i64) {
        self.accepted_epoch = epoch;
        self.write_epochs();
    }

    pub fn enter_epoch(&mut self, epoch: i64) {
        self.current_epoch = epoch;
        self.write_epochs();
    }

    fn write_snapshot(&self, tree: &Tree) {
        let path = format!("{}/snapshot.{:x}", self.data_dir, tree.zxid);
        if self.files.node(&path).is_none() {
            let text = serde_json::to_string(tree).expect("a tree is JSON");
            self.files.write(&path, text, 0o644);
        }
    }

    pub fn append(&mut self, txn: Txn) {
        let line = serde_json::to_string(&txn).expect("a transaction is JSON");
        self.journal.append(txn.zxid, line);
        self.log.push(txn);
    }

    /// Applies the log up to a transaction.
    pub fn commit(&mut self, zxid: u64) {
        while let Some(txn) = self.log.get(self.applied)
            && txn.zxid <= zxid
        {
            self.tree.apply(txn);
            self.applied += 1;
        }
    }

    /// Applies the whole log, as a server does that leaves its quorum.
    pub fn commit_all(&mut self) {
        self.commit(u64::MAX);
    }

    fn replay(&mut self) {
        self.tree = self.base.clone().unwrap_or_else(Tree::founded);
        self.applied = 0;
        self.commit_all();
    }

    fn truncate(&mut self, last: u64) {
        self.journal.truncate(last);
        self.log.retain(|txn| txn.zxid <= last);
        self.replay();
    }

    fn replace(&mut self, mut tree: Tree) {
        self.journal.clear();
        self.log.clear();
        // A snapshot of a later transaction would win at the next start.
        for path in self.files.below(&self.data_dir) {
            if path.contains("/snapshot.") {
                self.files.remove(&path);
            }
        }
        tree.mismatches = 0;
        self.write_snapshot(&tree);
        self.base = Some(tree);
        self.replay();
    }

    /// How a learner that has these data is brought up to a leader's. Judged by numbers only, as the
    /// real one does: a learner with other data under the same numbers keeps them.
    pub fn plan_sync(&self, leader: &Self) -> Sync {
        let (last, newest) = (self.last(), leader.last());
        if !self.is_initialized() {
            return Sync::Snapshot;
        }
        if last == newest {
            return Sync::Difference;
        }
        let back_to = |to: u64| {
            if to < self.first() {
                Sync::Snapshot
            } else {
                Sync::Truncate(to)
            }
        };
        if last > newest {
            return back_to(newest);
        }
        if last < leader.first() {
            return Sync::Snapshot;
        }
        let next = leader.log.partition_point(|txn| txn.zxid <= last);
        let before = next
            .checked_sub(1)
            .map_or(leader.first(), |at| leader.log[at].zxid);
        if before == last {
            return Sync::Difference;
        }
        let is_same_epoch = leader
            .log
            .get(next)
            .is_some_and(|txn| txn.zxid >> 32 == last >> 32);
        if is_same_epoch {
            back_to(before)
        } else {
            Sync::Snapshot
        }
    }

    /// Brings these data up to the leader's.
    pub fn sync_from(&mut self, leader: &Self) {
        match self.plan_sync(leader) {
            Sync::Difference => {}
            Sync::Truncate(last) => self.truncate(last),
            Sync::Snapshot => self.replace(leader.tree.clone()),
        }
        self.follow(leader);
    }

    /// Appends what the leader logged since, and commits what it committed.
    pub fn follow(&mut self, leader: &Self) {
        let last = self.last();
        let next = leader.log.partition_point(|txn| txn.zxid <= last);
        for txn in &leader.log[next..] {
            self.append(txn.clone());
        }
        self.commit(leader.tree.zxid);
    }
}

/// How a learner is brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    Difference,
    /// Drops what follows a transaction, then a difference.
    Truncate(u64),
    Snapshot,
}

/// The empty data of a server that may found an ensemble: the `initialize` file beside its logs says
/// so, once.
fn found(files: &Files, config: &Config) -> Option<Tree> {
    let dir = config.log_dir.trim_end_matches("/version-2");
    let initialize = format!("{dir}/initialize");
    let is_told = files.node(&initialize).is_some();
    files.remove(&initialize);
    (is_told || config.autocreate).then(Tree::founded)
}

fn newest_snapshot(files: &Files, dir: &str) -> Result<Option<Tree>, i64> {
    let prefix = format!("{dir}/snapshot.");
    let snapshots = files.below(dir).into_iter();
    let newest = snapshots
        .filter_map(|path| {
            Some((
                u64::from_str_radix(path.strip_prefix(&prefix)?, 16).ok()?,
                path,
            ))
        })
        .max();
    let Some((_, path)) = newest else {
        return Ok(None);
    };
    let text = files.text(&path).unwrap_or_default();
    serde_json::from_str(&text).map(Some).map_err(|_| BAD_DATA)
}
