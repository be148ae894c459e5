//! The Engine's answers, as far as toots needs them.

use std::collections::BTreeMap;

/// The Engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineStatus {
    /// Its version.
    pub version: String,
    /// Highest API version that it speaks.
    pub api: String,
    /// Lowest API version that it speaks.
    pub min_api: String,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerStatus {
    /// Its id.
    pub id: String,
    /// Its name without the slash.
    pub name: String,
    /// Image reference or id that it was created from.
    pub image: String,
    /// Image id.
    pub image_id: String,
    /// `created`, `running`, `restarting`, `paused`, `exited`, `dead`.
    pub state: String,
    /// The Engine's sentence (`Up 3 minutes`).
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageStatus {
    /// Its id.
    pub id: String,
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes.
    pub size: u64,
}

/// What only an inspection of one container tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerDetail {
    /// Its id.
    pub id: String,
    /// RFC 3339.
    pub started_at: String,
    /// Restarts by the Engine since it was created.
    pub restart_count: i64,
    /// Whether it runs.
    pub running: bool,
    /// Whether the Engine waits to start it again.
    pub restarting: bool,
    /// Last exit code.
    pub exit_code: i64,
    /// Killed for want of memory.
    pub oom_killed: bool,
}

impl ContainerDetail {
    /// Restarts that a first start may need: some programs wait for others by ending (Marathon does until ZooKeeper answers).
    const EXPECTED: i64 = 4;

    /// Whether it was started again more often than a start explains.
    #[must_use]
    pub fn ends_again_and_again(&self) -> bool {
        self.restart_count > Self::EXPECTED
    }
}

impl ContainerStatus {
    /// Whether it was started within the last minute, as far as the Engine's sentence tells, or waits to be.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.state == "restarting"
            || self.status.starts_with("Up Less than")
            || (self.status.starts_with("Up ") && self.status.contains(" second"))
    }
}

/// Login to a registry; travels in a request header and rests nowhere on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User.
    pub username: String,
    /// Password.
    pub password: crate::spec::Secret,
    /// `host[:port]`.
    pub server: String,
}
