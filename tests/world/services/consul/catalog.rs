//! The state that raft replicates: keys, nodes and services, as a pure state machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::config::AutopilotConfig;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftServer {
    pub id: String,
    pub address: Ipv4Addr,
    pub is_voter: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub port: u16,
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// `passing`, `warning`, `critical`; empty without a check.
    #[serde(default)]
    pub status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    Nothing,
    /// The servers of raft from now on.
    Servers(Vec<RaftServer>),
    Autopilot(AutopilotConfig),
    Put {
        key: String,
        value: String,
        flags: u64,
        cas: Option<u64>,
    },
    Delete {
        key: String,
        is_tree: bool,
    },
    /// A member of the gossip, and whether it is alive.
    Node {
        name: String,
        id: String,
        address: Ipv4Addr,
        is_passing: bool,
    },
    NodeLeft {
        name: String,
    },
    Service {
        node: String,
        service: Service,
    },
    ServiceGone {
        node: String,
        id: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub text: String,
    pub flags: u64,
    pub created: u64,
    pub modified: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub address: Ipv4Addr,
    pub is_passing: bool,
    pub services: BTreeMap<String, Service>,
}

#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub keys: BTreeMap<String, Value>,
    pub nodes: BTreeMap<String, Node>,
    /// The last entry that changed a key, and one that changed nodes or services.
    pub key_index: u64,
    pub node_index: u64,
    pub autopilot: Option<AutopilotConfig>,
}

impl Catalog {
    /// Applies an entry; whether it did what it said.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        let index = entry.index;
        match &entry.command {
            Command::Nothing | Command::Servers(_) => return true,
            Command::Autopilot(config) => self.autopilot = Some(*config),
            Command::Put {
                key,
                value,
                flags,
                cas,
            } => {
                let old = self.keys.get(key);
                if cas.is_some_and(|cas| cas != old.map_or(0, |value| value.modified)) {
                    return false;
                }
                let value = Value {
                    text: value.clone(),
                    flags: *flags,
                    created: old.map_or(index, |value| value.created),
                    modified: index,
                };
                self.keys.insert(key.clone(), value);
                self.key_index = index;
            }
            Command::Delete { key, is_tree } => {
                self.keys.retain(|other, _| {
                    other != key && !(*is_tree && other.starts_with(key.as_str()))
                });
                self.key_index = index;
            }
            Command::Node {
                name,
                id,
                address,
                is_passing,
            } => {
                let services = self.nodes.remove(name).map(|node| node.services);
                let node = Node {
                    id: id.clone(),
                    address: *address,
                    is_passing: *is_passing,
                    services: services.unwrap_or_default(),
                };
                self.nodes.insert(name.clone(), node);
                self.node_index = index;
            }
            Command::NodeLeft { name } => {
                self.nodes.remove(name);
                self.node_index = index;
            }
            Command::Service { node, service } => {
                let Some(node) = self.nodes.get_mut(node) else {
                    return false;
                };
                node.services.insert(service.id.clone(), service.clone());
                self.node_index = index;
            }
            Command::ServiceGone { node, id } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.services.remove(id);
                }
                self.node_index = index;
            }
        }
        true
    }
}
