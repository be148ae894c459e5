//! The files and containers of hosts, offline: every component renders, the six install modes are
//! snapshots, and no value of an inventory changes the structure of a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

mod render {
    pub mod check;
    mod page;
    mod resolv;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use proptest::prelude::*;
use render::check::{check, parsed};
use toots::desired::{self, Desired, Draw, HostDesired, Recorded};
use toots::inventory::parse;
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{ComponentOrder, HostName, NodeRecord, Port, Protocol, Role, Secret};

struct Fixed(&'static str);

impl Draw for Fixed {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "0123456789abcdef".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new(self.0)
    }
}

fn build(text: &str, recorded: &Recorded) -> Desired {
    let inventory = parse(text, "inventory.toml", Path::new("/etc"))
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    desired::build(
        &inventory,
        &Playbook::load(None).unwrap(),
        recorded,
        &Fixed(Secret::MASK),
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

/// Every switch on, so that every component runs somewhere.
fn everything() -> String {
    let switches: BTreeSet<String> = Playbook::load(None)
        .unwrap()
        .components
        .values()
        .flat_map(|component| component.on.options.keys().cloned())
        .collect();
    let on: String = switches
        .iter()
        .map(|switch| format!("{switch} = true\n"))
        .collect();
    format!(
        "cluster = \"prod\"\nmasters = [\"m1\", \"m2\", \"10.0.0.13\"]\nslaves = [\"10.0.0.13\", \"s1\"]\nedges = [\"e1\", \"e2\"]\n\
         [hosts]\nm1 = {{ address = \"10.0.0.11\" }}\nm2 = {{ address = \"10.0.0.12\" }}\ns1 = {{ address = \"10.0.0.21\", persistent = true }}\n\
         e1 = {{ address = \"10.0.0.31\" }}\ne2 = {{ address = \"10.0.0.32\", listen_ip = \"0.0.0.0\" }}\n\
         [network]\nin_domain = \"cluster.example\"\nex_domain = \"example.com\"\nvip = \"10.0.0.100\"\n[images]\nsupervisor = \"supervisor:4.2\"\nopenvpn = \"openvpn:2.6\"\n[nfs]\nexport = \"10.0.0.9:/store\"\n[openvpn]\nca = \"ca.crt\"\ncertificate = \"vpn.crt\"\nkey = \"vpn.key\"\n[components]\n{on}"
    )
}

fn files(host: &HostDesired) -> impl Iterator<Item = &toots::spec::FileSpec> {
    host.files.iter().chain(
        host.components
            .iter()
            .flat_map(|component| &component.files),
    )
}

/// A host as text: its containers, and every file.
fn tree(host: &HostDesired, order: &ComponentOrder) -> String {
    let mut out = String::new();
    for file in files(host) {
        let _ = writeln!(
            out,
            "=== {} {:04o} {}:{}",
            file.path, file.mode, file.uid, file.gid
        );
        // The load balancer's template and script have tests of their own; here only their presence
        // counts.
        match file.content.len() > 3000 {
            true => drop(writeln!(
                out,
                "({} lines)",
                String::from_utf8_lossy(&file.content).lines().count()
            )),
            false => out.push_str(&String::from_utf8_lossy(&file.content)),
        }
    }
    for component in &host.components {
        let _ = writeln!(out, "=== container {}", component.container.name());
        let _ = writeln!(out, "image {}", component.container.image);
        for argument in component.container.entrypoint.iter().flatten() {
            let _ = writeln!(out, "entrypoint {argument}");
        }
        for argument in &component.container.command {
            let _ = writeln!(out, "  {argument}");
        }
        for (key, value) in &component.container.env {
            let _ = writeln!(out, "env {key}={value}");
        }
        let after: Vec<&str> = order.before(&component.name).map(AsRef::as_ref).collect();
        let _ = writeln!(out, "after {}", after.join(", "));
    }
    out
}

#[test]
fn every_component_renders_and_is_checked_by_its_own_rules() {
    let desired = build(&everything(), &Recorded::default());
    let placed: BTreeSet<&str> = desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .map(|component| component.name.as_str())
        .collect();
    let playbook = Playbook::load(None).unwrap();
    for (name, component) in &playbook.components {
        assert!(placed.contains(name.as_str()), "{name} is nowhere");
        assert!(
            component.gate.is_some() || !component.probes.is_empty(),
            "nothing proves {name}"
        );
        for key in component
            .files
            .iter()
            .map(|file| format!("{name}/{}", file.template))
        {
            assert!(playbook.templates.contains_key(&key), "{key} is not there");
        }
    }
    for host in &desired.hosts {
        for component in &host.components {
            check(host, component)
                .unwrap_or_else(|why| panic!("{} of {}: {why}", component.name, host.name));
        }
    }
}

#[test]
fn components_on_a_host_use_distinct_ports() {
    for host in build(&everything(), &Recorded::default()).hosts {
        let mut taken: BTreeMap<(u16, Protocol), &str> = BTreeMap::new();
        for component in &host.components {
            for Port {
                number: port,
                protocol,
                ..
            } in &component.ports
            {
                let other = taken.insert((*port, *protocol), component.name.as_str());
                assert_eq!(
                    other, None,
                    "{protocol} port {port} of {} on {}",
                    component.name, host.name
                );
            }
        }
    }
}

#[test]
fn the_six_install_modes() {
    let base = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";
    let modes = [
        ("master", "slaves = [\"10.0.0.21\"]\n", "10.0.0.11"),
        ("master_slave", "slaves = [\"10.0.0.11\"]\n", "10.0.0.11"),
        (
            "master_slave_edge",
            "slaves = [\"10.0.0.11\"]\nedges = [\"10.0.0.11\"]\n",
            "10.0.0.11",
        ),
        ("slave", "slaves = [\"10.0.0.21\"]\n", "10.0.0.21"),
        ("edge", "edges = [\"10.0.0.31\"]\n", "10.0.0.31"),
        (
            "slave_edge",
            "slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.21\"]\n",
            "10.0.0.21",
        ),
    ];
    for (mode, lists, host) in modes {
        let desired = build(&format!("{base}{lists}"), &Recorded::default());
        let host = desired
            .hosts
            .iter()
            .find(|known| known.name.as_str() == host)
            .unwrap();
        insta::assert_snapshot!(format!("render_{mode}"), tree(host, &desired.order));
    }
}

#[test]
fn optional_components_are_snapshots_too() {
    let desired = build(&everything(), &Recorded::default());
    let optional: BTreeSet<String> = Playbook::load(None)
        .unwrap()
        .components
        .values()
        .filter(|component| component.on.roles.is_empty() || component.on.when.is_some())
        .map(|component| component.name.to_string())
        .collect();
    let mut out = String::new();
    for host in &desired.hosts {
        let kept = host
            .components
            .iter()
            .filter(|component| optional.contains(component.name.as_str()))
            .cloned()
            .collect();
        let only = HostDesired {
            components: kept,
            files: Vec::new(),
            ..host.clone()
        };
        let _ = writeln!(out, "##### {}\n{}", host.name, tree(&only, &desired.order));
    }
    insta::assert_snapshot!("render_optional", out);
}

/// Member numbers are identities: they stay whatever happens to the list, and a new master never
/// gets the number of a recorded host.
#[test]
fn member_numbers_never_follow_the_list() {
    let lists = [
        "\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"",
        "\"10.0.0.3\", \"10.0.0.9\", \"10.0.0.1\"",
    ];
    let first = build(&format!("masters = [{}]\n", lists[0]), &Recorded::default());
    let nodes: BTreeMap<HostName, NodeRecord> = first
        .hosts
        .iter()
        .map(|host| (host.name.clone(), host.node.clone()))
        .collect();
    assert_eq!(
        nodes
            .values()
            .filter_map(|node| node.member)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let recorded = Recorded {
        nodes,
        ..Recorded::default()
    };
    let second = build(&format!("masters = [{}]\n", lists[1]), &recorded);
    let members: BTreeMap<&str, Option<u8>> = second
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.node.member))
        .collect();
    assert_eq!(
        members,
        BTreeMap::from([
            ("10.0.0.1", Some(1)),
            ("10.0.0.3", Some(3)),
            ("10.0.0.9", Some(4))
        ])
    );
    assert_eq!(second.cluster_id, first.cluster_id);
    // The list of servers is the same text on every member, so that no two can disagree.
    let servers = |host: &HostDesired| {
        let cfg = files(host)
            .find(|file| file.path.ends_with("zoo.cfg"))
            .unwrap();
        let lines: Vec<String> = String::from_utf8_lossy(&cfg.content)
            .lines()
            .filter(|line| line.starts_with("server."))
            .map(str::to_owned)
            .collect();
        lines
    };
    assert!(
        second
            .hosts
            .iter()
            .all(|host| servers(host) == servers(&second.hosts[0]))
    );
}

#[test]
fn quorum_is_a_majority_among_configured_masters() {
    for (n, quorum) in [(3, 2), (5, 3), (7, 4)] {
        let masters: Vec<String> = (1..=n).map(|n| format!("\"10.0.0.{n}\"")).collect();
        for host in build(
            &format!("masters = [{}]\n", masters.join(", ")),
            &Recorded::default(),
        )
        .hosts
        {
            let mesos = host
                .components
                .iter()
                .find(|component| component.name.as_str() == "mesos-master")
                .unwrap();
            assert!(
                mesos
                    .container
                    .command
                    .contains(&format!("--quorum={quorum}")),
                "{:?}",
                mesos.container.command
            );
            let consul = files(&host)
                .find(|file| file.path.ends_with("consul.json"))
                .unwrap();
            assert_eq!(parsed(consul).unwrap()["bootstrap_expect"], n);
        }
    }
}

#[test]
fn secrets_are_only_in_files_that_their_owner_alone_reads() {
    const CANARY: &str = "drawn-canary";
    let inventory = parse(&everything(), "x", Path::new(".")).unwrap();
    let desired = desired::build(
        &inventory,
        &Playbook::load(None).unwrap(),
        &Recorded::default(),
        &Fixed(CANARY),
    )
    .unwrap();
    let secrets: BTreeSet<&str> = desired.secrets.values().map(Secret::expose).collect();
    assert_eq!(
        secrets.len(),
        desired.secrets.len(),
        "each name has its own secret"
    );
    assert!(!secrets.is_empty());
    for host in &desired.hosts {
        for file in files(host) {
            let text = String::from_utf8_lossy(&file.content);
            if secrets.iter().any(|secret| text.contains(*secret)) {
                assert!(
                    file.secret && file.mode & 0o077 == 0,
                    "{} {:o}",
                    file.path,
                    file.mode
                );
            }
            let for_masters = file.path.starts_with("/etc/toots/secrets/");
            assert!(
                !for_masters || host.roles.contains(&Role::Master),
                "{} on {}",
                file.path,
                host.name
            );
        }
        for component in &host.components {
            let spec = serde_json::to_string(&component.container).unwrap();
            assert!(
                !secrets.iter().any(|secret| spec.contains(*secret)),
                "{}",
                component.name
            );
        }
    }
    let shown = format!("{desired:?}");
    assert!(!secrets.iter().any(|secret| shown.contains(*secret)));
}

/// Applications find the registry under the same name, wherever it runs.
#[test]
fn registry_is_known_to_every_host() {
    let text = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\nslaves = [\"10.0.0.4\"]\n\
                edges = [\"10.0.0.5\"]\n[network]\nin_domain = \"cluster.example\"\n\
                [registry]\nserver = \"own.example:5000\"\nusername = \"me\"\npassword_env = \"P\"\n\
                [components]\nregistry = true\n";
    let build = |numbers: &[(&str, u8)]| {
        let inventory = parse(text, "x", Path::new(".")).unwrap();
        let node = |(name, number): &(&str, u8)| {
            let host = HostName::new(*name).unwrap();
            let record = NodeRecord {
                format: NodeRecord::FORMAT,
                cluster: inventory.cluster.clone(),
                cluster_id: "0123456789abcdef".into(),
                node: host.clone(),
                member: Some(*number),
            };
            (host, record)
        };
        let recorded = Recorded {
            nodes: numbers.iter().map(node).collect(),
            ..Recorded::default()
        };
        let playbook = Playbook::load(None).unwrap();
        desired::build(&inventory, &playbook, &recorded, &WithRegistry).unwrap()
    };
    // A master that was replaced has a higher number than those that are left.
    for (numbers, holder) in [
        (
            &[("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)],
            "10.0.0.1",
        ),
        (
            &[("10.0.0.1", 4), ("10.0.0.2", 3), ("10.0.0.3", 2)],
            "10.0.0.3",
        ),
    ] {
        let desired = build(numbers);
        let runs = |host: &&HostDesired| {
            let mut names = host
                .components
                .iter()
                .map(|component| component.name.as_str());
            names.any(|name| name == "registry")
        };
        let holders: Vec<&str> = desired
            .hosts
            .iter()
            .filter(runs)
            .map(|host| host.name.as_str())
            .collect();
        assert_eq!(holders, [holder]);
        let mut authorities = BTreeSet::new();
        for host in &desired.hosts {
            let name = "registry.service.cluster.example".to_owned();
            assert_eq!(host.hosts_entries, [(holder.to_owned(), name.clone())]);
            let folder = format!("/etc/docker/certs.d/{name}:5000");
            assert!(host.dirs.iter().any(|dir| dir.path == folder));
            let ca = files(host)
                .find(|file| file.path == format!("{folder}/ca.crt"))
                .unwrap();
            assert!(ca.content.starts_with(b"-----BEGIN CERTIFICATE-----\n"));
            authorities.insert(ca.content.clone());
        }
        assert_eq!(authorities.len(), 1);
        let slave = desired
            .hosts
            .iter()
            .find(|host| host.name.as_str() == "10.0.0.4");
        let login = files(slave.unwrap())
            .find(|file| file.path.ends_with("/docker.json"))
            .unwrap();
        let password = desired.secrets["registry_password"].expose();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(
            parsed(login).unwrap(),
            serde_json::json!({"auths": {
                "own.example:5000": {"auth": encode("me:own-password")},
                "registry.service.cluster.example:5000": {"auth": encode(&format!("toots:{password}"))},
            }})
        );
        // A bundle takes the cluster's images from here.
        assert!(
            desired
                .images()
                .any(|(image, _)| image.as_str() == "registry:3.1.1")
        );
    }
}

struct WithRegistry;

impl Draw for WithRegistry {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "0123456789abcdef".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new("drawn")
    }

    fn registry_password(&self) -> Option<Secret> {
        Some(Secret::new("own-password"))
    }
}

/// A value that a program refuses would stop its container on every host at once.
#[test]
fn programs_accept_their_files() {
    let inventory = parse(&everything(), "x", Path::new(".")).unwrap();
    // A key of the length that Consul requires.
    let draw = Fixed("any");
    let desired = desired::build(
        &inventory,
        &Playbook::load(None).unwrap(),
        &Recorded::default(),
        &draw,
    )
    .unwrap();
    let programs: [(&str, &str, &[&str]); 3] = [
        ("dnsmasq.conf", "dnsmasq", &["--test", "-C"]),
        (
            "keepalived.conf",
            "keepalived",
            &["--config-test", "--use-file"],
        ),
        (
            "consul.json",
            "consul",
            &["validate", "-config-format=json"],
        ),
    ];
    // keepalived needs an interface of this machine other than loopback.
    let interfaces = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let nic = interfaces
        .filter(|name| {
            name != "lo"
                && Path::new("/sys/class/net")
                    .join(name)
                    .join("address")
                    .exists()
        })
        .min();
    for (name, program, arguments) in programs {
        let Some(nic) = nic
            .clone()
            .or_else(|| (program != "keepalived").then(|| "eth0".to_owned()))
        else {
            println!(
                "skipped: {name} is not tried: this machine has no interface but the loopback"
            );
            continue;
        };
        if std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_err()
        {
            println!("skipped: {name} is not tried: no {program} here");
            continue;
        }
        for host in &desired.hosts {
            for file in files(host).filter(|file| file.path.ends_with(name)) {
                let folder = tempfile::tempdir().unwrap();
                // Scripts that a file names must exist and belong to root; interfaces must be this
                // machine's.
                let text = String::from_utf8_lossy(&file.content)
                    .replace("/etc/toots-keepalived/check.sh", "/bin/true")
                    .replace("eth0", &nic);
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                // The image's entrypoint names Consul's data directory.
                let more = folder.path().join("data.json");
                std::fs::write(&more, r#"{"data_dir":"/consul/data"}"#).unwrap();
                let out = std::process::Command::new(program)
                    .args(arguments)
                    .arg(&path)
                    .args((program == "consul").then_some(&more))
                    .output()
                    .unwrap();
                let said = format!(
                    "{}{}",
                    String::from_utf8_lossy(&out.stdout),
                    String::from_utf8_lossy(&out.stderr)
                );
                assert!(
                    out.status.success(),
                    "{} of {}: {said}",
                    file.path,
                    host.name
                );
            }
        }
    }
}

/// Two builds must be equal, or every run would change something.
#[test]
fn building_is_a_function() {
    let text = everything();
    let hashes = |desired: &Desired| -> Vec<String> {
        desired
            .hosts
            .iter()
            .flat_map(|host| &host.components)
            .map(|component| component.container.hash().0)
            .collect()
    };
    assert_eq!(
        hashes(&build(&text, &Recorded::default())),
        hashes(&build(&text, &Recorded::default()))
    );
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{1,20}",
        "(\\PC|\n|\"|'|\\$|`|;|&|\\{|\\}|#|%|\\\\|<|>|\\|| ){1,16}",
        Just("a\"; touch /pwned; \"".to_owned()),
        Just("{{ secrets }}".to_owned()),
        Just("a\nserver.9=10.9.9.9:2888:3888".to_owned()),
        Just("a\", \"server\": true, \"x\": \"".to_owned()),
        Just("$(reboot)".to_owned()),
        Just("${HOME}".to_owned()),
        Just("%[env(HOME)]".to_owned()),
        Just("x --zk=zk://evil".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// A value is rejected, or every file contains it unchanged: each file parses back to the same
    /// keys as with harmless values.
    #[test]
    fn hostile_values_change_no_structure(field in 0usize..12, value in hostile()) {
        let q = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut keys = ["dc1", "m1", "eth0", "consul", "example.com", "10.0.0.100", "zookeeper:3.9", "512m", "root", "10.0.0.1", "r:5000", "10.0.0.9:/s"].map(str::to_owned);
        let render = |keys: &[String; 12]| {
            let text = format!(
                "cluster = {}\nmasters = [{}, \"10.0.0.2\", \"10.0.0.3\"]\nslaves = [\"10.0.0.3\"]\nedges = [\"10.0.0.4\"]\n[hosts]\n{} = {{ address = {} }}\n\
                 [network]\nnic = {}\nin_domain = {}\nex_domain = {}\nvip = {}\n[images]\nzookeeper = {}\n[params.zookeeper]\nheap = {}\n[ssh]\nuser = {}\n\
                 [registry]\nserver = {}\n[nfs]\nexport = {}\n",
                q(&keys[0]), q(&keys[1]), q(&keys[1]), q(&keys[9]), q(&keys[2]), q(&keys[3]), q(&keys[4]), q(&keys[5]), q(&keys[6]), q(&keys[7]), q(&keys[8]), q(&keys[10]), q(&keys[11])
            );
            let inventory = parse(&text, "x", Path::new("/nowhere")).ok()?;
            desired::build(&inventory, &Playbook::load(None).unwrap(), &Recorded::default(), &Fixed(Secret::MASK)).ok()
        };
        let plain = render(&keys).expect("harmless values are accepted");
        keys[field] = value.clone();
        let Some(hostile) = render(&keys) else { return Ok(()) };
        for (before, after) in plain.hosts.iter().zip(&hostile.hosts) {
            for component in &after.components {
                if let Err(why) = check(after, component) {
                    prop_assert!(false, "{} with {value:?}: {why}", component.name);
                }
            }
            for (before, after) in before.components.iter().zip(&after.components) {
                prop_assert_eq!(before.container.command.len(), after.container.command.len(), "{} with {:?}", &before.name, &value);
                for (before, after) in before.files.iter().zip(&after.files) {
                    let shape = |file| render::check::shape(file);
                    prop_assert_eq!(shape(before), shape(after), "{} with {:?}", &before.path, &value);
                }
            }
        }
    }
}
