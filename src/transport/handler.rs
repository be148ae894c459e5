//! What the protocol library asks and tells: the host key, banners, the reason of an end.

use std::sync::{Arc, Mutex, PoisonError};

use russh::{
    Channel,
    client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};

use super::{TransportError, known_hosts::HostTrust};
use crate::event::escape;

/// How much of a host's text is kept for messages.
const MAX_TEXT: usize = 2048;

/// An error of the protocol library or a judgement of ours that it carries out unchanged.
#[derive(Debug)]
pub(super) enum Broken {
    Ssh(russh::Error),
    Trust(TransportError),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

#[derive(Debug, Default)]
struct Told {
    ended: Option<String>,
    farewell: Option<String>,
    proven: bool,
    shown: Option<(PublicKey, bool)>,
}

/// What the connection's task learned, for those who hold the session.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Told>>);

impl Watch {
    /// Why the connection ended, as far as is known.
    pub(super) fn ended(&self) -> Option<String> {
        self.told(|t| t.ended.clone())
    }

    /// What the host said when it ended the connection.
    pub(super) fn farewell(&self) -> Option<String> {
        self.told(|t| t.farewell.clone())
    }

    /// Whether the host key was accepted.
    pub(super) fn proven(&self) -> bool {
        self.told(|t| t.proven)
    }

    /// The key that was shown, where it was asked for, and whether it is on record.
    pub(super) fn shown(&self) -> Option<(PublicKey, bool)> {
        self.told(|t| t.shown.clone())
    }

    fn told<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The handler of one connection.
pub(super) struct Guard {
    trust: Arc<HostTrust>,
    watch: Watch,
    /// The key is only looked at; the connection ends there.
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

    /// Takes note of the key, and goes no further whatever it is.
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

/// A host's text, short and harmless.
pub(super) fn shown(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    escape(text.get(..end).unwrap_or_default().trim()).replace('\n', " ")
}

impl Handler for Guard {
    type Error = Broken;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        if self.showing {
            let recorded = self.trust.look(&key.public_key()).map_err(Broken::Trust)?;
            self.watch
                .told(|t| t.shown = Some((key.public_key(), recorded)));
            return Ok(false);
        }
        self.trust.judge(key).map_err(Broken::Trust)?;
        self.watch.told(|t| t.proven = true);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let said = shown(&info.message);
                self.watch.told(|t| {
                    t.ended.get_or_insert(format!("the host said {said:?}"));
                    t.farewell = Some(said);
                });
                Ok(())
            }
            DisconnectReason::Error(e) => {
                self.watch
                    .told(|t| t.ended.get_or_insert(describe(&e)).len());
                Err(e)
            }
        }
    }

    // Nothing on the host may open channels to the operator's machine: no agent, no display and no port was offered. Dropping the reply
    // refuses; the library's own defaults would accept.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
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
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Broken> {
        Ok(())
    }
}

/// A broken connection in words.
pub(super) fn describe(error: &Broken) -> String {
    match error {
        Broken::Trust(e) => e.to_string(),
        Broken::Ssh(russh::Error::HUP | russh::Error::Disconnect) => {
            "the host closed the connection".to_owned()
        }
        Broken::Ssh(russh::Error::KeepaliveTimeout) => "the host gave no sign of life".to_owned(),
        Broken::Ssh(russh::Error::Version) => "what answers is not an SSH server".to_owned(),
        Broken::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs }) => shown(&format!(
            "no common {kind:?} algorithm: toots offers {}, the host {}",
            ours.join(","),
            theirs.join(",")
        )),
        Broken::Ssh(e) => shown(&e.to_string()),
    }
}
