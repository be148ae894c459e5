//! A plan as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::reason::Reason;
use crate::observe::HostStatus;
use crate::spec::{
    ComponentName, ContainerSpec, DirSpec, FileSpec, HostName, ImageDigest, ImageRef, Package,
    PackageVersions, Phase, Recipe, Role,
};

/// The observed state by host; a host that was not observed is absent.
pub type Observed = BTreeMap<HostName, HostStatus>;

/// A file that differs from the desired state.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The desired file.
    pub file: FileSpec,
    pub reason: Reason,
    /// Unified diff of a text with known old content; secrets are masked.
    pub diff: Option<String>,
}

/// Where an image is loaded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadSource {
    /// A host that has it.
    Host(HostName),
    /// The bundle that the operator named.
    Bundle(PathBuf),
}

impl fmt::Display for LoadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.pad(host.as_str()),
            Self::Bundle(file) => f.pad(&file.display().to_string()),
        }
    }
}

/// One change on one host.
#[derive(Debug, Clone)]
pub enum Step {
    /// Install a package.
    Install {
        package: Package,
        /// The package manager to use.
        manager: String,
    },
    /// Write directories, files and toots' block in /etc/hosts, in one round trip.
    Place {
        /// Directories that are missing or differ.
        dirs: Vec<(DirSpec, Reason)>,
        /// Files that are missing or differ.
        files: Vec<FileChange>,
        /// toots' whole block in /etc/hosts, when it differs.
        hosts_entries: Option<Vec<(String, String)>>,
    },
    /// Pull an image.
    Pull {
        /// The reference as written.
        image: ImageRef,
        /// The digest to which it is pinned, once known.
        digest: Option<ImageDigest>,
    },
    /// Build an image that no registry has.
    Build {
        recipe: Box<Recipe>,
        /// The digest to which its base is pinned, once known.
        base_digest: Option<ImageDigest>,
        /// The arguments that are not those of the image that the cluster has.
        changed: BTreeSet<String>,
        /// What the first build of this recipe installed, where a master has the record.
        packages: PackageVersions,
    },
    /// Load an image that is not pulled: toots built it, or something has it already.
    Load {
        /// The reference as written.
        image: ImageRef,
        /// The digest to which it is pinned; `None` for an image that toots built.
        digest: Option<ImageDigest>,
        from: LoadSource,
    },
    /// Create and start a missing container.
    Create {
        /// The desired specification.
        spec: Box<ContainerSpec>,
    },
    /// Replace a container whose specification changed.
    Replace {
        /// The desired specification.
        spec: Box<ContainerSpec>,
        /// What changed.
        reason: Reason,
    },
    /// Start a container that is up to date but stopped.
    Start {
        /// Container name.
        container: String,
        /// Its current state.
        state: String,
    },
    /// Stop a member, move its data aside, and start it without them: it takes those of the others.
    Rejoin {
        /// Container name.
        container: String,
        component: ComponentName,
        /// Seconds between SIGTERM and SIGKILL.
        grace_s: u32,
        /// The folders that are moved.
        dirs: Vec<String>,
    },
    /// Signal a container that reloads its changed files by itself.
    Signal {
        /// Container name.
        container: String,
        component: ComponentName,
        signal: String,
        files: Vec<String>,
    },
    /// Enable a systemd unit, and start or restart it.
    Unit {
        /// Unit name.
        unit: String,
        reason: Reason,
    },
    /// Remove the marker of a member that may create its ensemble: a former run left it on a member
    /// that has data or once had them, and without them it would vote.
    RemoveMarker {
        /// Path of the file.
        path: String,
    },
    /// Stop, disable and remove a systemd unit of toots that is no longer desired.
    RemoveUnit {
        /// Unit name.
        unit: String,
    },
    /// Remove a container of toots that is no longer desired.
    Remove {
        /// Container name.
        container: String,
        component: ComponentName,
        /// Whether the host still runs the component: a replacement left this container.
        replaced: bool,
        reason: Reason,
    },
}

impl Step {
    /// A lower-case verb phrase for events.
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
            Self::Build { recipe, .. } => format!("build {}", recipe.image()),
            Self::Load { image, .. } => format!("load {image}"),
            Self::Create { spec } => format!("create {}", spec.name()),
            Self::Replace { spec, .. } => format!("replace {}", spec.name()),
            Self::Start { container, .. } => format!("start {container}"),
            Self::Rejoin { container, .. } => {
                format!("move the data of {container} aside and rejoin")
            }
            Self::Signal {
                container, signal, ..
            } => format!("send {signal} to {container}"),
            Self::Unit { unit, .. } => format!("start {unit}"),
            Self::RemoveMarker { path } => format!("remove {path}"),
            Self::RemoveUnit { unit } => format!("remove {unit}"),
            Self::Remove { container, .. } => format!("remove {container}"),
        }
    }

    /// The image that it brings to the host.
    #[must_use]
    pub fn image(&self) -> Option<ImageRef> {
        match self {
            Self::Pull { image, .. } | Self::Load { image, .. } => Some(image.clone()),
            Self::Build { recipe, .. } => Some(recipe.image()),
            _ => None,
        }
    }

    /// Whether it interrupts a running container.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        matches!(self, Self::Replace { .. } | Self::Rejoin { .. })
    }

    /// The number of changes.
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
    pub host: HostName,
    pub roles: Vec<Role>,
    /// Before anything else: Engine, identity, registry trust.
    pub prepare: Vec<Step>,
    /// Image pulls, before any container is stopped.
    pub images: Vec<Step>,
    /// Changes per component, in order.
    pub components: BTreeMap<ComponentName, Vec<Step>>,
    /// Containers that are no longer desired.
    pub cleanup: Vec<Step>,
    /// toots' own records that are missing, stale or of an older format. Not changes by themselves:
    /// the next run that changes something writes them.
    pub records: Vec<Step>,
}

impl HostPlan {
    /// All its steps in the order of their execution, without records.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.prepare
            .iter()
            .chain(&self.images)
            .chain(self.components.values().flatten())
            .chain(&self.cleanup)
    }

    /// The steps of one phase.
    #[must_use]
    pub fn phase(&self, phase: &Phase) -> &[Step] {
        match phase {
            Phase::Prepare => &self.prepare,
            Phase::Images => &self.images,
            Phase::Cleanup => &self.cleanup,
            Phase::Record => &self.records,
            Phase::Component(name) => self.components.get(name).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}

/// What `up` would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Observed hosts, in the inventory's order.
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
