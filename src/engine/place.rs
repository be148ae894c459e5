//! Writes many files to a host in one round trip: each old or new, never half.
//!
//! The files cross as a tar stream on standard input, so that no content appears in an argument.
//! The script stages each file beside its target, syncs all of them at once, then renames. The
//! /etc/hosts of a container is a bind mount that cannot be replaced by a rename; it alone is
//! written in place.

use bytes::Bytes;

use crate::spec::{DirSpec, FileSpec};
use crate::transport::Exec;

/// Constant: no value of an inventory is ever part of it.
const SCRIPT: &str = r##"set -eu
umask 077
mkdir -p /etc/toots
chmod 755 /etc/toots
s=/etc/toots/.stage
rm -rf "$s"
mkdir "$s"
trap 'rm -rf "$s"' EXIT
tar -x -f - -C "$s"
fail() { echo "$1" >&2; exit 20; }
new=
while read -r kind mode uid gid n path; do
  case "$kind" in
    d)
      [ ! -L "$path" ] || fail "$path is a symbolic link"
      mkdir -p "$path"
      chown "$uid:$gid" "$path"
      chmod "$mode" "$path" ;;
    f)
      [ ! -L "$path" ] || fail "$path is a symbolic link"
      [ ! -d "$path" ] || fail "$path is a directory"
      dir=${path%/*}
      [ -d "$dir" ] || (umask 022; mkdir -p "$dir")
      rm -f "$path.toots-new"
      cp "$s/$n" "$path.toots-new"
      chown "$uid:$gid" "$path.toots-new"
      chmod "$mode" "$path.toots-new"
      new="$new $path.toots-new" ;;
  esac
done < "$s/manifest"
[ -z "$new" ] || sync $new 2>/dev/null || sync
while read -r kind mode uid gid n path; do
  [ "$kind" = f ] || continue
  mv -f "$path.toots-new" "$path"
done < "$s/manifest"
if [ -f "$s/hosts" ]; then
  awk '/^# toots begin$/{skip=1} !skip{print} /^# toots end$/{skip=0}' /etc/hosts > "$s/hosts.new"
  cat "$s/hosts" >> "$s/hosts.new"
  chmod 644 "$s/hosts.new"
  cp "$s/hosts.new" /etc/hosts.toots-new
  chmod 644 /etc/hosts.toots-new
  mv -f /etc/hosts.toots-new /etc/hosts 2>/dev/null || { rm -f /etc/hosts.toots-new; cat "$s/hosts.new" > /etc/hosts; }
fi
"##;

/// The command that writes these files and directories.
///
/// # Errors
/// When the manifest could misread a path (white space), or the archive cannot be built.
pub(super) fn command(
    dirs: &[&DirSpec],
    files: &[&FileSpec],
    hosts_entries: Option<&[(String, String)]>,
    deadline: std::time::Duration,
) -> Result<Exec, PlaceError> {
    use std::fmt::Write as _;
    let mut manifest = String::new();
    let mut archive = tar::Builder::new(Vec::new());
    for dir in dirs {
        check_path(&dir.path)?;
        let _ = writeln!(
            manifest,
            "d {:04o} {} {} - {}",
            dir.mode, dir.uid, dir.gid, dir.path
        );
    }
    for (n, file) in files.iter().enumerate() {
        check_path(&file.path)?;
        let _ = writeln!(
            manifest,
            "f {:04o} {} {} {n} {}",
            file.mode, file.uid, file.gid, file.path
        );
        append(&mut archive, &n.to_string(), &file.content)?;
    }
    append(&mut archive, "manifest", manifest.as_bytes())?;
    if let Some(entries) = hosts_entries {
        let mut block = String::from("# toots begin\n");
        for (address, name) in entries {
            let _ = writeln!(block, "{address} {name}");
        }
        block.push_str("# toots end\n");
        append(&mut archive, "hosts", block.as_bytes())?;
    }
    let stdin = archive.into_inner()?;
    Ok(Exec {
        command: format!("sh -c {}", crate::spec::quote(SCRIPT)),
        stdin: Bytes::from(stdin),
        privileged: true,
        deadline,
        max_output: 64 * 1024,
    })
}

/// Why files cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("{0:?} cannot be the path of a managed file")]
    Path(String),
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
