//! A machine's disk: files with its limits, and what a power cut leaves of them.
//!
//! What is synced stays. Of the rest, the seed chooses: names that were given within the last seconds
//! may be the former ones, content that was written may be missing or cut. `/run` lives in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::files::{Files, Node};
use crate::random::Random;

/// A file system writes names down by itself within this time.
const NAMES_SYNC: Duration = Duration::from_secs(5);
/// And content within this one.
const CONTENT_SYNC: Duration = Duration::from_secs(30);

const SETUID: u32 = 0o4000;
/// On a folder: what is made in it has its group.
const SETGID: u32 = 0o2000;

/// Why the kernel refuses.
#[derive(Debug, PartialEq, Eq)]
pub enum Errno {
    Missing,
    Exists,
    NotDir,
    IsDir,
    NotEmpty,
    NoSpace,
}

impl Errno {
    pub fn text(&self) -> &'static str {
        match self {
            Self::Missing => "No such file or directory",
            Self::Exists => "File exists",
            Self::NotDir => "Not a directory",
            Self::IsDir => "Is a directory",
            Self::NotEmpty => "Directory not empty",
            Self::NoSpace => "No space left on device",
        }
    }
}

/// A path as it was.
struct Former {
    path: String,
    node: Option<Node>,
    group: u32,
}

enum Change {
    /// A name appeared or went; what lies below it is part of it.
    Name(Former),
    Rename {
        from: String,
        to: String,
        replaced: Former,
    },
    Content(String),
}

#[derive(Default)]
struct State {
    size: u64,
    /// By others than the files of this world.
    filled: u64,
    unsynced: Vec<(Instant, Change)>,
}

pub struct Disk {
    pub files: Files,
    state: Mutex<State>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Disk {
    pub fn new(files: Files, size: u64) -> Self {
        let state = State {
            size,
            ..State::default()
        };
        Self {
            files,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Free bytes.
    pub fn free(&self) -> u64 {
        let state = self.state();
        state.size.saturating_sub(state.filled + self.files.bytes())
    }

    /// Bytes that others take.
    pub fn filled(&self) -> u64 {
        self.state().filled
    }

    pub fn set_filled(&self, bytes: u64) {
        self.state().filled = bytes;
    }

    pub fn size(&self) -> u64 {
        self.state().size
    }

    pub fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.files.node(path), Some(Node::Dir { .. }))
    }

    pub fn is_file(&self, path: &str) -> bool {
        matches!(self.files.node(path), Some(Node::File { .. }))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.is_dir(path) || self.is_file(path)
    }

    fn former(&self, path: &str) -> Former {
        Former {
            path: path.to_owned(),
            node: self.files.node(path),
            group: self.files.group(path),
        }
    }

    fn note(&self, change: Change) {
        self.state().unsynced.push((Instant::now(), change));
    }

    fn check_parent(&self, path: &str) -> Result<(), Errno> {
        let parent = parent(path);
        if self.is_dir(parent) {
            return Ok(());
        }
        let is_below_file = path.match_indices('/').skip(1);
        let mut above = is_below_file.map(|(at, _)| &path[..at]);
        Err(if above.any(|path| self.is_file(path)) {
            Errno::NotDir
        } else {
            Errno::Missing
        })
    }

    /// Gives what is new in a folder that hands its group on that group; the bit that hands it on.
    fn inherit_group(&self, path: &str) -> u32 {
        let above = parent(path);
        match self.files.node(above) {
            Some(Node::Dir { mode, .. }) if mode & SETGID != 0 => {
                self.files.set_group(path, self.files.group(above));
                SETGID
            }
            _ => 0,
        }
    }

    /// Makes a folder and those above it, as `mkdir -p` does.
    pub fn make_dirs(&self, path: &str, mode: u32) -> Result<(), Errno> {
        let above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        for (path, error) in above
            .map(|path| (path, Errno::NotDir))
            .chain([(path, Errno::Exists)])
        {
            if self.is_file(path) {
                return Err(error);
            }
            if !self.is_dir(path) {
                self.note(Change::Name(self.former(path)));
                let inherited = self.inherit_group(path);
                let mode = mode | inherited;
                self.files.set(path, Node::Dir { mode, owner: 0 });
            }
        }
        Ok(())
    }

    /// Writes a file; one that is there keeps its owner and mode.
    pub fn write(&self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Result<(), Errno> {
        let bytes = bytes.into();
        self.check_parent(path)?;
        if self.is_dir(path) {
            return Err(Errno::IsDir);
        }
        let former = self.files.read(path).map_or(0, |former| former.len());
        if !path.starts_with("/run/") && self.free() + (former as u64) < bytes.len() as u64 {
            return Err(Errno::NoSpace);
        }
        let (mode, owner) = match self.files.node(path) {
            Some(Node::File { mode, owner, .. }) => (mode, owner),
            _ => {
                self.note(Change::Name(self.former(path)));
                self.inherit_group(path);
                (mode, 0)
            }
        };
        self.note(Change::Content(path.to_owned()));
        self.files.set(path, Node::File { bytes, mode, owner });
        Ok(())
    }

    pub fn set_mode(&self, path: &str, new: u32) {
        match self.files.node(path) {
            Some(Node::Dir { mode, owner }) => {
                // `chmod` keeps these of a folder.
                let mode = new | mode & (SETUID | SETGID);
                self.files.set(path, Node::Dir { mode, owner });
            }
            Some(Node::File { bytes, owner, .. }) => {
                let mode = new;
                self.files.set(path, Node::File { bytes, mode, owner });
            }
            None => {}
        }
    }

    pub fn set_owner(&self, path: &str, new: u32, group: u32) {
        match self.files.node(path) {
            Some(Node::Dir { mode, .. }) => self.files.set(path, Node::Dir { mode, owner: new }),
            Some(Node::File { bytes, mode, .. }) => {
                let owner = new;
                self.files.set(path, Node::File { bytes, mode, owner });
            }
            None => {}
        }
        self.files.set_group(path, group);
    }

    /// Removes a file as `rm -f` does.
    pub fn remove_file(&self, path: &str) -> Result<(), Errno> {
        if self.is_dir(path) {
            return Err(Errno::IsDir);
        }
        if self.is_file(path) {
            self.note(Change::Name(self.former(path)));
            self.files.remove(path);
        }
        Ok(())
    }

    /// Removes whatever lies there. Not noted: nobody misses what comes back of it.
    pub fn remove_tree(&self, path: &str) {
        self.files.remove(path);
    }

    /// Renames, and replaces a file.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        if !self.exists(from) {
            return Err(Errno::Missing);
        }
        self.check_parent(to)?;
        match (self.is_dir(from), self.files.node(to)) {
            (true, Some(Node::File { .. })) => return Err(Errno::NotDir),
            (false, Some(Node::Dir { .. })) => return Err(Errno::IsDir),
            (true, Some(Node::Dir { .. })) if self.files.below(to).len() > 1 => {
                return Err(Errno::NotEmpty);
            }
            _ => {}
        }
        let replaced = self.former(to);
        let mut state = self.state();
        // What was not synced under the former name is not synced under the new one.
        for (_, change) in &mut state.unsynced {
            if let Change::Content(path) = change
                && path == from
            {
                to.clone_into(path);
            }
        }
        state.unsynced.push((
            Instant::now(),
            Change::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
                replaced,
            },
        ));
        drop(state);
        self.files.rename(from, to);
        Ok(())
    }

    /// Moves as `mv` does: into a folder that has the new name already.
    pub fn move_to(&self, from: &str, to: &str) -> Result<(), Errno> {
        if self.is_dir(to) {
            let name = from.rsplit('/').next().unwrap_or_default();
            return self.rename(from, &format!("{to}/{name}"));
        }
        self.rename(from, to)
    }

    /// Writes the content of files down, and that they are there.
    pub fn sync(&self, paths: &[String]) {
        self.state().unsynced.retain(|(_, change)| match change {
            Change::Name(former) => !paths.contains(&former.path),
            Change::Content(path) => !paths.contains(path),
            Change::Rename { .. } => true,
        });
    }

    /// Writes the names of all files and folders down: a file system does not write a later one down
    /// without those before it.
    pub fn sync_names(&self) {
        let is_content = |change: &Change| matches!(change, Change::Content(_));
        let mut state = self.state();
        state.unsynced.retain(|(_, change)| is_content(change));
    }

    /// Takes the power: what was not synced may be lost.
    pub fn cut_power(&self, random: &mut Random) {
        let mut unsynced = std::mem::take(&mut self.state().unsynced);
        let now = Instant::now();
        while let Some((at, change)) = unsynced.pop() {
            let age = now - at;
            match change {
                Change::Content(path) if age < CONTENT_SYNC => self.tear(&path, random),
                Change::Name(former) if age < NAMES_SYNC && random.below(2) == 0 => {
                    self.restore(former);
                }
                Change::Rename { from, to, replaced }
                    if age < NAMES_SYNC && random.below(2) == 0 && self.exists(&to) =>
                {
                    self.files.rename(&to, &from);
                    self.restore(replaced);
                    // Its content lies under the former name, where nobody reads it.
                    unsynced.retain(
                        |(_, change)| !matches!(change, Change::Content(path) if *path == to),
                    );
                }
                _ => {}
            }
        }
        self.files.remove("/run/toots");
    }

    fn tear(&self, path: &str, random: &mut Random) {
        let Some(Node::File {
            mut bytes,
            mode,
            owner,
        }) = self.files.node(path)
        else {
            return;
        };
        match random.below(3) {
            0 => bytes.clear(),
            1 => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
        self.files.set(path, Node::File { bytes, mode, owner });
    }

    fn restore(&self, former: Former) {
        let path = former.path.as_str();
        match former.node {
            Some(node) => {
                self.files.set(path, node);
                self.files.set_group(path, former.group);
            }
            // A folder with something in it is there.
            None if self.files.below(path).len() > 1 => {}
            None => self.files.remove(path),
        }
    }
}
