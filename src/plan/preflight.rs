//! Checks of all hosts together, before the first change. Pure: every fact was observed before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::images;
use super::types::Observed;
use crate::desired::{ComponentDesired, Desired, HostDesired};
use crate::docker::EngineStatus;
use crate::observe::{DockerStatus, Facts, HostStatus, Listener};
use crate::spec::{ContainerSpec, HostName, Protocol, Remedy};

/// The requirements on a host.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The network interface that must hold each host's address; that of a host without an entry may
    /// be on any.
    pub nics: BTreeMap<HostName, String>,
    /// Whether a missing Engine may be installed.
    pub install_docker: bool,
    /// Least free space for images, in KiB.
    pub disk_docker_kib: u64,
    /// Free space for the build of an image, in addition, in KiB.
    pub disk_build_kib: u64,
    /// Least free space for data, in KiB.
    pub disk_data_kib: u64,
    /// Least memory, in KiB.
    pub memory_kib: u64,
    /// Largest clock offset against the median that is accepted, in milliseconds (consensus
    /// protocols and TLS suffer beyond).
    pub clock_refuse_ms: i64,
    /// Largest clock offset against the median without a warning, in milliseconds.
    pub clock_warn_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nics: BTreeMap::new(),
            install_docker: true,
            disk_docker_kib: 2 * 1024 * 1024,
            disk_build_kib: 1024 * 1024,
            disk_data_kib: 512 * 1024,
            memory_kib: 512 * 1024,
            clock_refuse_ms: 30_000,
            clock_warn_ms: 1_000,
        }
    }
}

/// One finding on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub host: HostName,
    /// Whether it stops the run; otherwise it is a warning.
    pub fatal: bool,
    /// What is wrong.
    pub why: String,
    /// The remedy.
    pub hint: Remedy,
}

/// The oldest Engine that is supported.
const OLDEST_ENGINE: (u64, u64) = (1, 10);
/// The oldest docker-compose that is supported, where one is present.
const OLDEST_COMPOSE: (u64, u64, u64) = (1, 5, 1);

/// All findings on all hosts.
#[must_use]
pub fn preflight(desired: &Desired, observed: &Observed, limits: &Limits) -> Vec<Finding> {
    let mut out = Vec::new();
    let clock = median(
        observed
            .values()
            .map(|status| status.facts.clock_offset_ms)
            .collect(),
    );
    // A host that was not observed is down or cut off as a whole: its peers' ports say nothing new.
    let unobserved: BTreeSet<String> = desired
        .hosts
        .iter()
        .filter(|host| !observed.contains_key(&host.name))
        .map(|host| host.address.to_string())
        .collect();
    for host in &desired.hosts {
        let Some(status) = observed.get(&host.name) else {
            continue;
        };
        let mut checks = Checks {
            host: &host.name,
            out: &mut out,
        };
        checks.machine(&status.facts, limits);
        checks.disks(status, limits);
        checks.clock(status.facts.clock_offset_ms - clock, limits);
        checks.address(host, &status.facts, limits);
        checks.engine(status, limits);
        checks.images(host, status, desired, observed);
        checks.requirements(host, status);
        checks.versions(host, status);
        checks.propagation(host, &status.facts);
        checks.ports(host, status);
        checks.units(host, &status.facts);
        checks.storage(host, &status.facts);
        checks.reach(host, &status.facts, &unobserved);
    }
    duplicates(desired, observed, &mut out);
    out
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn duplicates(desired: &Desired, observed: &Observed, out: &mut Vec<Finding>) {
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
            out.push(Finding {
                host: host.name.clone(),
                fatal: true,
                why: format!("machine id is the same as on {other}: {id}"),
                hint: Remedy::Advice(format!(
                    "two machines: give one a new id (rm /etc/machine-id && systemd-machine-id-setup, then restart); one machine: remove {} from the inventory",
                    host.name
                )),
            });
        }
    }
}

pub(super) struct Checks<'a> {
    host: &'a HostName,
    out: &'a mut Vec<Finding>,
}

impl Checks<'_> {
    pub(super) fn add(&mut self, fatal: bool, why: String, hint: impl Into<Remedy>) {
        self.out.push(Finding {
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
                "unsupported system: /etc/os-release is missing".into(),
                "use a current Linux distribution",
            );
        }
        if !matches!(facts.arch.as_str(), "x86_64" | "aarch64") {
            self.add(
                true,
                format!("unsupported architecture {:?}", facts.arch),
                "use an x86_64 or aarch64 machine",
            );
        }
        let mib = |kib: u64| kib / 1024;
        if facts.mem_total_kib < limits.memory_kib {
            let why = format!(
                "memory must be at least {} MiB, got {} MiB",
                mib(limits.memory_kib),
                mib(facts.mem_total_kib)
            );
            self.add(true, why, "add memory to the machine");
        }
        if facts.own_name_resolves_to.is_empty() {
            let why = format!("the host's own name {:?} does not resolve", facts.hostname);
            self.add(
                false,
                why,
                format!("add {:?} to /etc/hosts on the host", facts.hostname),
            );
        }
        if let Some(version) = &facts.compose_version
            && numbers(version).is_some_and(|v| (v.0, v.1, v.2) < OLDEST_COMPOSE)
        {
            self.add(
                false,
                format!("docker-compose must be 1.5.1 or later, got {version}"),
                "update or remove docker-compose",
            );
        }
    }

    fn clock(&mut self, offset_ms: i64, limits: &Limits) {
        let seconds = offset_ms.abs() / 1000;
        let side = if offset_ms > 0 { "ahead of" } else { "behind" };
        if offset_ms.abs() > limits.clock_refuse_ms {
            let why = format!("clock is {seconds} s {side} the other hosts");
            self.add(true, why, "start a time service (chrony, systemd-timesyncd) and wait until it is synchronized");
        } else if offset_ms.abs() > limits.clock_warn_ms {
            self.add(
                false,
                format!("clock is {seconds} s {side} the other hosts"),
                "check the time service",
            );
        }
    }

    fn address(&mut self, host: &HostDesired, facts: &Facts, limits: &Limits) {
        let Some(nic) = limits.nics.get(&host.name) else {
            if holder(facts, host.address).is_none() {
                let addresses = facts.nics.values().flatten();
                let has: Vec<String> = addresses.map(ToString::to_string).collect();
                self.add(
                    true,
                    format!(
                        "{} is not an address of any interface (found: {})",
                        host.address,
                        list(&has)
                    ),
                    "list the address at which the other hosts reach it",
                );
            }
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
                    Some(other) => Remedy::SetInterface {
                        host: host.name.clone(),
                        subject: "the address".into(),
                        interface: other.to_owned(),
                    },
                    None => format!("correct the address of {} in the inventory", host.name).into(),
                };
                self.add(true, why, hint);
            }
            None => {
                let has: Vec<String> = facts.nics.keys().cloned().collect();
                let hint = match holder(facts, host.address) {
                    Some(other) => Remedy::SetInterface {
                        host: host.name.clone(),
                        subject: host.address.to_string(),
                        interface: other.to_owned(),
                    },
                    None => format!("available interfaces: {}", list(&has)).into(),
                };
                self.add(
                    true,
                    format!("network interface {nic:?} does not exist"),
                    hint,
                );
            }
        }
    }

    fn engine(&mut self, status: &HostStatus, limits: &Limits) {
        match &status.docker {
            DockerStatus::Absent if !limits.install_docker => {
                self.add(
                    true,
                    "Docker is not installed".into(),
                    Remedy::AllowDockerInstallation,
                );
            }
            DockerStatus::Absent if status.facts.package_managers.is_empty() => {
                self.add(
                    true,
                    "Docker is not installed, and no supported package manager was found".into(),
                    "install Docker manually",
                );
            }
            DockerStatus::Absent => {}
            DockerStatus::Silent(why) => {
                self.add(
                    true,
                    format!("the Docker Engine does not answer: {why}"),
                    "on the host, run: systemctl status docker; journalctl -u docker -n 50",
                );
            }
            DockerStatus::OutOfSessions(why) => {
                self.add(
                    true,
                    format!("no SSH session is left for the Docker Engine: {why}"),
                    "on the host, set MaxSessions 10 in /etc/ssh/sshd_config and run: systemctl \
                     reload ssh; or add the login user to the group docker",
                );
            }
            DockerStatus::Unreadable { engine, why } => {
                if !self.engine_kind(engine) {
                    self.add(
                        true,
                        format!(
                            "Docker {} answers in an unknown form: {why}",
                            engine.version
                        ),
                        "update Docker",
                    );
                }
            }
            DockerStatus::Up { engine, .. } => {
                if !self.engine_kind(engine) {
                    self.engine_settings(engine, &status.facts);
                }
            }
        }
    }

    /// Refuses what is no Docker Engine, or one that is too old; returns whether it did.
    fn engine_kind(&mut self, engine: &EngineStatus) -> bool {
        if engine.is_podman {
            self.add(
                true,
                format!(
                    "Podman {} answers at /var/run/docker.sock, must be a Docker Engine",
                    engine.version
                ),
                "remove podman-docker and install docker.io, or the packages of Docker itself",
            );
            return true;
        }
        let is_old = numbers(&engine.version).is_some_and(|v| (v.0, v.1) < OLDEST_ENGINE);
        if is_old {
            let why = format!("Docker must be 1.10 or later, got {}", engine.version);
            self.add(true, why, "update Docker");
        }
        is_old
    }

    /// What the Engine says about itself. Every member of a cluster uses its host's network.
    fn engine_settings(&mut self, engine: &EngineStatus, facts: &Facts) {
        let Some(info) = &engine.info else {
            self.add(
                false,
                "unchecked: whether Docker runs rootless or remaps users (docker info failed)"
                    .into(),
                "on the host, run: docker info",
            );
            return;
        };
        if info.is_rootless {
            self.add(
                true,
                "Docker runs rootless: its containers have no access to the host's network".into(),
                "use the Engine that runs as root: systemctl enable --now docker",
            );
        }
        if info.remaps_users {
            self.add(
                true,
                "Docker remaps users: its containers cannot use the host's network".into(),
                "remove userns-remap from /etc/docker/daemon.json, then: systemctl restart docker",
            );
        }
        if !info.root.is_empty() && info.root != facts.docker_root {
            let (root, seen) = (&info.root, &facts.docker_root);
            self.add(
                false,
                format!(
                    "unchecked: free space of {root}, Docker's data root ({seen} was measured)"
                ),
                format!("on the host, run: df -h {root}"),
            );
        }
    }

    fn images(
        &mut self,
        host: &HostDesired,
        status: &HostStatus,
        desired: &Desired,
        observed: &Observed,
    ) {
        self.out.extend(images::check_bundle(host, status, desired));
        let wanted = host.components.iter().map(|c| &c.container.image);
        for image in wanted.filter(|image| images::is_lost(image, status, desired, observed)) {
            let recipe = image.repository().rsplit('/').next().unwrap_or_default();
            self.add(
                true,
                format!("no host has {image} any more, which an earlier toots built"),
                Remedy::BuildAnew {
                    recipe: recipe.to_owned(),
                },
            );
        }
    }

    fn ports(&mut self, host: &HostDesired, status: &HostStatus) {
        for component in &host.components {
            let there = matches!(&status.docker, DockerStatus::Up { containers, .. } if containers.iter().any(|c| c.name == component.container.name()));
            for port in &component.ports {
                let others: Vec<&Listener> = status
                    .listeners
                    .iter()
                    .filter(|l| {
                        l.port == port.number
                            && l.protocol == port.protocol.as_str()
                            && !ours(l, component, host)
                    })
                    .collect();
                if let Some(listener) = others.iter().find(|l| overlaps(l.address, host.address)) {
                    let why = format!(
                        "port {port} ({} {}) is in use by {}",
                        component.name,
                        port.purpose,
                        owner(listener)
                    );
                    self.add(
                        true,
                        why,
                        "stop or move that program, or remove the role from the host",
                    );
                } else if let Some(listener) = others
                    .iter()
                    .min_by_key(|l| l.address)
                    .filter(|_| !there && port.protocol == Protocol::Tcp)
                {
                    // Usually a resolver of the distribution. Reported once: before the component
                    // exists.
                    let held = listener.address;
                    let why = format!(
                        "{} keeps {port} on {held}; {} will use {}",
                        owner(listener),
                        component.name,
                        host.address
                    );
                    self.add(false, why, "no action needed");
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
            let why = format!(
                "{0} needs systemd, which does not run on this host",
                list(&wanted)
            );
            self.add(
                true,
                why,
                "use a distribution with systemd, or disable the component for this cluster",
            );
        }
    }

    fn storage(&mut self, host: &HostDesired, facts: &Facts) {
        let Some(export) = &host.nfs else { return };
        if !facts.nfs_kernel {
            let why = format!(
                "kernel {} has no NFS client, {export} cannot be mounted",
                facts.kernel
            );
            self.add(
                true,
                why,
                Remedy::BootNfsKernel {
                    host: host.name.clone(),
                },
            );
        }
        let server = peer(host.nfs_server());
        if server
            .as_ref()
            .is_some_and(|server| facts.reaches.get(server) == Some(&false))
        {
            let why = format!(
                "cannot connect to the NFS server of {export} ({})",
                server.unwrap_or_default()
            );
            self.add(true, why, Remedy::CorrectExport);
        }
    }

    fn reach(&mut self, host: &HostDesired, facts: &Facts, unobserved: &BTreeSet<String>) {
        let server = peer(host.nfs_server());
        let cut: Vec<String> = facts
            .reaches
            .iter()
            .filter(|(peer, ok)| !**ok && server.as_ref() != Some(*peer))
            .filter(|(peer, _)| {
                let address = peer.split(" port ").next().unwrap_or(peer);
                !unobserved.contains(address)
            })
            .map(|(peer, _)| peer.clone())
            .collect();
        if !cut.is_empty() {
            let why = format!("cannot connect to {}", list(&cut));
            self.add(
                true,
                why,
                "open these ports between the hosts in firewalls and security groups",
            );
        }
    }
}

/// A peer as the observation names it.
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

/// A listener on all addresses takes the port everywhere; one on another single address (a resolver
/// on 127.0.0.53) does not.
fn overlaps(bound: IpAddr, address: IpAddr) -> bool {
    bound.is_unspecified() || bound == address
}

fn ours(listener: &Listener, component: &ComponentDesired, host: &HostDesired) -> bool {
    let Some(container) = &listener.container else {
        return false;
    };
    let container = container.trim_end_matches(ContainerSpec::FORMER);
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
        (None, None, _) => "an unknown process".into(),
    }
}

/// The first three numbers of a version (`v2.40.3` → 2, 40, 3).
pub(super) fn numbers(version: &str) -> Option<(u64, u64, u64)> {
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
