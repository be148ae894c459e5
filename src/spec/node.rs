//! The identity recorded on a host.

use serde::{Deserialize, Serialize};

use super::record::{RecordError, first_format, parse_record};
use super::{ClusterName, HostName};

/// `/etc/toots/node.json`: the identity of a host in its cluster. Ids are recorded, never derived
/// from the order of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Format of the records on this host. Records without this field have format 1.
    #[serde(default = "first_format")]
    pub format: u32,
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
    /// Path on a host.
    pub const PATH: &'static str = "/etc/toots/node.json";
    /// The format that this toots writes, and the newest that it reads.
    pub const FORMAT: u32 = 1;

    /// Parses a record.
    ///
    /// # Errors
    /// When the content is not a record, or has an unknown format.
    pub fn parse(content: &[u8]) -> Result<Self, RecordError> {
        parse_record(Self::PATH, Self::FORMAT, content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"cluster":"dc1","cluster_id":"01","node":"m1","member":1}"#;

    #[test]
    fn records_without_a_format_are_read() {
        let record = NodeRecord::parse(FIRST.as_bytes()).unwrap();
        assert_eq!((record.format, record.member), (1, Some(1)));
        let written = serde_json::to_vec(&record).unwrap();
        assert_eq!(NodeRecord::parse(&written), Ok(record));
    }

    #[test]
    fn messages() {
        let newer = NodeRecord::parse(br#"{"format":2,"unknown":{}}"#).unwrap_err();
        crate::testing::snapshot_messages!("spec_record_error", RecordError, hints: |_| Vec::new(), {
            RecordError::Unreadable { .. } => NodeRecord::parse(b"{").unwrap_err(),
            RecordError::Newer { .. } => newer,
        });
    }
}
