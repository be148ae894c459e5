//! The desired state as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::images::{NewerDefault, RecipeDesired};
use crate::spec::{
    ClusterName, ComponentName, ComponentOrder, ContainerSpec, DefaultImage, DirSpec, FileSpec,
    HostName, ImageDigest, ImageRef, Membership, NodeRecord, Port, ProbeSpec, Requirement, Role,
    Secret, Versions, WebSpec,
};

/// What earlier runs recorded on the hosts. Empty before the first run and offline.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The identity of each host that has one.
    pub nodes: BTreeMap<HostName, NodeRecord>,
    /// The newest record of the masters; `None` in a cluster made before there was one.
    pub membership: Option<Membership>,
    /// Numbers of masters that no record holds, read from the running members.
    pub committed: BTreeMap<HostName, u8>,
    /// Generated secrets by name, kept on the masters.
    pub secrets: BTreeMap<String, Secret>,
    /// Components whose service has been proven at least once in this cluster.
    pub proven: BTreeSet<ComponentName>,
    /// Hosts that already hold data of a component.
    pub has_data: BTreeMap<ComponentName, BTreeSet<HostName>>,
    /// Digests to which image references were pinned.
    pub digests: BTreeMap<ImageRef, ImageDigest>,
    /// The images of its containers, as written when they were created.
    pub running_images: BTreeSet<ImageRef>,
    /// The default images with which the cluster was made, by key of `[images]`.
    pub default_images: BTreeMap<String, DefaultImage>,
}

impl Recorded {
    /// Whether the cluster is still to be created: none of these components was ever proven, and no
    /// host of the cluster holds data. Until then the set of masters may change freely.
    pub fn creates_cluster<'a>(&self, quorum: impl IntoIterator<Item = &'a ComponentName>) -> bool {
        let mut hosts_with_data = self.has_data.values().flatten();
        !hosts_with_data.any(|host| self.nodes.contains_key(host))
            && !quorum.into_iter().any(|name| self.proven.contains(name))
    }
}

/// The desired state of the cluster.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's id: the recorded one, else a new one.
    pub cluster_id: String,
    /// Hosts in the inventory's order.
    pub hosts: Vec<HostDesired>,
    /// Which component comes after which.
    pub order: ComponentOrder,
    /// Generated secrets by name: recorded ones, and new ones where none is recorded.
    pub secrets: BTreeMap<String, Secret>,
    /// How to build the images that no registry has.
    pub recipes: BTreeMap<ImageRef, RecipeDesired>,
    /// Defaults that the cluster does not follow.
    pub newer_defaults: Vec<NewerDefault>,
    /// Whether each image is pulled by one host, from which the others load it.
    pub spread_images: bool,
    /// What a bundle has of the images, when the operator named one.
    pub bundle: Option<BundleContents>,
}

/// What a bundle has of a cluster's images.
#[derive(Debug, Clone, Default)]
pub struct BundleContents {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// `OS/ARCH`; it has every image for each.
    pub platforms: BTreeSet<String>,
    /// The digests of its images.
    pub digests: BTreeMap<ImageRef, ImageDigest>,
}

impl Desired {
    /// A cluster of which nothing is desired.
    #[must_use]
    pub fn nothing(cluster: ClusterName) -> Self {
        Self {
            cluster,
            cluster_id: String::new(),
            hosts: Vec::new(),
            order: ComponentOrder::default(),
            secrets: BTreeMap::new(),
            recipes: BTreeMap::new(),
            newer_defaults: Vec::new(),
            spread_images: false,
            bundle: None,
        }
    }

    /// Every image that the cluster needs, with the digest to which it is pinned: those of the
    /// containers, and those that must only be present.
    pub fn images(&self) -> impl Iterator<Item = (&ImageRef, Option<&str>)> {
        let components = self.hosts.iter().flat_map(|host| &host.components);
        components.flat_map(ComponentDesired::images)
    }
}

/// The desired state of one host.
#[derive(Debug, Clone)]
pub struct HostDesired {
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: std::net::IpAddr,
    pub roles: BTreeSet<Role>,
    /// Its identity.
    pub node: NodeRecord,
    /// Directories that belong to no single component.
    pub dirs: Vec<DirSpec>,
    /// Files that belong to no single component (identity, secrets of the masters, registry CA).
    pub files: Vec<FileSpec>,
    /// The lines `address name` of toots' own block in /etc/hosts.
    pub hosts_entries: Vec<(String, String)>,
    /// systemd units among `files`.
    pub units: Vec<String>,
    /// The NFS export that it mounts, `server:/path`.
    pub nfs: Option<String>,
    /// Whether its services listen on every address.
    pub listen_all: bool,
    /// Its components, in their order.
    pub components: Vec<ComponentDesired>,
}

impl HostDesired {
    /// The address and port of its NFS server. Version 4 needs no other port, and earlier versions
    /// use it too.
    #[must_use]
    pub fn nfs_server(&self) -> Option<(&str, u16)> {
        self.nfs
            .as_ref()?
            .split_once(":/")
            .map(|(server, _)| (server, 2049))
    }
}

/// The desired state of one component on one host.
#[derive(Debug, Clone)]
pub struct ComponentDesired {
    /// What it has in common with the same component on other hosts.
    pub common: Arc<ComponentCommon>,
    pub container: ContainerSpec,
    pub files: Vec<FileSpec>,
}

impl ComponentDesired {
    /// Every image that it needs, its container's first, with the digest to which it is pinned.
    pub fn images(&self) -> impl Iterator<Item = (&ImageRef, Option<&str>)> {
        let own = (&self.container.image, self.container.digest.as_deref());
        let extra = self.common.extra_images.iter();
        std::iter::once(own).chain(extra.map(|(image, digest)| (image, digest.as_deref())))
    }
}

impl Deref for ComponentDesired {
    type Target = ComponentCommon;

    fn deref(&self) -> &ComponentCommon {
        &self.common
    }
}

/// The part of a component's desired state that is the same on every host. It exists once: thousands
/// of hosts run the same few components.
#[derive(Debug)]
pub struct ComponentCommon {
    pub name: ComponentName,
    /// A member of a quorum: replaced one at a time behind the guard, leader last.
    pub quorum: bool,
    /// The gate in `probe/` that proves its service; `None`: its ordinary probes only.
    pub gate: Option<String>,
    /// Additional images that must be present.
    pub extra_images: Vec<(ImageRef, Option<ImageDigest>)>,
    /// Its directories.
    pub dirs: Vec<DirSpec>,
    /// systemd units among its files.
    pub units: Vec<String>,
    /// Files whose change sends this signal to the container instead of recreating it: path →
    /// signal.
    pub reload: BTreeMap<String, String>,
    /// Ports on which it listens.
    pub ports: Vec<Port>,
    /// Ordinary probes.
    pub probes: Vec<ProbeSpec>,
    /// Requirements of its image on the host.
    pub requires: Vec<Requirement>,
    /// Changes of its version that it supports.
    pub versions: Versions,
    /// Its web interface.
    pub web: Option<WebSpec>,
    /// The folder of its data on the host (tells a host with data from an empty one).
    pub data_dir: Option<String>,
    /// The folders without which it takes its data from the other members.
    pub rejoin_dirs: Vec<String>,
    /// The command after which a member without data votes again.
    pub empty_vote_command: Option<String>,
}
