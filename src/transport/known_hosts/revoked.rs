//! Reads the file of `RevokedHostKeys`: public keys, one per line.

use std::fs;
use std::path::Path;

use russh::keys::PublicKey;

use crate::transport::TransportError;

/// The start of a key revocation list in OpenSSH's binary format.
const KRL_MAGIC: &[u8] = b"SSHKRL\n";

/// Reads the keys and their places.
///
/// # Errors
/// When the file cannot be read in full. As in OpenSSH no host is trusted then: a key that was not
/// read could be a revoked one.
pub(super) fn read(path: &Path) -> Result<Vec<(PublicKey, String)>, TransportError> {
    let fail = |why: String| TransportError::Settings(format!("RevokedHostKeys: {why}"));
    let bytes = fs::read(path).map_err(|e| fail(format!("cannot read {}: {e}", path.display())))?;
    if bytes.starts_with(KRL_MAGIC) {
        return Err(fail(format!(
            "{} is a binary revocation list, which is not supported; list the public keys as text",
            path.display()
        )));
    }
    let mut keys = Vec::new();
    for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{}:{}", path.display(), index + 1);
        let key = PublicKey::from_openssh(line).map_err(|e| fail(format!("{place}: {e}")))?;
        keys.push((key, place));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn incomplete_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("revoked");
        fs::write(&file, format!("# stolen\n\n{KEY} laptop\n")).unwrap();
        let keys = read(&file).unwrap();
        assert!(keys.len() == 1 && keys[0].1.ends_with("revoked:3"));
        fs::write(&file, format!("{KEY}\nnonsense\n")).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("revoked:2"));
        fs::write(&file, b"SSHKRL\n\0binary").unwrap();
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .contains("revocation list")
        );
        assert!(read(&dir.path().join("absent")).is_err());
    }
}
