//! The plan of an archive: every entry with its place, before the first byte is written.
//!
//! The archive is one uncompressed tar: entries sorted by name, one constant time, numeric owner 0.
//! The same images give the same bytes, whatever was interrupted on the way, and blobs can be
//! written in any order.

use std::collections::BTreeMap;

use super::digest::BlobDigest;
use super::documents::{Documents, blob_path};

/// Size of a header, and the unit of padding.
pub(super) const BLOCK: u64 = 512;

/// Two empty blocks end a tar.
pub(super) const TRAILER: u64 = 2 * BLOCK;

/// 1980-01-01: the earliest time that every format and tool accepts.
const MODIFIED: u64 = 315_532_800;

/// The header of an entry. A name with a trailing slash is a folder.
pub(super) fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_gnu();
    // Names are at most 77 bytes, and a header holds 100.
    let _ = header.set_path(name);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    if name.ends_with('/') {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
    } else {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
    }
    header.set_cksum();
    *header.as_bytes()
}

/// Bytes of a content with its padding; `None` above what a file can hold.
pub(super) fn padded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK)
}

/// Folders of the archive.
pub(super) const FOLDERS: [&str; 2] = ["blobs/", "blobs/sha256/"];

/// Where everything of an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchivePlan {
    /// Headers and documents with their offsets: everything but the blobs' content.
    pub fixed: Vec<(u64, Vec<u8>)>,
    /// Blob → offset of its content and its size.
    pub blobs: BTreeMap<BlobDigest, (u64, u64)>,
    /// Length of the file.
    pub length: u64,
}

impl ArchivePlan {
    /// Plans an archive; `None` when it would be larger than a file can be.
    pub(super) fn new(blobs: &BTreeMap<BlobDigest, u64>, documents: &Documents) -> Option<Self> {
        let mut plan = Self {
            fixed: Vec::new(),
            blobs: BTreeMap::new(),
            length: 0,
        };
        for folder in FOLDERS {
            plan.add(folder, 0)?;
        }
        for (digest, size) in blobs {
            let at = plan.add(&blob_path(digest), *size)?;
            plan.blobs.insert(digest.clone(), (at, *size));
        }
        for (name, content) in [
            ("index.json", &documents.index),
            ("manifest.json", &documents.manifest),
            ("oci-layout", &documents.layout),
        ] {
            let at = plan.add(name, content.len() as u64)?;
            plan.fixed.push((at, content.clone()));
        }
        plan.length = plan.length.checked_add(TRAILER)?;
        Some(plan)
    }

    /// Adds an entry; returns the offset of its content.
    fn add(&mut self, name: &str, size: u64) -> Option<u64> {
        self.fixed.push((self.length, header(name, size).to_vec()));
        let at = self.length.checked_add(BLOCK)?;
        self.length = at.checked_add(padded(size)?)?;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other_without_gaps() {
        let documents = Documents {
            index: vec![b'i'; 513],
            manifest: vec![b'm'; 512],
            layout: vec![b'l'; 1],
        };
        let (a, b) = (BlobDigest::of_bytes(b"a"), BlobDigest::of_bytes(b"b"));
        let blobs = BTreeMap::from([(a.clone(), 0), (b.clone(), 1)]);
        let plan = ArchivePlan::new(&blobs, &documents).unwrap();
        let mut expected = 2 * BLOCK;
        for digest in blobs.keys() {
            expected += BLOCK;
            assert_eq!(plan.blobs[digest].0, expected);
            expected += padded(blobs[digest]).unwrap();
        }
        assert_eq!(
            plan.length,
            expected + 3 * BLOCK + 1024 + 512 + 512 + TRAILER
        );
        let huge = BTreeMap::from([(a, u64::MAX - 600)]);
        assert_eq!(ArchivePlan::new(&huge, &documents), None);
    }

    #[test]
    fn a_tar_reader_understands_headers() {
        let bytes = header("blobs/sha256/x", 10 << 30);
        let read = tar::Header::from_byte_slice(&bytes);
        assert_eq!(read.entry_size().unwrap(), 10 << 30);
        assert_eq!(read.mtime().unwrap(), MODIFIED);
        assert!(
            tar::Header::from_byte_slice(&header("blobs/", 0))
                .entry_type()
                .is_dir()
        );
    }
}
