//! What was observed on a host, typed and bounded.

use std::ops::{Deref, DerefMut};

use crate::docker::{ContainerStatus, EngineStatus, ImageStatus};
use crate::host::Observation;

/// Everything that was observed on a host.
#[derive(Debug, Clone, Default)]
pub struct HostStatus {
    /// The machine.
    pub machine: Observation,
    /// The Engine.
    pub docker: DockerStatus,
}

/// Readers name what was observed, not where it was read.
impl Deref for HostStatus {
    type Target = Observation;

    fn deref(&self) -> &Observation {
        &self.machine
    }
}

impl DerefMut for HostStatus {
    fn deref_mut(&mut self) -> &mut Observation {
        &mut self.machine
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
    /// Whether the Engine told everything that it was asked for.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// Why an Engine that is installed tells nothing, or too little.
    #[must_use]
    pub fn obstacle(&self) -> Option<&str> {
        match self {
            Self::Silent(why) | Self::OutOfSessions(why) | Self::Unreadable { why, .. } => {
                Some(why)
            }
            Self::Absent | Self::Up { .. } => None,
        }
    }

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
