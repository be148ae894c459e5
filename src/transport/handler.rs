//! Callbacks of the protocol library: host key, banners, reason of a disconnect.

use std::sync::{Arc, Mutex, PoisonError};

use russh::Channel;
use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::TransportError;
use super::known_hosts::HostTrust;
use crate::event::escape;

/// Length of host text kept for messages, in bytes.
const MAX_TEXT_BYTES: usize = 2048;

/// An error of the protocol library, or a verdict of toots that the library passes through
/// unchanged.
#[derive(Debug)]
pub(super) enum HandshakeError {
    Ssh(russh::Error),
    Trust(TransportError),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

#[derive(Debug, Default)]
struct ConnectionFacts {
    ended: Option<String>,
    farewell: Option<String>,
    proven: bool,
    shown: Option<(PublicKey, bool)>,
}

/// What the connection's task learned, for the holder of the session.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<ConnectionFacts>>);

impl Watch {
    /// Why the connection ended, when known.
    pub(super) fn ended(&self) -> Option<String> {
        self.with_facts(|t| t.ended.clone())
    }

    /// The host's text when it closed the connection.
    pub(super) fn farewell(&self) -> Option<String> {
        self.with_facts(|t| t.farewell.clone())
    }

    /// Whether the host key was accepted.
    pub(super) fn proven(&self) -> bool {
        self.with_facts(|t| t.proven)
    }

    /// The key that the host presented when only the key was requested, and whether it is recorded.
    pub(super) fn shown(&self) -> Option<(PublicKey, bool)> {
        self.with_facts(|t| t.shown.clone())
    }

    fn with_facts<T>(&self, f: impl FnOnce(&mut ConnectionFacts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The handler of one connection.
pub(super) struct Guard {
    trust: Arc<HostTrust>,
    watch: Watch,
    /// Only the key is requested; the connection ends after it.
    showing: bool,
}

impl Guard {
    pub(super) fn new(trust: Arc<HostTrust>, watch: Watch) -> Self {
        Self {
            trust,
            watch,
            showing: false,
        }
    }

    /// Records the key and ends the connection, whatever the key is.
    pub(super) fn showing(trust: Arc<HostTrust>, watch: Watch) -> Self {
        Self {
            trust,
            watch,
            showing: true,
        }
    }

    pub(super) fn trust(&self) -> &HostTrust {
        &self.trust
    }
}

/// A host's text, shortened and escaped.
pub(super) fn shown(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    escape(text.get(..end).unwrap_or_default().trim()).replace('\n', " ")
}

impl Handler for Guard {
    type Error = HandshakeError;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, HandshakeError> {
        if self.showing {
            let recorded = self
                .trust
                .check_shown_key(&key.public_key())
                .map_err(HandshakeError::Trust)?;
            self.watch
                .with_facts(|t| t.shown = Some((key.public_key(), recorded)));
            return Ok(false);
        }
        self.trust.judge(key).map_err(HandshakeError::Trust)?;
        self.watch.with_facts(|t| t.proven = true);
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandshakeError>,
    ) -> Result<(), HandshakeError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let said = shown(&info.message);
                self.watch.with_facts(|t| {
                    t.ended.get_or_insert(format!("the host said {said:?}"));
                    t.farewell = Some(said);
                });
                Ok(())
            }
            DisconnectReason::Error(e) => {
                self.watch
                    .with_facts(|t| t.ended.get_or_insert(describe(&e)).len());
                Err(e)
            }
        }
    }

    // Nothing on the host may open channels to the operator's machine: no agent, display or port
    // was offered. Dropping the reply refuses; the library's defaults would accept.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        Ok(())
    }
}

/// Describes a broken connection.
pub(super) fn describe(error: &HandshakeError) -> String {
    match error {
        HandshakeError::Trust(e) => e.to_string(),
        HandshakeError::Ssh(russh::Error::HUP | russh::Error::Disconnect) => {
            "connection closed by the host".to_owned()
        }
        HandshakeError::Ssh(russh::Error::KeepaliveTimeout) => "keepalive timed out".to_owned(),
        HandshakeError::Ssh(russh::Error::Version) => "not an SSH server".to_owned(),
        HandshakeError::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs }) => shown(&format!(
            "no common {kind:?} algorithm: toots offers {}, the host {}",
            ours.join(","),
            theirs.join(",")
        )),
        HandshakeError::Ssh(e) => shown(&e.to_string()),
    }
}
