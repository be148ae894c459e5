//! `component.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::spec::{ComponentName, Mount, Place, ProbeSpec, Requirement, Role, WebSpec};

/// One component. Texts marked *template* are rendered with the values of the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name; the same as its folder's.
    pub name: ComponentName,
    /// Where it runs.
    pub on: RoleRule,
    /// Components whose gate must have passed before.
    #[serde(default)]
    pub after: Vec<ComponentName>,
    /// Members of a quorum: replaced one at a time behind the guard.
    #[serde(default)]
    pub quorum: bool,
    /// The gate in `probe/` that proves its service.
    #[serde(default)]
    pub gate: Option<String>,
    /// Default image reference; empty when nobody publishes one that is kept up, so that the inventory must name it.
    pub image: String,
    /// The name under which `[images]` overrides it; the component's own when absent.
    #[serde(default)]
    pub image_key: Option<String>,
    /// Further images that must be present, by the name under which `[images]` overrides them.
    #[serde(default)]
    pub extra_images: BTreeMap<String, String>,
    /// Entrypoint in place of the image's (templates).
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments (templates); an empty result is left out.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment (templates).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Labels of the container besides toots' own (templates); an empty result is left out.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// User.
    #[serde(default)]
    pub user: Option<String>,
    /// Bind mounts.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Memory file systems.
    #[serde(default)]
    pub tmpfs: Vec<String>,
    /// Capabilities besides Docker's default set.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Devices.
    #[serde(default)]
    pub devices: Vec<String>,
    /// All capabilities and devices.
    #[serde(default)]
    pub privileged: bool,
    /// Shares the host's process namespace.
    #[serde(default)]
    pub pid_host: bool,
    /// Ports named as exposed.
    #[serde(default)]
    pub expose: Vec<u16>,
    /// Stop signal, when the image's own is wrong.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Seconds until SIGKILL.
    #[serde(default = "ten")]
    pub stop_timeout_s: u32,
    /// Limit of open files.
    #[serde(default)]
    pub nofile: Option<u64>,
    /// Directories.
    #[serde(default)]
    pub dirs: Vec<DirEntry>,
    /// Files.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// systemd units among its files (`toots-resolv.service`), enabled and started on the host beside the container.
    #[serde(default)]
    pub units: Vec<String>,
    /// Ports on which it listens.
    #[serde(default)]
    pub ports: Vec<PortEntry>,
    /// Ordinary probes.
    #[serde(default)]
    pub probes: Vec<ProbeSpec>,
    /// What its image needs of the host.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Web interface.
    #[serde(default)]
    pub web: Option<WebSpec>,
    /// Secrets that are drawn once and kept on the masters.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretKind>,
    /// Where its data lies.
    #[serde(default)]
    pub data_dir: Option<String>,
    /// What `[params.NAME]` of the inventory may change, as `params.KEY` in templates.
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    /// Values that gates need (`admin_port = "2182"`).
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

fn ten() -> u32 {
    10
}

/// On which hosts a component runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// Always, on hosts with one of these roles.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// When the switch of `[components]` is on, on hosts with one of these roles: switch → roles.
    #[serde(default)]
    pub options: BTreeMap<String, Vec<Role>>,
    /// Only when the inventory has this; it then needs no switch of its own.
    #[serde(default)]
    pub when: Option<Condition>,
    /// Never on hosts with one of these roles, which run another component in its place.
    #[serde(default)]
    pub except: Vec<Role>,
}

/// What of an inventory turns a component on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// `vip` in `[network]`.
    Vip,
    /// `export` in `[nfs]`.
    Nfs,
    /// `[openvpn]`.
    Openvpn,
}

/// A directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirEntry {
    /// Path.
    pub path: String,
    /// Permission bits as text (`"0755"`).
    #[serde(default = "dir_mode")]
    pub mode: String,
    /// Numeric owner.
    #[serde(default)]
    pub uid: u32,
    /// Numeric group.
    #[serde(default)]
    pub gid: u32,
}

fn dir_mode() -> String {
    "0755".into()
}

/// A file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path.
    pub path: String,
    /// Template in the component's folder.
    pub template: String,
    /// Permission bits as text.
    #[serde(default = "file_mode")]
    pub mode: String,
    /// Numeric owner.
    #[serde(default)]
    pub uid: u32,
    /// Numeric group.
    #[serde(default)]
    pub gid: u32,
    /// Its content must not be shown.
    #[serde(default)]
    pub secret: bool,
    /// When it is put down.
    #[serde(default)]
    pub place: Place,
    /// A change is answered with this signal instead of a new container.
    #[serde(default)]
    pub reload: Option<String>,
}

fn file_mode() -> String {
    "0644".into()
}

/// A port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortEntry {
    /// Number.
    pub port: u16,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// For what.
    pub purpose: String,
    /// It is bound to loopback or to the host's own address, whatever `listen_ip` says.
    #[serde(default)]
    pub fixed: bool,
}

fn tcp() -> String {
    "tcp".into()
}

/// A parameter with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its value when the inventory says nothing.
    pub default: String,
    /// What values it takes.
    pub kind: ParamKind,
    /// The least number.
    #[serde(default)]
    pub min: u32,
    /// The greatest number.
    #[serde(default = "most")]
    pub max: u32,
}

fn most() -> u32 {
    999_999
}

impl Param {
    /// Whether a value is one that it takes.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let in_range = || {
            text.parse::<u32>()
                .is_ok_and(|number| (self.min..=self.max).contains(&number))
        };
        self.kind.fits(text) && (self.kind != ParamKind::Number || in_range())
    }

    /// What is needed, for a message.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self.kind {
            ParamKind::Memory => "an amount of memory like \"512m\"".into(),
            ParamKind::Number => format!("a whole number from {} to {}", self.min, self.max),
            ParamKind::Word => "a word of letters, digits, '.', '-' and '_'".into(),
            ParamKind::Addresses => "a list of IP addresses with spaces between".into(),
        }
    }
}

/// What values a parameter takes. There is no free text: whatever passes here stands unquoted in command lines and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    /// Memory as a Java virtual machine takes it: `512m`.
    Memory,
    /// A whole number, from `min` to `max`.
    Number,
    /// Letters, digits, `.`, `-`, `_`; not beginning with `-`.
    Word,
    /// IP addresses with spaces between, or none.
    Addresses,
}

impl ParamKind {
    fn fits(self, text: &str) -> bool {
        let digits =
            |text: &str| (1..=6).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
        match self {
            Self::Memory => text
                .strip_suffix(['k', 'm', 'g', 'K', 'M', 'G'])
                .is_some_and(digits),
            Self::Number => digits(text),
            Self::Word => crate::spec::ComponentName::new(text).is_ok(),
            Self::Addresses => text
                .split_whitespace()
                .all(|address| address.parse::<std::net::IpAddr>().is_ok()),
        }
    }
}

/// How a secret is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// 32 random bytes in base64.
    Base64,
    /// 24 letters and digits.
    Password,
}
