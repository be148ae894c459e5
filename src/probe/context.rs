//! What a gate has to know besides the members that it asks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Member;
use crate::spec::{HostName, Secret};

/// Where the services listen. The addresses are the members' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// ZooKeeper's clients.
    pub zookeeper: u16,
    /// ZooKeeper's AdminServer, asked on the host's loopback address.
    pub zookeeper_admin: u16,
    /// Consul's HTTP interface, of servers and of clients.
    pub consul: u16,
    /// The Mesos master.
    pub mesos: u16,
    /// Marathon.
    pub marathon: u16,
    /// Chronos.
    pub chronos: u16,
    /// HAProxy's entrance.
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
    /// `Host` header, which HAProxy routes by.
    pub host: String,
    /// Path.
    pub path: String,
    /// What the body must hold.
    pub expect: String,
}

/// What a gate has to know besides its members. Everything has a default that fits a gate of its own.
#[derive(Clone)]
pub struct Context {
    /// Where the services listen.
    pub ports: Ports,
    /// Limit of one request.
    pub deadline: Duration,
    /// Something changed before: an answer that lags must be the same twice, `settle` apart.
    pub after_change: bool,
    /// Time between the two readings after a change.
    pub settle: Duration,
    /// When an earlier reading since the change was already healthy; shortens the wait.
    pub healthy_since: Option<Instant>,
    /// Node names in Consul of hosts whose node is not named as the host is.
    pub consul_nodes: BTreeMap<HostName, String>,
    /// Hosts that run a Consul client.
    pub consul_clients: Vec<Member>,
    /// Hosts that must be registered and active Mesos slaves.
    pub slaves: Vec<Member>,
    /// Mesos masters, which know whether a framework is active.
    pub mesos_masters: Vec<Member>,
    /// The canary's route through HAProxy.
    pub route: Option<Route>,
    /// Login of HAProxy's statistics page.
    pub haproxy_login: Option<(String, Secret)>,
    /// Where a host says what became of HAProxy's newest configuration.
    pub haproxy_state: Option<String>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            deadline: Duration::from_secs(5),
            after_change: false,
            settle: Duration::from_secs(10),
            healthy_since: None,
            consul_nodes: BTreeMap::new(),
            consul_clients: Vec::new(),
            slaves: Vec::new(),
            mesos_masters: Vec::new(),
            route: None,
            haproxy_login: None,
            haproxy_state: None,
        }
    }
}

impl Context {
    /// The name of a host's node in Consul.
    #[must_use]
    pub fn consul_node<'a>(&'a self, host: &'a HostName) -> &'a str {
        self.consul_nodes
            .get(host)
            .map_or(host.as_str(), String::as_str)
    }
}
