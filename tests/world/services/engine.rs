//! What Registrator needs of the Engine whose socket is mounted into its container.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

/// A port of a container that is published on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub container_port: u16,
    pub host_port: u16,
    pub is_udp: bool,
}

/// A container, as far as Registrator reads it; the command line, the mounts and the restarts are for
/// whoever starts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// Entrypoint and arguments.
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Path in the container → path on the machine.
    pub mounts: BTreeMap<String, String>,
    pub published: Vec<Published>,
    pub exposed: Vec<u16>,
    pub is_on_host_network: bool,
    /// The Engine starts it again when it ended by itself.
    pub restarts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    Started(String),
    Died(String),
}

/// The Engines of all machines.
pub trait Engines: Send + Sync {
    /// The Engine of a machine; `None` while it does not run.
    fn engine(&self, machine: Ipv4Addr) -> Option<Arc<dyn LocalEngine>>;
}

/// The Engine of one machine.
#[async_trait]
pub trait LocalEngine: Send + Sync {
    /// The containers that run.
    ///
    /// # Errors
    /// When the Engine does not answer.
    async fn running(&self) -> io::Result<Vec<Container>>;

    /// Events from now on; the stream ends with the Engine.
    ///
    /// # Errors
    /// When the Engine does not answer.
    async fn events(&self) -> io::Result<mpsc::UnboundedReceiver<EngineEvent>>;
}
