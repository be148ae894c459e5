//! The specification of a container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterName, ComponentName, ImageDigest, ImageRef, digest};

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

/// Fields that came later do not change the hash of a specification without them.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Hash of a container's specification, stored in its label `toots.spec`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub String);

/// The specification of a container. `restart: unless-stopped` always applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The component that it runs.
    pub component: ComponentName,
    /// The image as written in the playbook or the inventory.
    pub image: ImageRef,
    /// The digest to which the reference is pinned (`sha256:…`), once known.
    pub digest: Option<ImageDigest>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// The command's arguments.
    pub command: Vec<String>,
    /// Environment; never contains a secret, because `docker inspect` shows it.
    pub env: BTreeMap<String, String>,
    /// User, as Docker writes it.
    pub user: Option<String>,
    /// Bind mounts, the same on every host.
    pub mounts: Arc<[Mount]>,
    /// Paths that are tmpfs mounts.
    pub tmpfs: Vec<String>,
    /// Capabilities added to Docker's default set.
    pub cap_add: Vec<String>,
    /// Devices, as `path`.
    pub devices: Vec<String>,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Shares the host's process namespace.
    pub pid_host: bool,
    /// Shares the host's cgroup namespace, which an Engine on cgroup v2 makes private by default.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cgroupns_host: bool,
    /// The Engine's init is process 1 and passes signals on. A program without a handler of its own
    /// does not see the stop signal as process 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub init: bool,
    /// Exposed ports: Registrator registers containers in the host network by them.
    pub expose: Vec<u16>,
    /// The host's address on which the exposed ports are published. `None` for every component: it
    /// uses the host's network.
    #[serde(skip)]
    pub published: Option<IpAddr>,
    /// Stop signal, when the image's own is wrong.
    pub stop_signal: Option<String>,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_timeout_s: u32,
    /// Limit of open files.
    pub nofile: Option<u64>,
    /// Labels besides toots' own.
    pub labels: BTreeMap<String, String>,
    /// Path and digest of every managed file whose change requires a new container.
    pub files: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// Ends a container's name while another takes its place.
    pub const FORMER: &'static str = ".old";
    /// Label: the cluster's name.
    pub const LABEL_CLUSTER: &'static str = "toots.cluster";
    /// Label: the component's name.
    pub const LABEL_COMPONENT: &'static str = "toots.component";
    /// Label: the hash of the specification.
    pub const LABEL_SPEC: &'static str = "toots.spec";
    /// Label: the image reference as written.
    pub const LABEL_IMAGE: &'static str = "toots.image";

    /// A container of an image, as the Engine makes it unasked, in the host's network.
    #[must_use]
    pub fn bare(component: ComponentName, image: ImageRef, digest: Option<ImageDigest>) -> Self {
        Self {
            component,
            image,
            digest,
            entrypoint: None,
            command: Vec::new(),
            env: BTreeMap::new(),
            user: None,
            mounts: Arc::default(),
            tmpfs: Vec::new(),
            cap_add: Vec::new(),
            devices: Vec::new(),
            privileged: false,
            pid_host: false,
            cgroupns_host: false,
            init: false,
            expose: Vec::new(),
            published: None,
            stop_signal: None,
            stop_timeout_s: 1,
            nofile: None,
            labels: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// All labels of the container: its own, and those by which toots recognises it.
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

    /// The reference from which to create it: pinned by digest once that is known.
    #[must_use]
    pub fn image_to_run(&self) -> String {
        self.image.reference(self.digest.as_deref())
    }

    /// Hash of all fields that require a new container when they change. Maps are sorted, so equal
    /// specifications have equal hashes.
    #[must_use]
    pub fn hash(&self) -> SpecHash {
        // Serialising plain data with string keys cannot fail; an empty hash would only cause a
        // needless replacement.
        let json = serde_json::to_vec(self).unwrap_or_default();
        SpecHash(digest(&json)[..16].to_owned())
    }
}
