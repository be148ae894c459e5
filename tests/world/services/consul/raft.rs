//! One server's part of raft: its log, its term and what it applied. Elections and replication are in
//! [`super::quorum`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use super::autopilot::Autopilot;
use super::catalog::{Catalog, Command, Entry, RaftServer};
use crate::files::Files;
use crate::services::journal::Journal;

#[derive(Debug, Clone)]
pub enum Role {
    Follower,
    Candidate,
    Leader(Box<Lead>),
}

/// What a leader keeps in memory.
#[derive(Debug, Clone)]
pub struct Lead {
    pub since: Instant,
    /// When each server answered last.
    pub contacts: BTreeMap<Ipv4Addr, Instant>,
    /// Servers that are reached, and so are heard all the time.
    pub reached: BTreeSet<Ipv4Addr>,
    pub autopilot: Autopilot,
    /// When all members of the gossip are compared with raft's servers again.
    pub reconcile_at: Instant,
    /// Members whose coming was handled.
    pub joined: BTreeMap<String, u64>,
}

pub struct Raft {
    files: Files,
    dir: String,
    journal: Journal,
    pub term: u64,
    /// For whom it voted in its term.
    pub voted: Option<String>,
    pub log: Vec<Entry>,
    /// Where in the log the newest entry is that names the servers.
    named: Option<usize>,
    pub committed: u64,
    pub catalog: Catalog,
    applied: u64,
    pub role: Role,
    pub leader: Option<Ipv4Addr>,
    /// When it last heard of a leader; never since its start: `None`.
    pub contact: Option<Instant>,
    /// When it stands for election, unless it hears of a leader before.
    pub patience: Duration,
    pub waits_since: Instant,
    /// Whether its leader reaches it, so that it hears of the leader all the time.
    pub is_led: bool,
}

impl Raft {
    /// `None`: the data cannot be read, which ends the program.
    pub fn open(files: &Files, data_dir: &str, now: Instant) -> Option<Self> {
        let dir = format!("{data_dir}/raft");
        let journal = Journal::open(files, &dir, "log.")?;
        let entries = journal.lines().map(|(_, line)| serde_json::from_str(line));
        let log: Vec<Entry> = entries.collect::<Result<_, _>>().ok()?;
        let mut raft = Self {
            files: files.clone(),
            journal,
            term: 0,
            voted: None,
            named: newest_names(&log),
            log,
            committed: 0,
            catalog: Catalog::default(),
            applied: 0,
            role: Role::Follower,
            leader: None,
            contact: None,
            patience: Duration::ZERO,
            waits_since: now,
            is_led: false,
            dir,
        };
        if let Some(text) = files.text(&format!("{}/vote", raft.dir)) {
            let (term, voted) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            raft.term = term.parse().ok()?;
            raft.voted = Some(voted.to_owned()).filter(|voted| !voted.is_empty());
        }
        raft.recover()?;
        Some(raft)
    }

    /// A file that an operator wrote names the servers anew.
    fn recover(&mut self) -> Option<()> {
        #[derive(serde::Deserialize)]
        struct Peer {
            id: String,
            address: String,
            #[serde(default)]
            non_voter: bool,
        }
        let path = format!("{}/peers.json", self.dir);
        let Some(text) = self.files.text(&path) else {
            return Some(());
        };
        let peers: Vec<Peer> = serde_json::from_str(&text).ok()?;
        let servers = peers.into_iter().map(|peer| {
            let address = peer.address.split(':').next()?.parse().ok()?;
            Some(RaftServer {
                id: peer.id,
                address,
                is_voter: !peer.non_voter,
            })
        });
        let servers: Vec<RaftServer> = servers.collect::<Option<_>>()?;
        let term = self.term.max(1);
        self.push(term, Command::Servers(servers));
        self.files.remove(&path);
        Some(())
    }

    pub fn last(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.index)
    }

    pub fn last_term(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.term)
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let at = usize::try_from(index.checked_sub(1)?).ok()?;
        self.log.get(at)
    }

    /// The servers by the newest entry that names them, committed or not.
    pub fn servers(&self) -> &[RaftServer] {
        let named = self.named.and_then(|at| self.log.get(at));
        match named.map(|entry| &entry.command) {
            Some(Command::Servers(servers)) => servers,
            _ => &[],
        }
    }

    /// Whether a change of the servers is not committed yet.
    pub fn is_changing(&self) -> bool {
        let uncommitted = self
            .log
            .iter()
            .rev()
            .take_while(|entry| entry.index > self.committed);
        uncommitted
            .into_iter()
            .any(|entry| matches!(entry.command, Command::Servers(_)))
    }

    pub fn majority(&self) -> usize {
        self.servers()
            .iter()
            .filter(|server| server.is_voter)
            .count()
            / 2
            + 1
    }

    pub fn is_voter(&self, id: &str) -> bool {
        self.servers()
            .iter()
            .any(|server| server.is_voter && server.id == id)
    }

    pub fn lead(&self) -> Option<&Lead> {
        match &self.role {
            Role::Leader(lead) => Some(lead),
            _ => None,
        }
    }

    pub fn enter_term(&mut self, term: u64, voted: Option<String>) {
        if term == self.term && voted == self.voted {
            return;
        }
        (self.term, self.voted) = (term, voted);
        let text = format!("{term} {}", self.voted.as_deref().unwrap_or_default());
        self.files.write(&format!("{}/vote", self.dir), text, 0o644);
    }

    pub fn push(&mut self, term: u64, command: Command) -> u64 {
        let index = self.last() + 1;
        self.append(Entry {
            index,
            term,
            command,
        });
        index
    }

    fn append(&mut self, entry: Entry) {
        let line = serde_json::to_string(&entry).expect("an entry is JSON");
        self.journal.append(entry.index, line);
        if matches!(entry.command, Command::Servers(_)) {
            self.named = Some(self.log.len());
        }
        self.log.push(entry);
    }

    /// Makes this log the same as a leader's, and applies what is committed there.
    pub fn follow(&mut self, leader: &Self) {
        let is_same = |mine: &Self, index: u64| {
            mine.at(index).map(|entry| entry.term) == leader.at(index).map(|entry| entry.term)
        };
        let mut common = self.last().min(leader.last());
        while common > 0 && !is_same(self, common) {
            common -= 1;
        }
        if common < self.last() {
            self.journal.truncate(common);
            self.log.retain(|entry| entry.index <= common);
            self.named = newest_names(&self.log);
        }
        let next = usize::try_from(common).unwrap_or(usize::MAX);
        for entry in leader.log.get(next..).unwrap_or_default() {
            self.append(entry.clone());
        }
        self.commit(leader.committed);
    }

    /// Applies entries up to an index.
    pub fn commit(&mut self, index: u64) {
        self.committed = self.committed.max(index.min(self.last()));
        while self.applied < self.committed {
            let at = usize::try_from(self.applied).unwrap_or(usize::MAX);
            let Some(entry) = self.log.get(at) else {
                return;
            };
            self.catalog.apply(entry);
            self.applied += 1;
        }
    }

    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Becomes a follower that knows no leader.
    pub fn step_down(&mut self, now: Instant, patience: Duration) {
        self.role = Role::Follower;
        self.leader = None;
        self.waits_since = now;
        self.patience = patience;
    }
}

fn newest_names(log: &[Entry]) -> Option<usize> {
    log.iter()
        .rposition(|entry| matches!(entry.command, Command::Servers(_)))
}
