//! What the programs need of ZooKeeper and Consul, as small as they need it. `memory` implements both
//! without their protocols; the simulated ensembles are bound to the same traits.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

/// How a ZooKeeper session stands, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Connected,
    /// Not connected to a server that serves: none is reached, or those that are have no quorum.
    Disconnected,
    /// The ensemble has ended the session, and its members are gone.
    Expired,
}

/// ZooKeeper, as programs elect a leader and keep a little state with it.
pub trait Coordination: Send + Sync {
    /// Opens a session from a machine. It connects by itself, now and after each loss.
    fn open(
        &self,
        from: Ipv4Addr,
        servers: &[(Ipv4Addr, u16)],
        timeout: Duration,
    ) -> Arc<dyn Session>;
}

/// One session. Dropped without [`Session::close`], as when a process is killed, it lasts until its
/// timeout has passed.
#[async_trait]
pub trait Session: Send + Sync {
    fn link(&self) -> Link;

    /// The server to which it is connected.
    fn server(&self) -> Option<Ipv4Addr>;

    /// Counts changes of the link, of members and of texts.
    fn version(&self) -> u64;

    /// Returns once [`Self::version`] is another one.
    async fn changed(&self, since: u64);

    /// Adds an ephemeral sequential node: `prefix` is its path without the number. Returns the
    /// number; `None` unless connected.
    async fn join(&self, prefix: &str, value: &str) -> Option<u64>;

    /// The nodes with this prefix by number; `None` unless connected.
    async fn members(&self, prefix: &str) -> Option<BTreeMap<u64, String>>;

    /// The text of a lasting node; `None` unless connected.
    async fn read(&self, path: &str) -> Option<Option<String>>;

    /// Writes a lasting node; `None` unless it was acknowledged.
    async fn write(&self, path: &str, text: &str) -> Option<()>;

    /// Ends the session at once, with its members.
    async fn close(&self);
}

/// A service in Consul's catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub name: String,
    pub address: String,
    pub port: u16,
    pub tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
}

/// Consul, as Registrator and consul-template use it: through the agent of a machine.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Registers a service with an agent.
    ///
    /// # Errors
    /// When the agent is not reached, or knows no leader.
    async fn register(&self, from: Ipv4Addr, agent: Ipv4Addr, instance: Instance)
    -> io::Result<()>;

    /// # Errors
    /// As [`Self::register`].
    async fn deregister(&self, from: Ipv4Addr, agent: Ipv4Addr, id: &str) -> io::Result<()>;

    /// The services that are registered with this agent.
    ///
    /// # Errors
    /// As [`Self::register`].
    async fn of_agent(&self, from: Ipv4Addr, agent: Ipv4Addr) -> io::Result<Vec<Instance>>;

    /// Every service's instances that pass their checks, with the index of this answer. Waits for an
    /// index above `after`, at most a minute.
    ///
    /// # Errors
    /// As [`Self::register`].
    async fn passing(
        &self,
        from: Ipv4Addr,
        agent: Ipv4Addr,
        after: u64,
    ) -> io::Result<(u64, BTreeMap<String, Vec<Instance>>)>;
}
