//! One authenticated connection and the opening of channels on it.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure, Disconnect};

use super::TransportError;
use super::channel_limiter::{ChannelLimiter, Permit};
use super::handler::{Guard, Watch, shown};

/// Attempts at a channel that was refused although fewer are open than before, and the pause
/// between them.
const MAX_CHANNEL_RETRIES: u32 = 25;
const CHANNEL_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How long a learned limit must stand before nothing more is opened.
const LIMIT_SETTLED: Duration = Duration::from_millis(200);

/// What channels need; a task that owns a channel holds it too.
pub(super) struct Link {
    pub(super) handle: Handle<Guard>,
    watch: Watch,
    limiter: ChannelLimiter,
    /// Keeps the connection to the jump host open.
    _through: Option<Arc<Link>>,
}

impl Link {
    pub(super) fn new(
        handle: Handle<Guard>,
        watch: Watch,
        session_channels: usize,
        through: Option<Arc<Link>>,
    ) -> Self {
        Self {
            handle,
            watch,
            limiter: ChannelLimiter::new(session_channels),
            _through: through,
        }
    }

    /// Closes the connection.
    pub(super) async fn disconnect(&self) {
        let by = Disconnect::ByApplication;
        // An error means that it is closed already.
        drop(self.handle.disconnect(by, "", "").await);
    }

    pub(super) fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a TCP stream from this host to the next hop.
    pub(super) async fn hop(&self, host: &str, port: u16) -> Result<Channel<Msg>, TransportError> {
        let what = format!("a connection to {host}:{port}");
        self.handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)
            .await
            .map_err(|e| self.refused(&what, &e))
    }

    pub(super) fn limiter(&self) -> &ChannelLimiter {
        &self.limiter
    }

    /// Opens a session channel for which there is a permit already, if the server allows it.
    pub(super) async fn open_now(&self, permit: &mut Permit) -> Option<Channel<Msg>> {
        match self.handle.channel_open_session().await {
            Ok(channel) => {
                permit.opened();
                Some(channel)
            }
            Err(russh::Error::ChannelOpenFailure(_)) => {
                self.limiter.refused();
                None
            }
            Err(_) => None,
        }
    }

    /// Opens a session channel beside the one of the shell, which stays open.
    pub(super) async fn session_beside_shell(
        &self,
        what: &str,
    ) -> Result<(Channel<Msg>, Permit), TransportError> {
        let learned = async {
            loop {
                let before = self.limiter.limit();
                tokio::time::sleep(LIMIT_SETTLED).await;
                // A refusal may arrive before the confirmation that the server sent first.
                if before < 2 && self.limiter.limit() < 2 {
                    return before;
                }
            }
        };
        tokio::select! {
            opened = self.session(what) => opened,
            limit = learned => Err(TransportError::TooFewSessions {
                what: what.to_owned(),
                limit,
                hints: vec![
                    "on the host: set MaxSessions 10 in /etc/ssh/sshd_config, then systemctl \
                     reload ssh"
                        .into(),
                ],
            }),
        }
    }

    /// Opens a session channel with its permit. Waits for a permit, and again when the server
    /// allows fewer channels.
    pub(super) async fn session(
        &self,
        what: &str,
    ) -> Result<(Channel<Msg>, Permit), TransportError> {
        let mut tries = 0;
        loop {
            let mut permit = self.limiter.enter().await;
            match self.handle.channel_open_session().await {
                Ok(channel) => {
                    permit.opened();
                    return Ok((channel, permit));
                }
                Err(russh::Error::ChannelOpenFailure(_)) if self.limiter.refused() => {
                    tracing::debug!(
                        limit = self.limiter.limit(),
                        "the host allows fewer session channels"
                    );
                }
                // The host frees a session slot a moment after it has reported the end of a
                // command.
                Err(russh::Error::ChannelOpenFailure(_)) if tries < MAX_CHANNEL_RETRIES => {
                    tries += 1;
                    tokio::time::sleep(CHANNEL_RETRY_INTERVAL * tries).await;
                }
                Err(e) => return Err(self.refused(what, &e)),
            }
        }
    }

    pub(super) fn lost(&self) -> String {
        self.watch
            .ended()
            .unwrap_or_else(|| "connection closed".to_owned())
    }

    pub(super) fn refused(&self, what: &str, error: &russh::Error) -> TransportError {
        match error {
            russh::Error::ChannelOpenFailure(reason) => {
                let why = match reason {
                    ChannelOpenFailure::AdministrativelyProhibited => {
                        "the host forbids it (AllowTcpForwarding, AllowStreamLocalForwarding)"
                    }
                    ChannelOpenFailure::ConnectFailed => {
                        "nothing listens there, or the host forbids it"
                    }
                    ChannelOpenFailure::ResourceShortage => "the host is out of resources",
                    _ => "the host does not support this kind of channel",
                };
                TransportError::Refused {
                    what: what.to_owned(),
                    why: why.to_owned(),
                }
            }
            _ if self.closed() => TransportError::Lost(self.lost()),
            other => TransportError::Refused {
                what: what.to_owned(),
                why: shown(&other.to_string()),
            },
        }
    }
}
