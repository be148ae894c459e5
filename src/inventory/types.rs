//! A validated inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::{ClusterName, HostName, ImageRef, Role};

/// Where the paths of an inventory start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseFolders {
    /// Relative ones, as a rule in the inventory's own folder.
    pub relative: PathBuf,
    /// Those that begin with `~/`; without it they are relative ones.
    pub home: Option<PathBuf>,
}

impl BaseFolders {
    pub(super) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.relative.join(text),
        }
    }
}

impl From<&Path> for BaseFolders {
    fn from(relative: &Path) -> Self {
        Self {
            relative: relative.to_owned(),
            home: None,
        }
    }
}

/// The whole file, with every default.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The cluster's name, also Consul's datacenter.
    pub cluster: ClusterName,
    /// Hosts in the order of their first mention: masters, slaves, edges.
    pub hosts: Vec<Host>,
    pub network: Network,
    pub ssh: SshSettings,
    pub docker: DockerSettings,
    pub registry: Option<Registry>,
    pub nfs: Option<Nfs>,
    pub openvpn: Option<OpenVpn>,
    /// `[images]`: component or additional image → reference.
    pub images: BTreeMap<String, ImageRef>,
    /// `[images.NAME]`: recipe → argument → value. `base` is the image on which it is built.
    pub recipe_arguments: BTreeMap<String, BTreeMap<String, String>>,
    pub folders: BaseFolders,
    /// `spread` of `[images]`: whether each image is pulled by one host, from which the others load it.
    pub spread_images: bool,
    pub consul: ConsulSettings,
    /// `[components]`: the switches of optional components that are on.
    pub switches: BTreeSet<String>,
    /// `[params.COMPONENT]`: component → parameter → value, checked against the playbook.
    pub params: BTreeMap<String, BTreeMap<String, String>>,
    /// Places of the keys that only the playbook can check (`components.X`, `images.X`,
    /// `params.X.Y`), as `file:line:column`.
    pub places: BTreeMap<String, String>,
    pub timeouts: Timeouts,
}

impl Inventory {
    /// Every referenced file that must be readable, with its key.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let ca = self
            .registry
            .as_ref()
            .and_then(|registry| registry.ca.as_deref())
            .map(|path| ("ca of [registry]", path));
        let openvpn = self.openvpn.iter().flat_map(|vpn| {
            [
                ("ca of [openvpn]", &*vpn.ca),
                ("certificate of [openvpn]", &*vpn.certificate),
                ("key of [openvpn]", &*vpn.key),
            ]
        });
        ca.into_iter().chain(openvpn)
    }

    /// The path for a text of the inventory.
    #[must_use]
    pub fn path(&self, text: &str) -> PathBuf {
        self.folders.path(text)
    }

    /// Hosts of a role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.hosts
            .iter()
            .filter(move |host| host.roles.contains(&role))
    }

    /// A host by its name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }
}

/// One host with its own settings.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    pub roles: BTreeSet<Role>,
    /// The SSH address, when it is not `address` (a name of ssh_config, a public address).
    pub ssh: Option<String>,
    /// SSH port.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Interface that holds the address.
    pub nic: String,
    /// Whether the address must be on that interface: the inventory names it, or a virtual address or
    /// a VPN uses it.
    pub nic_is_used: bool,
    /// Address that services bind to.
    pub listen_ip: IpAddr,
    /// A slave with persistent storage.
    pub persistent: bool,
}

/// `[network]`
#[derive(Debug, Clone)]
pub struct Network {
    /// Domain of Consul's DNS.
    pub in_domain: String,
    /// Additional domain of the balancer, without a leading dot.
    pub ex_domain: Option<String>,
    /// Address that one edge holds.
    pub vip: Option<IpAddr>,
}

/// `[ssh]`
#[derive(Debug, Clone, Default)]
pub struct SshSettings {
    /// Login name.
    pub user: Option<String>,
    pub port: Option<u16>,
    /// Private keys, in the order of their use.
    pub identity_files: Vec<PathBuf>,
    /// known_hosts files instead of the user's.
    pub known_hosts_files: Vec<PathBuf>,
    /// Jump hosts, in the format of ssh.
    pub proxy_jump: Option<String>,
    /// ssh_config file instead of the user's and the system's.
    pub config_file: Option<PathBuf>,
    /// `auto`, `root`, `sudo`, `doas`.
    pub privilege: Option<String>,
}

/// `[docker]`
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Install the Engine from the distribution where it is missing.
    pub install: bool,
}

/// `[registry]`
#[derive(Debug, Clone)]
pub struct Registry {
    /// `host[:port]`, as in image references.
    pub server: String,
    /// Its address, for hosts whose DNS does not know its name.
    pub address: Option<IpAddr>,
    /// Its CA certificate, PEM.
    pub ca: Option<PathBuf>,
    pub username: Option<String>,
    /// The source of the password.
    pub password: Option<PasswordSource>,
}

/// The source of a secret; the inventory never contains one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// `[nfs]`
#[derive(Debug, Clone)]
pub struct Nfs {
    /// `host:/path`
    pub export: String,
}

/// `[openvpn]`: access for everyone with a certificate of its CA.
#[derive(Debug, Clone)]
pub struct OpenVpn {
    /// The CA of server and clients, PEM.
    pub ca: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The clients' network: address and prefix length.
    pub network: (Ipv4Addr, u8),
}

impl OpenVpn {
    /// The netmask.
    #[must_use]
    pub fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from(
            u32::MAX
                .checked_shl(32 - u32::from(self.network.1))
                .unwrap_or(0),
        )
    }
}

/// `[consul]`
#[derive(Debug, Clone)]
pub struct ConsulSettings {
    /// 1 on a fast network, up to 10 on a slow one.
    pub raft_multiplier: u8,
}

/// `[timeouts]`
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// TCP, banner, key exchange and login, per hop.
    pub connect: Duration,
    /// Keepalive interval; three unanswered keepalives end the connection.
    pub keepalive: Duration,
    /// One command on a host.
    pub exec: Duration,
    /// The installation of packages.
    pub install: Duration,
    /// One answer of a Docker Engine.
    pub answer: Duration,
    /// A pull that receives no data.
    pub pull_idle: Duration,
    /// One gate.
    pub gate: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            exec: Duration::from_secs(60),
            install: Duration::from_secs(600),
            answer: Duration::from_secs(30),
            pull_idle: Duration::from_secs(120),
            gate: Duration::from_secs(180),
        }
    }
}
