//! What every gate takes and gives.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::spec::HostName;
use crate::transport::Session;

/// A member to ask. A member without a session counts as down.
#[derive(Clone)]
pub struct Member {
    /// Its host.
    pub host: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    /// Its recorded member number, for services that have one.
    pub member: Option<u8>,
    /// The way to it.
    pub session: Option<Arc<dyn Session>>,
}

/// How far a proof goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By reading alone.
    Read,
    /// By a write that is read back.
    Write,
}

/// What a service's members said, judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The service.
    pub service: String,
    /// Whether everything that the gate asks for holds. With members known to be down: whether the rest is a working majority.
    pub healthy: bool,
    /// The leader that all agree on.
    pub leader: Option<HostName>,
    /// Members that answered rightly and are in sync.
    pub synced: Vec<HostName>,
    /// Configured members.
    pub members: usize,
    /// Majority of the configured members.
    pub quorum: usize,
    /// Who is in it, in words (`3 of 3, 2 synced`).
    pub membership: String,
    /// What was proven, in words (`written through m1, read back from m2 and m3`).
    pub proof: String,
    /// Each host's role now (`leader`, `follower`, …).
    pub roles: BTreeMap<HostName, String>,
    /// Each host's version of the service.
    pub versions: BTreeMap<HostName, String>,
    /// What is wrong, one line each, naming the host and what it answered (escaped).
    pub faults: Vec<String>,
}
