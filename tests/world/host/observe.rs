//! Observes a machine as `observe.sh` does, and reads the answer as toots would.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use toots::host::{Facts, FileStatus, Listener, Observation, Observe};
use toots::spec::digest;

use super::machine::Machine;
use super::task::HostTask;
use super::units;
use crate::files::Node;

const TOOTS: &str = "/etc/toots";
const MAX_CONTENT_BYTES: usize = 64 << 10;
/// What a peer has to answer, at first and when it is tried again.
const REACH_LIMIT: Duration = Duration::from_secs(4);

pub async fn observe(task: &HostTask, request: &Observe) -> Observation {
    let machine = &task.machine;
    let mut facts = facts(machine);
    task.step("facts read").await;
    let (listeners, owners) = sockets(machine);
    let mut observation = Observation {
        files: files(machine, &request.paths),
        has_data: with_data(machine, &request.data_dirs),
        hosts_entries: hosts_entries(machine),
        units: units::observed(task),
        docker_here: machine.has_docker(),
        docker_unit: docker_unit(machine),
        listeners,
        owners,
        ..Observation::default()
    };
    observation.take_records();
    task.step("files read").await;
    facts.reaches = reaches(machine, &request.reach);
    if facts.reaches.values().any(|reached| !reached) {
        tokio::time::sleep(REACH_LIMIT).await;
    }
    observation.facts = facts;
    observation
}

fn facts(machine: &Machine) -> Facts {
    let free_kib = machine.disk.free() / 1024;
    let containerd = machine.disk.is_dir(Facts::CONTAINERD_ROOT);
    let state = machine.state();
    let offset = state.clock_skew.as_millis();
    Facts {
        disk_free_docker_kib: free_kib,
        disk_free_data_kib: free_kib,
        disk_free_containerd_kib: containerd.then_some(free_kib),
        clock_offset_ms: i64::try_from(offset).unwrap_or(0),
        mounts: state.mounts.clone(),
        docker_command: state.packages.contains("docker"),
        nfs_client: state.packages.contains("nfs-client"),
        ..state.facts.clone()
    }
}

fn docker_unit(machine: &Machine) -> String {
    let state = machine.state();
    if state.engine_runs || !state.packages.contains("docker") {
        return String::new();
    }
    "inactive".to_owned()
}

fn files(machine: &Machine, paths: &[String]) -> BTreeMap<String, FileStatus> {
    let tree = machine.files();
    let own = tree.below(TOOTS).into_iter();
    let own = own.filter(|path| path.split('/').all(|part| part != ".stage"));
    let managed = own.chain(paths.iter().cloned());
    let is_fit = |path: &String| path.chars().all(|c| !c.is_whitespace() && !c.is_control());
    managed
        .filter(is_fit)
        .filter_map(|path| Some((path.clone(), status(machine, &path)?)))
        .collect()
}

fn status(machine: &Machine, path: &str) -> Option<FileStatus> {
    let gid = machine.files().group(path);
    let status = match machine.files().node(path)? {
        Node::Dir { mode, owner } => FileStatus {
            kind: 'd',
            mode,
            uid: owner,
            gid,
            ..FileStatus::default()
        },
        Node::File { bytes, mode, owner } => FileStatus {
            kind: 'f',
            mode,
            uid: owner,
            gid,
            sha256: Some(digest(&bytes)),
            content: is_read(path, mode, bytes.len()).then_some(bytes),
        },
    };
    Some(status)
}

/// Of what others may not read, only toots' own records are.
fn is_read(path: &str, mode: u32, length: usize) -> bool {
    let is_record = path.starts_with("/etc/toots/secrets/")
        || path.starts_with("/etc/toots/containers/")
        || path == "/etc/toots/node.json"
        || path == "/etc/toots/members.json";
    length <= MAX_CONTENT_BYTES && (mode & 0o004 != 0 || is_record)
}

fn with_data(machine: &Machine, dirs: &[String]) -> std::collections::BTreeSet<String> {
    let dirs = dirs.iter();
    dirs.filter(|dir| machine.files().below(dir).len() > 1)
        .cloned()
        .collect()
}

fn hosts_entries(machine: &Machine) -> Vec<(String, String)> {
    let text = machine.files().text("/etc/hosts").unwrap_or_default();
    let inside = text.lines().skip_while(|line| *line != "# toots begin");
    let inside = inside
        .skip(1)
        .take_while(|line| *line != "# toots end")
        .filter_map(|line| line.split_once(' '));
    inside
        .map(|(address, name)| (address.to_owned(), name.trim().to_owned()))
        .collect()
}

/// Listening sockets, and the containers of their holders.
fn sockets(machine: &Machine) -> (Vec<Listener>, BTreeMap<u32, String>) {
    let mut listeners = Vec::new();
    let mut owners = BTreeMap::new();
    let mut ports = machine.network.ports(machine.address);
    let state = machine.state();
    for (pid, process) in &state.processes {
        if let Some(container) = &process.container {
            owners.insert(*pid, container.clone());
        }
        for (protocol, address, port) in &process.sockets {
            ports.retain(|(other, _)| protocol != "tcp" || other != port);
            listeners.push(Listener {
                protocol: protocol.clone(),
                address: *address,
                port: *port,
                process: Some(process.name.clone()),
                pid: Some(*pid),
                holders: vec![*pid],
                container: None,
            });
        }
    }
    for (port, holder) in ports {
        let pid = holder.as_ref().map(|holder| holder.pid);
        listeners.push(Listener {
            protocol: "tcp".to_owned(),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port,
            process: pid.map(|_| "program".to_owned()),
            pid,
            holders: pid.into_iter().collect(),
            container: None,
        });
        if let Some(holder) = holder {
            owners.insert(holder.pid, holder.container);
        }
    }
    (listeners, owners)
}

/// A refused connection reaches the host too.
fn reaches(machine: &Machine, targets: &[(String, u16)]) -> BTreeMap<String, bool> {
    let reached = |address: &str| match address.parse() {
        Ok(address) => machine.network.reaches(machine.address, address),
        Err(_) => false,
    };
    let targets = targets.iter();
    targets
        .map(|(address, port)| (format!("{address} port {port}"), reached(address)))
        .collect()
}
