//! The input of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::cancel::Cancel;
use crate::bundle::Bundle;
use crate::desired::{Desired, PlaybookError, Recorded};
use crate::env::{FileAccess, Randomness, WallClock};
use crate::event::EventSink;
use crate::host::Dial;
use crate::plan::{Limits, SavedPlan};
use crate::spec::{ClusterName, ComponentName, HostName, Role, Secret};

/// A host of the inventory, as far as the engine needs it.
#[derive(Debug, Clone)]
pub struct HostInfo {
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    pub roles: BTreeSet<Role>,
}

impl HostInfo {
    /// Whether it is a master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.roles.contains(&Role::Master)
    }
}

/// Time limits of a run.
#[derive(Debug, Clone)]
pub struct RunTimeouts {
    /// One command on a host.
    pub exec: Duration,
    /// The installation of packages on a host.
    pub install: Duration,
    /// One answer of a Docker Engine.
    pub answer: Duration,
    /// A pull that receives no data.
    pub pull_idle: Duration,
    /// One gate.
    pub gate: Duration,
    /// The whole run.
    pub run: Option<Duration>,
}

impl Default for RunTimeouts {
    fn default() -> Self {
        Self {
            exec: Duration::from_secs(60),
            install: Duration::from_secs(600),
            answer: Duration::from_secs(30),
            pull_idle: Duration::from_secs(120),
            gate: Duration::from_secs(180),
            run: None,
        }
    }
}

/// The operator's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Given,
    Declined,
    /// There was nobody to ask.
    NotAsked,
}

/// Asks whether these changes, which interrupt running containers, may be made.
pub type Confirm = Box<dyn Fn(Vec<String>) -> BoxFuture<'static, Consent> + Send + Sync>;

/// What the run does besides reaching the desired state.
#[derive(Default)]
pub struct RunOptions {
    /// Prove by writing even when nothing changed.
    pub prove: bool,
    /// Execute exactly this plan, or refuse.
    pub saved: Option<SavedPlan>,
    /// The inventory's text, to which a saved plan is bound.
    pub inventory_text: String,
    /// Instead of what the plan says: repair the member of this component on the host in scope.
    pub repair: Option<ComponentName>,
    /// Load the images that it has from this bundle, which is verified.
    pub bundle: Option<Arc<Bundle>>,
    /// How long to wait for a lock that another run holds; `None`: as long as runs that begin at the
    /// same moment need to find out which of them goes on.
    pub lock_wait: Option<Duration>,
    /// Called before running containers are replaced or removed.
    pub confirm: Option<Confirm>,
}

/// Credentials of the inventory's registry.
#[derive(Debug, Clone)]
pub struct RegistryLogin {
    /// `host[:port]`, as in image references.
    pub server: String,
    pub username: String,
    pub password: Secret,
}

/// Builds the desired state from the hosts' records.
pub type Build = dyn Fn(&Recorded) -> Result<Desired, PlaybookError> + Send + Sync;

/// The input of a run.
pub struct RunContext {
    /// The command's name for events (`cluster up`).
    pub command: String,
    pub cluster: ClusterName,
    /// Hosts to contact, in the inventory's order.
    pub hosts: Vec<HostInfo>,
    /// Hosts that may be changed; the others are only observed.
    pub scope: BTreeSet<HostName>,
    /// The number of masters in the inventory; a majority is counted against it.
    pub masters: usize,
    /// The desired state without records: tells which paths to observe.
    pub offline: Desired,
    pub build: Box<Build>,
    /// Opens sessions.
    pub dial: Arc<dyn Dial>,
    /// The time of day here; the hosts' clocks are seconds apart from it at most.
    pub clock: WallClock,
    pub random: Randomness,
    /// The files of this machine.
    pub files: Arc<dyn FileAccess>,
    /// Receives the events.
    pub events: Arc<dyn EventSink>,
    /// Preflight limits.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: RunTimeouts,
    /// What the run does besides.
    pub mode: RunOptions,
    pub registry: Option<RegistryLogin>,
    /// `user@host`, shown to other runs while this one holds a lock.
    pub owner: String,
    /// Random id of this run.
    pub run_id: String,
    /// Asks the run to end early.
    pub cancel: Cancel,
    /// Domain of Consul's DNS.
    pub domain: String,
    /// The address that one edge holds.
    pub vip: Option<std::net::IpAddr>,
    /// Values of components that gates need, by `component.key`.
    pub settings: BTreeMap<String, String>,
}

impl RunContext {
    /// A host of the run.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    /// Whether it is a master of the run.
    #[must_use]
    pub fn is_master(&self, name: &HostName) -> bool {
        self.host(name).is_some_and(HostInfo::is_master)
    }
}
