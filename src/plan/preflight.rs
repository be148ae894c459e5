//! Checks of all hosts together, before the first change. Pure: everything was already observed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::diff::recorded_spec;
use super::types::Observed;
use crate::desired::{ComponentDesired, Desired, HostDesired};
use crate::observe::{DockerStatus, Facts, HostStatus, Listener};
use crate::spec::HostName;

/// What a host must have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The NIC on which each host's address must be; a host without an entry is not checked.
    pub nics: BTreeMap<HostName, String>,
    /// Whether a missing Engine may be installed.
    pub install_docker: bool,
    /// Least free space for images, KiB.
    pub disk_docker_kib: u64,
    /// Least free space for data, KiB.
    pub disk_data_kib: u64,
    /// Least memory, KiB.
    pub memory_kib: u64,
    /// Largest clock offset against the median that is not refused, milliseconds (consensus protocols and TLS suffer beyond).
    pub clock_refuse_ms: i64,
    /// Largest clock offset against the median without a warning, milliseconds.
    pub clock_warn_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nics: BTreeMap::new(),
            install_docker: true,
            disk_docker_kib: 2 * 1024 * 1024,
            disk_data_kib: 512 * 1024,
            memory_kib: 512 * 1024,
            clock_refuse_ms: 30_000,
            clock_warn_ms: 1_000,
        }
    }
}

/// One finding on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The host.
    pub host: HostName,
    /// Whether it stops the run; else it is a warning.
    pub fatal: bool,
    /// What is wrong.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

/// The oldest Engine that is supported.
const OLDEST_ENGINE: (u64, u64) = (1, 10);
/// The oldest docker-compose that is supported, where one is present.
const OLDEST_COMPOSE: (u64, u64, u64) = (1, 5, 1);

/// All findings on all hosts.
#[must_use]
pub fn preflight(desired: &Desired, observed: &Observed, limits: &Limits) -> Vec<Refusal> {
    let mut out = Vec::new();
    let clock = median(
        observed
            .values()
            .map(|status| status.facts.clock_offset_ms)
            .collect(),
    );
    for host in &desired.hosts {
        let Some(status) = observed.get(&host.name) else {
            continue;
        };
        let mut checks = Checks {
            host: &host.name,
            out: &mut out,
        };
        checks.machine(&status.facts, limits);
        checks.clock(status.facts.clock_offset_ms - clock, limits);
        checks.address(host, &status.facts, limits);
        checks.engine(status, limits);
        checks.requirements(host, status);
        checks.ports(host, status);
        checks.units(host, &status.facts);
        checks.storage(host, &status.facts);
        checks.reach(host, &status.facts);
    }
    duplicates(desired, observed, &mut out);
    out
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn duplicates(desired: &Desired, observed: &Observed, out: &mut Vec<Refusal>) {
    let mut by_id: BTreeMap<&str, &HostName> = BTreeMap::new();
    for host in &desired.hosts {
        let Some(status) = observed.get(&host.name) else {
            continue;
        };
        let id = status.facts.machine_id.as_str();
        if id.is_empty() {
            continue;
        }
        if let Some(other) = by_id.insert(id, &host.name) {
            out.push(Refusal {
                host: host.name.clone(),
                fatal: true,
                why: format!("it has the machine id of {other}: {id}"),
                hint: format!(
                    "if they are two machines, give one a new id (rm /etc/machine-id && systemd-machine-id-setup, then restart); if they are one, remove {} from the inventory",
                    host.name
                ),
            });
        }
    }
}

struct Checks<'a> {
    host: &'a HostName,
    out: &'a mut Vec<Refusal>,
}

impl Checks<'_> {
    fn add(&mut self, fatal: bool, why: String, hint: impl Into<String>) {
        self.out.push(Refusal {
            host: self.host.clone(),
            fatal,
            why,
            hint: hint.into(),
        });
    }

    fn machine(&mut self, facts: &Facts, limits: &Limits) {
        if facts.os_id.is_empty() {
            self.add(
                true,
                "it has no /etc/os-release: it is no Linux distribution that is known".into(),
                "use a current Linux distribution",
            );
        }
        if !matches!(facts.arch.as_str(), "x86_64" | "aarch64") {
            self.add(
                true,
                format!("its architecture is {:?}", facts.arch),
                "use an x86_64 or aarch64 machine",
            );
        }
        let mib = |kib: u64| kib / 1024;
        if facts.mem_total_kib < limits.memory_kib {
            let why = format!(
                "it has {} MiB of memory, {} are needed",
                mib(facts.mem_total_kib),
                mib(limits.memory_kib)
            );
            self.add(true, why, "give the machine more memory");
        }
        for (path, free, needed) in [
            (
                "/var/lib/docker",
                facts.disk_free_docker_kib,
                limits.disk_docker_kib,
            ),
            (
                "/var/lib/toots",
                facts.disk_free_data_kib,
                limits.disk_data_kib,
            ),
        ] {
            if free < needed {
                let why = format!(
                    "{} MiB are free for {path}, {} are needed",
                    mib(free),
                    mib(needed)
                );
                self.add(true, why, format!("free space on the file system of {path}: docker system df, du -xh --max-depth=2 /var"));
            }
        }
        if facts.own_name_resolves_to.is_empty() {
            let why = format!("its own name {:?} does not resolve on it", facts.hostname);
            self.add(
                false,
                why,
                format!(
                    "add a line for {:?} to /etc/hosts on the host",
                    facts.hostname
                ),
            );
        }
        if let Some(version) = &facts.compose_version
            && numbers(version).is_some_and(|v| (v.0, v.1, v.2) < OLDEST_COMPOSE)
        {
            self.add(
                false,
                format!("docker-compose {version} is older than 1.5.1"),
                "update docker-compose, or remove it",
            );
        }
    }

    fn clock(&mut self, offset_ms: i64, limits: &Limits) {
        let seconds = offset_ms.abs() / 1000;
        let side = if offset_ms > 0 { "ahead of" } else { "behind" };
        if offset_ms.abs() > limits.clock_refuse_ms {
            let why = format!("its clock is {seconds} s {side} the other hosts");
            self.add(true, why, "start a time service on it (chrony, systemd-timesyncd) and wait until it is in step");
        } else if offset_ms.abs() > limits.clock_warn_ms {
            self.add(
                false,
                format!("its clock is {seconds} s {side} the other hosts"),
                "check its time service",
            );
        }
    }

    fn address(&mut self, host: &HostDesired, facts: &Facts, limits: &Limits) {
        let Some(nic) = limits.nics.get(&host.name) else {
            return;
        };
        match facts.nics.get(nic) {
            Some(addresses) if addresses.contains(&host.address) => {}
            Some(addresses) => {
                let has: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let why = format!(
                    "{} is not an address of {nic}, which has {}",
                    host.address,
                    list(&has)
                );
                let hint = match holder(facts, host.address) {
                    Some(other) => format!(
                        "it is on {other}: set nic = {other:?} in [network] or [hosts.{}]",
                        host.name
                    ),
                    None => format!("correct the address of {} in the inventory", host.name),
                };
                self.add(true, why, hint);
            }
            None => {
                let has: Vec<String> = facts.nics.keys().cloned().collect();
                let hint = match holder(facts, host.address) {
                    Some(other) => format!(
                        "{} is on {other}: set nic = {other:?} in [network] or [hosts.{}]",
                        host.address, host.name
                    ),
                    None => format!("it has {}", list(&has)),
                };
                self.add(true, format!("it has no network interface {nic:?}"), hint);
            }
        }
    }

    fn engine(&mut self, status: &HostStatus, limits: &Limits) {
        match &status.docker {
            DockerStatus::Absent if !limits.install_docker => {
                self.add(
                    true,
                    "Docker is not installed".into(),
                    "install Docker 1.10 or later on it, or set install = true in [docker]",
                );
            }
            DockerStatus::Absent if status.facts.package_managers.is_empty() => {
                self.add(
                    true,
                    "Docker is not installed, and no known package manager is there to install it"
                        .into(),
                    "install Docker by hand",
                );
            }
            DockerStatus::Absent => {}
            DockerStatus::Silent(why) => {
                self.add(
                    true,
                    format!("the Docker Engine does not answer: {why}"),
                    "look at it on the host: systemctl status docker; journalctl -u docker -n 50",
                );
            }
            DockerStatus::Up { engine, .. } => {
                if numbers(&engine.version).is_some_and(|v| (v.0, v.1) < OLDEST_ENGINE) {
                    self.add(
                        true,
                        format!("Docker {} is older than 1.10", engine.version),
                        "update Docker",
                    );
                }
            }
        }
    }

    fn requirements(&mut self, host: &HostDesired, status: &HostStatus) {
        for component in &host.components {
            for requirement in &component.requires {
                let image = &component.container.image;
                if component
                    .data_dir
                    .as_ref()
                    .is_some_and(|dir| status.has_data.contains(dir))
                    && let Some(former) = recorded_spec(component, status)
                    && let Some((former, wanted)) =
                        requirement.changed_argument(&former, &component.container)
                {
                    let why = format!(
                        "{} has data with {former} and is to start with {wanted}: {}",
                        component.name, requirement.why
                    );
                    self.add(true, why, requirement.hint.as_str());
                }
                if requirement
                    .cgroup
                    .is_some_and(|version| version != status.facts.cgroup_version)
                {
                    let has = status.facts.cgroup_version;
                    let why = format!(
                        "{image} does not run on it: {} (the host has version {has})",
                        requirement.why
                    );
                    self.add(true, why, requirement.hint.as_str());
                }
                if let DockerStatus::Up { engine, .. } = &status.docker
                    && requirement.refuses_engine(&engine.min_api)
                {
                    let why = format!(
                        "{image} does not run on it: {} (Docker {} speaks {} and later)",
                        requirement.why, engine.version, engine.min_api
                    );
                    self.add(true, why, requirement.hint.as_str());
                }
            }
        }
    }

    fn ports(&mut self, host: &HostDesired, status: &HostStatus) {
        for component in &host.components {
            let there = matches!(&status.docker, DockerStatus::Up { containers, .. } if containers.iter().any(|c| c.name == component.container.name()));
            for (port, protocol, purpose) in &component.ports {
                let others: Vec<&Listener> = status
                    .listeners
                    .iter()
                    .filter(|l| {
                        l.port == *port && l.protocol == *protocol && !ours(l, component, host)
                    })
                    .collect();
                if let Some(listener) = others.iter().find(|l| overlaps(l.address, host.address)) {
                    let why = format!(
                        "port {port}/{protocol} ({} {purpose}) is taken by {}",
                        component.name,
                        owner(listener)
                    );
                    self.add(
                        true,
                        why,
                        "stop or move that program, or take the host out of the role",
                    );
                } else if let Some(listener) = others
                    .iter()
                    .min_by_key(|l| l.address)
                    .filter(|_| !there && protocol == "tcp")
                {
                    // A resolver of the distribution, as a rule. Said once: before the component is there.
                    let held = listener.address;
                    let why = format!(
                        "port {port}/{protocol} of {held} is held by {} and stays so; {} takes that of {}",
                        owner(listener),
                        component.name,
                        host.address
                    );
                    self.add(false, why, "nothing has to be done");
                }
            }
        }
    }

    fn units(&mut self, host: &HostDesired, facts: &Facts) {
        let wanted: Vec<String> = host
            .units
            .iter()
            .chain(
                host.components
                    .iter()
                    .flat_map(|component| &component.units),
            )
            .cloned()
            .collect();
        if !wanted.is_empty() && !facts.systemd {
            let why = format!("systemd does not run on it, and {} needs it", list(&wanted));
            self.add(
                true,
                why,
                "use a distribution with systemd, or turn the component off for this cluster",
            );
        }
    }

    fn storage(&mut self, host: &HostDesired, facts: &Facts) {
        let Some(export) = &host.nfs else { return };
        if !facts.nfs_kernel {
            let why = format!(
                "its kernel {} has no NFS client, so {export} cannot be mounted on it",
                facts.kernel
            );
            self.add(
                true,
                why,
                format!(
                    "boot a kernel with NFS, or take persistent = true from [hosts.{}]",
                    host.name
                ),
            );
        }
        let server = peer(host.nfs_server());
        if server
            .as_ref()
            .is_some_and(|server| facts.reaches.get(server) == Some(&false))
        {
            let why = format!(
                "it does not reach the NFS server of {export} ({})",
                server.unwrap_or_default()
            );
            self.add(true, why, "look at the server and the firewall between, or correct export in [nfs]; nothing was mounted");
        }
    }

    fn reach(&mut self, host: &HostDesired, facts: &Facts) {
        let server = peer(host.nfs_server());
        let cut: Vec<String> = facts
            .reaches
            .iter()
            .filter(|(peer, ok)| !**ok && server.as_ref() != Some(*peer))
            .map(|(peer, _)| peer.clone())
            .collect();
        if !cut.is_empty() {
            let why = format!("it does not reach {}", list(&cut));
            self.add(
                true,
                why,
                "open these ports between the hosts in their firewalls and security groups",
            );
        }
    }
}

/// A peer as what was seen names it.
fn peer(server: Option<(&str, u16)>) -> Option<String> {
    server.map(|(address, port)| format!("{address} port {port}"))
}

fn holder(facts: &Facts, address: IpAddr) -> Option<&str> {
    facts
        .nics
        .iter()
        .find(|(_, addresses)| addresses.contains(&address))
        .map(|(nic, _)| nic.as_str())
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "none".into()
    } else {
        items.join(", ")
    }
}

/// A listener on all addresses takes the port everywhere; one on another single address (a resolver on 127.0.0.53) does not.
fn overlaps(bound: IpAddr, address: IpAddr) -> bool {
    bound.is_unspecified() || bound == address
}

fn ours(listener: &Listener, component: &ComponentDesired, host: &HostDesired) -> bool {
    let Some(container) = &listener.container else {
        return false;
    };
    let container = container.trim_end_matches(".old");
    *container == component.container.name()
        || host
            .components
            .iter()
            .any(|c| c.container.name() == container)
}

fn owner(listener: &Listener) -> String {
    match (&listener.container, &listener.process, listener.pid) {
        (Some(container), _, _) => format!("container {container}"),
        (None, Some(process), Some(pid)) => format!("{process} (pid {pid})"),
        (None, Some(process), None) => process.clone(),
        (None, None, _) => "a process whose name could not be read".into(),
    }
}

/// The first three numbers of a version (`v2.40.3` → 2, 40, 3).
fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version
        .trim_start_matches('v')
        .split(['.', '-', '+', '~'])
        .map(|part| part.parse::<u64>().unwrap_or(0));
    Some((
        parts.next()?,
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    ))
}
