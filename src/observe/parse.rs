//! The script's answer, typed and bounded. What cannot be read is left out or refused; nothing here panics on any input.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::types::{Facts, FileStatus, HostStatus, Listener};
use crate::spec::{ComponentName, Secret};

/// A reading before the Engine's part is joined to it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub host: HostStatus,
    pub docker_here: bool,
    pub docker_unit: String,
    /// Process id → container id.
    pub owners: BTreeMap<u32, String>,
}

/// Reads an answer. `before_ms`: the operator's clock when the script was sent; its first line is the host's clock, one way later.
pub(super) fn reading(output: &[u8], nonce: &str, before_ms: i64) -> Result<Reading, String> {
    let text = String::from_utf8_lossy(output);
    let mut records: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.split(' ');
        if parts.next() != Some(nonce) {
            continue;
        }
        let Some(key) = parts.next() else { continue };
        let bytes = STANDARD
            .decode(parts.next().unwrap_or(""))
            .map_err(|_| format!("the value of {key:?} is not base64"))?;
        records.insert(key, String::from_utf8_lossy(&bytes).trim().to_owned());
    }
    if records.get("end").map(String::as_str) != Some(nonce) {
        return Err("it is cut short".into());
    }
    let get = |key: &str| records.get(key).map_or("", String::as_str);
    let mut out = Reading {
        docker_here: get("docker-here") == "1",
        docker_unit: get("docker-unit").to_owned(),
        ..Reading::default()
    };
    out.host.facts = facts(&get, before_ms);
    out.host.files = files(get("files"), get("sums"), get("contents"));
    records_of_toots(&mut out.host);
    out.host.has_data = get("data").lines().map(str::to_owned).collect();
    out.host.hosts_entries = pairs(get("hosts"));
    out.host.units = pairs(get("units"))
        .into_iter()
        .map(|(name, state)| (name, state == "enabled active"))
        .collect();
    out.host.listeners = get("sockets").lines().filter_map(listener).collect();
    out.owners = pairs(get("owners"))
        .into_iter()
        .filter_map(|(pid, id)| Some((pid.parse().ok()?, id)))
        .collect();
    Ok(out)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(a, b)| (a.to_owned(), b.trim().to_owned()))
        .collect()
}

fn facts<'a>(get: &impl Fn(&str) -> &'a str, before_ms: i64) -> Facts {
    let os = |key: &str| {
        let line = get("os")
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or("").trim_matches('"').to_owned()
    };
    let number = |key: &str| {
        get(key)
            .split_whitespace()
            .find_map(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut nics: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (nic, address) in pairs(get("nics")) {
        if let Ok(address) = address.split('/').next().unwrap_or("").parse() {
            nics.entry(nic.trim_end_matches(':').to_owned())
                .or_default()
                .push(address);
        }
    }
    Facts {
        hostname: get("hostname").to_owned(),
        os_id: os("ID"),
        os_version: os("VERSION_ID"),
        arch: get("arch").to_owned(),
        kernel: get("kernel").to_owned(),
        machine_id: get("machine-id").to_owned(),
        cpus: u32::try_from(number("cpus")).unwrap_or(0),
        mem_total_kib: number("memory"),
        disk_free_docker_kib: number("disk-docker"),
        disk_free_data_kib: number("disk-data"),
        clock_offset_ms: clock(get("time")).map_or(0, |host| host - before_ms),
        nics,
        cgroup_version: if get("cgroup") == "2" { 2 } else { 1 },
        own_name_resolves_to: get("own-name")
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect(),
        systemd: get("systemd") == "1",
        package_managers: get("managers").lines().map(str::to_owned).collect(),
        docker_command: get("docker-here") == "1",
        nfs_client: get("nfs-client") == "1",
        nfs_kernel: get("nfs-kernel") == "1",
        compose_version: Some(get("compose").to_owned()).filter(|version| !version.is_empty()),
        reaches: pairs(get("reach"))
            .into_iter()
            .map(|(peer, ok)| (peer.replace('/', " port "), ok == "1"))
            .collect(),
    }
}

/// Nanoseconds since the epoch, or seconds where `date` knows no `%N` (busybox leaves it out or prints it as it is).
fn clock(text: &str) -> Option<i64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let value: i64 = digits.parse().ok()?;
    Some(if digits.len() > 12 {
        value / 1_000_000
    } else {
        value.checked_mul(1000)?
    })
}

fn files(stats: &str, sums: &str, contents: &str) -> BTreeMap<String, FileStatus> {
    let mut out = BTreeMap::new();
    for line in stats.lines() {
        let mut parts = line.splitn(5, ' ');
        let (Some(raw), Some(mode), Some(uid), Some(gid), Some(path)) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            continue;
        };
        let (Ok(raw), Ok(mode), Ok(uid), Ok(gid)) = (
            u32::from_str_radix(raw, 16),
            u32::from_str_radix(mode, 8),
            uid.parse(),
            gid.parse(),
        ) else {
            continue;
        };
        let kind = match raw & 0o170_000 {
            0o100_000 => 'f',
            0o040_000 => 'd',
            0o120_000 => 'l',
            _ => 'o',
        };
        out.insert(
            path.to_owned(),
            FileStatus {
                kind,
                mode,
                uid,
                gid,
                sha256: None,
                content: None,
            },
        );
    }
    for line in sums.lines() {
        if let Some((sum, path)) = line.split_once("  ")
            && let Some(file) = out.get_mut(path)
        {
            file.sha256 = Some(sum.to_owned());
        }
    }
    for (path, content) in pairs(contents) {
        if let (Some(file), Ok(bytes)) = (out.get_mut(&path), STANDARD.decode(content)) {
            file.content = Some(bytes);
        }
    }
    out
}

/// Takes toots' own records out of the files; secrets leave the map, so that nothing that shows files can show them.
fn records_of_toots(host: &mut HostStatus) {
    for (path, file) in &mut host.files {
        if let Some(name) = path.strip_prefix("/etc/toots/secrets/") {
            if let Some(content) = file.content.take() {
                host.secrets.insert(
                    name.to_owned(),
                    Secret::new(String::from_utf8_lossy(&content).trim().to_owned()),
                );
            }
        } else if let Some(name) = path.strip_prefix("/etc/toots/proven/") {
            host.proven.extend(ComponentName::new(name));
        } else if path == crate::spec::NodeRecord::PATH {
            let content = file.content.as_deref().unwrap_or_default();
            host.node = Some(serde_json::from_slice(content).map_err(|error| error.to_string()));
        } else if path == "/etc/toots/images.json" {
            let content = file.content.as_deref().unwrap_or_default();
            host.digests = serde_json::from_slice(content).unwrap_or_default();
        }
    }
}

/// One line of `ss -H -lntup`.
fn listener(line: &str) -> Option<Listener> {
    let mut words = line.split_whitespace();
    let protocol = match words.next()? {
        "tcp" => "tcp",
        "udp" => "udp",
        _ => return None,
    };
    let local = line.split_whitespace().nth(4)?;
    let (address, port) = local.rsplit_once(':')?;
    let address = address
        .split('%')
        .next()
        .unwrap_or(address)
        .trim_matches(['[', ']']);
    let address = if address == "*" { "::" } else { address };
    let (process, pid) = match line.split_once("users:((\"") {
        Some((_, users)) => {
            let name = users.split('"').next().map(str::to_owned);
            let pid = users.split_once("pid=").and_then(|(_, rest)| {
                rest.split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            });
            (name, pid)
        }
        None => (None, None),
    };
    let number = |rest: &str| {
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let holders = line.split("pid=").skip(1).filter_map(number).collect();
    Some(Listener {
        protocol: protocol.into(),
        address: address.parse().ok()?,
        port: port.parse().ok()?,
        process,
        pid,
        holders,
        container: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(head: &str) -> Vec<u8> {
        let script = format!("nonce=n1\n{head}\n{}", include_str!("script.sh"));
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    #[test]
    fn reads_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.conf");
        std::fs::write(&file, "hello\n").unwrap();
        let (dir, file) = (dir.path().display().to_string(), file.display().to_string());
        let output = run(&format!(
            "paths='{file} {dir} /nowhere'\ndata='{dir} /nowhere'\nreach='127.0.0.1/1'"
        ));
        let reading = reading(&output, "n1", 0).unwrap();
        let facts = &reading.host.facts;
        assert!(
            facts.mem_total_kib > 0
                && facts.cpus > 0
                && facts.disk_free_data_kib > 0
                && facts.clock_offset_ms > 0
        );
        assert!(facts.nics.contains_key("lo"));
        assert_eq!(
            reading.host.files[&file].content.as_deref(),
            Some(b"hello\n".as_slice())
        );
        assert_eq!(
            reading.host.files[&file].sha256.as_deref(),
            Some(crate::spec::digest(b"hello\n").as_str())
        );
        assert_eq!(reading.host.files[&dir].kind, 'd');
        assert!(reading.host.has_data.contains(&dir) && reading.host.has_data.len() == 1);
        assert_eq!(
            facts.reaches.get("127.0.0.1 port 1"),
            Some(&true),
            "refused at once is reached"
        );
    }

    #[test]
    fn an_answer_that_is_cut_short_is_refused() {
        let output = run("paths=\ndata=\nreach=");
        let cut = &output[..output.len() - 20];
        assert!(reading(cut, "n1", 0).is_err());
        assert!(
            reading(&output, "other", 0).is_err(),
            "records of another nonce do not count"
        );
    }

    #[test]
    fn reads_sockets() {
        let line = r#"tcp   LISTEN 0      4096       127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=112,fd=14))"#;
        let socket = listener(line).unwrap();
        assert_eq!(
            (socket.port, socket.process.as_deref(), socket.pid),
            (53, Some("systemd-resolve"), Some(112))
        );
        assert!(
            listener("udp UNCONN 0 0 *:8301 *:*")
                .unwrap()
                .address
                .is_unspecified()
        );
        assert!(
            listener("tcp LISTEN 0 4096 [::]:22 [::]:*")
                .unwrap()
                .address
                .is_unspecified()
        );
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(reading(&bytes, "n1", 0));
        }

        #[test]
        fn no_value_panics(key in "(time|os|files|sums|contents|sockets|nics|owners|hosts|memory)", value in ".*") {
            let line = format!("n1 {key} {}\nn1 end {}\n", STANDARD.encode(value), STANDARD.encode("n1"));
            drop(reading(line.as_bytes(), "n1", 0));
        }
    }
}
