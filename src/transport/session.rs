//! The interface between toots and hosts.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::spec::{HostName, Remedy};

/// A byte stream to something on or beyond a host.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An owned byte stream; dropping it closes the channel.
pub type BoxStream = Box<dyn Stream>;

/// One command on a host.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The command line for the login shell, already quoted. Never contains a secret.
    pub command: String,
    /// Sent on standard input, followed by end of file. Secrets travel here; never logged.
    pub stdin: Bytes,
    /// Run as root: directly when logged in as root, else through the session's privilege.
    pub privileged: bool,
    /// Limit of the whole command.
    pub deadline: Duration,
    /// Output limit in bytes per stream; beyond it the output is cut and the command ended.
    pub max_output: usize,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct ExecOutput {
    /// Exit status. A command that ended by a signal or without a status is an error, never 0.
    pub status: u32,
    /// Standard output, raw.
    pub stdout: Vec<u8>,
    /// Standard error, raw.
    pub stderr: Vec<u8>,
}

/// The far end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP address as seen from the host.
    Tcp { address: String, port: u16 },
    /// A Unix socket on the host.
    Unix {
        /// Absolute path.
        path: String,
    },
    /// Standard input and output of a command. Its standard error and exit status become the
    /// stream's error text.
    Command {
        /// The command line, already quoted.
        command: String,
        /// Runs as root.
        privileged: bool,
    },
    /// Standard input and output of a command that stays beside the session's other commands and
    /// needs no channel of its own. At most one per session, for text of a few lines: the command's
    /// output arrives by lines, its standard error is lost. The end of its input is the byte 4,
    /// because the pipe stays open; it is closed when the connection ends.
    Companion {
        /// The command line, already quoted.
        command: String,
        /// Runs as root.
        privileged: bool,
    },
}

/// What a session has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Authenticated connections.
    pub connections: u32,
    /// Login shells started, each of which runs the user's startup files.
    pub login_shells: u32,
    /// Commands run.
    pub execs: u32,
    /// Streams opened.
    pub streams: u32,
}

/// Why there is no session, or why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No TCP connection, no SSH banner, or name resolution failed.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Address and port.
        address: String,
        why: String,
    },
    /// The host key is unknown, changed, revoked or its record is unreadable. No credential was
    /// sent.
    #[error("cannot trust {host}: {why}")]
    Untrusted {
        /// The name in known_hosts.
        host: String,
        /// With file:line and fingerprints.
        why: String,
        /// The next commands.
        hints: Vec<Remedy>,
    },
    /// Authentication failed.
    #[error("cannot log in as {user}: {why}")]
    Authentication {
        /// Login name.
        user: String,
        /// Methods offered, keys tried, the server's own reason.
        why: String,
        /// The next commands.
        hints: Vec<Remedy>,
    },
    /// There is no way to become root.
    #[error("cannot become root as {user}: {why}")]
    Privilege {
        /// Login name.
        user: String,
        why: String,
        /// For example the sudoers line to add.
        hints: Vec<Remedy>,
    },
    /// A deadline expired.
    #[error("{what}: no answer within {limit:?}")]
    Deadline {
        /// What was waited for.
        what: String,
        limit: Duration,
    },
    /// The connection was lost; whether a running command had an effect is unknown.
    #[error("connection lost: {0}")]
    Lost(String),
    /// A channel was refused.
    #[error("cannot open {what}: {why}")]
    Refused {
        /// The target.
        what: String,
        why: String,
    },
    /// The server allows fewer sessions per connection than toots needs.
    #[error("cannot open {what}: the host allows {limit} session per connection (MaxSessions)")]
    TooFewSessions {
        /// The target.
        what: String,
        limit: usize,
        /// The line of sshd_config to change.
        hints: Vec<Remedy>,
    },
    /// A command ended without an exit status, or by a signal.
    #[error("command failed: {0}")]
    Command(String),
    /// A setting, key file or configuration that cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl TransportError {
    /// The next commands for the operator.
    #[must_use]
    pub fn hints(&self) -> &[Remedy] {
        match self {
            Self::Untrusted { hints, .. }
            | Self::Authentication { hints, .. }
            | Self::Privilege { hints, .. }
            | Self::TooFewSessions { hints, .. } => hints,
            _ => &[],
        }
    }
}

/// One authenticated connection to a host.
#[async_trait]
pub trait Session: Send + Sync {
    /// The host it leads to.
    fn host(&self) -> &HostName;

    /// Runs a command and waits for its end.
    ///
    /// # Errors
    /// When the channel is refused, the deadline expires, the output exceeds its limit, or no exit
    /// status arrives. A status other than 0 is not an error.
    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError>;

    /// Opens a byte stream.
    ///
    /// # Errors
    /// When the host refuses the channel or nothing listens there.
    async fn open(&self, target: Target) -> Result<BoxStream, TransportError>;

    /// Determines once per session how privileged commands become root, so that a refusal shows
    /// before the first change. Later calls return the cached answer.
    ///
    /// # Errors
    /// When there is no way to become root; the hints say what to allow.
    async fn settle_privilege(&self) -> Result<(), TransportError> {
        Ok(())
    }

    /// How long the login shell took to run its startup files, when that was long.
    fn slow_login(&self) -> Option<Duration> {
        None
    }

    /// Whether the connection is gone.
    fn closed(&self) -> bool;

    /// What the session has cost so far.
    fn cost(&self) -> Cost;

    /// Closes the connection cleanly.
    async fn close(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("transport_error", TransportError, hints: |error| error.hints().iter().map(ToString::to_string).collect(), {
            TransportError::Unreachable { .. } => TransportError::Unreachable { address: "10.0.0.1:22".into(), why: "connection refused".into() },
            TransportError::Untrusted { .. } => TransportError::Untrusted { host: "m1".into(), why: "unknown host key".into(), hints: vec![Remedy::TrustHost { host: "m1".into() }] },
            TransportError::Authentication { .. } => TransportError::Authentication { user: "ops".into(), why: "no key was accepted".into(), hints: vec!["ssh-add".into()] },
            TransportError::Privilege { .. } => TransportError::Privilege { user: "ops".into(), why: "sudo is not installed".into(), hints: vec![Remedy::AskSudoPassword] },
            TransportError::Deadline { .. } => TransportError::Deadline { what: "connect to m1".into(), limit: Duration::from_secs(10) },
            TransportError::Lost(_) => TransportError::Lost("closed by the host".into()),
            TransportError::Refused { .. } => TransportError::Refused { what: "10.0.0.1:8500".into(), why: "connection refused".into() },
            TransportError::TooFewSessions { .. } => TransportError::TooFewSessions { what: "a stream".into(), limit: 1, hints: vec!["on the host: set MaxSessions 10 in /etc/ssh/sshd_config".into()] },
            TransportError::Command(_) => TransportError::Command("killed by SIGKILL".into()),
            TransportError::Settings(_) => TransportError::Settings("~/.ssh/config:3: unknown token %z".into()),
        });
    }
}
