//! The SSH connection that all of a tunnel goes through.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::spec::HostName;
use crate::transport::{BoxStream, Dial, Session, Target, TransportError};

/// A connection to the first of some hosts that lets us in; made when it is first needed, and anew when it was lost.
pub struct Way {
    dial: Arc<dyn Dial>,
    hosts: Vec<HostName>,
    now: Mutex<Option<Arc<dyn Session>>>,
}

impl Way {
    /// Through one of these hosts, tried in their order.
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
    /// The last host's, when none lets us in.
    pub async fn session(&self) -> Result<Arc<dyn Session>, TransportError> {
        let mut now = self.now.lock().await;
        if let Some(session) = now.as_ref().filter(|session| !session.closed()) {
            return Ok(Arc::clone(session));
        }
        let mut last = TransportError::Settings("there is no host to go through".into());
        for host in &self.hosts {
            match self.dial.dial(host).await {
                Ok(session) => return Ok(Arc::clone(now.insert(session))),
                Err(error) => {
                    tracing::warn!(%host, %error, "not the way");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// A stream to an address as the hosts see it.
    ///
    /// # Errors
    /// When no host lets us in, or nothing listens there.
    pub async fn open(&self, address: &str, port: u16) -> Result<BoxStream, TransportError> {
        self.session()
            .await?
            .open(Target::Tcp {
                address: address.to_owned(),
                port,
            })
            .await
    }
}

/// The next client. What keeps one from being taken (no file descriptor is left, it has gone again) passes, and the others must not lose
/// their way in by it.
pub(super) async fn client(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                tracing::warn!(%error, "a client was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
