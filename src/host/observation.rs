//! What is observed on a machine, typed and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::spec::{ComponentName, DefaultImages, Membership, NodeRecord, RecordError, Secret};

/// Everything that the observation finds on a machine besides its Engine's containers and images.
#[derive(Debug, Clone, Default)]
pub struct Observation {
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
    /// Whether the Docker command or the Engine's socket exists.
    pub docker_here: bool,
    /// What systemd says about the Engine's unit, where its socket is missing.
    pub docker_unit: String,
    /// Process id → container id.
    pub owners: BTreeMap<u32, String>,
}

impl Observation {
    /// Moves toots' own records out of the files; secrets leave the map, so that nothing that shows
    /// files can show them.
    pub fn take_records(&mut self) {
        for (path, file) in &mut self.files {
            if let Some(name) = path.strip_prefix("/etc/toots/secrets/") {
                if let Some(content) = file.content.take() {
                    self.secrets.insert(
                        name.to_owned(),
                        Secret::new(String::from_utf8_lossy(&content).trim().to_owned()),
                    );
                }
            } else if let Some(name) = path.strip_prefix("/etc/toots/proven/") {
                self.proven.extend(ComponentName::new(name));
            } else if path == NodeRecord::PATH {
                let content = file.content.as_deref().unwrap_or_default();
                self.node = Some(NodeRecord::parse(content));
            } else if path == Membership::PATH {
                let content = file.content.as_deref().unwrap_or_default();
                self.membership = Some(Membership::parse(content));
            } else if path == DefaultImages::PATH {
                let content = file.content.as_deref().unwrap_or_default();
                self.default_images = Some(DefaultImages::parse(content));
            } else if path == "/etc/toots/images.json" {
                let content = file.content.as_deref().unwrap_or_default();
                self.digests = serde_json::from_slice(content).unwrap_or_default();
            }
        }
    }
}

/// A machine's facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The host's own name.
    pub hostname: String,
    /// `ID` of os-release.
    pub os_id: String,
    /// `VERSION_ID` of os-release.
    pub os_version: String,
    /// `uname -m`.
    pub arch: String,
    /// `uname -r`.
    pub kernel: String,
    /// /etc/machine-id.
    pub machine_id: String,
    /// Number of processors.
    pub cpus: u32,
    /// Memory in KiB.
    pub mem_total_kib: u64,
    /// The Engine's data root.
    pub docker_root: String,
    /// Free space in KiB below the Engine's data root (or its nearest existing parent).
    pub disk_free_docker_kib: u64,
    /// Free space for [`Facts::CONTAINERD_ROOT`], in KiB; `None` when it does not exist.
    pub disk_free_containerd_kib: Option<u64>,
    /// Free space in KiB below /var/lib/toots (or its nearest existing parent).
    pub disk_free_data_kib: u64,
    /// The host's clock minus the operator's at the middle of the exchange, in milliseconds.
    pub clock_offset_ms: i64,
    /// Interfaces with their addresses.
    pub nics: BTreeMap<String, Vec<IpAddr>>,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Mount points on the way to toots' data: whether mounts below them are shared.
    pub mounts: BTreeMap<String, bool>,
    /// Addresses to which the host's own name resolves.
    pub own_name_resolves_to: Vec<IpAddr>,
    /// Whether systemd is PID 1.
    pub systemd: bool,
    /// Package managers present: `apt-get`, `dnf`, `zypper`, `apk`.
    pub package_managers: Vec<String>,
    /// Whether the docker command exists.
    pub docker_command: bool,
    /// Whether the program that mounts NFS is installed.
    pub nfs_client: bool,
    /// Whether the kernel has NFS, or a module for it.
    pub nfs_kernel: bool,
    /// docker-compose's version, v1 or v2, if present.
    pub compose_version: Option<String>,
    /// TCP addresses `host:port` that were tried: whether this host could connect.
    pub reaches: BTreeMap<String, bool>,
}

impl Facts {
    /// Where containerd keeps images, if its configuration says nothing else.
    pub const CONTAINERD_ROOT: &str = "/var/lib/containerd";

    /// The mount point of a path, when mounts below it are not shared. `None` when they are, or when
    /// it is not known.
    #[must_use]
    pub fn private_mount(&self, path: &str) -> Option<&str> {
        let path = std::path::Path::new(path);
        let holds = |point: &&String| path.starts_with(point.as_str());
        let point = self.mounts.keys().filter(holds).max_by_key(|p| p.len())?;
        (!self.mounts[point]).then_some(point)
    }

    /// The platform of its images, `OS/ARCH`; `None` for an architecture that toots does not know.
    #[must_use]
    pub fn platform(&self) -> Option<&'static str> {
        match self.arch.as_str() {
            "x86_64" => Some("linux/amd64"),
            "aarch64" => Some("linux/arm64"),
            _ => None,
        }
    }
}

/// A path on a host.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FileStatus {
    /// `f` regular, `d` directory, `l` link, `o` other.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// SHA-256 of a regular file.
    pub sha256: Option<String>,
    /// Content of a small regular file that is not secret (a mode without group and other rights
    /// means secret).
    pub content: Option<Vec<u8>>,
}

impl std::fmt::Debug for FileStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{:04o} {}:{} {:?}",
            self.kind, self.mode, self.uid, self.gid, self.sha256
        )
    }
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Bound address (`0.0.0.0` and `::` are all).
    pub address: IpAddr,
    pub port: u16,
    /// Process name, when readable.
    pub process: Option<String>,
    /// Process id, when readable.
    pub pid: Option<u32>,
    /// All processes that hold the socket; of those that pass it on to each other, some may be gone
    /// a moment later.
    pub holders: Vec<u32>,
    /// Container name, when the process runs in one of the host's containers.
    pub container: Option<String>,
}
