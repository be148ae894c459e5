//! The file of a bundle while it is written: `FILE.part`, which becomes FILE when it is complete.
//!
//! Its headers are written first, so that an interrupted file can be read: a blob whose content has
//! its digest is complete, and nothing else is kept. Blobs of a file with another plan (a tag moved,
//! the inventory changed) and of the bundle that is replaced are copied instead of fetched.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::digest::{BlobDigest, BlobHasher};
use super::error::ArchiveError;
use super::plan::{ArchivePlan, BLOCK, FOLDERS, header};
use super::table::{TarEntry, hash_region, read_table};

/// Refuses a file that must not be replaced: anything but a bundle.
///
/// # Errors
/// When the file exists and is no bundle, or its folder does not exist.
pub fn check_target(target: &Path) -> Result<(), ArchiveError> {
    let unwritable = |source| ArchiveError::write(target, source);
    if target.file_name().is_none() {
        return Err(unwritable(io::ErrorKind::IsADirectory.into()));
    }
    let folder = folder(target);
    if !folder.metadata().map_err(unwritable)?.is_dir() {
        return Err(unwritable(io::ErrorKind::NotADirectory.into()));
    }
    match target.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unwritable(error)),
        Ok(data) if data.is_dir() => Err(unwritable(io::ErrorKind::IsADirectory.into())),
        Ok(data) => {
            let mut block = [0; BLOCK as usize];
            let is_bundle = data.is_file()
                && File::open(target)
                    .and_then(|file| file.read_exact_at(&mut block, 0))
                    .is_ok()
                && block == header(FOLDERS[0], 0);
            match is_bundle {
                true => Ok(()),
                false => Err(ArchiveError::NotReplaceable(target.to_owned())),
            }
        }
    }
}

fn folder(target: &Path) -> PathBuf {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
    }
}

/// The path with something appended to its name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The unfinished file, which no other toots can write.
#[derive(Debug)]
pub(super) struct PartFile {
    target: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    plan: ArchivePlan,
    /// Nothing was written before.
    fresh: bool,
}

impl PartFile {
    /// Opens or creates `TARGET.part` for this plan, reserves its space and writes its headers.
    pub(super) fn open(target: &Path, plan: ArchivePlan) -> Result<Self, ArchiveError> {
        let path = with_suffix(target, ".part");
        let unwritable = |source| ArchiveError::write(&path, source);
        let mut file = open_locked(&path)?;
        let mut fresh = file.metadata().map_err(unwritable)?.len() == 0;
        if !fresh && !has_places(&file, &plan).map_err(unwritable)? {
            std::fs::rename(&path, with_suffix(&path, ".old")).map_err(unwritable)?;
            file = open_locked(&path)?;
            fresh = true;
        }
        file.set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| reserve(&file, plan.length))
            .and_then(|()| file.set_len(plan.length))
            .and_then(|()| {
                let mut fixed = plan.fixed.iter();
                fixed.try_for_each(|(at, content)| file.write_all_at(content, *at))
            })
            .map_err(unwritable)?;
        Ok(Self {
            target: target.to_owned(),
            path,
            file: Arc::new(file),
            plan,
            fresh,
        })
    }

    /// The blobs that are complete, after those of earlier files were copied. `progress` receives
    /// the bytes of each blob that is kept.
    pub(super) fn keep_complete(
        &self,
        mut progress: impl FnMut(u64),
    ) -> Result<BTreeSet<BlobDigest>, ArchiveError> {
        let donors: Vec<(File, Vec<TarEntry>)> =
            [with_suffix(&self.path, ".old"), self.target.clone()]
                .iter()
                .filter_map(|path| {
                    let file = File::open(path).ok()?;
                    let length = file.metadata().ok()?.len();
                    let (entries, _) = read_table(&file, length);
                    Some((file, entries))
                })
                .collect();
        let mut complete = BTreeSet::new();
        for (digest, (at, size)) in &self.plan.blobs {
            let here = !self.fresh && self.is_complete(digest, *at, *size)?;
            let kept = here
                || donors.iter().any(|(file, entries)| {
                    let same = |entry: &&TarEntry| {
                        entry.size == *size && entry.digest().as_ref() == Some(digest)
                    };
                    // A donor that cannot be read is none.
                    entries
                        .iter()
                        .find(same)
                        .is_some_and(|entry| self.copy(file, entry, digest, *at).unwrap_or(false))
                });
            if kept {
                complete.insert(digest.clone());
                progress(*size);
            }
        }
        Ok(complete)
    }

    fn is_complete(&self, digest: &BlobDigest, at: u64, size: u64) -> Result<bool, ArchiveError> {
        let got = hash_region(&*self.file, at, size, |_, _| Ok(()))
            .map_err(|source| ArchiveError::read(&self.path, source))?;
        Ok(got == *digest)
    }

    fn copy(
        &self,
        from: &File,
        entry: &TarEntry,
        digest: &BlobDigest,
        at: u64,
    ) -> io::Result<bool> {
        let got = hash_region(from, entry.at, entry.size, |offset, piece| {
            self.file.write_all_at(piece, at + offset)
        })?;
        Ok(got == *digest)
    }

    /// Writes one blob of the plan; `None` for any other.
    pub(super) fn writer(&self, digest: &BlobDigest) -> Option<BlobWriter> {
        let (at, size) = *self.plan.blobs.get(digest)?;
        Some(BlobWriter {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            at,
            size,
            hasher: BlobHasher::default(),
        })
    }

    /// Turns the complete file into the bundle.
    pub(super) fn finish(&self) -> Result<(), ArchiveError> {
        let unwritable = |source| ArchiveError::write(&self.path, source);
        self.file.sync_all().map_err(unwritable)?;
        std::fs::rename(&self.path, &self.target).map_err(unwritable)?;
        // Both are only tidiness: the bundle is complete.
        drop(std::fs::remove_file(with_suffix(&self.path, ".old")));
        drop(File::open(folder(&self.target)).and_then(|folder| folder.sync_all()));
        Ok(())
    }
}

/// Opens a file and locks it for this process.
fn open_locked(path: &Path) -> Result<File, ArchiveError> {
    let unwritable = |source| ArchiveError::write(path, source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // In a folder that others can write, the name may be theirs.
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ArchiveError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => return Err(unwritable(source)),
    }
    // Whoever held the lock before may have renamed the file.
    let here = file.metadata().map_err(unwritable)?;
    let named = std::fs::symlink_metadata(path);
    let same = named.is_ok_and(|named| (named.dev(), named.ino()) == (here.dev(), here.ino()));
    match same {
        true => Ok(file),
        false => Err(ArchiveError::InUse(path.to_owned())),
    }
}

/// Whether the headers of all blobs of the plan are where the plan has them.
fn has_places(file: &File, plan: &ArchivePlan) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let (entries, _) = read_table(file, length);
    let places: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| Some((entry.digest()?, (entry.at, entry.size))))
        .collect();
    Ok(plan.blobs.len() == places.len()
        && plan
            .blobs
            .iter()
            .all(|(digest, place)| places.contains(&(digest.clone(), *place))))
}

/// Reserves space, so that a full disk shows before anything is fetched.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        // Some file systems cannot reserve.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the content of one blob and computes its digest.
#[derive(Debug)]
pub(super) struct BlobWriter {
    path: PathBuf,
    file: Arc<File>,
    at: u64,
    size: u64,
    hasher: BlobHasher,
}

impl BlobWriter {
    /// Number of bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Whether this many more bytes belong to the blob.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes() + bytes as u64 <= self.size
    }

    /// Appends. The caller checks the room.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.file
            .write_all_at(bytes, self.at + self.bytes())
            .map_err(|source| ArchiveError::write(&self.path, source))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Forgets what was written.
    pub(super) fn restart(&mut self) {
        self.hasher = BlobHasher::default();
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes() == self.size
    }

    /// The digest of what was written.
    pub(super) fn finish(self) -> BlobDigest {
        self.hasher.finish()
    }
}
