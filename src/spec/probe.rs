//! Ordinary probes and web interfaces that a component names as data.

use serde::{Deserialize, Serialize};

/// A question whose answer says that a component serves. Services with a leader or a quorum have a gate of their own in `probe/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProbeSpec {
    /// `GET` answered with the expected status.
    Http {
        /// Address to ask on the host; the host's own when absent.
        #[serde(default)]
        address: Option<String>,
        /// TCP port.
        port: u16,
        /// Path and query.
        path: String,
        /// Expected status.
        #[serde(default = "ok")]
        status: u16,
    },
    /// A line sent over TCP is answered with a text that begins so.
    TcpLine {
        /// Address to ask on the host; the host's own when absent.
        #[serde(default)]
        address: Option<String>,
        /// TCP port.
        port: u16,
        /// Sent after connecting.
        #[serde(default)]
        send: String,
        /// The answer's beginning; empty: the connection itself is enough.
        #[serde(default)]
        expect: String,
    },
    /// The container runs and has not restarted for this many seconds.
    Process {
        /// Seconds without a restart.
        #[serde(default)]
        stable_s: u32,
    },
}

fn ok() -> u16 {
    200
}

/// A web interface of a component, listed at the end of `up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSpec {
    /// TCP port.
    pub port: u16,
    /// Path.
    #[serde(default = "root")]
    pub path: String,
}

fn root() -> String {
    "/".into()
}
