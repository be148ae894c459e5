//! What a run is given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::desired::{Desired, Recorded};
use crate::event::EventSink;
use crate::plan::{Limits, SavedPlan};
use crate::spec::{ClusterName, HostName, Role, Secret};
use crate::transport::Dial;

/// A host of the inventory as the engine needs it.
#[derive(Debug, Clone)]
pub struct HostInfo {
    /// Its name.
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    /// Its roles.
    pub roles: BTreeSet<Role>,
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// One command on a host.
    pub exec: Duration,
    /// Installing packages on a host.
    pub install: Duration,
    /// One answer of a Docker Engine.
    pub answer: Duration,
    /// A pull without any progress.
    pub pull_idle: Duration,
    /// One gate.
    pub gate: Duration,
    /// The whole run.
    pub run: Option<Duration>,
}

impl Default for Timeouts {
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

/// Asks whether these changes, which interrupt running containers, may be made.
pub type Confirm = Box<dyn Fn(&[String]) -> bool + Send + Sync>;

/// What this run is asked to do besides bringing hosts to their desired state.
#[derive(Default)]
pub struct Mode {
    /// Prove by writing even when nothing changed.
    pub prove: bool,
    /// Do exactly this, or refuse.
    pub saved: Option<SavedPlan>,
    /// The inventory's text, which a kept plan is bound to.
    pub inventory_text: String,
    /// Asked before running containers are replaced or removed.
    pub confirm: Option<Confirm>,
}

/// Login to the registry from which images come.
#[derive(Debug, Clone)]
pub struct RegistryLogin {
    /// `host[:port]` as it stands in image references.
    pub server: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// Builds the desired state from what is recorded on the hosts.
pub type Build = dyn Fn(&Recorded) -> Result<Desired, String> + Send + Sync;

/// Everything a run needs.
pub struct Context {
    /// The command's name for events (`cluster up`).
    pub command: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// Hosts that are contacted, in the inventory's order.
    pub hosts: Vec<HostInfo>,
    /// Hosts that may be changed; the others are only asked.
    pub scope: BTreeSet<HostName>,
    /// All masters of the inventory (a majority is counted against these).
    pub masters: usize,
    /// The desired state without any records, for the paths to look at.
    pub offline: Desired,
    /// Builds the desired state.
    pub build: Box<Build>,
    /// The way to hosts.
    pub dial: Arc<dyn Dial>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Preflight limits.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What is asked.
    pub mode: Mode,
    /// Registry login.
    pub registry: Option<RegistryLogin>,
    /// Names for the loser of a lock: `user@host`.
    pub owner: String,
    /// Random id of this run.
    pub run_id: String,
    /// Set by the first Ctrl-C.
    pub cancel: Cancel,
    /// Domain of Consul's DNS.
    pub domain: String,
    /// The address that one edge holds.
    pub vip: Option<std::net::IpAddr>,
    /// Service-specific numbers of the inventory that gates need, by name (`zookeeper.admin_port`).
    pub settings: BTreeMap<String, String>,
}

impl Context {
    /// A host of the run.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.name == *name)
    }
}

/// A wish to stop, looked at between steps.
#[derive(Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the run to stop after its current steps.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
