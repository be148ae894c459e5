//! Appends a key to known_hosts, and only appends.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use rand::Rng;
use russh::keys::PublicKey;

use super::{matching, parse};
use crate::transport::TransportError;

/// The result of recording a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Learned {
    /// Appended.
    Added,
    /// Another process recorded the same key meanwhile.
    Known,
    /// Another process recorded a different key meanwhile, at this place.
    Other(String),
}

/// Formats the line of a key.
pub(in crate::transport) fn entry_line(
    name: &str,
    key: &PublicKey,
    hash: bool,
) -> Result<String, TransportError> {
    let mut plain = key.clone();
    plain.set_comment("");
    let key = plain
        .to_openssh()
        .map_err(|e| TransportError::Settings(format!("write the host key: {e}")))?;
    let name = name.to_ascii_lowercase();
    let name = if hash {
        matching::hash_name(&rand::rng().random(), &name).unwrap_or(name)
    } else {
        name
    };
    Ok(format!("{name} {}\n", key.trim()))
}

/// Appends a key under a lock that other processes and tasks respect. Existing bytes are never
/// rewritten, so a concurrent reader or a crash finds the old file, or the old file with one more
/// line.
pub(in crate::transport) fn append(
    path: &Path,
    name: &str,
    key: &PublicKey,
    hash: bool,
) -> Result<Learned, TransportError> {
    let fail = |e: io::Error| {
        TransportError::Settings(format!("record the host key in {}: {e}", path.display()))
    };
    // The usual way to write "do not record", as `vagrant ssh-config` does.
    if path == Path::new("/dev/null") {
        return Ok(Learned::Added);
    }
    if let Some(dir) = path
        .parent()
        .filter(|d| !d.as_os_str().is_empty() && !d.exists())
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(fail)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| fail(e.into()))?;
    let mut before = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    file.read_to_end(&mut before).map_err(fail)?;
    let recorded = parse::parse_lines(path, &before)
        .lines
        .into_iter()
        .filter(|l| l.marker.is_none() && l.hosts.matches(name));
    let mut other = None;
    for line in recorded {
        if line
            .key
            .as_ref()
            .is_some_and(|k| k.key_data() == key.key_data())
        {
            return Ok(Learned::Known);
        }
        other.get_or_insert_with(|| line.place());
    }
    if let Some(place) = other {
        return Ok(Learned::Other(place));
    }
    let mut line = entry_line(name, key, hash)?;
    if before.last().is_some_and(|b| *b != b'\n') {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes()).map_err(fail)?;
    file.sync_data().map_err(fail)?;
    Ok(Learned::Added)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use russh::keys::{Algorithm, PrivateKey};

    use super::*;

    fn key() -> PublicKey {
        PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
            .unwrap()
            .public_key()
            .clone()
    }

    #[test]
    fn appends_only_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ssh").join("known_hosts");
        let (one, two) = (key(), key());
        assert_eq!(append(&path, "H1", &one, false).unwrap(), Learned::Added);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let odd = b"# no newline at the end \xff\r\nx".to_vec();
        fs::write(&path, &odd).unwrap();
        assert_eq!(append(&path, "h1", &one, false).unwrap(), Learned::Added);
        assert_eq!(append(&path, "h1", &one, false).unwrap(), Learned::Known);
        assert!(
            matches!(append(&path, "h1", &two, false).unwrap(), Learned::Other(p) if p.ends_with(":3"))
        );
        assert_eq!(
            append(&path, "[h1]:2222", &two, true).unwrap(),
            Learned::Added
        );
        assert_eq!(
            append(&path, "[h1]:2222", &two, true).unwrap(),
            Learned::Known
        );
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&odd));
        assert_eq!(after.iter().filter(|b| **b == b'\n').count(), 4);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let key = key();
        std::thread::scope(|s| {
            for t in 0..8 {
                let (path, key) = (&path, &key);
                s.spawn(move || {
                    (0..20).for_each(|i| {
                        assert_eq!(
                            append(path, &format!("h{t}-{i}"), key, false).unwrap(),
                            Learned::Added
                        )
                    })
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 160);
        assert!(text.lines().all(|l| l.split(' ').count() == 3));
    }
}
