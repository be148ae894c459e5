//! Ordinary probes and web interfaces that a component declares as data.

use serde::{Deserialize, Serialize};

/// A question whose answer shows that a component serves. Services with a leader or a quorum have a
/// gate of their own in `probe/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProbeSpec {
    /// `GET` returns the expected status.
    Http {
        /// Address to query on the host; by default the host's own.
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
    /// `GET` over TLS, at the host's own address, returns the expected status.
    Https {
        /// TCP port.
        port: u16,
        /// Path and query.
        path: String,
        /// Expected status.
        #[serde(default = "ok")]
        status: u16,
        /// The certificate of the authority that signed the server's, PEM (template).
        ca: String,
        /// Credentials of the request.
        #[serde(default)]
        login: Option<ProbeLogin>,
    },
    /// The answer to a line sent over TCP starts with a text.
    TcpLine {
        /// Address to query on the host; by default the host's own.
        #[serde(default)]
        address: Option<String>,
        /// TCP port.
        port: u16,
        /// Sent after connecting.
        #[serde(default)]
        send: String,
        /// Start of the answer; empty: an accepted connection is enough.
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

/// Credentials whose password is a generated secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeLogin {
    pub user: String,
    /// The name of the secret.
    pub secret: String,
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
