//! Parses the observation's answer, typed and bounded. What cannot be parsed is skipped or refused; no
//! input causes a panic.
//!
//! The script starts at most 40 processes, however much there is to observe; a test counts them. So
//! files are read by one program for all of them, and their contents come in one archive.
//!
//! Whether a host reaches its peers is tried on the host, by the /dev/tcp of bash (`reach.bash`).
//! Streams through the session (`direct-tcpip`) would start no process, but sshd gives the same
//! answer for a refused connection, which proves that no firewall is in between, as for one without
//! a route, and often forbids such streams. Connections that exist already prove nothing either: a
//! new firewall rule leaves them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::observation::{Facts, FileStatus, Listener, Observation};
use super::sections::{self, Sections};

/// Why an answer is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The block between the first and the last line cannot be decoded.
    #[error("not base64")]
    NotBase64,
    /// The last line or the last section is missing.
    #[error("truncated answer")]
    Truncated,
}

/// Parses an answer. `before_ms`: the operator's clock when the script was sent; the first section
/// is the host's clock, one trip later.
pub(super) fn reading(
    output: &[u8],
    nonce: &str,
    before_ms: i64,
) -> Result<Observation, ParseError> {
    let mut sections = sections::decode(output, nonce)?;
    let mut out = Observation {
        docker_here: sections.get("docker-here") == "1",
        docker_unit: sections.get("docker-unit").to_owned(),
        ..Observation::default()
    };
    out.facts = facts(&sections, before_ms);
    let contents = std::mem::take(&mut sections.contents);
    out.files = files(sections.get("files"), sections.get("sums"), contents);
    out.take_records();
    out.has_data = sections.get("data").lines().map(str::to_owned).collect();
    out.hosts_entries = pairs(sections.get("hosts"));
    out.units = units(sections.get("unit-files"), sections.get("units"));
    let mut lines = sections.get("sockets").lines();
    out.owners = lines
        .by_ref()
        .take_while(|line| *line != "sockets")
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(pid, id)| Some((pid.parse().ok()?, id.to_owned())))
        .collect();
    out.listeners = lines.filter_map(listener).collect();
    Ok(out)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(a, b)| (a.to_owned(), b.trim().to_owned()))
        .collect()
}

fn facts(sections: &Sections, before_ms: i64) -> Facts {
    let get = |key: &str| sections.get(key);
    let os = |key: &str| {
        let line = get("os")
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or("").trim_matches('"').to_owned()
    };
    let mut uname = get("uname").split_whitespace().map(str::to_owned);
    Facts {
        hostname: uname.next().unwrap_or_default(),
        kernel: uname.next().unwrap_or_default(),
        arch: uname.next().unwrap_or_default(),
        os_id: os("ID"),
        os_version: os("VERSION_ID"),
        machine_id: get("machine-id").to_owned(),
        cpus: get("cpus").parse().unwrap_or(0),
        mem_total_kib: get("memory").parse().unwrap_or(0),
        docker_root: get("docker-root").to_owned(),
        disk_free_docker_kib: free_kib(get("disk-docker")),
        disk_free_containerd_kib: Some(get("disk-containerd"))
            .filter(|text| !text.trim().is_empty())
            .map(free_kib),
        disk_free_data_kib: free_kib(get("disk-data")),
        clock_offset_ms: clock(get("time")).map_or(0, |host| host - before_ms),
        nics: nics(get("nics"), get("addresses")),
        mounts: get("mounts").lines().filter_map(mount).collect(),
        cgroup_version: if get("cgroup") == "2" { 2 } else { 1 },
        own_name_resolves_to: get("own-name")
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|address| address.parse().ok())
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

/// The lines of `ip -o addr show`, or without it plain addresses.
fn nics(lines: &str, addresses: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut out: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let named = lines.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.nth(1)?, words.nth(1)?))
    });
    let unnamed = addresses.split_whitespace().map(|address| ("?", address));
    for (nic, address) in named.chain(unnamed) {
        if let Ok(address) = address.split('/').next().unwrap_or("").parse() {
            out.entry(nic.trim_end_matches(':').to_owned())
                .or_default()
                .push(address);
        }
    }
    out
}

/// A line of /proc/self/mountinfo: the mount point, and whether it is shared (proc(5)).
fn mount(line: &str) -> Option<(String, bool)> {
    let (fields, _) = line.split_once(" - ")?;
    let mut fields = fields.split(' ');
    let point = fields.nth(4)?.to_owned();
    let is_shared = fields.any(|field| field.starts_with("shared:"));
    Some((point, is_shared))
}

/// The available space in the answer of `df -Pk`.
fn free_kib(text: &str) -> u64 {
    let line = text.lines().nth(1).unwrap_or("");
    let words = &mut line.split_whitespace();
    words.nth(3).and_then(|w| w.parse().ok()).unwrap_or(0)
}

/// The unit files of toots, and for each whether `systemctl show` calls it enabled and active. A
/// unit that systemd does not know is neither.
fn units(files: &str, shown: &str) -> BTreeMap<String, bool> {
    let mut out: BTreeMap<String, bool> =
        files.lines().map(|name| (name.to_owned(), false)).collect();
    for block in shown.split("\n\n") {
        let property = |key: &str| {
            let mut values = block.lines().filter_map(|line| line.split_once('='));
            values.find_map(|(name, value)| (name == key).then_some(value))
        };
        if let Some(up) = property("Id").and_then(|id| out.get_mut(id)) {
            *up = property("UnitFileState") == Some("enabled")
                && property("ActiveState") == Some("active");
        }
    }
    out
}

/// Nanoseconds since the epoch; seconds where `date` has no `%N` (busybox drops it or prints it
/// unchanged).
fn clock(text: &str) -> Option<i64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let value: i64 = digits.parse().ok()?;
    Some(if digits.len() > 12 {
        value / 1_000_000
    } else {
        value.checked_mul(1000)?
    })
}

fn files(
    stats: &str,
    sums: &str,
    contents: BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, FileStatus> {
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
        // GNU's sha256sum marks a line with a backslash when it escapes those of the name.
        let (line, escaped) = line.strip_prefix('\\').map_or((line, false), |l| (l, true));
        let Some((sum, path)) = line.split_once("  ") else {
            continue;
        };
        let name = if escaped {
            path.replace(r"\\", r"\")
        } else {
            path.to_owned()
        };
        if let Some(file) = out.get_mut(&name) {
            file.sha256 = Some(sum.to_owned());
        }
    }
    for (path, content) in contents {
        if let Some(file) = out.get_mut(&path) {
            file.content = Some(content);
        }
    }
    out
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

    use super::super::sections::encode;
    use super::*;

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

    #[test]
    fn reads_units() {
        // systemd 252. An alias is shown with the name of its unit.
        let shown = "Id=a.service\nActiveState=active\nUnitFileState=enabled\n\n\
            Id=b.mount\nActiveState=failed\nUnitFileState=enabled\n\n\
            Id=ssh.service\nActiveState=active\nUnitFileState=enabled";
        let expected = [
            ("a.service", true),
            ("b.mount", false),
            ("c.service", false),
        ];
        assert_eq!(
            units("a.service\nb.mount\nc.service", shown),
            expected.map(|(name, up)| (name.to_owned(), up)).into()
        );
        assert_eq!(units("", ""), BTreeMap::new());
    }

    #[test]
    fn reads_addresses_with_and_without_ip() {
        let lines = "1: lo    inet 127.0.0.1/8 scope host lo\n\
            508: eth1@if509    inet6 fe80::1/64 scope link\n509: x";
        let named = nics(lines, "");
        assert_eq!(named["lo"], ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(named.len(), 2);
        let unnamed = nics("", "10.0.0.1 fd00::2 ");
        assert_eq!(unnamed["?"].len(), 2);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(reading(&bytes, "n1", 0));
        }

        #[test]
        fn no_value_panics(
            key in "(time|uname|os|files|sums|sockets|nics|disk-data|units|own-name|hosts|memory)",
            value in ".*",
            archive in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            drop(reading(&encode("n1", &[(&key, &value)], &archive), "n1", 0));
        }
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("parse_error", ParseError, hints: |_| Vec::new(), {
            ParseError::NotBase64 => ParseError::NotBase64,
            ParseError::Truncated => ParseError::Truncated,
        });
    }
}
