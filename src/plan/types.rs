//! A plan as data.

use std::collections::BTreeMap;

use crate::observe::HostStatus;
use crate::spec::{ComponentName, ContainerSpec, DirSpec, FileSpec, HostName, ImageRef, Role};

/// What was seen, host by host; a host that could not be reached is absent.
pub type Observed = BTreeMap<HostName, HostStatus>;

/// A file that is not as wanted.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// As wanted.
    pub file: FileSpec,
    /// Why: `new`, `content`, `mode 0644 → 0600`, …
    pub reason: String,
    /// Unified diff of a text whose former content is known; secrets are masked.
    pub diff: Option<String>,
}

/// What is installed from the distribution where it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// The Engine.
    Docker,
    /// What mounts NFS.
    NfsClient,
}

impl Package {
    /// As it is said.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::NfsClient => "the NFS client",
        }
    }
}

/// One change on one host.
#[derive(Debug, Clone)]
pub enum Step {
    /// Install something from the distribution.
    Install {
        /// What.
        package: Package,
        /// The package manager to use.
        manager: String,
    },
    /// Bring directories, files and toots' block in /etc/hosts to their wanted state, in one round trip.
    Place {
        /// Directories that are missing or differ.
        dirs: Vec<(DirSpec, String)>,
        /// Files that are missing or differ.
        files: Vec<FileChange>,
        /// toots' whole block in /etc/hosts, when it differs.
        hosts_entries: Option<Vec<(String, String)>>,
    },
    /// Have an image present.
    Pull {
        /// As named.
        image: ImageRef,
        /// The digest it is pinned to, once known.
        digest: Option<String>,
    },
    /// Create and start a container that is not there.
    Create {
        /// As wanted.
        spec: Box<ContainerSpec>,
    },
    /// Replace a container whose specification changed.
    Replace {
        /// As wanted.
        spec: Box<ContainerSpec>,
        /// What changed.
        reason: String,
    },
    /// Start a container that is as wanted but does not run.
    Start {
        /// Its name.
        container: String,
        /// Its state now.
        state: String,
    },
    /// Signal a container whose files changed in a way that it takes up by itself.
    Signal {
        /// Its name.
        container: String,
        /// The signal.
        signal: String,
        /// The files.
        files: Vec<String>,
    },
    /// Enable a systemd unit, and start it or start it anew.
    Unit {
        /// Its name.
        unit: String,
        /// Why.
        reason: String,
    },
    /// Stop, disable and remove a systemd unit that toots wrote and nothing wants any more.
    RemoveUnit {
        /// Its name.
        unit: String,
    },
    /// Remove a container that is toots' own and no longer wanted.
    Remove {
        /// Its name.
        container: String,
        /// Why.
        reason: String,
    },
}

impl Step {
    /// The lower-case verb phrase that names it.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Install { package, .. } => format!("install {}", package.as_str()),
            Self::Place {
                dirs,
                files,
                hosts_entries,
            } => {
                let mut parts = Vec::new();
                if !dirs.is_empty() {
                    parts.push(format!(
                        "{} director{}",
                        dirs.len(),
                        if dirs.len() == 1 { "y" } else { "ies" }
                    ));
                }
                if !files.is_empty() {
                    parts.push(format!(
                        "{} file{}",
                        files.len(),
                        if files.len() == 1 { "" } else { "s" }
                    ));
                }
                if hosts_entries.is_some() {
                    parts.push("/etc/hosts".into());
                }
                format!("write {}", parts.join(", "))
            }
            Self::Pull { image, .. } => format!("pull {image}"),
            Self::Create { spec } => format!("create {}", spec.name()),
            Self::Replace { spec, .. } => format!("replace {}", spec.name()),
            Self::Start { container, .. } => format!("start {container}"),
            Self::Signal {
                container, signal, ..
            } => format!("send {signal} to {container}"),
            Self::Unit { unit, .. } => format!("start {unit}"),
            Self::RemoveUnit { unit } => format!("remove {unit}"),
            Self::Remove { container, .. } => format!("remove {container}"),
        }
    }

    /// Whether it stops a running container for a while.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        matches!(self, Self::Replace { .. })
    }

    /// How many things it changes.
    #[must_use]
    pub fn changes(&self) -> usize {
        match self {
            Self::Place {
                dirs,
                files,
                hosts_entries,
            } => dirs.len() + files.len() + usize::from(hosts_entries.is_some()),
            _ => 1,
        }
    }
}

/// All changes on one host, by phase.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// The host.
    pub host: HostName,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Before anything else: Engine, identity, registry trust.
    pub prepare: Vec<Step>,
    /// Images, before any container is stopped.
    pub images: Vec<Step>,
    /// Per component, in the order of its steps.
    pub components: BTreeMap<ComponentName, Vec<Step>>,
    /// Containers that belong to nothing wanted.
    pub cleanup: Vec<Step>,
}

impl HostPlan {
    /// All its steps in the order in which they would run.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.prepare
            .iter()
            .chain(&self.images)
            .chain(self.components.values().flatten())
            .chain(&self.cleanup)
    }

    /// The steps of one phase: `prepare`, `images`, `cleanup`, or a component's name.
    #[must_use]
    pub fn phase(&self, phase: &str) -> &[Step] {
        match phase {
            "prepare" => &self.prepare,
            "images" => &self.images,
            "cleanup" => &self.cleanup,
            component => self
                .components
                .iter()
                .find(|(name, _)| name.as_str() == component)
                .map_or(&[], |(_, steps)| steps),
        }
    }
}

/// What `up` would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Hosts that were seen, in the inventory's order.
    pub hosts: Vec<HostPlan>,
}

impl Plan {
    /// Number of changes over all hosts.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.hosts
            .iter()
            .flat_map(HostPlan::steps)
            .map(Step::changes)
            .sum()
    }

    /// The plan of one host.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostPlan> {
        self.hosts.iter().find(|plan| plan.host == *name)
    }
}
