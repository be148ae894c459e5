//! The effective settings of one hop: inventory and flags, then ssh_config, then defaults.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};

use super::config::{self, AlgorithmList, ConfigError, Files, Tokens, Values, time};
use super::dial::AddressFilter;
use super::known_hosts::Question;
use super::{HostSettings, PrivilegeMode, SshOptions, TransportError};
use crate::spec::HostName;

/// How the bytes reach the hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proxy {
    Direct,
    /// Through other hosts, first hop first.
    Jump(Vec<String>),
    /// Through a local command's standard input and output.
    Command(String),
}

/// Algorithms instead of the library's defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Algorithms {
    pub(super) host_key: AlgorithmList,
    pub(super) kex: AlgorithmList,
    pub(super) ciphers: AlgorithmList,
    pub(super) macs: AlgorithmList,
    pub(super) public_key: AlgorithmList,
    /// Signatures of certificate authorities.
    pub(super) authority: AlgorithmList,
}

/// Everything about one hop.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The inventory's settings; jump hosts take their share from them.
    pub(super) settings: HostSettings,
    /// The name in messages.
    pub(super) label: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) host_key_alias: Option<String>,
    pub(super) user_known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    pub(super) hash_known_hosts: bool,
    /// `RevokedHostKeys`.
    pub(super) revoked_host_keys: Option<PathBuf>,
    /// Least length of RSA keys, in bits.
    pub(super) required_rsa_size: u32,
    /// Named by the operator, in this order; empty means the default files.
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) default_identity_files: Vec<PathBuf>,
    pub(super) certificate_files: Vec<PathBuf>,
    pub(super) identities_only: bool,
    pub(super) agent: Option<PathBuf>,
    pub(super) proxy: Proxy,
    pub(super) way: AddressFilter,
    pub(super) algorithms: Algorithms,
    pub(super) connect_timeout: Duration,
    pub(super) keepalive: Duration,
    pub(super) keepalive_max: usize,
    pub(super) privilege: PrivilegeMode,
    /// The configured values with their origins.
    pub(super) values: Values,
}

/// OpenSSH's default of `RequiredRSASize`, in bits.
const DEFAULT_RSA_BITS: u32 = 1024;

const DEFAULT_KEYS: [&str; 5] = [
    "id_rsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
];

impl Endpoint {
    /// Resolves a host of the inventory. Blocks: reads files and may run `Match exec` commands.
    pub(super) fn resolve(
        settings: &HostSettings,
        shared: &SshOptions,
    ) -> Result<Self, TransportError> {
        let account = own_account()?;
        let home = shared.home.clone().unwrap_or(account.dir);
        let mut values = seed(settings);
        let mut tokens = Tokens {
            local_user: account.name.clone(),
            user: settings
                .user
                .clone()
                .unwrap_or_else(|| account.name.clone()),
            home: home.clone(),
            uid: Uid::current().as_raw(),
            port: settings.port.unwrap_or(22),
            ..Tokens::default()
        };
        let host = config::read(
            &files(shared, &home),
            &settings.dial,
            tokens.clone(),
            &mut values,
        )?;
        if host.is_empty()
            || host.starts_with('-')
            || host.contains(|c: char| c.is_control() || c.is_whitespace())
        {
            return Err(TransportError::Settings(format!(
                "{host:?} is not a host name or address"
            )));
        }
        tokens.host.clone_from(&host);
        settings.dial.clone_into(&mut tokens.original);
        tokens.port = values
            .first("port")
            .and_then(|p| p.parse().ok())
            .unwrap_or(22);
        values
            .first("user")
            .unwrap_or(&account.name)
            .clone_into(&mut tokens.user);
        values
            .first("hostkeyalias")
            .unwrap_or(&settings.dial)
            .clone_into(&mut tokens.key_alias);
        tokens.jump = values
            .first("proxyjump")
            .filter(|j| *j != "none")
            .unwrap_or_default()
            .to_owned();
        Self::build(settings, shared, values, &tokens)
    }

    fn build(
        settings: &HostSettings,
        shared: &SshOptions,
        values: Values,
        tokens: &Tokens,
    ) -> Result<Self, TransportError> {
        check_refused(&values)?;
        let ssh = tokens.home.join(".ssh");
        let paths = |keyword: &str| paths(&values, keyword, tokens);
        let span = |keyword: &str| values.first(keyword).and_then(time);
        let list = |keyword: &str| AlgorithmList::parse(values.first(keyword));
        let yes = |keyword: &str| {
            values
                .first(keyword)
                .is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "yes" | "true"))
        };
        let identities = paths("identityfile")?;
        Ok(Self {
            label: settings.name.to_string(),
            host: tokens.host.clone(),
            port: tokens.port,
            user: tokens.user.clone(),
            host_key_alias: values.first("hostkeyalias").map(str::to_owned),
            user_known_hosts: paths("userknownhostsfile")?
                .unwrap_or_else(|| vec![ssh.join("known_hosts"), ssh.join("known_hosts2")]),
            global_known_hosts: paths("globalknownhostsfile")?.unwrap_or_else(|| {
                vec![
                    "/etc/ssh/ssh_known_hosts".into(),
                    "/etc/ssh/ssh_known_hosts2".into(),
                ]
            }),
            hash_known_hosts: yes("hashknownhosts"),
            revoked_host_keys: paths("revokedhostkeys")?.and_then(|list| list.into_iter().next()),
            required_rsa_size: values
                .first("requiredrsasize")
                .and_then(|bits| bits.parse().ok())
                .unwrap_or(DEFAULT_RSA_BITS),
            default_identity_files: if identities.is_none() {
                DEFAULT_KEYS.iter().map(|k| ssh.join(k)).collect()
            } else {
                Vec::new()
            },
            identity_files: identities.unwrap_or_default(),
            certificate_files: paths("certificatefile")?.unwrap_or_default(),
            identities_only: yes("identitiesonly"),
            agent: agent(&values, shared, tokens)?,
            proxy: proxy(&values, tokens)?,
            way: way(&values)?,
            algorithms: Algorithms {
                host_key: list("hostkeyalgorithms"),
                kex: list("kexalgorithms"),
                ciphers: list("ciphers"),
                macs: list("macs"),
                public_key: list("pubkeyacceptedalgorithms"),
                authority: list("casignaturealgorithms"),
            },
            connect_timeout: shared
                .connect_timeout
                .or_else(|| span("connecttimeout"))
                .filter(|d| !d.is_zero())
                .unwrap_or(shared.timeouts.connect),
            keepalive: span("serveraliveinterval")
                .filter(|d| !d.is_zero())
                .unwrap_or(shared.timeouts.keepalive),
            keepalive_max: values
                .first("serveralivecountmax")
                .and_then(|v| v.parse().ok())
                .unwrap_or(shared.timeouts.keepalive_max),
            privilege: settings.privilege,
            settings: settings.clone(),
            values,
        })
    }

    /// Resolves a jump host by its own name. From the target it takes the inventory's settings of
    /// the operator's side: known_hosts files, identity files, which prompts are allowed.
    pub(super) fn resolve_hop(
        hop: &str,
        target: &HostSettings,
        shared: &SshOptions,
    ) -> Result<Self, TransportError> {
        let (user, host, port) = split_hop(hop)?;
        let name = HostName::new(host.clone())
            .map_err(|e| TransportError::Settings(format!("jump host: {e}")))?;
        Self::resolve(
            &HostSettings {
                name,
                dial: host,
                port,
                user,
                proxy_jump: None,
                privilege: PrivilegeMode::None,
                ..target.clone()
            },
            shared,
        )
    }

    /// Address and port for messages.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub(super) fn question(&self) -> Question {
        Question {
            label: self.label.clone(),
            host: self.host.clone(),
            port: self.port,
            alias: self.host_key_alias.clone(),
            user_files: self.user_known_hosts.clone(),
            global_files: self.global_known_hosts.clone(),
            accept_new: self.settings.accept_new_host_keys,
            hash_names: self.hash_known_hosts,
            revoked_file: self.revoked_host_keys.clone(),
            required_rsa_size: self.required_rsa_size,
            authority_algorithms: self.algorithms.authority.clone(),
        }
    }
}

/// The inventory's values, which precede all configuration.
fn seed(settings: &HostSettings) -> Values {
    let mut values = Values::default();
    if let Some(port) = settings.port {
        values.seed("port", port.to_string(), "port");
    }
    if let Some(user) = &settings.user {
        values.seed("user", user.clone(), "user");
    }
    if let Some(jump) = &settings.proxy_jump {
        values.seed("proxyjump", jump.clone(), "proxy_jump");
    }
    for file in &settings.identity_files {
        values.seed(
            "identityfile",
            file.display().to_string().replace('%', "%%"),
            "identity_file",
        );
    }
    if settings
        .known_hosts_files
        .as_ref()
        .is_some_and(Vec::is_empty)
    {
        // "No file" differs from "the default files".
        values.seed("userknownhostsfile", "none".to_owned(), "known_hosts");
    }
    for file in settings.known_hosts_files.iter().flatten() {
        values.seed(
            "userknownhostsfile",
            file.display().to_string().replace('%', "%%"),
            "known_hosts",
        );
    }
    values
}

fn files(shared: &SshOptions, home: &Path) -> Files {
    match &shared.config_files {
        Some(files) => Files {
            files: files.iter().map(|f| (f.clone(), true)).collect(),
            required: true,
        },
        None => Files {
            files: vec![
                (home.join(".ssh/config"), true),
                ("/etc/ssh/ssh_config".into(), false),
            ],
            required: false,
        },
    }
}

fn paths(
    values: &Values,
    keyword: &str,
    tokens: &Tokens,
) -> Result<Option<Vec<PathBuf>>, TransportError> {
    let Some(paths) = values.every(keyword) else {
        return Ok(None);
    };
    let fail = |why: ConfigError| {
        TransportError::Settings(format!("{}: {keyword}: {why}", values.origin(keyword)))
    };
    paths
        .into_iter()
        .filter(|v| !v.eq_ignore_ascii_case("none"))
        .map(|v| tokens.path(v).map_err(fail))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Refuses keywords that would make toots connect differently from `ssh`.
fn check_refused(values: &Values) -> Result<(), TransportError> {
    for (keyword, without_effect) in config::REFUSED {
        if let Some(value) = values.first(keyword)
            && !without_effect.contains(&value.to_ascii_lowercase().as_str())
        {
            return Err(TransportError::Settings(format!(
                "{}: {keyword} {value} is not supported; remove it for this host, or set \
                 config_file in [ssh] of the inventory",
                values.origin(keyword)
            )));
        }
    }
    Ok(())
}

fn agent(
    values: &Values,
    shared: &SshOptions,
    tokens: &Tokens,
) -> Result<Option<PathBuf>, TransportError> {
    let from_environment = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p != Path::new(""))
    };
    match values.first("identityagent") {
        Some(none) if none.eq_ignore_ascii_case("none") => Ok(None),
        None | Some("SSH_AUTH_SOCK") => Ok(shared
            .agent_socket
            .clone()
            .or_else(|| from_environment("SSH_AUTH_SOCK"))),
        Some(text) => match text.strip_prefix('$').filter(|rest| !rest.starts_with('{')) {
            Some(name) => Ok(from_environment(name)),
            None => Ok(paths(values, "identityagent", tokens)?.and_then(|p| p.into_iter().next())),
        },
    }
}

fn proxy(values: &Values, tokens: &Tokens) -> Result<Proxy, TransportError> {
    if let Some(hops) = values.first("proxyjump").filter(|h| !h.is_empty()) {
        if hops.eq_ignore_ascii_case("none") {
            return Ok(Proxy::Direct);
        }
        let expanded = tokens.percent(hops).map_err(|why| {
            TransportError::Settings(format!("{}: ProxyJump: {why}", values.origin("proxyjump")))
        })?;
        let hops: Vec<_> = expanded.split(',').map(|h| h.trim().to_owned()).collect();
        for hop in &hops {
            split_hop(hop)?;
        }
        return Ok(Proxy::Jump(hops));
    }
    match values
        .first("proxycommand")
        .filter(|c| !c.eq_ignore_ascii_case("none"))
    {
        None => Ok(Proxy::Direct),
        Some(command) => tokens.percent(command).map(Proxy::Command).map_err(|why| {
            TransportError::Settings(format!(
                "{}: ProxyCommand: {why}",
                values.origin("proxycommand")
            ))
        }),
    }
}

fn way(values: &Values) -> Result<AddressFilter, TransportError> {
    let only_v6 = match values
        .first("addressfamily")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("inet") => Some(false),
        Some("inet6") => Some(true),
        _ => None,
    };
    let from = match values.first("bindaddress") {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
            TransportError::Settings(format!(
                "{}: BindAddress must be an address, got {text:?}",
                values.origin("bindaddress")
            ))
        })?),
    };
    Ok(AddressFilter { only_v6, from })
}

/// Splits `[user@]host[:port]` or `ssh://[user@]host[:port]`.
pub(super) fn split_hop(
    text: &str,
) -> Result<(Option<String>, String, Option<u16>), TransportError> {
    let fail = || {
        TransportError::Settings(format!(
            "jump host must be [user@]host[:port], got {text:?}"
        ))
    };
    let rest = text
        .strip_prefix("ssh://")
        .unwrap_or(text)
        .trim_end_matches('/');
    let (user, rest) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(u, r)| (Some(u), r));
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(fail)?;
            (
                host,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(fail)?)
                },
            )
        }
        // More than one colon without brackets is a bare IPv6 address.
        None if rest.matches(':').count() > 1 => (rest, None),
        None => rest
            .split_once(':')
            .map_or((rest, None), |(h, p)| (h, Some(p))),
    };
    let port = port
        .map(|p| p.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(fail))
        .transpose()?;
    if host.is_empty()
        || host.starts_with('-')
        || user.is_some_and(|u| u.is_empty() || u.starts_with('-'))
    {
        return Err(fail());
    }
    Ok((user.map(str::to_owned), host.to_owned(), port))
}

/// The account of this process. Name and home come from the password file, as in OpenSSH, not from
/// the environment.
fn own_account() -> Result<User, TransportError> {
    let uid = Uid::current();
    User::from_uid(uid)
        .ok()
        .flatten()
        .ok_or_else(|| TransportError::Settings(format!("find the account of user id {uid}")))
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
