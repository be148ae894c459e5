//! What a creation knows about registries.

use std::net::IpAddr;
use std::time::Duration;

use crate::spec::Secret;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Limit of a connection attempt.
    pub connect_timeout: Duration,
    /// Limit of the time to the beginning of an answer.
    pub answer_timeout: Duration,
    /// Limit of the time without data within an answer.
    pub idle_timeout: Duration,
    /// Pause before the second attempt; doubled before each further one.
    pub retry_delay: Duration,
    /// The registry of the inventory.
    pub own: Option<OwnRegistry>,
}

/// What an inventory says about its registry.
#[derive(Debug, Clone)]
pub struct OwnRegistry {
    /// `host[:port]`, as in image references.
    pub server: String,
    /// Its address where DNS does not know its name.
    pub address: Option<IpAddr>,
    /// Its certificate authority, PEM; trusted for this registry only.
    pub ca: Option<Vec<u8>>,
    /// User and password.
    pub login: Option<(String, Secret)>,
}

impl OwnRegistry {
    /// The server without its port.
    pub(super) fn host(&self) -> &str {
        self.server.split(':').next().unwrap_or(&self.server)
    }
}
