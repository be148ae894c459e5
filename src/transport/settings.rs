//! The operator's connection settings: plain data, from the inventory and from flags.

use std::path::PathBuf;
use std::time::Duration;

use crate::spec::HostName;

/// How privileged commands become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivilegeMode {
    /// Nothing when logged in as root, else `sudo -n`, else `doas -n`.
    #[default]
    Auto,
    /// The login must be root.
    Root,
    /// `sudo` without a password.
    Sudo,
    /// `sudo` with a password, prompted for once per run and sent on the channel's standard input.
    SudoPassword,
    /// `doas` without a password.
    Doas,
    /// Never: a privileged command fails.
    None,
}

/// Time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SshTimeouts {
    /// TCP, banner, key exchange and authentication together, per hop. Time spent at a prompt does
    /// not count.
    pub connect: Duration,
    /// Keepalive interval.
    pub keepalive: Duration,
    /// Unanswered keepalives before the connection counts as lost.
    pub keepalive_max: usize,
    /// Limit of the transport's own commands (the privilege check).
    pub exec: Duration,
}

impl Default for SshTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            keepalive_max: 3,
            exec: Duration::from_secs(30),
        }
    }
}

/// Settings that all connections of a run share.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// The ssh_config files, the first wins. `None`: the user's and the system's; empty: none.
    pub config_files: Option<Vec<PathBuf>>,
    /// The home directory for `~`; by default the account's own.
    pub home: Option<PathBuf>,
    /// The agent's socket when no configuration names one; by default `SSH_AUTH_SOCK`.
    pub agent_socket: Option<PathBuf>,
    /// Time limits; ssh_config overrides these.
    pub timeouts: SshTimeouts,
    /// Connect timeout that overrides ssh_config, because the operator set it.
    pub connect_timeout: Option<Duration>,
    /// Handshakes in progress at once with one server or through one jump host.
    pub handshakes: usize,
    /// Session channels open at once on one connection.
    pub session_channels: usize,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            config_files: None,
            home: None,
            agent_socket: None,
            timeouts: SshTimeouts::default(),
            connect_timeout: None,
            handshakes: 10,
            session_channels: 8,
        }
    }
}

/// The settings of one host. `None` or empty: from ssh_config, else OpenSSH's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The host's name in the inventory.
    pub name: HostName,
    /// The address, name or ssh_config alias to connect to.
    pub dial: String,
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Private keys, or public keys that select one of the agent's.
    pub identity_files: Vec<PathBuf>,
    /// known_hosts files instead of the user's; new keys are appended to the first.
    pub known_hosts_files: Option<Vec<PathBuf>>,
    /// Jump hosts as in `ProxyJump` (`[user@]host[:port]`, comma-separated); `none` for a direct
    /// connection.
    pub proxy_jump: Option<String>,
    /// How to become root.
    pub privilege: PrivilegeMode,
    /// Record the key of a host without a record, instead of refusing it.
    pub accept_new_host_keys: bool,
    /// Allow authentication with a password, which is prompted for.
    pub password: bool,
    /// Allow keyboard-interactive authentication (one-time codes and the like).
    pub keyboard_interactive: bool,
}

impl HostSettings {
    /// A host reached by its inventory name, with defaults for everything else.
    #[must_use]
    pub fn new(name: HostName) -> Self {
        Self {
            dial: name.to_string(),
            name,
            port: None,
            user: None,
            identity_files: Vec::new(),
            known_hosts_files: None,
            proxy_jump: None,
            privilege: PrivilegeMode::Auto,
            accept_new_host_keys: false,
            password: false,
            keyboard_interactive: false,
        }
    }
}
