//! The SSH connection that carries a tunnel.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::host::{BoxStream, Dial, HostSession, StreamTarget, TransportError};
use crate::spec::HostName;

/// A connection to the first host that accepts the login; opened when first needed, and again when
/// it was lost.
pub struct Gateway {
    dial: Arc<dyn Dial>,
    hosts: Vec<HostName>,
    now: Mutex<Option<Arc<dyn HostSession>>>,
}

impl Gateway {
    /// Through one of these hosts, tried in this order.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>, hosts: Vec<HostName>) -> Self {
        Self {
            dial,
            hosts,
            now: Mutex::default(),
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// That of the last host, when none accepts the login.
    pub async fn session(&self) -> Result<Arc<dyn HostSession>, TransportError> {
        let mut now = self.now.lock().await;
        if let Some(session) = now.as_ref().filter(|session| !session.closed()) {
            return Ok(Arc::clone(session));
        }
        let mut last = TransportError::Settings("no host to connect through".into());
        for host in &self.hosts {
            match self.dial.dial(host).await {
                Ok(session) => return Ok(Arc::clone(now.insert(session))),
                Err(error) => {
                    tracing::warn!(%host, %error, "cannot connect through this host");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Opens a stream to an address as seen from the hosts.
    ///
    /// # Errors
    /// When no host accepts the login, or nothing listens there.
    pub async fn open(&self, address: &str, port: u16) -> Result<BoxStream, TransportError> {
        self.session()
            .await?
            .open(StreamTarget::Tcp {
                address: address.to_owned(),
                port,
            })
            .await
    }
}

/// The next client. A failure to accept one (no file descriptor left, the client is gone again)
/// passes, and must not close the listener for the others.
pub(super) async fn client(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
