//! The files of a simulated machine. They outlive processes, containers and power cuts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Dir {
        mode: u32,
        owner: u32,
    },
    File {
        bytes: Vec<u8>,
        mode: u32,
        owner: u32,
    },
}

/// Absolute paths without a trailing slash, and what lies there.
#[derive(Debug, Clone, Default)]
pub struct Files(Arc<Mutex<Tree>>);

#[derive(Debug, Clone, Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    /// Those that are not root's.
    groups: BTreeMap<String, u32>,
}

impl Files {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files of their own, as these are now.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.tree().clone())))
    }

    /// Becomes what other files are.
    pub fn begin_with(&self, other: &Self) {
        let tree = other.tree().clone();
        *self.tree() = tree;
    }

    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.tree().nodes.get(path) {
            Some(Node::File { bytes, .. }) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub fn text(&self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        let files = &mut self.tree().nodes;
        for (at, _) in path.match_indices('/').skip(1) {
            let dir = Node::Dir {
                mode: 0o755,
                owner: 0,
            };
            files.entry(path[..at].to_owned()).or_insert(dir);
        }
        let bytes = bytes.into();
        files.insert(
            path.to_owned(),
            Node::File {
                bytes,
                mode,
                owner: 0,
            },
        );
    }

    pub fn append(&self, path: &str, more: &[u8]) {
        let mut bytes = self.read(path).unwrap_or_default();
        bytes.extend_from_slice(more);
        self.write(path, bytes, 0o644);
    }

    pub fn node(&self, path: &str) -> Option<Node> {
        self.tree().nodes.get(path).cloned()
    }

    pub fn set(&self, path: &str, node: Node) {
        self.tree().nodes.insert(path.to_owned(), node);
    }

    pub fn group(&self, path: &str) -> u32 {
        self.tree().groups.get(path).copied().unwrap_or(0)
    }

    pub fn set_group(&self, path: &str, group: u32) {
        self.tree().groups.insert(path.to_owned(), group);
    }

    /// What all files together hold.
    pub fn bytes(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File { bytes, .. } => bytes.len() as u64,
            Node::Dir { .. } => 0,
        };
        self.tree().nodes.values().map(size).sum()
    }

    /// Removes a file, or a folder with what is in it.
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        let stays = |other: &String| other != path && !other.starts_with(&below);
        let mut tree = self.tree();
        tree.nodes.retain(|other, _| stays(other));
        tree.groups.retain(|other, _| stays(other));
    }

    /// Moves a file, or a folder with what is in it.
    pub fn rename(&self, from: &str, to: &str) {
        let mut tree = self.tree();
        // A file that is replaced leaves nothing of its own.
        tree.groups.remove(to);
        move_keys(&mut tree.nodes, from, to);
        move_keys(&mut tree.groups, from, to);
    }

    /// Every path at or below a folder, in order.
    pub fn below(&self, dir: &str) -> Vec<String> {
        let below = format!("{dir}/");
        let is_below = |path: &&String| *path == dir || path.starts_with(&below);
        let tree = self.tree();
        tree.nodes.keys().filter(is_below).cloned().collect()
    }
}

fn move_keys<T>(entries: &mut BTreeMap<String, T>, from: &str, to: &str) {
    let below = format!("{from}/");
    let is_moved = |path: &&String| *path == from || path.starts_with(&below);
    let moved: Vec<String> = entries.keys().filter(is_moved).cloned().collect();
    for path in moved {
        if let Some(entry) = entries.remove(&path) {
            entries.insert(format!("{to}{}", &path[from.len()..]), entry);
        }
    }
}
