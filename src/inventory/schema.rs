//! The keys of each table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use toml_edit::{Document, TableLike};

use super::error::Problems;
use super::reader::{At, TableReader};
use super::types::{
    BaseFolders, ConsulSettings, DockerSettings, Network, Nfs, OpenVpn, PasswordSource, Registry,
    SshSettings, Timeouts,
};
use crate::spec::{ClusterName, ImageRef};

/// The file with checked types.
pub(super) struct Raw {
    pub cluster: ClusterName,
    pub masters: Vec<At<String>>,
    pub masters_span: Option<std::ops::Range<usize>>,
    pub slaves: Vec<At<String>>,
    pub edges: Vec<At<String>>,
    pub hosts: BTreeMap<String, RawHost>,
    pub nic: Option<String>,
    pub listen_ip: Option<At<IpAddr>>,
    pub vip_span: Option<std::ops::Range<usize>>,
    pub network: Network,
    pub ssh: SshSettings,
    pub jump_span: Option<std::ops::Range<usize>>,
    pub docker: DockerSettings,
    pub registry: Option<Registry>,
    pub nfs: Option<Nfs>,
    pub openvpn: Option<OpenVpn>,
    pub images: BTreeMap<String, ImageRef>,
    pub recipe_arguments: BTreeMap<String, BTreeMap<String, String>>,
    /// The folder of relative paths.
    pub folders: BaseFolders,
    pub spread_images: bool,
    pub consul: ConsulSettings,
    pub switches: BTreeSet<String>,
    pub params: BTreeMap<String, BTreeMap<String, String>>,
    pub places: BTreeMap<String, (usize, usize)>,
    pub timeouts: Timeouts,
}

/// `[hosts.NAME]`
#[derive(Default)]
pub(super) struct RawHost {
    pub span: Option<std::ops::Range<usize>>,
    pub address: Option<At<IpAddr>>,
    pub ssh: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub nic: Option<String>,
    pub listen_ip: Option<At<IpAddr>>,
    pub persistent: bool,
}

const ADDRESS: &str = "an IP address";
const NIC: &str = "a network interface name (at most 15 letters, digits, '.', '-', '_')";
const USER: &str = "a login name (letters, digits, '.', '-', '_', '@')";

fn is_nic(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn is_user(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-@\\".contains(c))
}

fn is_host(text: &str) -> bool {
    crate::spec::HostName::new(text).is_ok()
}

/// Reads all tables.
pub(super) fn read(
    document: &Document<&str>,
    folders: &BaseFolders,
    problems: &mut Problems<'_>,
) -> Raw {
    let mut top = TableReader::new(document.as_table(), "the inventory", problems);
    let cluster = top
        .parsed::<ClusterName>("cluster", "a cluster name (letters, digits, '-', '_')")
        .map(|at| at.value);
    let masters = top.texts("masters");
    // A list of the wrong type is already reported; checking its length would only confuse.
    let masters_span = masters.as_ref().and_then(|_| top.span("masters"));
    let slaves = top.texts("slaves").unwrap_or_default();
    let edges = top.texts("edges").unwrap_or_default();
    let tables: Vec<Option<&dyn TableLike>> = [
        "hosts",
        "network",
        "ssh",
        "docker",
        "registry",
        "nfs",
        "openvpn",
        "images",
        "consul",
        "components",
        "params",
        "timeouts",
    ]
    .map(|name| top.table(name))
    .into();
    if !document.as_table().contains_key("masters") && !document.as_table().contains_key("MASTERS")
    {
        top.problem(
            Some(0..0),
            "`masters` is missing",
            Some("start with: masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]".into()),
        );
    }
    top.finish();
    let mut tables = tables.into_iter();
    let mut next = || tables.next().flatten();
    let hosts = next()
        .map(|table| hosts(table, problems))
        .unwrap_or_default();
    let Net {
        nic,
        listen_ip,
        vip_span,
        network,
    } = network(next(), problems);
    let mut places = BTreeMap::new();
    let (ssh, jump_span) = next()
        .map(|table| ssh(table, folders, problems))
        .unwrap_or_default();
    let docker = docker(next(), problems);
    let registry = next().and_then(|table| registry(table, folders, problems));
    let nfs = next().and_then(|table| nfs(table, problems));
    let openvpn = next().and_then(|table| openvpn(table, folders, problems));
    let images = next()
        .map(|table| super::open::images(table, &mut places, problems))
        .unwrap_or_default();
    Raw {
        cluster: cluster.unwrap_or_else(default_cluster),
        masters: masters.unwrap_or_default(),
        masters_span,
        slaves,
        edges,
        hosts,
        nic,
        listen_ip,
        vip_span,
        network,
        ssh,
        jump_span,
        docker,
        registry,
        nfs,
        openvpn,
        images: images.references,
        recipe_arguments: images.arguments,
        spread_images: images.spread,
        folders: folders.clone(),
        consul: consul(next(), problems),
        switches: next()
            .map(|table| super::open::switches(table, &mut places, problems))
            .unwrap_or_default(),
        params: next()
            .map(|table| super::open::params(table, &mut places, problems))
            .unwrap_or_default(),
        timeouts: next()
            .map(|table| timeouts(table, problems))
            .unwrap_or_default(),
        places,
    }
}

fn default_cluster() -> ClusterName {
    match ClusterName::new("dc1") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

fn port(reader: &mut TableReader<'_, '_, '_>) -> Option<u16> {
    reader
        .integer("port", 1..=65535)
        .and_then(|port| u16::try_from(port).ok())
}

fn hosts(table: &dyn TableLike, problems: &mut Problems<'_>) -> BTreeMap<String, RawHost> {
    let mut out = BTreeMap::new();
    for (name, item) in table.iter() {
        let span = table.get_key_value(name).and_then(|(key, _)| key.span());
        let Some(host) = item.as_table_like() else {
            problems.add(
                span,
                format!("`hosts.{name}` must be a table"),
                Some(format!("write [hosts.{name}] and its keys below it")),
            );
            continue;
        };
        let mut reader = TableReader::new(host, format!("[hosts.{name}]"), problems);
        let raw = RawHost {
            span,
            address: reader.parsed("address", ADDRESS),
            ssh: reader.word("ssh", "a host name or an address", is_host),
            port: port(&mut reader),
            user: reader.word("user", USER, is_user),
            nic: reader.word("nic", NIC, is_nic),
            listen_ip: reader.parsed("listen_ip", ADDRESS),
            persistent: reader.flag("persistent").unwrap_or(false),
        };
        reader.finish();
        out.insert(name.to_owned(), raw);
    }
    out
}

/// `[network]`, with the places of values that are checked later.
struct Net {
    nic: Option<String>,
    listen_ip: Option<At<IpAddr>>,
    vip_span: Option<std::ops::Range<usize>>,
    network: Network,
}

fn network(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> Net {
    let mut network = Network {
        in_domain: "consul".into(),
        ex_domain: None,
        vip: None,
    };
    let Some(table) = table else {
        return Net {
            nic: None,
            listen_ip: None,
            vip_span: None,
            network,
        };
    };
    let mut reader = TableReader::new(table, "[network]", problems);
    let nic = reader.word("nic", NIC, is_nic);
    let listen_ip = reader.parsed("listen_ip", ADDRESS);
    if let Some(domain) = domain(&mut reader, "in_domain") {
        network.in_domain = domain;
    }
    network.ex_domain = domain(&mut reader, "ex_domain");
    let vip = reader.parsed("vip", ADDRESS);
    network.vip = vip.as_ref().map(|at| at.value);
    reader.finish();
    Net {
        nic,
        listen_ip,
        vip_span: vip.and_then(|at| at.span),
        network,
    }
}

/// A DNS domain, with or without a leading dot, in lower case.
fn domain(reader: &mut TableReader<'_, '_, '_>, key: &'static str) -> Option<String> {
    let text = reader.text(key)?;
    let domain = text
        .value
        .trim_start_matches('.')
        .trim_end_matches('.')
        .to_lowercase();
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if domain.len() <= 200 && domain.split('.').all(label) {
        return Some(domain);
    }
    reader.problem(
        text.span,
        format!("`{key}` must be a domain, got {:?}", text.value),
        Some("write a domain such as \"example.com\"".into()),
    );
    None
}

fn ssh(
    table: &dyn TableLike,
    folders: &BaseFolders,
    problems: &mut Problems<'_>,
) -> (SshSettings, Option<std::ops::Range<usize>>) {
    let mut reader = TableReader::new(table, "[ssh]", problems);
    let paths = |list: Option<Vec<At<String>>>| {
        list.unwrap_or_default()
            .into_iter()
            .map(|at| folders.path(&at.value))
            .collect()
    };
    let identity_files = paths(reader.texts("identity_files"));
    let known_hosts_files = paths(reader.texts("known_hosts_files"));
    let mut jump = None;
    let privilege = reader.text("privilege");
    if let Some(at) = &privilege
        && !["auto", "root", "sudo", "doas"].contains(&at.value.as_str())
    {
        reader.problem(
            at.span.clone(),
            format!(
                "`privilege` must be auto, root, sudo or doas, got {:?}",
                at.value
            ),
            Some("write one of auto, root, sudo, doas".into()),
        );
    }
    let out = SshSettings {
        user: reader.word("user", USER, is_user),
        port: port(&mut reader),
        identity_files,
        known_hosts_files,
        proxy_jump: reader.text("proxy_jump").map(|at| {
            jump = at.span;
            at.value
        }),
        config_file: reader.text("config_file").map(|at| folders.path(&at.value)),
        privilege: privilege.map(|at| at.value),
    };
    if let Some(text) = &out.proxy_jump
        && !text.split(',').all(is_hop)
    {
        let help = "write \"bastion\", \"user@bastion:22\", or several of them separated by commas"
            .to_owned();
        reader.problem(
            jump.clone(),
            format!("`proxy_jump` must be a list of jump hosts, got {text:?}"),
            Some(help),
        );
    }
    reader.finish();
    (out, jump)
}

/// `[user@]host[:port]`
fn is_hop(text: &str) -> bool {
    let (user, host) = text
        .rsplit_once('@')
        .map_or((None, text), |(user, host)| (Some(user), host));
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => host
            .split_once(':')
            .map_or((host, None), |(host, port)| (host, Some(port))),
    };
    user.is_none_or(is_user)
        && is_host(host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn docker(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> DockerSettings {
    let mut out = DockerSettings { install: true };
    if let Some(table) = table {
        let mut reader = TableReader::new(table, "[docker]", problems);
        out.install = reader.flag("install").unwrap_or(true);
        reader.finish();
    }
    out
}

fn registry(
    table: &dyn TableLike,
    folders: &BaseFolders,
    problems: &mut Problems<'_>,
) -> Option<Registry> {
    if table.is_empty() {
        return None;
    }
    let mut reader = TableReader::new(table, "[registry]", problems);
    let server = reader.text("server");
    if let Some(at) = &server
        && (at.value.is_empty()
            || !at
                .value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c)))
    {
        reader.problem(
            at.span.clone(),
            format!("`server` must be host or host:port, got {:?}", at.value),
            Some("write it as in image references: \"registry.example.com:5000\"".into()),
        );
    }
    let (file_span, env_span) = (reader.span("password_file"), reader.span("password_env"));
    let file = reader
        .text("password_file")
        .map(|at| PasswordSource::File(folders.path(&at.value)));
    let env = reader
        .text("password_env")
        .map(|at| PasswordSource::Env(at.value));
    let out = Registry {
        server: server
            .as_ref()
            .map(|at| at.value.clone())
            .unwrap_or_default(),
        address: reader.parsed("address", ADDRESS).map(|at| at.value),
        ca: reader.text("ca").map(|at| folders.path(&at.value)),
        username: reader.text("username").map(|at| at.value),
        password: file.clone().or(env),
    };
    if file_span.is_some() && env_span.is_some() {
        reader.problem(
            env_span.clone(),
            "password_file and password_env are both set",
            Some("remove one of the two".into()),
        );
    }
    let password_span = file_span.or(env_span);
    if out.username.is_none() && password_span.is_some() {
        reader.problem(
            password_span,
            "a password is set without a username",
            Some("add username = \"…\"".into()),
        );
    } else if out.username.is_some() && password_span.is_none() {
        let help =
            "set password_file or password_env; the password itself does not belong in this file"
                .to_owned();
        let span = reader.span("username");
        reader.problem(span, "a username is set without a password", Some(help));
    }
    if server.is_none() {
        let span = table.iter().next().and_then(|(key, _)| reader.span(key));
        reader.problem(
            span,
            "`server` is missing in [registry]",
            Some("add server = \"registry.example.com:5000\"".into()),
        );
    }
    reader.finish();
    Some(out)
}

fn nfs(table: &dyn TableLike, problems: &mut Problems<'_>) -> Option<Nfs> {
    let mut reader = TableReader::new(table, "[nfs]", problems);
    let export = reader.text("export");
    if let Some(at) = &export
        && !is_export(&at.value)
    {
        let help = "write \"192.168.2.91:/store\"".to_owned();
        reader.problem(
            at.span.clone(),
            format!("`export` must be host:/path, got {:?}", at.value),
            Some(help),
        );
    }
    reader.finish();
    export.map(|at| Nfs { export: at.value })
}

/// `host:/path`, with characters that neither a mount unit nor a mount option misreads.
fn is_export(text: &str) -> bool {
    let path = |path: &str| {
        path.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/+@".contains(c))
            && !path.contains("..")
    };
    text.split_once(":/")
        .is_some_and(|(host, rest)| is_host(host) && path(rest))
}

fn openvpn(
    table: &dyn TableLike,
    folders: &BaseFolders,
    problems: &mut Problems<'_>,
) -> Option<OpenVpn> {
    if table.is_empty() {
        return None;
    }
    let mut reader = TableReader::new(table, "[openvpn]", problems);
    let [ca, certificate, key] = ["ca", "certificate", "key"]
        .map(|name| reader.text(name).map(|at| folders.path(&at.value)));
    if ca.is_none() || certificate.is_none() || key.is_none() {
        let span = table.iter().next().and_then(|(key, _)| reader.span(key));
        let help = "set the PEM files of your own CA: ca, certificate and key of the server (easy-rsa creates them); clients need certificates of the same CA";
        reader.problem(
            span,
            "[openvpn] needs ca, certificate and key",
            Some(help.to_owned()),
        );
    }
    let network = reader.text("network");
    let cidr = network.as_ref().map(|at| cidr(&at.value));
    if let (Some(at), Some(None)) = (&network, &cidr) {
        let help = Some("write a network that is not in use, such as \"10.8.0.0/24\"".to_owned());
        reader.problem(
            at.span.clone(),
            format!(
                "`network` must be an IPv4 network with a prefix length from 8 to 29, got {:?}",
                at.value
            ),
            help,
        );
    }
    reader.finish();
    let network = cidr.flatten().unwrap_or((Ipv4Addr::new(10, 8, 0, 0), 24));
    Some(OpenVpn {
        ca: ca?,
        certificate: certificate?,
        key: key?,
        network,
    })
}

/// `a.b.c.d/n` whose host part is zero.
fn cidr(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (Ipv4Addr, u8) = (address.parse().ok()?, length.parse().ok()?);
    ((8..=29).contains(&length) && u32::from(address).checked_shl(u32::from(length)) == Some(0))
        .then_some((address, length))
}

fn consul(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> ConsulSettings {
    let mut out = ConsulSettings { raft_multiplier: 1 };
    if let Some(table) = table {
        let mut reader = TableReader::new(table, "[consul]", problems);
        out.raft_multiplier = reader
            .integer("raft_multiplier", 1..=10)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(1);
        reader.finish();
    }
    out
}

fn timeouts(table: &dyn TableLike, problems: &mut Problems<'_>) -> Timeouts {
    let mut reader = TableReader::new(table, "[timeouts]", problems);
    let default = Timeouts::default();
    let out = Timeouts {
        connect: reader.duration("connect").unwrap_or(default.connect),
        keepalive: reader.duration("keepalive").unwrap_or(default.keepalive),
        exec: reader.duration("exec").unwrap_or(default.exec),
        install: reader.duration("install").unwrap_or(default.install),
        answer: reader.duration("answer").unwrap_or(default.answer),
        pull_idle: reader.duration("pull_idle").unwrap_or(default.pull_idle),
        gate: reader.duration("gate").unwrap_or(default.gate),
    };
    reader.finish();
    out
}
