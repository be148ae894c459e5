//! What was seen on a host, typed and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::docker::{ContainerStatus, EngineStatus, ImageStatus};
use crate::spec::{ComponentName, NodeRecord, Secret};

/// Everything that one pass over a host showed.
#[derive(Debug, Clone, Default)]
pub struct HostStatus {
    /// The machine.
    pub facts: Facts,
    /// Its identity, if it has one. `Err` holds why the file cannot be used.
    pub node: Option<Result<NodeRecord, String>>,
    /// Generated secrets found on it (masters), by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Components recorded on it as proven.
    pub proven: BTreeSet<ComponentName>,
    /// Image digests recorded on it: reference → digest.
    pub digests: BTreeMap<String, String>,
    /// Asked-for paths and everything below /etc/toots: regular files, directories and links.
    pub files: BTreeMap<String, FileStatus>,
    /// Asked-for data directories that hold something.
    pub has_data: BTreeSet<String>,
    /// Listening sockets with their owners.
    pub listeners: Vec<Listener>,
    /// toots' block in /etc/hosts: (address, name).
    pub hosts_entries: Vec<(String, String)>,
    /// systemd units that toots wrote: whether each is enabled and active.
    pub units: BTreeMap<String, bool>,
    /// The Engine.
    pub docker: DockerStatus,
}

/// A machine's facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Host name of its own.
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
    /// Processors.
    pub cpus: u32,
    /// Memory, KiB.
    pub mem_total_kib: u64,
    /// Free space below /var/lib/docker (or its nearest existing parent), KiB.
    pub disk_free_docker_kib: u64,
    /// Free space below /var/lib/toots (or its nearest existing parent), KiB.
    pub disk_free_data_kib: u64,
    /// The host's clock minus the operator's at the middle of the exchange, milliseconds.
    pub clock_offset_ms: i64,
    /// Interfaces with their addresses.
    pub nics: BTreeMap<String, Vec<IpAddr>>,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Addresses to which the host's own name resolves.
    pub own_name_resolves_to: Vec<IpAddr>,
    /// systemd is PID 1.
    pub systemd: bool,
    /// Package managers present: `apt-get`, `dnf`, `zypper`, `apk`.
    pub package_managers: Vec<String>,
    /// Whether the docker command exists.
    pub docker_command: bool,
    /// NFS can be mounted: the program is there.
    pub nfs_client: bool,
    /// The kernel has NFS, or a module of it.
    pub nfs_kernel: bool,
    /// docker-compose's version, v1 or v2, if present.
    pub compose_version: Option<String>,
    /// TCP addresses `host:port` of `reach` that this host could connect to: true, false.
    pub reaches: BTreeMap<String, bool>,
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
    /// Content of a small regular file that is not secret (mode without group and other rights means secret).
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
    /// Port.
    pub port: u16,
    /// Process name, when it could be read.
    pub process: Option<String>,
    /// Process id, when it could be read.
    pub pid: Option<u32>,
    /// All processes that hold the socket; of those that hand it on to each other some may be gone a moment later.
    pub holders: Vec<u32>,
    /// Container name when the process runs in one of the host's containers.
    pub container: Option<String>,
}

/// The Engine of a host.
#[derive(Debug, Clone, Default)]
pub enum DockerStatus {
    /// No Engine is installed.
    #[default]
    Absent,
    /// Installed, but it does not answer; why.
    Silent(String),
    /// It answered.
    Up {
        /// The Engine.
        engine: EngineStatus,
        /// All its containers.
        containers: Vec<ContainerStatus>,
        /// All its images.
        images: Vec<ImageStatus>,
    },
}
