//! What was observed on a host, typed and bounded.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::{ContainerStatus, EngineStatus, ImageStatus};
use crate::host::{Facts, FileStatus, Listener, Observation};
use crate::spec::{ComponentName, DefaultImages, Membership, NodeRecord, RecordError, Secret};

/// Everything that was observed on a host.
#[derive(Debug, Clone, Default)]
pub struct HostStatus {
    /// The machine.
    pub facts: Facts,
    /// Its identity, when it has one.
    pub node: Option<Result<NodeRecord, RecordError>>,
    /// The masters of its cluster, as recorded on it (masters).
    pub membership: Option<Result<Membership, RecordError>>,
    /// Generated secrets found on it (masters), by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Components recorded on it as proven.
    pub proven: BTreeSet<ComponentName>,
    /// Image digests recorded on it: reference → digest.
    pub digests: BTreeMap<String, String>,
    /// The default images recorded on it, or why the record cannot be used.
    pub default_images: Option<Result<DefaultImages, RecordError>>,
    /// Requested paths and everything below /etc/toots: regular files, directories and links.
    pub files: BTreeMap<String, FileStatus>,
    /// Requested data directories that are not empty.
    pub has_data: BTreeSet<String>,
    /// Listening sockets with their owners.
    pub listeners: Vec<Listener>,
    /// toots' block in /etc/hosts: (address, name).
    pub hosts_entries: Vec<(String, String)>,
    /// systemd units of toots: whether each is enabled and active.
    pub units: BTreeMap<String, bool>,
    /// The Engine.
    pub docker: DockerStatus,
}

impl From<Observation> for HostStatus {
    /// Without the Engine.
    fn from(observation: Observation) -> Self {
        Self {
            facts: observation.facts,
            node: observation.node,
            membership: observation.membership,
            secrets: observation.secrets,
            proven: observation.proven,
            digests: observation.digests,
            default_images: observation.default_images,
            files: observation.files,
            has_data: observation.has_data,
            listeners: observation.listeners,
            hosts_entries: observation.hosts_entries,
            units: observation.units,
            docker: DockerStatus::default(),
        }
    }
}

/// The Engine of a host.
#[derive(Debug, Clone, Default)]
pub enum DockerStatus {
    /// No Engine is installed.
    #[default]
    Absent,
    /// Installed, but it does not answer; why.
    Silent(String),
    /// The login user needs a session for it, and the host allows too few; why.
    OutOfSessions(String),
    /// It tells its version, but not what it runs.
    Unreadable {
        engine: EngineStatus,
        /// The first request that failed.
        why: String,
    },
    /// It answered.
    Up {
        engine: EngineStatus,
        /// All its containers.
        containers: Vec<ContainerStatus>,
        /// All its images.
        images: Vec<ImageStatus>,
    },
}

impl DockerStatus {
    /// Whether it keeps images in containerd's store; `false` when it does not answer.
    #[must_use]
    pub fn has_containerd_store(&self) -> bool {
        let Self::Up { engine, .. } = self else {
            return false;
        };
        let info = engine.info.as_ref();
        info.is_some_and(|info| info.has_containerd_store)
    }
}
