//! What a container on a host must be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterName, ComponentName, ImageRef, digest};

/// A bind mount from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Mounted read-only.
    #[serde(default)]
    pub read_only: bool,
    /// `rprivate` (default), `rshared`, `rslave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
}

/// Hash of a container's specification, kept as its label `toots.spec`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub String);

/// A container as it must run. Host networking and `restart: unless-stopped` always hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The component that it runs.
    pub component: ComponentName,
    /// The image as named by the playbook or the inventory.
    pub image: ImageRef,
    /// The digest to which the reference is pinned (`sha256:…`), once known.
    pub digest: Option<String>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// The command's arguments.
    pub command: Vec<String>,
    /// Environment; never holds a secret, since `docker inspect` shows it.
    pub env: BTreeMap<String, String>,
    /// User, as Docker writes it.
    pub user: Option<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Paths that are memory file systems.
    pub tmpfs: Vec<String>,
    /// Capabilities added to Docker's default set.
    pub cap_add: Vec<String>,
    /// Devices, as `path`.
    pub devices: Vec<String>,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Shares the host's process namespace.
    pub pid_host: bool,
    /// Ports named as exposed, for a registrar that publishes host-network containers by them.
    pub expose: Vec<u16>,
    /// Signal that stops it, when the image's own is wrong.
    pub stop_signal: Option<String>,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_timeout_s: u32,
    /// Limit of open files.
    pub nofile: Option<u64>,
    /// Labels besides toots' own.
    pub labels: BTreeMap<String, String>,
    /// Path and digest of every managed file whose change calls for a new container.
    pub files: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// Label: the cluster's name.
    pub const LABEL_CLUSTER: &'static str = "toots.cluster";
    /// Label: the component's name.
    pub const LABEL_COMPONENT: &'static str = "toots.component";
    /// Label: the hash of the specification.
    pub const LABEL_SPEC: &'static str = "toots.spec";
    /// Label: the image reference as it was named.
    pub const LABEL_IMAGE: &'static str = "toots.image";

    /// All labels of the container that somebody makes of it: its own, and those by which toots knows it.
    #[must_use]
    pub fn all_labels(&self, cluster: &ClusterName) -> BTreeMap<String, String> {
        let own = [
            (Self::LABEL_CLUSTER, cluster.as_str()),
            (Self::LABEL_COMPONENT, self.component.as_str()),
            (Self::LABEL_SPEC, &self.hash().0),
            (Self::LABEL_IMAGE, self.image.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.labels.clone().into_iter().chain(own).collect()
    }

    /// The container's name on its host.
    #[must_use]
    pub fn name(&self) -> String {
        format!("toots-{}", self.component)
    }

    /// The reference to create it from: pinned by digest once that is known.
    #[must_use]
    pub fn image_to_run(&self) -> String {
        match &self.digest {
            Some(digest) => self.image.pinned(digest),
            None => self.image.0.clone(),
        }
    }

    /// Hash over everything that makes it this container. Maps are sorted, so equal specifications hash equally.
    #[must_use]
    pub fn hash(&self) -> SpecHash {
        // Serialising plain data with string keys cannot fail; an empty hash would only cause a needless replacement.
        let json = serde_json::to_vec(self).unwrap_or_default();
        SpecHash(digest(&json)[..16].to_owned())
    }
}
