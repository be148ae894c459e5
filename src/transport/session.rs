//! The seam between toots and hosts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::spec::HostName;

/// A byte stream to something on or beyond a host.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An owned byte stream; dropping it closes the channel.
pub type BoxStream = Box<dyn Stream>;

/// One command on a host.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The command line for the login shell, already quoted. Never holds a secret.
    pub command: String,
    /// Sent on standard input, then end of file. Secrets travel here; never logged.
    pub stdin: Bytes,
    /// Runs as root: directly when logged in as root, else through the session's privilege.
    pub privileged: bool,
    /// The command's limit in all.
    pub deadline: Duration,
    /// Output beyond this is cut and the command ended, bytes per stream.
    pub max_output: usize,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct ExecOutput {
    /// Exit status; a command ended by a signal or without status is an error, never 0.
    pub status: u32,
    /// Standard output, raw.
    pub stdout: Vec<u8>,
    /// Standard error, raw.
    pub stderr: Vec<u8>,
}

/// What a stream is opened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP address as the host sees it.
    Tcp {
        /// Address.
        address: String,
        /// Port.
        port: u16,
    },
    /// A unix socket on the host.
    Unix {
        /// Absolute path.
        path: String,
    },
    /// Standard input and output of a command; its standard error and exit status become the stream's error text.
    Command {
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
    /// Commands run.
    pub execs: u32,
    /// Streams opened.
    pub streams: u32,
}

/// Why a session could not be had or did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No TCP connection, no SSH greeting, or name resolution failed.
    #[error("reach {address}: {why}")]
    Unreachable {
        /// Address and port.
        address: String,
        /// In words.
        why: String,
    },
    /// The host key is unknown, changed, revoked or its record unreadable; nothing was sent to authenticate.
    #[error("trust {host}: {why}")]
    Untrusted {
        /// Name as recorded in known_hosts.
        host: String,
        /// In words, with file:line and fingerprints.
        why: String,
        /// The next commands.
        hints: Vec<String>,
    },
    /// Authentication failed.
    #[error("log in as {user}: {why}")]
    Authentication {
        /// Login name.
        user: String,
        /// Methods offered, keys tried, the server's own reason.
        why: String,
        /// The next commands.
        hints: Vec<String>,
    },
    /// No way to become root.
    #[error("become root as {user}: {why}")]
    Privilege {
        /// Login name.
        user: String,
        /// In words.
        why: String,
        /// The sudoers line to add, and the like.
        hints: Vec<String>,
    },
    /// A deadline passed.
    #[error("{what}: no answer within {limit:?}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection was lost; whether a running command had an effect is unknown.
    #[error("lost the connection: {0}")]
    Lost(String),
    /// A channel was refused.
    #[error("open {what}: {why}")]
    Refused {
        /// What was opened.
        what: String,
        /// In words.
        why: String,
    },
    /// A command ended without an exit status, or by a signal.
    #[error("run the command: {0}")]
    Command(String),
    /// A setting, key file or configuration that cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl TransportError {
    /// The next commands for the operator.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        match self {
            Self::Untrusted { hints, .. }
            | Self::Authentication { hints, .. }
            | Self::Privilege { hints, .. } => hints,
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
    /// When the channel is refused, the deadline passes, the output is endless, or no exit status comes. A status other than 0 is not an error.
    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError>;

    /// Opens a byte stream.
    ///
    /// # Errors
    /// When the host refuses the channel or nothing listens there.
    async fn open(&self, target: Target) -> Result<BoxStream, TransportError>;

    /// Finds out once per session how commands that need root get it, so that a refusal shows before the first change. Later calls
    /// answer from memory.
    ///
    /// # Errors
    /// When there is no way to become root; the hints say what to allow.
    async fn settle_privilege(&self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Whether the connection is gone: nothing will be answered any more.
    fn closed(&self) -> bool;

    /// What it has cost so far.
    fn cost(&self) -> Cost;

    /// Ends the connection in good order.
    async fn close(&self);
}

/// The way to hosts; a fake one in tests.
#[async_trait]
pub trait Dial: Send + Sync {
    /// One authenticated connection to a host of the inventory.
    ///
    /// # Errors
    /// When the host cannot be reached, trusted or logged in to.
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn Session>, TransportError>;
}
