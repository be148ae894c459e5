//! Files of the operator's machine. Relative paths start at the working folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{NamedTempFile, tempfile};

/// What has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Regular,
    Folder,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    pub kind: FileKind,
    /// Its length.
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// The user's number.
    pub owner: u32,
}

/// An open file. Several readers may use it at once.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Reads some bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the system does not tell it.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer.
    ///
    /// # Errors
    /// When the file cannot be read or ends before.
    fn fill_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A file without a name: nothing of it stays when the process ends, in whatever way.
pub trait TemporaryFile: ReadAt {
    /// Writes behind what was written before.
    ///
    /// # Errors
    /// When the file system is full.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
}

impl TemporaryFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self).write_all(bytes)
    }
}

/// Reads an open file from its start, with a place of its own.
#[derive(Debug)]
pub struct FileReader<'a> {
    file: &'a dyn ReadAt,
    at: u64,
}

impl<'a> FileReader<'a> {
    #[must_use]
    pub fn new(file: &'a dyn ReadAt) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for FileReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.length()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The files that a run can reach.
pub trait FileAccess: std::fmt::Debug + Send + Sync {
    /// What has the path, or what its links lead to.
    ///
    /// # Errors
    /// When nothing has it, or the folder cannot be searched.
    fn status(&self, path: &Path) -> io::Result<FileInfo>;

    /// Whether anything has the path, be it a link that leads nowhere.
    fn is_taken(&self, path: &Path) -> bool;

    /// Reads so many bytes, or to the end. Pipes can be read too.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_up_to(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Opens a regular file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// The paths in a folder, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Creates a folder and those above it, with the mode or the usual one. No error when it is
    /// there.
    ///
    /// # Errors
    /// When one cannot be created.
    fn create_folders(&self, path: &Path, mode: Option<u32>) -> io::Result<()>;

    /// Writes a whole file, in place of what has the path.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Writes a file that does not exist.
    ///
    /// # Errors
    /// `AlreadyExists` when the path is taken, and when it cannot be written.
    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Replaces a file at once, old or new and never half, and keeps its mode.
    ///
    /// # Errors
    /// When there is none, or it cannot be written.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Creates a file that only its owner can read, to write to it again and again.
    ///
    /// # Errors
    /// `AlreadyExists` when the path is taken, and when it cannot be written.
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn Write + Send>>;

    /// Removes a file.
    ///
    /// # Errors
    /// When there is none, or it cannot be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// # Errors
    /// When it cannot be created.
    fn temporary(&self) -> io::Result<Arc<dyn TemporaryFile>>;

    /// Where temporary files are.
    fn temporary_folder(&self) -> PathBuf;
}

impl dyn FileAccess + '_ {
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_up_to(path, u64::MAX)
    }

    /// # Errors
    /// When it cannot be read, or is no UTF-8.
    pub fn read_text(&self, path: &Path) -> io::Result<String> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, NO_UTF8);
        String::from_utf8(self.read(path)?).map_err(invalid)
    }

    #[must_use]
    pub fn is_folder(&self, path: &Path) -> bool {
        self.status(path)
            .is_ok_and(|status| status.kind == FileKind::Folder)
    }
}

/// As the standard library says it.
const NO_UTF8: &str = "stream did not contain valid UTF-8";

/// The folder of a path; the working folder for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The file systems of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineFiles;

impl FileAccess for MachineFiles {
    fn status(&self, path: &Path) -> io::Result<FileInfo> {
        let data = std::fs::metadata(path)?;
        let kind = match (data.is_file(), data.is_dir()) {
            (true, _) => FileKind::Regular,
            (_, true) => FileKind::Folder,
            _ => FileKind::Other,
        };
        Ok(FileInfo {
            kind,
            bytes: data.len(),
            mode: data.permissions().mode() & 0o7777,
            owner: data.uid(),
        })
    }

    fn is_taken(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok()
    }

    fn read_up_to(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?;
        let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
        let mut paths = paths?;
        paths.sort();
        Ok(paths)
    }

    fn create_folders(&self, path: &Path, mode: Option<u32>) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        if let Some(mode) = mode {
            builder.mode(mode);
        }
        builder.create(path)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        std::fs::write(path, content)
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut new = OpenOptions::new();
        new.write(true).create_new(true);
        new.open(path)?.write_all(content)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mode = std::fs::metadata(path)?.permissions();
        let mut file = NamedTempFile::new_in(folder_of(path))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        std::fs::set_permissions(file.path(), mode)?;
        file.persist(path)?;
        Ok(())
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        let mut private = OpenOptions::new();
        private.create_new(true).append(true).mode(0o600);
        Ok(Box::new(private.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn temporary(&self) -> io::Result<Arc<dyn TemporaryFile>> {
        Ok(Arc::new(tempfile()?))
    }

    fn temporary_folder(&self) -> PathBuf {
        std::env::temp_dir()
    }
}
