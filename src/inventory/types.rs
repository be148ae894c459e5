//! A validated inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::{ClusterName, HostName, ImageRef, Role};

/// The whole file, every default filled in.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The cluster's name, also Consul's datacenter.
    pub cluster: ClusterName,
    /// Hosts in the order of their first mention: masters, slaves, edges.
    pub hosts: Vec<Host>,
    /// `[network]`
    pub network: Network,
    /// `[ssh]`
    pub ssh: SshSettings,
    /// `[docker]`
    pub docker: DockerSettings,
    /// `[registry]`
    pub registry: Option<Registry>,
    /// `[nfs]`
    pub nfs: Option<Nfs>,
    /// `[openvpn]`
    pub openvpn: Option<OpenVpn>,
    /// `[images]`: component or further image → reference.
    pub images: BTreeMap<String, ImageRef>,
    /// `[consul]`
    pub consul: ConsulSettings,
    /// `[components]`: the switches of optional components that are on.
    pub switches: BTreeSet<String>,
    /// `[params.COMPONENT]`: component → parameter → value, checked against the playbook.
    pub params: BTreeMap<String, BTreeMap<String, String>>,
    /// Where keys stand that only the playbook can check (`components.X`, `images.X`, `params.X.Y`), as `file:line:column`.
    pub places: BTreeMap<String, String>,
    /// `[timeouts]`
    pub timeouts: Timeouts,
}

impl Inventory {
    /// Every file that it names and that must be readable, with what it is.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let ca = self
            .registry
            .as_ref()
            .and_then(|registry| registry.ca.as_deref())
            .map(|path| ("the registry's ca", path));
        let openvpn = self.openvpn.iter().flat_map(|vpn| {
            [
                ("[openvpn] ca", &*vpn.ca),
                ("[openvpn] certificate", &*vpn.certificate),
                ("[openvpn] key", &*vpn.key),
            ]
        });
        ca.into_iter().chain(openvpn)
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

/// One host with what differs for it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Its address inside the cluster.
    pub address: IpAddr,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// What is dialled instead of the address (a name of ssh_config, a public address).
    pub ssh: Option<String>,
    /// SSH port.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Interface that holds the address.
    pub nic: String,
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
    /// Port.
    pub port: Option<u16>,
    /// Private keys, the first is offered first.
    pub identity_files: Vec<PathBuf>,
    /// known_hosts files in place of the user's.
    pub known_hosts_files: Vec<PathBuf>,
    /// Jump hosts, as ssh writes them.
    pub proxy_jump: Option<String>,
    /// ssh_config file in place of the user's and the system's.
    pub config_file: Option<PathBuf>,
    /// `auto`, `root`, `sudo`, `doas`.
    pub privilege: Option<String>,
}

/// `[docker]`
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Install the Engine from the distribution where it is absent.
    pub install: bool,
}

/// `[registry]`
#[derive(Debug, Clone)]
pub struct Registry {
    /// `host[:port]` as it stands in image references.
    pub server: String,
    /// Address of its name, for hosts whose DNS does not know it.
    pub address: Option<IpAddr>,
    /// Its CA certificate, PEM.
    pub ca: Option<PathBuf>,
    /// User.
    pub username: Option<String>,
    /// Where the password comes from.
    pub password: Option<PasswordSource>,
}

/// Where a secret comes from; the inventory never holds one.
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

/// `[openvpn]`: a way in for whoever has a certificate of its CA.
#[derive(Debug, Clone)]
pub struct OpenVpn {
    /// The CA of server and clients, PEM.
    pub ca: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The clients' network: address and length of the prefix.
    pub network: (Ipv4Addr, u8),
}

impl OpenVpn {
    /// The network's mask.
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
    /// 1 on a good network, up to 10 on a slow one.
    pub raft_multiplier: u8,
}

/// `[timeouts]`
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// TCP, greeting, key exchange and login, per hop.
    pub connect: Duration,
    /// Silence before a connection is asked for a sign of life; three unanswered questions end it.
    pub keepalive: Duration,
    /// One command on a host.
    pub exec: Duration,
    /// Installing packages.
    pub install: Duration,
    /// One answer of a Docker Engine.
    pub answer: Duration,
    /// A pull without progress.
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
