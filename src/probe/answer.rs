//! Answers and why there is none: data, so that a judgement stays a pure function.

use std::time::Duration;

use super::Member;
use crate::event::escape;
use crate::transport::TransportError;

/// Why a question has no usable answer. All text of a host's making is already escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is no connection to the host.
    #[error("the host is down")]
    Down,
    /// Nothing listens, or the way there is cut.
    #[error("{question}: {why}")]
    Unreachable {
        /// What was asked.
        question: String,
        /// In words.
        why: String,
    },
    /// No answer in time.
    #[error("{question}: no answer within {limit:?}")]
    Silent {
        /// What was asked.
        question: String,
        /// The limit.
        limit: Duration,
    },
    /// An answer with a status that is not the wanted one.
    #[error("{question}: {status} {text}")]
    Status {
        /// What was asked.
        question: String,
        /// HTTP status.
        status: u16,
        /// The answer's beginning.
        text: String,
    },
    /// An answer that is not of the expected form.
    #[error("{question}: {why}: {text}")]
    Malformed {
        /// What was asked.
        question: String,
        /// In words.
        why: String,
        /// The answer's beginning.
        text: String,
    },
    /// The question was left out on purpose.
    #[error("not asked: {0}")]
    NotAsked(String),
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, ProbeError>;

impl ProbeError {
    /// An answer of the wrong form.
    #[must_use]
    pub fn malformed(question: &str, why: impl std::fmt::Display, text: &[u8]) -> Self {
        Self::Malformed {
            question: question.to_owned(),
            why: show(why.to_string().as_bytes()),
            text: show(text),
        }
    }

    pub(super) fn transport(question: &str, error: &TransportError) -> Self {
        Self::Unreachable {
            question: question.to_owned(),
            why: show(error.to_string().as_bytes()),
        }
    }
}

/// Bytes of a host's making as one short line that cannot drive a terminal.
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

/// An IP address or name as it stands before a port.
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

/// Whether a host as a service names it is this member: by address (in any spelling) or by name.
#[must_use]
pub fn is_member(member: &Member, host: &str) -> bool {
    host == member.host.as_str() || host.parse() == Ok(member.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_one_line_and_harmless() {
        assert_eq!(show(b"a\n\tb\r\n c"), "a b c");
        assert_eq!(show(b"\x1b[31mred"), "\\x1b[31mred");
        let long = show(&[b'x'; 10_000]);
        assert!(long.ends_with('…') && long.chars().count() == 161, "{long}");
        assert!(!show("\u{202e}\u{9b}".as_bytes()).contains(['\u{202e}', '\u{9b}']));
    }

    #[test]
    fn authorities_of_both_families() {
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("fe80::1", 80), "[fe80::1]:80");
        assert_eq!(split_authority("[fe80::1]:80"), Some(("fe80::1", 80)));
        assert_eq!(split_authority("m1:8300"), Some(("m1", 8300)));
        assert_eq!(split_authority("m1"), None);
        assert_eq!(split_authority("m1:x"), None);
    }
}
