//! Where sessions to hosts come from. Everything above runs as it is, whoever dials.

use std::sync::Arc;

use async_trait::async_trait;

use super::session::HostSession;
use super::ssh::SshHost;
use crate::transport::{
    Ask, Connector, Explained, HostSettings, ShownKey, SshOptions, TransportError,
};

/// Connects one command to its hosts. Prompts, keys and limits are shared by all of them.
#[async_trait]
pub trait HostConnector: Send + Sync {
    /// Opens an authenticated connection.
    ///
    /// # Errors
    /// When the host is unreachable, untrusted or denies the login.
    async fn connect(&self, host: &HostSettings) -> Result<Arc<dyn HostSession>, TransportError>;

    /// The effective settings of a host and their origins. Contacts nobody.
    ///
    /// # Errors
    /// When they cannot be read, or there are none.
    async fn explain(&self, host: &HostSettings) -> Result<Vec<Explained>, TransportError> {
        Err(without_ssh(host))
    }

    /// The key that a host presents, for a person to compare.
    ///
    /// # Errors
    /// When the host is unreachable, its key is revoked or another one, or it has none.
    async fn host_key(&self, host: &HostSettings) -> Result<ShownKey, TransportError> {
        Err(without_ssh(host))
    }
}

fn without_ssh(host: &HostSettings) -> TransportError {
    TransportError::Settings(format!("{} is not reached over SSH", host.name))
}

/// Connects to hosts.
pub trait Dialler: Send + Sync {
    /// What a command connects with, and asks through.
    fn connector(&self, options: SshOptions, ask: Arc<dyn Ask>) -> Arc<dyn HostConnector>;
}

/// Connects over SSH.
#[derive(Debug, Clone, Copy, Default)]
pub struct SshDialler;

impl Dialler for SshDialler {
    fn connector(&self, options: SshOptions, ask: Arc<dyn Ask>) -> Arc<dyn HostConnector> {
        Arc::new(SshConnector(Connector::new(options, ask)))
    }
}

struct SshConnector(Connector);

#[async_trait]
impl HostConnector for SshConnector {
    async fn connect(&self, host: &HostSettings) -> Result<Arc<dyn HostSession>, TransportError> {
        Ok(Arc::new(SshHost::over(self.0.connect(host).await?)))
    }

    async fn explain(&self, host: &HostSettings) -> Result<Vec<Explained>, TransportError> {
        self.0.explain(host).await
    }

    async fn host_key(&self, host: &HostSettings) -> Result<ShownKey, TransportError> {
        self.0.host_key(host).await
    }
}
