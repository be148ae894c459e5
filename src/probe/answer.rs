//! Answers and failed questions as data, so that judging stays a pure function.

use std::time::Duration;

use super::Member;
use crate::event::escape;
use crate::host::{OperationError, TransportError};

/// Why a question has no usable answer. Text from hosts is already escaped and shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is no connection to the host.
    #[error("host is unreachable")]
    Down,
    /// Nothing listens, or the path to it is cut.
    #[error("{question}: {why}")]
    Unreachable {
        /// The question.
        question: String,
        why: String,
    },
    /// No answer in time.
    #[error("{question}: no answer within {limit:?}")]
    Silent {
        /// The question.
        question: String,
        limit: Duration,
    },
    /// An unexpected HTTP status.
    #[error("{question}: {status} {text}")]
    Status {
        /// The question.
        question: String,
        /// HTTP status.
        status: u16,
        /// The start of the answer.
        text: String,
    },
    /// An answer of an unexpected form.
    #[error("{question}: {why}: {text}")]
    Malformed {
        /// The question.
        question: String,
        why: String,
        /// The start of the answer.
        text: String,
    },
    /// The question was skipped on purpose.
    #[error("skipped: {0}")]
    NotAsked(String),
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, ProbeError>;

impl ProbeError {
    /// An answer of an unexpected form.
    #[must_use]
    pub fn malformed(question: &str, why: impl std::fmt::Display, text: &[u8]) -> Self {
        Self::Malformed {
            question: question.to_owned(),
            why: show(why.to_string().as_bytes()),
            text: show(text),
        }
    }

    /// An operation without an answer.
    pub(super) fn operation(question: &str, error: OperationError) -> Self {
        match error {
            OperationError::Transport(error) => Self::transport(question, &error),
            OperationError::Failed { ref stderr, .. } => Self::malformed(question, &error, stderr),
            OperationError::Answer { ref output, .. } => Self::malformed(question, &error, output),
            OperationError::Place(_) | OperationError::Observation(_) => {
                Self::malformed(question, error, b"")
            }
        }
    }

    pub(super) fn transport(question: &str, error: &TransportError) -> Self {
        Self::Unreachable {
            question: question.to_owned(),
            why: show(error.to_string().as_bytes()),
        }
    }
}

/// Bytes from a host as one short line without control characters.
#[must_use]
pub fn show(bytes: &[u8]) -> String {
    const LIMIT: usize = 160;
    let head = &bytes[..bytes.len().min(4 * LIMIT)];
    let text = String::from_utf8_lossy(head);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(LIMIT).collect();
    if short.len() < line.len() || head.len() < bytes.len() {
        short.push('…');
    }
    escape(&short)
}

/// Formats an IP address or name so that a port can follow.
#[must_use]
pub fn authority(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// Splits `host:port`, with or without brackets around an IPv6 address.
#[must_use]
pub fn split_authority(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    Some((host, port.parse().ok()?))
}

/// Whether a service's name for a host means this member: by address, in any spelling, or by name.
#[must_use]
pub fn is_member(member: &Member, host: &str) -> bool {
    host == member.host.as_str() || host.parse() == Ok(member.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_short_single_line_and_harmless() {
        assert_eq!(show(b"a\n\tb\r\n c"), "a b c");
        assert_eq!(show(b"\x1b[31mred"), "\\x1b[31mred");
        let long = show(&[b'x'; 10_000]);
        assert!(long.ends_with('…') && long.chars().count() == 161, "{long}");
        assert!(!show("\u{202e}\u{9b}".as_bytes()).contains(['\u{202e}', '\u{9b}']));
    }

    #[test]
    fn authorities_in_both_address_families() {
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("fe80::1", 80), "[fe80::1]:80");
        assert_eq!(split_authority("[fe80::1]:80"), Some(("fe80::1", 80)));
        assert_eq!(split_authority("m1:8300"), Some(("m1", 8300)));
        assert_eq!(split_authority("m1"), None);
        assert_eq!(split_authority("m1:x"), None);
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("probe_error", ProbeError, hints: |_| Vec::new(), {
            ProbeError::Down => ProbeError::Down,
            ProbeError::Unreachable { .. } => ProbeError::Unreachable { question: "mntr".into(), why: "connection refused".into() },
            ProbeError::Silent { .. } => ProbeError::Silent { question: "mntr".into(), limit: Duration::from_secs(5) },
            ProbeError::Status { .. } => ProbeError::Status { question: "GET /v1/status/leader".into(), status: 500, text: "No cluster leader".into() },
            ProbeError::Malformed { .. } => ProbeError::Malformed { question: "mntr".into(), why: "no state".into(), text: "zk_version".into() },
            ProbeError::NotAsked(_) => ProbeError::NotAsked("the host is down".into()),
        });
    }
}
