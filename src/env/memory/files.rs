use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{FileAccess, FileInfo, FileKind, ReadAt, TemporaryFile};

/// Files in memory: without links, users and other programs. Its clones are the same files.
#[derive(Debug, Clone)]
pub struct MemoryFiles {
    working_folder: PathBuf,
    entries: Arc<Mutex<BTreeMap<PathBuf, MemoryEntry>>>,
}

#[derive(Debug, Clone)]
enum MemoryEntry {
    Folder,
    File { content: Content, mode: u32 },
}

#[derive(Debug, Clone, Default)]
struct Content(Arc<Mutex<Vec<u8>>>);

impl Content {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for Content {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(start..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }
}

impl TemporaryFile for Content {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().extend(bytes);
        Ok(())
    }
}

impl Write for Content {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryFiles {
    /// An empty working folder, and `/tmp`.
    #[must_use]
    pub fn new(working_folder: impl Into<PathBuf>) -> Self {
        let files = Self {
            working_folder: working_folder.into(),
            entries: Arc::default(),
        };
        for folder in [files.working_folder.clone(), "/tmp".into()] {
            files.add_folders(&folder);
        }
        files
    }

    /// Adds or replaces a file, with the folders above it.
    pub fn add(&self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) {
        let path = self.absolute(path.as_ref());
        if let Some(folder) = path.parent() {
            self.add_folders(folder);
        }
        self.put(path, content.into(), 0o644);
    }

    /// Every file with its content, by its absolute path.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let content = |(path, entry): (&PathBuf, &MemoryEntry)| match entry {
            MemoryEntry::Folder => None,
            MemoryEntry::File { content, .. } => Some((path.clone(), content.lock().clone())),
        };
        self.lock().iter().filter_map(content).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, MemoryEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        let mut absolute = PathBuf::new();
        for part in self.working_folder.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(absolute.pop()),
                part => absolute.push(part),
            }
        }
        absolute
    }

    fn add_folders(&self, path: &Path) {
        let mut entries = self.lock();
        for folder in path.ancestors() {
            entries
                .entry(folder.to_owned())
                .or_insert(MemoryEntry::Folder);
        }
    }

    fn put(&self, path: PathBuf, content: Vec<u8>, mode: u32) {
        let content = Content(Arc::new(Mutex::new(content)));
        self.lock()
            .insert(path, MemoryEntry::File { content, mode });
    }

    fn find(&self, path: &Path) -> io::Result<MemoryEntry> {
        let path = self.absolute(path);
        let found = self.lock().get(&path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, path: &Path) -> io::Result<(Content, u32)> {
        match self.find(path)? {
            MemoryEntry::File { content, mode } => Ok((content, mode)),
            MemoryEntry::Folder => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// The absolute path of a file that may be written: its folder exists.
    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.absolute(path);
        let entries = self.lock();
        match path.parent().and_then(|folder| entries.get(folder)) {
            Some(MemoryEntry::Folder) => {}
            Some(MemoryEntry::File { .. }) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        match entries.get(&path) {
            Some(MemoryEntry::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            _ => Ok(path),
        }
    }

    fn new_place(&self, path: &Path) -> io::Result<PathBuf> {
        match self.find(path) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => self.place(path),
        }
    }
}

impl FileAccess for MemoryFiles {
    fn status(&self, path: &Path) -> io::Result<FileInfo> {
        Ok(match self.find(path)? {
            MemoryEntry::Folder => FileInfo {
                kind: FileKind::Folder,
                bytes: 0,
                mode: 0o755,
                owner: 0,
            },
            MemoryEntry::File { content, mode } => FileInfo {
                kind: FileKind::Regular,
                bytes: content.length()?,
                mode,
                owner: 0,
            },
        })
    }

    fn is_taken(&self, path: &Path) -> bool {
        self.find(path).is_ok()
    }

    fn read_up_to(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = self.file(path)?.0.lock().clone();
        content.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(content)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.file(path)?.0))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        if let MemoryEntry::File { .. } = self.find(folder)? {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let parent = self.absolute(folder);
        let entries = self.lock();
        let here = entries
            .keys()
            .filter(|path| path.parent() == Some(&*parent));
        let names = here.filter_map(|path| path.file_name());
        Ok(names.map(|name| folder.join(name)).collect())
    }

    fn create_folders(&self, path: &Path, _: Option<u32>) -> io::Result<()> {
        let path = self.absolute(path);
        let is_file = |entry: Option<&MemoryEntry>| matches!(entry, Some(MemoryEntry::File { .. }));
        if path.ancestors().any(|part| is_file(self.lock().get(part))) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        self.add_folders(&path);
        Ok(())
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mode = self.file(path).map_or(0o644, |(_, mode)| mode);
        self.put(self.place(path)?, content.to_owned(), mode);
        Ok(())
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.put(self.new_place(path)?, content.to_owned(), 0o644);
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (_, mode) = self.file(path)?;
        self.put(self.place(path)?, content.to_owned(), mode);
        Ok(())
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        self.put(self.new_place(path)?, Vec::new(), 0o600);
        Ok(Box::new(self.file(path)?.0))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let path = self.absolute(path);
        self.lock().remove(&path);
        Ok(())
    }

    fn temporary(&self) -> io::Result<Arc<dyn TemporaryFile>> {
        Ok(Arc::new(Content::default()))
    }

    fn temporary_folder(&self) -> PathBuf {
        "/tmp".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::MachineFiles;

    /// What both kinds of files answer, one after the other.
    fn live(files: &dyn FileAccess, folder: &Path) -> Vec<String> {
        let at = |name: &str| folder.join(name);
        let mut said = Vec::new();
        let mut say = |what: &str, result: io::Result<String>| {
            let text = result.unwrap_or_else(|error| format!("{:?}", error.kind()));
            said.push(format!("{what}: {text}"));
        };
        let done = |result: io::Result<()>| result.map(|()| "done".to_owned());
        let text = |name: &str| files.read_text(&at(name));
        let status = |name: &str| {
            files.status(&at(name)).map(|status| {
                let length = match status.kind {
                    FileKind::Regular => status.bytes,
                    _ => 0,
                };
                format!("{:?} {length}", status.kind)
            })
        };
        say("absent", text("a"));
        say("replace absent", done(files.replace(&at("a"), b"x")));
        say("remove absent", done(files.remove(&at("a"))));
        say("write", done(files.write(&at("a"), b"first")));
        say("write new", done(files.write_new(&at("a"), b"x")));
        say("replace", done(files.replace(&at("a"), b"second")));
        say("read", text("a"));
        let part = files.read_up_to(&at("a"), 3);
        say("part", part.map(|part| String::from_utf8(part).unwrap()));
        say("no folder", done(files.write(&at("b/c"), b"x")));
        say(
            "folders",
            done(files.create_folders(&at("b/d"), Some(0o700))),
        );
        say("again", done(files.create_folders(&at("b/d"), Some(0o700))));
        say("in file", done(files.create_folders(&at("a/x"), None)));
        say("write folder", done(files.write(&at("b"), b"x")));
        say("read folder", text("b"));
        say("status", status("a"));
        say("status of folder", status("b/d"));
        say(
            "list file",
            files.list(&at("a")).map(|list| format!("{list:?}")),
        );
        say(
            "write in folder",
            done(files.write_new(&at("b/c"), b"\xff")),
        );
        say("no text", text("b/c"));
        let list = files.list(&at("b")).map(|list| {
            let names = list.iter().map(|path| path.strip_prefix(folder).unwrap());
            format!("{:?}", names.collect::<Vec<_>>())
        });
        say("list", list);
        say("taken", Ok(format!("{}", files.is_taken(&at("b/c")))));
        let log = |name: &str| {
            let mut log = files.create_private(&at(name))?;
            log.write_all(b"one")?;
            log.write_all(b"two")
        };
        say("private", done(log("log")));
        say("private again", done(log("log")));
        say("log", text("log"));
        let mode = files.status(&at("log")).map(|status| status.mode);
        say("mode of log", mode.map(|mode| format!("{mode:o}")));
        let open = files.open(&at("log")).unwrap();
        say("remove", done(files.remove(&at("log"))));
        let mut bytes = [0; 4];
        say("removed, open", done(open.fill_from(&mut bytes, 2)));
        say("bytes", Ok(String::from_utf8(bytes.to_vec()).unwrap()));
        say("past the end", done(open.fill_from(&mut bytes, 3)));
        let spool = files.temporary().unwrap();
        say(
            "spool",
            done(spool.append(b"ab").and_then(|()| spool.append(b"cd"))),
        );
        say("spooled", done(spool.fill_from(&mut bytes, 0)));
        say("length", spool.length().map(|length| length.to_string()));
        said
    }

    #[test]
    fn files_in_memory_answer_as_on_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let real = live(&MachineFiles, dir.path());
        let played = live(&MemoryFiles::new("/work"), Path::new("."));
        assert_eq!(real, played);
        assert_eq!(real.len(), 32, "{real:#?}");
    }

    #[test]
    fn paths_start_at_the_working_folder() {
        let files = MemoryFiles::new("/work/clusters");
        files.add("dc1/inventory.toml", "x");
        let up = Path::new("../clusters/./dc1/inventory.toml");
        let content = (&files as &dyn FileAccess).read(up);
        assert_eq!(content.unwrap(), b"x");
        let path = PathBuf::from("/work/clusters/dc1/inventory.toml");
        assert_eq!(files.contents(), [(path, b"x".to_vec())].into());
    }
}
