//! The keys of each table.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use toml_edit::{Document, TableLike};

use super::error::Problems;
use super::reader::{At, Reader};
use super::types::{ConsulSettings, DockerSettings, Network, Nfs, Options, PasswordSource, Registry, SshSettings, Timeouts};
use crate::spec::{ClusterName, ImageRef};

/// The file with its types checked and nothing else.
pub(super) struct Raw {
    pub cluster: ClusterName,
    pub masters: Vec<At<String>>,
    pub masters_span: Option<std::ops::Range<usize>>,
    pub slaves: Vec<At<String>>,
    pub edges: Vec<At<String>>,
    pub hosts: BTreeMap<String, RawHost>,
    pub nic: String,
    pub listen_ip: Option<IpAddr>,
    pub network: Network,
    pub ssh: SshSettings,
    pub docker: DockerSettings,
    pub registry: Option<Registry>,
    pub nfs: Option<Nfs>,
    pub images: BTreeMap<String, ImageRef>,
    pub consul: ConsulSettings,
    pub options: Options,
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
    pub listen_ip: Option<IpAddr>,
    pub persistent: bool,
}

const ADDRESS: &str = "an IP address";

/// Reads all tables; `base` is the folder that relative paths start from.
pub(super) fn read(document: &Document<&str>, base: &Path, problems: &mut Problems<'_>) -> Raw {
    let mut top = Reader::new(document.as_table(), "the inventory", problems);
    let cluster = top.parsed::<ClusterName>("cluster", "a cluster name (letters, digits, '-', '_')").map(|at| at.value);
    let masters = top.texts("masters");
    let masters_span = top.span("masters");
    let slaves = top.texts("slaves").unwrap_or_default();
    let edges = top.texts("edges").unwrap_or_default();
    let tables: Vec<Option<&dyn TableLike>> =
        ["hosts", "network", "ssh", "docker", "registry", "nfs", "images", "consul", "components", "timeouts"]
            .map(|name| top.table(name))
            .into();
    if masters.is_none() && masters_span.is_none() {
        top.problem(None, "it names no masters", Some("begin with: masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]".into()));
    }
    top.finish();
    let mut tables = tables.into_iter();
    let mut next = || tables.next().flatten();
    let hosts = next().map(|table| hosts(table, problems)).unwrap_or_default();
    let (nic, listen_ip, network) = network(next(), problems);
    Raw {
        cluster: cluster.unwrap_or_else(default_cluster),
        masters: masters.unwrap_or_default(),
        masters_span,
        slaves,
        edges,
        hosts,
        nic,
        listen_ip,
        network,
        ssh: next().map(|table| ssh(table, base, problems)).unwrap_or_default(),
        docker: docker(next(), problems),
        registry: next().and_then(|table| registry(table, base, problems)),
        nfs: next().and_then(|table| nfs(table, problems)),
        images: next().map(|table| images(table, problems)).unwrap_or_default(),
        consul: consul(next(), problems),
        options: next().map(|table| options(table, problems)).unwrap_or_default(),
        timeouts: next().map(|table| timeouts(table, problems)).unwrap_or_default(),
    }
}

fn default_cluster() -> ClusterName {
    match ClusterName::new("dc1") {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

fn port(reader: &mut Reader<'_, '_, '_>) -> Option<u16> {
    reader.integer("port", 1..=65535).and_then(|port| u16::try_from(port).ok())
}

fn hosts(table: &dyn TableLike, problems: &mut Problems<'_>) -> BTreeMap<String, RawHost> {
    let mut out = BTreeMap::new();
    for (name, item) in table.iter() {
        let span = table.get_key_value(name).and_then(|(key, _)| key.span());
        let Some(host) = item.as_table_like() else {
            problems.add(span, format!("hosts.{name} is not a table"), Some(format!("write [hosts.{name}] and its keys below")));
            continue;
        };
        let mut reader = Reader::new(host, format!("[hosts.{name}]"), problems);
        let raw = RawHost {
            span,
            address: reader.parsed("address", ADDRESS),
            ssh: reader.text("ssh").map(|at| at.value),
            port: port(&mut reader),
            user: reader.text("user").map(|at| at.value),
            nic: reader.text("nic").map(|at| at.value),
            listen_ip: reader.parsed("listen_ip", ADDRESS).map(|at| at.value),
            persistent: reader.flag("persistent").unwrap_or(false),
        };
        reader.finish();
        out.insert(name.to_owned(), raw);
    }
    out
}

fn network(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> (String, Option<IpAddr>, Network) {
    let mut network = Network { in_domain: "consul".into(), ex_domain: None, vip: None };
    let Some(table) = table else { return ("eth0".into(), None, network) };
    let mut reader = Reader::new(table, "[network]", problems);
    let nic = reader.text("nic").map_or_else(|| "eth0".into(), |at| at.value);
    let listen_ip = reader.parsed("listen_ip", ADDRESS).map(|at| at.value);
    if let Some(domain) = domain(&mut reader, "in_domain") {
        network.in_domain = domain;
    }
    network.ex_domain = domain(&mut reader, "ex_domain");
    network.vip = reader.parsed("vip", ADDRESS).map(|at| at.value);
    reader.finish();
    (nic, listen_ip, network)
}

/// A DNS domain, with or without a leading dot, in lower case.
fn domain(reader: &mut Reader<'_, '_, '_>, key: &'static str) -> Option<String> {
    let text = reader.text(key)?;
    let domain = text.value.trim_start_matches('.').trim_end_matches('.').to_lowercase();
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
    reader.problem(text.span, format!("{key} = {:?} is not a domain", text.value), Some("write it like \"example.com\"".into()));
    None
}

fn ssh(table: &dyn TableLike, base: &Path, problems: &mut Problems<'_>) -> SshSettings {
    let mut reader = Reader::new(table, "[ssh]", problems);
    let paths = |list: Option<Vec<At<String>>>| list.unwrap_or_default().into_iter().map(|at| path(base, &at.value)).collect();
    let identity_files = paths(reader.texts("identity_files"));
    let known_hosts_files = paths(reader.texts("known_hosts_files"));
    let privilege = reader.text("privilege");
    if let Some(at) = &privilege
        && !["auto", "root", "sudo", "doas"].contains(&at.value.as_str())
    {
        reader.problem(at.span.clone(), format!("privilege = {:?} is not known", at.value), Some("auto, root, sudo or doas".into()));
    }
    let out = SshSettings {
        user: reader.text("user").map(|at| at.value),
        port: port(&mut reader),
        identity_files,
        known_hosts_files,
        proxy_jump: reader.text("proxy_jump").map(|at| at.value),
        config_file: reader.text("config_file").map(|at| path(base, &at.value)),
        privilege: privilege.map(|at| at.value),
    };
    reader.finish();
    out
}

/// Relative paths start at the inventory's folder, `~/` at the home folder.
fn path(base: &Path, text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => base.join(text),
    }
}

fn docker(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> DockerSettings {
    let mut out = DockerSettings { install: true };
    if let Some(table) = table {
        let mut reader = Reader::new(table, "[docker]", problems);
        out.install = reader.flag("install").unwrap_or(true);
        reader.finish();
    }
    out
}

fn registry(table: &dyn TableLike, base: &Path, problems: &mut Problems<'_>) -> Option<Registry> {
    let mut reader = Reader::new(table, "[registry]", problems);
    let server = reader.text("server");
    if let Some(at) = &server
        && (at.value.is_empty() || !at.value.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c)))
    {
        reader.problem(at.span.clone(), format!("server = {:?} is not host or host:port", at.value), None);
    }
    let file = reader.text("password_file").map(|at| PasswordSource::File(path(base, &at.value)));
    let env = reader.text("password_env").map(|at| PasswordSource::Env(at.value));
    let out = Registry {
        server: server.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
        address: reader.parsed("address", ADDRESS).map(|at| at.value),
        ca: reader.text("ca").map(|at| path(base, &at.value)),
        username: reader.text("username").map(|at| at.value),
        password: file.or(env),
    };
    if server.is_none() {
        let span = table.iter().next().and_then(|(key, _)| reader.span(key));
        reader.problem(span, "[registry] names no server", Some("write: server = \"registry.example.com:5000\"".into()));
    }
    reader.finish();
    Some(out)
}

fn nfs(table: &dyn TableLike, problems: &mut Problems<'_>) -> Option<Nfs> {
    let mut reader = Reader::new(table, "[nfs]", problems);
    let export = reader.text("export");
    if let Some(at) = &export
        && at.value.split_once(":/").is_none_or(|(host, _)| host.is_empty())
    {
        reader.problem(at.span.clone(), format!("export = {:?} is not host:/path", at.value), None);
    }
    reader.finish();
    export.map(|at| Nfs { export: at.value })
}

fn images(table: &dyn TableLike, problems: &mut Problems<'_>) -> BTreeMap<String, ImageRef> {
    let mut out = BTreeMap::new();
    for (name, item) in table.iter() {
        let fits = |text: &str| {
            !text.is_empty()
                && text.len() < 256
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "./:@_-".contains(c))
        };
        match item.as_str() {
            Some(text) if fits(text) => drop(out.insert(name.to_owned(), ImageRef(text.to_owned()))),
            _ => problems.add(item.span(), format!("images.{name} is not an image reference"), Some("write \"registry/name:tag\"".into())),
        }
    }
    out
}

fn consul(table: Option<&dyn TableLike>, problems: &mut Problems<'_>) -> ConsulSettings {
    let mut out = ConsulSettings { raft_multiplier: 1 };
    if let Some(table) = table {
        let mut reader = Reader::new(table, "[consul]", problems);
        out.raft_multiplier = reader.integer("raft_multiplier", 1..=10).and_then(|n| u8::try_from(n).ok()).unwrap_or(1);
        reader.finish();
    }
    out
}

fn options(table: &dyn TableLike, problems: &mut Problems<'_>) -> Options {
    let mut reader = Reader::new(table, "[components]", problems);
    let out = Options {
        registrator_on_masters: reader.flag("registrator_on_masters").unwrap_or(false),
        balancer_on_slaves: reader.flag("balancer_on_slaves").unwrap_or(false),
    };
    reader.finish();
    out
}

fn timeouts(table: &dyn TableLike, problems: &mut Problems<'_>) -> Timeouts {
    let mut reader = Reader::new(table, "[timeouts]", problems);
    let default = Timeouts::default();
    let out = Timeouts {
        connect: reader.duration("connect").unwrap_or(default.connect),
        exec: reader.duration("exec").unwrap_or(default.exec),
        install: reader.duration("install").unwrap_or(default.install),
        pull_idle: reader.duration("pull_idle").unwrap_or(default.pull_idle),
        gate: reader.duration("gate").unwrap_or(default.gate),
    };
    reader.finish();
    out
}
