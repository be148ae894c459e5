//! Input and output of every gate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::host::HostSession;
use crate::spec::{HostName, Remedy};

/// A member to query. A member without a session counts as down.
#[derive(Clone)]
pub struct Member {
    pub host: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    /// Recorded member number, for services that have one.
    pub member: Option<u8>,
    /// The session to its host.
    pub session: Option<Arc<dyn HostSession>>,
}

/// The kind of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By reading only.
    Read,
    /// By a write that is read back.
    Write,
}

/// The judged answers of a service's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    pub service: String,
    /// Whether everything that the gate requires holds. With members known to be down: whether the
    /// rest is a working majority.
    pub healthy: bool,
    /// The leader that all members agree on.
    pub leader: Option<HostName>,
    /// Members that answered correctly and are in sync.
    pub synced: Vec<HostName>,
    /// Configured members.
    pub members: usize,
    /// Majority of the configured members.
    pub quorum: usize,
    /// The members, in words (`3 of 3, 2 synced`).
    pub membership: String,
    /// What was proven, in words (`written through m1, read back from m2 and m3`).
    pub proof: String,
    /// Each host's current role (`leader`, `follower`, …).
    pub roles: BTreeMap<HostName, String>,
    /// Each host's version of the service.
    pub versions: BTreeMap<HostName, String>,
    /// Members that hold other data than the majority.
    pub different: BTreeSet<HostName>,
    /// The hosts of the service's own committed membership, as its members spell them; `None` when
    /// no member told it, or the service has none (Mesos masters).
    pub committed: Option<BTreeSet<String>>,
    /// Faults, one line each, with the host and its answer (escaped).
    pub faults: Vec<String>,
}

impl Verdict {
    /// The role of a member whose host is down.
    pub(super) const DOWN: &str = "down";

    /// Whether the host of a member is known to be down.
    #[must_use]
    pub fn is_down(&self, member: &HostName) -> bool {
        self.roles
            .get(member)
            .is_some_and(|role| role == Self::DOWN)
    }

    /// What to do about members that hold other data than the majority.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        let repair = |host: &HostName| Remedy::RepairMember {
            host: host.clone(),
            component: self.service.clone(),
        };
        self.different.iter().map(repair).collect()
    }
}
