//! The entries of an archive, read from its headers.

use super::digest::{BlobDigest, BlobHasher};
use super::plan::{BLOCK, FOLDERS, TRAILER, header, padded};
use crate::env::ReadAt;

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarEntry {
    pub name: String,
    /// Offset of its content.
    pub at: u64,
    pub size: u64,
}

impl TarEntry {
    /// The blob whose content this is.
    pub(super) fn digest(&self) -> Option<BlobDigest> {
        let hex = self.name.strip_prefix("blobs/sha256/")?;
        format!("sha256:{hex}").parse().ok()
    }
}

/// How the entries end.
#[derive(Debug)]
pub(super) enum TableEnd {
    /// As they must.
    Complete,
    /// The file does not begin as a bundle.
    Foreign,
    /// The file ends inside this entry, or after it.
    Truncated(String),
    /// The header at this offset is none that toots writes.
    Damaged(u64),
    Unreadable(std::io::Error),
}

/// More entries than a bundle ever has; a file that claims more is refused early.
const MAX_ENTRIES: usize = 100_000;

/// Reads the entries up to the end of the archive or to the first fault.
pub(super) fn read_table(file: &dyn ReadAt, length: u64) -> (Vec<TarEntry>, TableEnd) {
    let mut entries: Vec<TarEntry> = Vec::new();
    let mut at = 0;
    loop {
        let last = entries.last().map_or("", |entry| &*entry.name).to_owned();
        if length.saturating_sub(at) < BLOCK {
            let end = match entries.is_empty() {
                true => TableEnd::Foreign,
                false => TableEnd::Truncated(last),
            };
            return (entries, end);
        }
        let mut block = [0; BLOCK as usize];
        if let Err(error) = file.fill_from(&mut block, at) {
            return (entries, TableEnd::Unreadable(error));
        }
        if entries.is_empty() && block != header(FOLDERS[0], 0) {
            return (entries, TableEnd::Foreign);
        }
        if block.iter().all(|byte| *byte == 0) {
            let end = match (length - at).cmp(&TRAILER) {
                std::cmp::Ordering::Less => TableEnd::Truncated(last),
                std::cmp::Ordering::Equal => TableEnd::Complete,
                std::cmp::Ordering::Greater => TableEnd::Damaged(at),
            };
            return (entries, end);
        }
        let Some(entry) = entry(&block, at).filter(|_| entries.len() < MAX_ENTRIES) else {
            return (entries, TableEnd::Damaged(at));
        };
        let Some(next) = padded(entry.size).and_then(|size| entry.at.checked_add(size)) else {
            return (entries, TableEnd::Damaged(at));
        };
        if next > length {
            return (entries, TableEnd::Truncated(entry.name));
        }
        entries.push(entry);
        at = next;
    }
}

/// The entry of a header that toots writes.
fn entry(block: &[u8; 512], at: u64) -> Option<TarEntry> {
    let read = tar::Header::from_byte_slice(block);
    let name = std::str::from_utf8(&read.path_bytes()).ok()?.to_owned();
    let size = read.entry_size().ok()?;
    (header(&name, size) == *block).then_some(TarEntry {
        name,
        at: at + BLOCK,
        size,
    })
}

/// Bytes that are hashed at once.
const CHUNK: usize = 1 << 20;

/// Hashes a part of a file. `each` sees every piece with its offset in the part.
pub(super) fn hash_region(
    file: &dyn ReadAt,
    at: u64,
    size: u64,
    mut each: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<BlobDigest> {
    let mut hasher = BlobHasher::default();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
    while hasher.bytes() < size {
        let offset = hasher.bytes();
        let left = usize::try_from(size - offset).unwrap_or(CHUNK);
        let piece = &mut buffer[..left.min(CHUNK)];
        file.fill_from(piece, at + offset)?;
        hasher.update(piece);
        each(offset, piece)?;
    }
    Ok(hasher.finish())
}
