//! Parses a known_hosts file, line by line.

use std::path::{Path, PathBuf};
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{PublicKey, ssh_key};

use super::matching;
use crate::transport::TransportError;

/// A larger file is not a list of host keys.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    CertAuthority,
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostPatterns {
    Patterns(String),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl HostPatterns {
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => matching::list(patterns, name),
            Self::Hashed { salt, hash } => matching::hashed(salt, hash, name),
        }
    }
}

/// One line with host names.
#[derive(Debug, Clone)]
pub(super) struct KnownHostsLine {
    pub(super) file: PathBuf,
    pub(super) number: usize,
    pub(super) marker: Option<Marker>,
    pub(super) hosts: HostPatterns,
    /// `None` when the key is unreadable: the host counts as recorded all the same, never as new.
    pub(super) key: Option<PublicKey>,
}

impl KnownHostsLine {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// The lines of a file, and warnings about unreadable ones.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) lines: Vec<KnownHostsLine>,
    pub(super) warnings: Vec<String>,
}

/// Reads a file. A missing file has no lines; an unreadable file is an error, never empty.
pub(super) fn read(path: &Path) -> Result<Parsed, TransportError> {
    let fail = |e: io::Error| {
        TransportError::Settings(format!("read known host keys from {}: {e}", path.display()))
    };
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        // A dangling link counts as no file, as in ssh.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Parsed::default()),
        Err(e) => return Err(fail(e)),
    };
    // `/dev/null` is the usual way to write "no file".
    if path == Path::new("/dev/null") {
        return Ok(Parsed::default());
    }
    if !meta.is_file() {
        return Err(fail(io::Error::other("must be a regular file")));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(fail(io::Error::other("must be at most 64 MiB")));
    }
    Ok(parse_lines(path, &fs::read(path).map_err(fail)?))
}

pub(super) fn parse_lines(file: &Path, bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
        let text = String::from_utf8_lossy(raw);
        let text = text.trim_matches([' ', '\t', '\r']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match line(text) {
            Ok((marker, hosts, key)) => {
                if let Err(why) = &key {
                    parsed.warnings.push(format!(
                        "{}:{}: {why}; line skipped",
                        file.display(),
                        index + 1
                    ));
                }
                parsed.lines.push(KnownHostsLine {
                    file: file.to_owned(),
                    number: index + 1,
                    marker,
                    hosts,
                    key: key.ok(),
                });
            }
            Err(why) => parsed.warnings.push(format!(
                "{}:{}: {why}; line skipped",
                file.display(),
                index + 1
            )),
        }
    }
    parsed
}

/// The next word and the rest.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

/// Why a line is skipped, or its key not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum LineError {
    #[error("unknown marker")]
    UnknownMarker,
    #[error("key is missing")]
    NoKey,
    #[error("malformed hashed name")]
    HashedName,
    #[error("key is not base64")]
    NotBase64,
    #[error("key is a certificate")]
    Certificate,
    #[error("unreadable key ({0})")]
    Unreadable(String),
    #[error("key type differs from the type on the line")]
    OtherType,
}

type Fields = (Option<Marker>, HostPatterns, Result<PublicKey, LineError>);

fn line(text: &str) -> Result<Fields, LineError> {
    let (marker, text) = match word(text) {
        ("@cert-authority", rest) => (Some(Marker::CertAuthority), rest),
        ("@revoked", rest) => (Some(Marker::Revoked), rest),
        (other, _) if other.starts_with('@') => return Err(LineError::UnknownMarker),
        _ => (None, text),
    };
    let (names, rest) = word(text);
    if rest.is_empty() {
        return Err(LineError::NoKey);
    }
    let (kind, rest) = word(rest);
    let (blob, _comment) = word(rest);
    Ok((marker, hosts(names)?, key(kind, blob)))
}

fn hosts(names: &str) -> Result<HostPatterns, LineError> {
    let Some(hashed) = names.strip_prefix('|') else {
        return Ok(HostPatterns::Patterns(names.to_owned()));
    };
    let mut parts = hashed.split('|');
    let (Some("1"), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(LineError::HashedName);
    };
    match (STANDARD.decode(salt), STANDARD.decode(hash)) {
        (Ok(salt), Ok(hash)) if hash.len() == 20 && !salt.is_empty() => {
            Ok(HostPatterns::Hashed { salt, hash })
        }
        _ => Err(LineError::HashedName),
    }
}

fn key(kind: &str, blob: &str) -> Result<PublicKey, LineError> {
    let bytes = STANDARD.decode(blob).map_err(|_| LineError::NotBase64)?;
    // The crate decodes nested certificates without a depth limit; a recorded key is never a
    // certificate.
    if bytes.windows(10).any(|w| w == b"-cert-v01@") {
        return Err(LineError::Certificate);
    }
    let key = PublicKey::from_bytes(&bytes)
        .map_err(|e: ssh_key::Error| LineError::Unreadable(e.to_string()))?;
    let named = match kind {
        // RSA keys have one name on disk and two for their signatures.
        "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa",
        other => other,
    };
    if key.algorithm().as_str() != named {
        return Err(LineError::OtherType);
    }
    Ok(key)
}

/// Parses any bytes and matches every line; for fuzzing.
#[doc(hidden)]
pub fn parse_for_fuzzing(bytes: &[u8], name: &str) -> usize {
    let parsed = parse_lines(Path::new("known_hosts"), bytes);
    parsed
        .lines
        .iter()
        .filter(|l| l.hosts.matches(name))
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn parsed(text: &str) -> Parsed {
        parse_lines(Path::new("kh"), text.as_bytes())
    }

    #[test]
    fn tabs_crlf_comments_and_markers_are_read() {
        let got = parsed(&format!(
            "# c\r\n\r\n  h1\t{}\tcomment here\r\n@revoked * {KEY}\n@cert-authority *.ex {KEY}",
            KEY.replace(' ', "\t ")
        ));
        assert_eq!(got.warnings, Vec::<String>::new());
        assert_eq!(
            got.lines.iter().map(|l| l.number).collect::<Vec<_>>(),
            [3, 4, 5]
        );
        assert!(got.lines[0].hosts.matches("H1"));
        assert_eq!(got.lines[1].marker, Some(Marker::Revoked));
        assert!(got.lines.iter().all(|l| l.key.is_some()));
    }

    #[test]
    fn invalid_lines_are_named() {
        let got = parsed(&format!(
            "h1\n@other h1 {KEY}\nh1 ssh-ed25519 !!!\nh2 ssh-rsa {}\n|1|x {KEY}\nh1 1024 35 123\nh1 {KEY}",
            &KEY[12..]
        ));
        let places: Vec<_> = got
            .warnings
            .iter()
            .map(|w| w.split(": ").next().unwrap())
            .collect();
        assert_eq!(places, ["kh:1", "kh:2", "kh:3", "kh:4", "kh:5", "kh:6"]);
        assert!(
            got.lines.iter().any(|l| l.number == 3 && l.key.is_none()),
            "a host with an unreadable key is still recorded"
        );
        assert!(got.lines.last().unwrap().key.is_some());
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("known_hosts_line", LineError, hints: |_| Vec::new(), {
            LineError::UnknownMarker => LineError::UnknownMarker,
            LineError::NoKey => LineError::NoKey,
            LineError::HashedName => LineError::HashedName,
            LineError::NotBase64 => LineError::NotBase64,
            LineError::Certificate => LineError::Certificate,
            LineError::Unreadable(_) => LineError::Unreadable("length invalid".into()),
            LineError::OtherType => LineError::OtherType,
        });
    }

    #[test]
    fn unreadable_is_never_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("absent")).unwrap().lines.is_empty());
        assert!(read(dir.path()).is_err(), "a directory");
        let file = dir.path().join("file");
        fs::write(&file, KEY).unwrap();
        assert!(read(&file.join("below")).is_err(), "below a regular file");
        let loops = dir.path().join("loop");
        std::os::unix::fs::symlink(&loops, &loops).unwrap();
        assert!(read(&loops).is_err(), "a loop of links");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse_for_fuzzing(&bytes, "host");
        }

        #[test]
        fn no_line_breaks_it(text in "(@[a-z-]{0,14} )?[|*!,a-z1\\[\\]:?]{0,12}[ \t]{0,2}(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]{0,80}") {
            parse_for_fuzzing(text.as_bytes(), "[a]:1");
        }
    }
}
