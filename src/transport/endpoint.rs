//! One hop as it will be connected to: settings over ssh_config over defaults.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::{Uid, User};

use super::{HostSettings, PrivilegeMode, SshSettings, TransportError, known_hosts::Question};

/// How the bytes get to the hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proxy {
    Direct,
    /// Through other hosts, first hop first.
    Jump(Vec<String>),
}

/// Everything about one hop.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The name that messages use.
    pub(super) label: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) host_key_alias: Option<String>,
    pub(super) user_known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    pub(super) hash_known_hosts: bool,
    pub(super) accept_new: bool,
    /// Named by the operator, in this order; the default files stand in when there are none.
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) default_identity_files: Vec<PathBuf>,
    pub(super) certificate_files: Vec<PathBuf>,
    pub(super) identities_only: bool,
    pub(super) agent: Option<PathBuf>,
    pub(super) password: bool,
    pub(super) keyboard_interactive: bool,
    pub(super) proxy: Proxy,
    pub(super) connect_timeout: Duration,
    pub(super) keepalive: Duration,
    pub(super) keepalive_max: usize,
    pub(super) privilege: PrivilegeMode,
}

const DEFAULT_KEYS: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];

impl Endpoint {
    /// Resolves a host of the inventory.
    pub(super) fn resolve(host: &HostSettings, shared: &SshSettings) -> Result<Self, TransportError> {
        let home = home(shared)?;
        let ssh = home.join(".ssh");
        Ok(Self {
            label: host.name.to_string(),
            host: host.dial.clone(),
            port: host.port.unwrap_or(22),
            user: host.user.clone().map_or_else(local_user, Ok)?,
            host_key_alias: None,
            user_known_hosts: host.known_hosts_files.clone().unwrap_or_else(|| vec![ssh.join("known_hosts"), ssh.join("known_hosts2")]),
            global_known_hosts: vec!["/etc/ssh/ssh_known_hosts".into(), "/etc/ssh/ssh_known_hosts2".into()],
            hash_known_hosts: false,
            accept_new: host.accept_new_host_keys,
            identity_files: host.identity_files.clone(),
            default_identity_files: DEFAULT_KEYS.iter().map(|k| ssh.join(k)).collect(),
            certificate_files: Vec::new(),
            identities_only: false,
            agent: agent(shared),
            password: host.password,
            keyboard_interactive: host.keyboard_interactive,
            proxy: match host.proxy_jump.as_deref() {
                None | Some("none" | "") => Proxy::Direct,
                Some(hops) => Proxy::Jump(hops.split(',').map(|h| h.trim().to_owned()).collect()),
            },
            connect_timeout: shared.connect_timeout.unwrap_or(shared.timeouts.connect),
            keepalive: shared.timeouts.keepalive,
            keepalive_max: shared.timeouts.keepalive_max,
            privilege: host.privilege,
        })
    }

    /// Resolves a jump host by its own name. From the target it takes what belongs to the operator's side: the files of known keys, the
    /// keys to log in with, what may be asked.
    pub(super) fn resolve_hop(hop: &str, target: &Self, shared: &SshSettings) -> Result<Self, TransportError> {
        let (user, host, port) = split_hop(hop)?;
        Ok(Self {
            label: host.clone(),
            port: port.unwrap_or(22),
            user: user.map_or_else(local_user, Ok)?,
            host,
            host_key_alias: None,
            proxy: Proxy::Direct,
            connect_timeout: shared.connect_timeout.unwrap_or(shared.timeouts.connect),
            ..target.clone()
        })
    }

    /// Address and port for messages.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    pub(super) fn question(&self) -> Question {
        Question {
            label: self.label.clone(),
            host: self.host.clone(),
            port: self.port,
            alias: self.host_key_alias.clone(),
            user_files: self.user_known_hosts.clone(),
            global_files: self.global_known_hosts.clone(),
            accept_new: self.accept_new,
            hash_names: self.hash_known_hosts,
        }
    }
}

/// Splits `[user@]host[:port]` or `ssh://[user@]host[:port]`.
pub(super) fn split_hop(text: &str) -> Result<(Option<String>, String, Option<u16>), TransportError> {
    let fail = || TransportError::Settings(format!("jump host {text:?} is not [user@]host[:port]"));
    let rest = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(u, r)| (Some(u), r));
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(fail)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(fail)?) })
        }
        // more than one colon without brackets is a bare IPv6 address
        None if rest.matches(':').count() > 1 => (rest, None),
        None => rest.split_once(':').map_or((rest, None), |(h, p)| (h, Some(p))),
    };
    let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(fail)).transpose()?;
    if host.is_empty() || host.starts_with('-') || user.is_some_and(|u| u.is_empty() || u.starts_with('-')) {
        return Err(fail());
    }
    Ok((user.map(str::to_owned), host.to_owned(), port))
}

/// The login's home directory: of the password file, as OpenSSH has it, and not `HOME`.
pub(super) fn home(shared: &SshSettings) -> Result<PathBuf, TransportError> {
    match &shared.home {
        Some(home) => Ok(home.clone()),
        None => Ok(own_account()?.dir),
    }
}

pub(super) fn local_user() -> Result<String, TransportError> {
    Ok(own_account()?.name)
}

fn own_account() -> Result<User, TransportError> {
    let uid = Uid::current();
    User::from_uid(uid).ok().flatten().ok_or_else(|| TransportError::Settings(format!("find the account of user id {uid}")))
}

fn agent(shared: &SshSettings) -> Option<PathBuf> {
    shared.agent_socket.clone().or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from)).filter(|p| p != Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_split() {
        let hop = |t: &str| split_hop(t).map(|(u, h, p)| (u.unwrap_or_default(), h, p.unwrap_or_default())).ok();
        let want = |u: &str, h: &str, p: u16| Some((u.to_owned(), h.to_owned(), p));
        assert_eq!(hop("b"), want("", "b", 0));
        assert_eq!(hop("u@b:2222"), want("u", "b", 2222));
        assert_eq!(hop("u@x@[fe80::1]:22"), want("u@x", "fe80::1", 22));
        assert_eq!(hop("fe80::1"), want("", "fe80::1", 0));
        assert_eq!(hop("ssh://u@b:1/"), want("u", "b", 1));
        for bad in ["", "u@", "b:0", "b:x", "-oProxyCommand=x", "[b", "[b]x", "-u@b"] {
            assert_eq!(hop(bad), None, "{bad}");
        }
    }
}
