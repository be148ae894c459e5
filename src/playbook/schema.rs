//! The schema of `component.toml`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::spec::{
    ComponentName, ImageRef, Mount, Placement, ProbeSpec, Protocol, Requirement, Role, Versions,
    WebSpec,
};

/// One component. Texts marked *template* are rendered with the host's values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The name of its folder.
    pub name: ComponentName,
    /// The hosts that run it.
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
    /// Default image.
    pub image: ImageSource,
    /// Defaults of earlier versions, by their key in `[images]`. A cluster that was made with one
    /// keeps it.
    #[serde(default)]
    pub former_images: BTreeMap<String, Vec<String>>,
    /// Settings that hold with an image that the recipe builds, in place of those below.
    #[serde(default)]
    pub by_recipe: Option<ByRecipe>,
    /// The key of `[images]` that overrides it; by default the component's name.
    #[serde(default)]
    pub image_key: Option<String>,
    /// Additional images that must be present, by their key in `[images]`.
    #[serde(default)]
    pub extra_images: BTreeMap<String, ImageSource>,
    /// Entrypoint instead of the image's (templates).
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments (templates); an empty result is dropped.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment (templates).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Additional labels of the container (templates); an empty result is dropped.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// User.
    #[serde(default)]
    pub user: Option<String>,
    /// Bind mounts.
    #[serde(default)]
    pub mounts: Arc<[Mount]>,
    /// tmpfs mounts.
    #[serde(default)]
    pub tmpfs: Vec<String>,
    /// Capabilities in addition to Docker's default set.
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
    /// Shares the host's cgroup namespace.
    #[serde(default)]
    pub cgroupns_host: bool,
    /// The Engine's init passes signals on to the program, which has no handler of its own.
    #[serde(default)]
    pub init: bool,
    /// Exposed ports.
    #[serde(default)]
    pub expose: Vec<u16>,
    /// Stop signal, when the image's own is wrong.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Seconds from the stop signal to SIGKILL.
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
    /// What each host of the cluster needs to use it.
    #[serde(default)]
    pub every_host: EveryHost,
    /// systemd units among its files (`toots-resolv.service`), enabled and started on the host.
    #[serde(default)]
    pub units: Vec<String>,
    /// Ports on which it listens.
    #[serde(default)]
    pub ports: Vec<PortEntry>,
    /// Ordinary probes.
    #[serde(default)]
    pub probes: Vec<ProbeSpec>,
    /// Requirements of its image on the host.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Changes of its version that the program supports.
    #[serde(default)]
    pub versions: Versions,
    /// Web interface.
    #[serde(default)]
    pub web: Option<WebSpec>,
    /// Secrets that are drawn once and stored on the masters.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretKind>,
    /// The folder of its data.
    #[serde(default)]
    pub data_dir: Option<String>,
    /// The folders without which a member takes its data from the others. `cluster repair` moves
    /// them aside.
    #[serde(default)]
    pub rejoin_dirs: Vec<String>,
    /// The command, as root on a host, after which a member without data votes again. Shown when so
    /// many members lost their data that the others are no quorum.
    #[serde(default)]
    pub empty_vote_command: Option<String>,
    /// Parameters that `[params.NAME]` of the inventory may set, as `params.KEY` in templates.
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    /// Values for gates (`admin_port = "2182"`).
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// Settings of a component whose image a recipe builds. Another image by reference, among them one that
/// an older cluster keeps, has the component's other settings, so that its containers stay as they are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByRecipe {
    /// Parts of references to images of the same program, which have these settings too.
    #[serde(default)]
    pub images: Vec<String>,
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub command: Option<Vec<String>>,
    #[serde(default)]
    pub mounts: Option<Arc<[Mount]>>,
    #[serde(default)]
    pub cap_add: Option<Vec<String>>,
    #[serde(default)]
    pub dirs: Option<Vec<DirEntry>>,
    #[serde(default)]
    pub cgroupns_host: Option<bool>,
    #[serde(default)]
    pub init: Option<bool>,
}

impl Component {
    /// Whether an image has the program that the recipe installs: built by it, or known by a part of
    /// its reference.
    #[must_use]
    pub fn is_of_recipe(&self, image: &ImageRef) -> bool {
        let parts = self.by_recipe.iter().flat_map(|own| &own.images);
        image.recipe_hash().is_some() || parts.into_iter().any(|part| image.0.contains(part))
    }

    /// The component as it runs with an image.
    #[must_use]
    pub fn with_image(&self, image: &ImageRef) -> Cow<'_, Self> {
        let own = self.by_recipe.clone();
        let Some(own) = own.filter(|_| self.is_of_recipe(image)) else {
            return Cow::Borrowed(self);
        };
        let mut component = self.clone();
        component.entrypoint = own.entrypoint.or(component.entrypoint);
        component.command = own.command.unwrap_or(component.command);
        component.mounts = own.mounts.unwrap_or(component.mounts);
        component.cap_add = own.cap_add.unwrap_or(component.cap_add);
        component.dirs = own.dirs.unwrap_or(component.dirs);
        component.cgroupns_host = own.cgroupns_host.unwrap_or(component.cgroupns_host);
        component.init = own.init.unwrap_or(component.init);
        Cow::Owned(component)
    }
}

fn ten() -> u32 {
    10
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ImageSource {
    /// A reference; empty when no maintained image is published, so that the inventory must name one.
    Reference(String),
    /// A recipe of the playbook.
    Recipe {
        /// The folder that has it.
        recipe: String,
    },
}

/// The hosts that run a component.
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
    /// Never on hosts with one of these roles, which run another component instead.
    #[serde(default)]
    pub except: Vec<Role>,
    /// Of these hosts only the one with the lowest member number.
    #[serde(default)]
    pub single: bool,
}

/// What each host of the cluster needs to use a component, whether it runs it or not.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveryHost {
    /// Files; their paths are templates, and their folders are made.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Lines of /etc/hosts: name → address (templates).
    #[serde(default)]
    pub names: BTreeMap<String, String>,
}

/// The part of an inventory that enables a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// `vip` in `[network]`.
    Vip,
    /// `export` in `[nfs]`.
    Nfs,
    Openvpn,
}

/// A directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirEntry {
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
    /// The content is secret.
    #[serde(default)]
    pub secret: bool,
    #[serde(default)]
    pub place: Placement,
    /// Signal that reloads a change, instead of a new container.
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
    #[serde(default)]
    pub protocol: Protocol,
    pub purpose: String,
    /// Bound to loopback or to the host's own address, whatever `listen_ip` is.
    #[serde(default)]
    pub fixed: bool,
    /// Bound to loopback: no other host connects to it.
    #[serde(default)]
    pub loopback: bool,
}

/// A parameter with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Value when the inventory sets none.
    pub default: String,
    pub kind: ParamKind,
    /// Minimum of a number.
    #[serde(default)]
    pub min: u32,
    /// Maximum of a number.
    #[serde(default = "most")]
    pub max: u32,
}

fn most() -> u32 {
    999_999
}

impl Param {
    /// Whether a value is valid.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let in_range = || {
            text.parse::<u32>()
                .is_ok_and(|number| (self.min..=self.max).contains(&number))
        };
        self.kind.fits(text) && (self.kind != ParamKind::Number || in_range())
    }

    /// The valid values, for a message.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self.kind {
            ParamKind::Memory => "an amount of memory such as \"512m\"".into(),
            ParamKind::Number => format!("an integer from {} to {}", self.min, self.max),
            ParamKind::Word => "a word of letters, digits, '.', '-' and '_'".into(),
            ParamKind::Addresses => "IP addresses separated by spaces".into(),
        }
    }
}

/// The kinds of parameters. There is no free text: a valid value is used unquoted in command lines
/// and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    /// Memory as a Java virtual machine accepts it: `512m`.
    Memory,
    /// A whole number, from `min` to `max`.
    Number,
    /// Letters, digits, `.`, `-`, `_`; no leading `-`.
    Word,
    /// IP addresses separated by spaces, or none.
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

/// The format of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// 32 random bytes in base64.
    Base64,
    /// 24 letters and digits.
    Password,
}
