//! The identity that is written down on a host.

use serde::{Deserialize, Serialize};

use super::{ClusterName, HostName};

/// `/etc/toots/node.json`: who this host is in its cluster. Ids are recorded, never derived from the order of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Random id of the cluster, the same on all its hosts.
    pub cluster_id: String,
    /// The host's name in the inventory.
    pub node: HostName,
    /// Member number of a master (1 to 255): ZooKeeper's `myid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u8>,
}

impl NodeRecord {
    /// Where it lies on a host.
    pub const PATH: &'static str = "/etc/toots/node.json";
}
