//! ZooKeeper's data as a pure state machine: nodes and sessions, changed by transactions in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Transactions between two digests that a server keeps.
const DIGEST_INTERVAL: u64 = 128;
const KEPT_DIGESTS: usize = 1024;

/// Error codes of the client protocol.
pub mod code {
    pub const UNIMPLEMENTED: i32 = -6;
    pub const NO_NODE: i32 = -101;
    pub const BAD_VERSION: i32 = -103;
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    pub const NODE_EXISTS: i32 = -110;
    pub const NOT_EMPTY: i32 = -111;
}

/// What a transaction does. Data are kept as characters, one for each byte, so that the log on disk
/// stays readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Create {
        path: String,
        data: String,
        /// The session of an ephemeral node; 0 for one that stays.
        owner: i64,
    },
    Set {
        path: String,
        data: String,
    },
    Delete {
        path: String,
    },
    /// A session with its timeout in milliseconds.
    Open {
        session: i64,
        timeout: i32,
    },
    /// Ends a session and removes its nodes.
    Close {
        session: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    pub zxid: u64,
    pub change: Change,
    /// The leader's digest of all data after it.
    pub digest: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    pub data: String,
    pub created: u64,
    pub modified: u64,
    pub version: i32,
    pub children_version: i32,
    pub owner: i64,
}

/// The data at one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    pub nodes: BTreeMap<String, Node>,
    pub sessions: BTreeMap<i64, i32>,
    /// The last transaction.
    pub zxid: u64,
    pub digest: i64,
    /// Digests at past transactions.
    pub digests: BTreeMap<u64, i64>,
    /// Transactions after which the leader's digest was another one.
    #[serde(skip)]
    pub mismatches: u64,
}

pub fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

pub fn bytes_of(text: &str) -> Vec<u8> {
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
    bytes.map(Result::unwrap_or_default).collect()
}

pub fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// FNV-1a, of 63 bits.
fn digest_of(path: &str, node: &Node) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let version = node.version.to_be_bytes();
    for byte in path
        .bytes()
        .chain([0])
        .chain(node.data.bytes())
        .chain(version)
    {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    i64::try_from(hash >> 1).unwrap_or_default()
}

impl Tree {
    /// A tree with the nodes that every server has.
    pub fn founded() -> Self {
        let mut tree = Self::default();
        for path in ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
            tree.put(path, Node::default());
        }
        tree
    }

    fn put(&mut self, path: &str, node: Node) {
        self.take(path);
        self.digest = self.digest.wrapping_add(digest_of(path, &node));
        self.nodes.insert(path.to_owned(), node);
    }

    fn take(&mut self, path: &str) -> Option<Node> {
        let node = self.nodes.remove(path)?;
        self.digest = self.digest.wrapping_sub(digest_of(path, &node));
        Some(node)
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let below = self.nodes.range(prefix.clone()..);
        below
            .map_while(|(path, _)| path.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    pub fn ephemerals(&self) -> usize {
        self.nodes.values().filter(|node| node.owner != 0).count()
    }

    pub fn data_size(&self) -> usize {
        self.nodes
            .iter()
            .map(|(path, node)| path.len() + node.data.len())
            .sum()
    }

    /// Applies a transaction that the leader made; counts it when the data then differ from the
    /// leader's.
    pub fn apply(&mut self, txn: &Txn) {
        self.make(txn.zxid, &txn.change);
        if self.digest != txn.digest {
            self.mismatches += 1;
        }
    }

    /// The digest after a change that is not made yet.
    pub fn digest_after(&self, zxid: u64, change: &Change) -> i64 {
        // Changes touch a few nodes, but a closed session may touch many: a copy is simplest, and
        // only that needs it.
        let mut probe = match change {
            Change::Close { .. } => self.clone(),
            Change::Create { path, .. } | Change::Set { path, .. } | Change::Delete { path } => {
                let near = [path.as_str(), parent_of(path)];
                let nodes = near
                    .iter()
                    .filter_map(|path| Some(((*path).to_owned(), self.nodes.get(*path)?.clone())));
                Self {
                    nodes: nodes.collect(),
                    digest: self.digest,
                    ..Self::default()
                }
            }
            Change::Open { .. } => return self.digest,
        };
        probe.make(zxid, change);
        probe.digest
    }

    fn make(&mut self, zxid: u64, change: &Change) {
        self.zxid = zxid;
        match change {
            Change::Create { path, data, owner } => {
                let node = Node {
                    data: data.clone(),
                    created: zxid,
                    modified: zxid,
                    owner: *owner,
                    ..Node::default()
                };
                self.put(path, node);
                if let Some(parent) = self.nodes.get_mut(parent_of(path)) {
                    parent.children_version += 1;
                }
            }
            Change::Set { path, data } => {
                if let Some(mut node) = self.take(path) {
                    node.data.clone_from(data);
                    node.version += 1;
                    node.modified = zxid;
                    self.put(path, node);
                }
            }
            Change::Delete { path } => {
                self.take(path);
            }
            Change::Open { session, timeout } => {
                self.sessions.insert(*session, *timeout);
            }
            Change::Close { session } => {
                self.sessions.remove(session);
                let owned = self.nodes.iter().filter(|(_, node)| node.owner == *session);
                let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
                for path in owned {
                    self.take(&path);
                }
            }
        }
        if zxid.is_multiple_of(DIGEST_INTERVAL) {
            self.digests.insert(zxid, self.digest);
            if self.digests.len() > KEPT_DIGESTS {
                self.digests.pop_first();
            }
        }
    }
}
