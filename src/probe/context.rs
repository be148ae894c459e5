//! What a gate must know besides its members.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Member;
use crate::env::Randomness;
use crate::spec::{HostName, Secret};

/// The services' ports. The addresses are those of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// ZooKeeper's client port.
    pub zookeeper: u16,
    /// ZooKeeper's AdminServer, on the host's loopback address.
    pub zookeeper_admin: u16,
    /// Consul's HTTP API, of servers and clients.
    pub consul: u16,
    /// The Mesos master.
    pub mesos: u16,
    pub marathon: u16,
    pub chronos: u16,
    /// HAProxy's frontend.
    pub haproxy: u16,
    /// HAProxy's statistics page.
    pub haproxy_stats: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            zookeeper: 2181,
            zookeeper_admin: 2182,
            consul: 8500,
            mesos: 5050,
            marathon: 8080,
            chronos: 4400,
            haproxy: 80,
            haproxy_stats: 81,
        }
    }
}

/// A route that must lead through HAProxy to a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The `Host` header, by which HAProxy routes.
    pub host: String,
    pub path: String,
    /// The text that the body must contain.
    pub expect: String,
}

/// What a gate must know besides its members. Every value has a usable default.
#[derive(Clone)]
pub struct ProbeContext {
    /// The services' ports.
    pub ports: Ports,
    /// Limit of one request.
    pub deadline: Duration,
    /// Something was changed before: an answer that lags must be the same twice, `settle` apart.
    pub after_change: bool,
    /// Pause between the two readings after a change.
    pub settle: Duration,
    /// When an earlier reading since the change was already healthy; shortens the pause.
    pub healthy_since: Option<Instant>,
    /// Consul node names of hosts whose node name differs from the host name.
    pub consul_nodes: BTreeMap<HostName, String>,
    /// Consul node names of every host of the inventory; empty when they are not known.
    pub inventory_nodes: BTreeSet<String>,
    /// Hosts that run a Consul client.
    pub consul_clients: Vec<Member>,
    /// Hosts whose Mesos slaves are known: others that are active are named. Empty: none is judged.
    pub known_slaves: BTreeMap<HostName, IpAddr>,
    /// Hosts that must be registered, active Mesos slaves.
    pub slaves: Vec<Member>,
    /// Mesos masters, which know whether a framework is active.
    pub mesos_masters: Vec<Member>,
    /// The canary's route through HAProxy.
    pub route: Option<Route>,
    /// Credentials of HAProxy's statistics page.
    pub haproxy_login: Option<(String, Secret)>,
    /// The file in which a host records the state of HAProxy's newest configuration.
    pub haproxy_state: Option<String>,
    /// Names what is written for a proof.
    pub random: Randomness,
}

impl Default for ProbeContext {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            deadline: Duration::from_secs(5),
            after_change: false,
            settle: Duration::from_secs(10),
            healthy_since: None,
            consul_nodes: BTreeMap::new(),
            inventory_nodes: BTreeSet::new(),
            consul_clients: Vec::new(),
            known_slaves: BTreeMap::new(),
            slaves: Vec::new(),
            mesos_masters: Vec::new(),
            route: None,
            haproxy_login: None,
            haproxy_state: None,
            random: Randomness::system(),
        }
    }
}

impl ProbeContext {
    /// The Consul node name of a host.
    #[must_use]
    pub fn consul_node<'a>(&'a self, host: &'a HostName) -> &'a str {
        self.consul_nodes
            .get(host)
            .map_or(host.as_str(), String::as_str)
    }
}
