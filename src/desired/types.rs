//! The desired state as plain data.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::{
    ClusterName, ComponentName, ContainerSpec, DirSpec, FileSpec, HostName, ImageRef, NodeRecord,
    ProbeSpec, Requirement, Role, Secret, WebSpec,
};

/// What earlier runs wrote down on the hosts, read back from them. Empty before the first run and offline.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Identity of each host that has one.
    pub nodes: BTreeMap<HostName, NodeRecord>,
    /// Generated secrets by name, kept on the masters.
    pub secrets: BTreeMap<String, Secret>,
    /// Components whose service has been proven at least once in this cluster.
    pub proven: BTreeSet<ComponentName>,
    /// Hosts that already hold data of a component.
    pub has_data: BTreeMap<ComponentName, BTreeSet<HostName>>,
    /// Digests to which image references were pinned.
    pub digests: BTreeMap<ImageRef, String>,
}

/// The whole cluster as it must be.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's id: the recorded one, else newly drawn.
    pub cluster_id: String,
    /// Hosts in the inventory's order.
    pub hosts: Vec<HostDesired>,
    /// Generated secrets by name: recorded ones, and newly drawn ones for those that are missing.
    pub secrets: BTreeMap<String, Secret>,
}

/// One host as it must be.
#[derive(Debug, Clone)]
pub struct HostDesired {
    /// Its name.
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: std::net::IpAddr,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Its identity.
    pub node: NodeRecord,
    /// Directories that no single component owns.
    pub dirs: Vec<DirSpec>,
    /// Files that no single component owns (identity, secrets of the masters, registry CA).
    pub files: Vec<FileSpec>,
    /// Lines `address name` that /etc/hosts must hold in toots' own block.
    pub hosts_entries: Vec<(String, String)>,
    /// systemd units among `files`.
    pub units: Vec<String>,
    /// The NFS export that it mounts, `server:/path`.
    pub nfs: Option<String>,
    /// Its services listen on every address.
    pub listen_all: bool,
    /// Its components, in an order that respects `after`.
    pub components: Vec<ComponentDesired>,
}

impl HostDesired {
    /// The address and port of its NFS server. Version 4 needs no other port, and earlier versions have it too.
    #[must_use]
    pub fn nfs_server(&self) -> Option<(&str, u16)> {
        self.nfs
            .as_ref()?
            .split_once(":/")
            .map(|(server, _)| (server, 2049))
    }
}

/// One component on one host.
#[derive(Debug, Clone)]
pub struct ComponentDesired {
    /// Its name.
    pub name: ComponentName,
    /// Components that must have passed their gate before (those absent from the whole cluster are left out).
    pub after: BTreeSet<ComponentName>,
    /// A member of a quorum: replaced one at a time behind the guard, leader last.
    pub quorum: bool,
    /// The gate in `probe/` that proves its service; `None`: its ordinary probes alone.
    pub gate: Option<String>,
    /// Its container.
    pub container: ContainerSpec,
    /// Further images that must be present.
    pub extra_images: Vec<(ImageRef, Option<String>)>,
    /// Its directories.
    pub dirs: Vec<DirSpec>,
    /// Its files.
    pub files: Vec<FileSpec>,
    /// systemd units among `files`.
    pub units: Vec<String>,
    /// Files whose change is answered with this signal to the container instead of a new one: path → signal.
    pub reload: BTreeMap<String, String>,
    /// Ports on which it listens: (port, protocol `tcp` or `udp`, purpose).
    pub ports: Vec<(u16, String, String)>,
    /// Ordinary probes.
    pub probes: Vec<ProbeSpec>,
    /// What its image needs of the host.
    pub requires: Vec<Requirement>,
    /// Its web interface.
    pub web: Option<WebSpec>,
    /// Where its data lies on the host (tells a host with data from an empty one).
    pub data_dir: Option<String>,
}
