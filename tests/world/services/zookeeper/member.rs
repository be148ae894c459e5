//! One running server of an ensemble: its part in elections, and what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::config::Config;
use super::store::Store;
use crate::network::Network;
use crate::record::Record;

/// A number of its own for every started process: one that is started again is another member.
pub type Key = u64;

/// A vote: epoch and last transaction of the candidate, and its number. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub epoch: i64,
    pub zxid: u64,
    pub id: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asks the leader for the epoch.
    Connecting,
    /// Copies data until then.
    Syncing(Instant),
    /// Has the leader's data, which does not serve yet.
    Synced,
    /// Takes part.
    Broadcast,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Looking {
        /// Since when a quorum votes as this member does.
        agreed: Option<(Vote, Instant)>,
    },
    Leading(Leading),
    Following {
        leader: Key,
        since: Instant,
        stage: Stage,
        /// Whether it hears of the leader, and when it last did if not.
        is_reached: bool,
        heard: Instant,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    pub since: Instant,
    /// The epoch, once a quorum of learners came.
    pub epoch: Option<i64>,
    /// A quorum has its data: it serves.
    pub is_active: bool,
    /// When each learner was last heard; those that are reached are heard all the time.
    pub heard: BTreeMap<Key, Instant>,
    pub reached: BTreeSet<Key>,
    /// Since when no quorum follows.
    pub alone_since: Option<Instant>,
    /// The number of the next transaction, without its epoch.
    pub next: u64,
}

pub struct Member {
    pub host: String,
    pub container: String,
    pub address: Ipv4Addr,
    pub config: Config,
    pub network: Network,
    pub record: Record,
    pub store: Store,
    pub phase: Phase,
    pub round: u64,
    pub vote: Vote,
    /// A leader that it left is not tried again before.
    pub follows_from: Instant,
    /// Counts how often it began to serve, so that a connection of an earlier time ends.
    pub served: u64,
    /// Whether it served when it was last looked at.
    pub was_serving: bool,
}

impl Member {
    pub fn note(&self, what: impl Into<String>) {
        self.record.note(&self.host, &self.container, what);
    }

    pub fn reaches(&self, other: &Self) -> bool {
        self.network.reaches(self.address, other.address)
    }

    /// Whether both exchange votes: one dials the other by its list, and says its number.
    pub fn hears(&self, other: &Self) -> bool {
        let lists = |list: &Config, member: &Self| {
            let line = list.servers.get(&member.config.id);
            // An address that is no number is a name, and names are resolved by everybody.
            line.is_some_and(|line| line.address().is_none_or(|listed| listed == member.address))
        };
        self.reaches(other) && (lists(&self.config, other) || lists(&other.config, self))
    }

    pub fn own_vote(&self) -> Vote {
        Vote {
            epoch: self.store.current_epoch,
            zxid: self.store.last(),
            id: self.config.id,
        }
    }

    /// Whether it can be elected and elect.
    pub fn can_vote(&self) -> bool {
        self.store.is_initialized() && self.config.is_voter(self.config.id)
    }

    pub fn look_for_leader(&mut self) {
        self.store.commit_all();
        self.round += 1;
        self.vote = self.own_vote();
        self.phase = Phase::Looking { agreed: None };
    }

    pub fn leading(&self) -> Option<&Leading> {
        match &self.phase {
            Phase::Leading(leading) => Some(leading),
            _ => None,
        }
    }

    /// The leader that it follows, at whatever stage.
    pub fn leader(&self) -> Option<(Key, Stage)> {
        match self.phase {
            Phase::Following { leader, stage, .. } => Some((leader, stage)),
            _ => None,
        }
    }

    pub fn is_leading(&self) -> bool {
        self.config.is_standalone() || self.leading().is_some_and(|leading| leading.is_active)
    }

    /// Whether it answers clients. A member that is cut off does so until it notices.
    pub fn is_serving(&self) -> bool {
        self.is_leading() || matches!(self.leader(), Some((_, Stage::Broadcast)))
    }

    /// The last transaction as `srvr` shows it.
    pub fn shown_zxid(&self) -> u64 {
        let epoch = self.leading().and_then(|leading| leading.epoch);
        let begun = epoch.map_or(0, |epoch| u64::try_from(epoch).unwrap_or(0) << 32);
        self.store.tree.zxid.max(begun)
    }
}
