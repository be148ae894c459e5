//! What the operator may set about connections: plain data, filled by the inventory and by flags.

use std::{path::PathBuf, time::Duration};

use crate::spec::HostName;

/// How commands that need root get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivilegeMode {
    /// Root when logged in as root, else `sudo -n`, else `doas -n`.
    #[default]
    Auto,
    /// The login must be root.
    Root,
    /// `sudo` that asks for no password.
    Sudo,
    /// `sudo` with a password, asked once per run and sent on the channel's standard input.
    SudoPassword,
    /// `doas` that asks for no password.
    Doas,
    /// Never; a command that needs root fails.
    None,
}

/// Limits of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, greeting, key exchange and authentication together, for each hop. The time in which a person is asked does not count.
    pub connect: Duration,
    /// A silent connection is asked for a sign of life after this time.
    pub keepalive: Duration,
    /// So many unanswered questions end the connection.
    pub keepalive_max: usize,
    /// Commands of the transport's own (the question for privilege).
    pub exec: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            keepalive_max: 3,
            exec: Duration::from_secs(30),
        }
    }
}

/// What all connections of a run share.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// The ssh_config files, first wins. `None` stands for the user's and the system's, an empty list for none at all.
    pub config_files: Option<Vec<PathBuf>>,
    /// The home directory that `~` stands for; the login's own when not given.
    pub home: Option<PathBuf>,
    /// The agent's socket when no configuration names one; `SSH_AUTH_SOCK` when not given.
    pub agent_socket: Option<PathBuf>,
    /// Limits of time; what `ssh_config` says of them goes before these defaults.
    pub timeouts: Timeouts,
    /// Limit of time for connecting that goes before `ssh_config`, because the operator named it.
    pub connect_timeout: Option<Duration>,
    /// Handshakes going on at once, and at once through one jump host.
    pub handshakes: usize,
    /// Session channels open at once on one connection.
    pub session_channels: usize,
}

impl Default for SshSettings {
    fn default() -> Self {
        Self {
            config_files: None,
            home: None,
            agent_socket: None,
            timeouts: Timeouts::default(),
            connect_timeout: None,
            handshakes: 10,
            session_channels: 8,
        }
    }
}

/// What holds for one host. What is `None` or empty comes from ssh_config, else from OpenSSH's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The host's name in the inventory.
    pub name: HostName,
    /// What is dialled: an address, a name, or an alias of ssh_config.
    pub dial: String,
    /// Port.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Private keys, or public keys that choose one of the agent's.
    pub identity_files: Vec<PathBuf>,
    /// Files of known host keys in place of the user's; new keys are appended to the first.
    pub known_hosts_files: Option<Vec<PathBuf>>,
    /// Jump hosts as `ProxyJump` has them (`[user@]host[:port]`, comma between hops); `none` for a direct connection.
    pub proxy_jump: Option<String>,
    /// How root is had.
    pub privilege: PrivilegeMode,
    /// Records the key of a host that has no record yet, instead of refusing it.
    pub accept_new_host_keys: bool,
    /// May authenticate with a password, which a person is asked for.
    pub password: bool,
    /// May authenticate by questions and answers (one-time codes and the like).
    pub keyboard_interactive: bool,
}

impl HostSettings {
    /// A host that is dialled by its inventory name, all else by default.
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
