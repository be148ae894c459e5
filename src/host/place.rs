//! The archive in which files cross to a host, so that no content appears in an argument.

use std::fmt::Write as _;

use super::operation::Place;

/// Packs directories, files and the block in /etc/hosts for `scripts/place.sh`.
///
/// # Errors
/// When the manifest could misread a path (white space), or the archive cannot be built.
pub(super) fn pack(place: &Place) -> Result<Vec<u8>, PlaceError> {
    let mut manifest = String::new();
    let mut archive = tar::Builder::new(Vec::new());
    for dir in &place.dirs {
        check_path(&dir.path)?;
        let _ = writeln!(
            manifest,
            "d {:04o} {} {} - {}",
            dir.mode, dir.uid, dir.gid, dir.path
        );
    }
    for (n, file) in place.files.iter().enumerate() {
        check_path(&file.path)?;
        let _ = writeln!(
            manifest,
            "f {:04o} {} {} {n} {}",
            file.mode, file.uid, file.gid, file.path
        );
        append(&mut archive, &n.to_string(), &file.content)?;
    }
    append(&mut archive, "manifest", manifest.as_bytes())?;
    if let Some(entries) = &place.hosts_entries {
        let mut block = String::from("# toots begin\n");
        for (address, name) in entries {
            let _ = writeln!(block, "{address} {name}");
        }
        block.push_str("# toots end\n");
        append(&mut archive, "hosts", block.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}

/// Why files cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A path that the manifest could misread.
    #[error("{0:?} cannot be the path of a managed file")]
    Path(String),
    /// No archive.
    #[error("cannot pack the files: {0}")]
    Archive(#[from] std::io::Error),
}

fn check_path(path: &str) -> Result<(), PlaceError> {
    let fine = path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_graphic())
        && !path.split('/').any(|part| part == "..");
    if fine {
        Ok(())
    } else {
        Err(PlaceError::Path(path.to_owned()))
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_cksum();
    archive.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("place_error", PlaceError, hints: |_| Vec::new(), {
            PlaceError::Path(_) => PlaceError::Path("/etc/a b".into()),
            PlaceError::Archive(_) => PlaceError::Archive(std::io::ErrorKind::InvalidInput.into()),
        });
    }
}
