//! The contract with running clusters: what toots renders for them must stay the same byte for
//! byte, or a newer toots would replace their containers.
//!
//! `tests/golden/NAME.txt` lists what each host of a cluster has: directories, files, units, lines
//! of /etc/hosts and containers with the hash of their specification. `tests/golden/contents.txt`
//! holds the bytes of every file once. Both were written at commit 93660a6. A deliberate change is
//! made with `TOOTS_GOLDEN=write cargo test --test golden`; its difference shows what it costs a
//! running cluster.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toots::desired::{self, Desired, Draw, HostDesired, Recorded};
use toots::docker::{ContainerStatus, EngineStatus, ImageStatus};
use toots::inventory;
use toots::observe::{DockerStatus, FileStatus, HostStatus};
use toots::plan::{self, HostPlan, Observed, Step};
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{
    ClusterName, ComponentName, ContainerSpec, DefaultImages, FileSpec, HostName, ImageRef,
    Membership, NodeRecord, Placement, Role, Secret, digest,
};

/// The digest to which every image is pinned.
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Fields of records that later commits added.
const LATER_FIELDS: &[&str] = &["\"format\":"];

/// Records that later commits added.
const LATER_RECORDS: &[&str] = &[Membership::PATH, DefaultImages::PATH];

/// Fails when something would be drawn: a running cluster has its secrets on its masters.
struct NothingIsDrawn;

impl Draw for NothingIsDrawn {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        panic!("the cluster's id is recorded")
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new(Secret::MASK)
    }
}

/// The clusters: a name, and an inventory without relative paths.
fn clusters() -> Vec<(&'static str, String)> {
    let masters = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";
    vec![
        (
            "separate_roles",
            format!("{masters}slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n"),
        ),
        (
            "master_slave",
            format!("{masters}slaves = [\"10.0.0.11\"]\n"),
        ),
        (
            "master_slave_edge",
            format!("{masters}slaves = [\"10.0.0.11\"]\nedges = [\"10.0.0.11\"]\n"),
        ),
        (
            "slave_edge",
            format!("{masters}slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.21\"]\n"),
        ),
        ("every_option", every_option()),
        (
            "registry",
            format!(
                "{masters}slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n\
                 [components]\nregistry = true\n"
            ),
        ),
    ]
}

/// Every switch of today's playbook, written out, so that a later switch does not change this
/// cluster.
fn every_option() -> String {
    let switches: Vec<String> = [
        "balancer_on_slaves",
        "dnsmasq",
        "registrator_on_masters",
        "supervisord",
    ]
    .iter()
    .map(|switch| format!("{switch} = true\n"))
    .collect();
    format!(
        "cluster = \"prod\"\nmasters = [\"m1\", \"m2\", \"10.0.0.13\"]\n\
         slaves = [\"10.0.0.13\", \"s1\"]\nedges = [\"e1\", \"e2\"]\n\
         [hosts]\nm1 = {{ address = \"10.0.0.11\" }}\nm2 = {{ address = \"10.0.0.12\" }}\n\
         s1 = {{ address = \"10.0.0.21\", persistent = true }}\n\
         e1 = {{ address = \"10.0.0.31\" }}\n\
         e2 = {{ address = \"10.0.0.32\", listen_ip = \"0.0.0.0\" }}\n\
         [network]\nin_domain = \"cluster.example\"\nex_domain = \"example.com\"\n\
         vip = \"10.0.0.100\"\n\
         [images]\nsupervisor = \"supervisor:4.2\"\nopenvpn = \"openvpn:2.6\"\n\
         [nfs]\nexport = \"10.0.0.9:/store\"\n\
         [openvpn]\nca = \"ca.crt\"\ncertificate = \"vpn.crt\"\nkey = \"vpn.key\"\n\
         [components]\n{}",
        switches.concat()
    )
}

/// The records of earlier runs: identities, secrets, digests, proven services.
fn recorded(inventory: &inventory::Inventory, playbook: &Playbook) -> Recorded {
    let masters: Vec<&HostName> = inventory
        .with_role(Role::Master)
        .map(|host| &host.name)
        .collect();
    let node = |host: &HostName| NodeRecord {
        format: NodeRecord::FORMAT,
        cluster: inventory.cluster.clone(),
        cluster_id: "0123456789abcdef".into(),
        node: host.clone(),
        member: masters
            .iter()
            .position(|name| *name == host)
            .and_then(|at| u8::try_from(at + 1).ok()),
    };
    let secrets = playbook
        .components
        .values()
        .flat_map(|component| component.secrets.keys())
        .map(|name| (name.clone(), Secret::new(format!("secret-of-{name}"))))
        .collect();
    Recorded {
        nodes: inventory
            .hosts
            .iter()
            .map(|host| (host.name.clone(), node(&host.name)))
            .collect(),
        secrets,
        proven: component_names(playbook),
        // Defaults that a later toots replaced.
        digests: [
            "dockurr/dnsmasq:latest",
            "gliderlabs/registrator:v7",
            "mesosphere/mesos-master:1.7.1",
            "mesosphere/mesos-slave:1.7.1",
            "mesosphere/mesos:1.7.1",
            "osixia/keepalived:2.0.20",
        ]
        .map(|image| (ImageRef(image.into()), DIGEST.into()))
        .into(),
        ..Recorded::default()
    }
}

fn component_names(playbook: &Playbook) -> BTreeSet<ComponentName> {
    playbook
        .components
        .values()
        .map(|component| component.name.clone())
        .collect()
}

fn build(text: &str) -> Desired {
    build_recorded(text, text)
}

/// The desired state of an inventory on hosts that another one has brought up.
fn build_recorded(text: &str, former: &str) -> Desired {
    let parse = |text| {
        inventory::parse(text, "inventory.toml", Path::new("/nowhere"))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    };
    let (inventory, former) = (parse(text), parse(former));
    let playbook = Playbook::load(None).unwrap();
    let mut recorded = recorded(&former, &playbook);
    let offline = desired::build(&inventory, &playbook, &recorded, &NothingIsDrawn).unwrap();
    let images = offline.hosts.iter().flat_map(|host| &host.components);
    recorded.digests = images
        .flat_map(|component| {
            let extra = component
                .extra_images
                .iter()
                .map(|(image, _)| image.clone());
            std::iter::once(component.container.image.clone()).chain(extra)
        })
        .map(|image| (image, DIGEST.into()))
        .collect();
    desired::build(&inventory, &playbook, &recorded, &NothingIsDrawn).unwrap()
}

/// A machine that toots has never changed.
fn fresh(desired: &Desired) -> Observed {
    let status = || HostStatus {
        docker: DockerStatus::Up {
            engine: EngineStatus::default(),
            containers: Vec::new(),
            images: vec![ImageStatus {
                digests: vec![format!("any@{DIGEST}")],
                ..ImageStatus::default()
            }],
        },
        ..HostStatus::default()
    };
    desired
        .hosts
        .iter()
        .map(|host| (host.name.clone(), status()))
        .collect()
}

/// The content as commit 93660a6 wrote it. Later fields of toots' own records do not change a
/// running cluster; everything else must be the same.
fn first_form(file: &FileSpec) -> Vec<u8> {
    if file.place != Placement::Record {
        return file.content.clone();
    }
    let text = String::from_utf8_lossy(&file.content);
    let added = |line: &&str| {
        LATER_FIELDS
            .iter()
            .any(|field| line.trim().starts_with(field))
    };
    let kept: Vec<&str> = text.lines().filter(|line| !added(line)).collect();
    format!("{}\n", kept.join("\n")).into_bytes()
}

/// What a host gets from its first run, one item per line. `contents` collects the bytes of its
/// files.
fn listing(host: &HostPlan, contents: &mut BTreeMap<String, (String, Vec<u8>)>) -> String {
    let mut out = String::new();
    for step in host.steps() {
        match step {
            Step::Place {
                dirs,
                files,
                hosts_entries,
            } => {
                for (dir, _) in dirs {
                    let _ = writeln!(
                        out,
                        "dir {} {:04o} {} {}",
                        dir.path, dir.mode, dir.uid, dir.gid
                    );
                }
                let later = |file: &&FileSpec| LATER_RECORDS.contains(&file.path.as_str());
                let files = files.iter().map(|change| &change.file);
                for file in files.filter(|file| !later(file)) {
                    let kind = if file.place == Placement::Creation {
                        "once"
                    } else {
                        "file"
                    };
                    let (content, path) = (first_form(file), &file.path);
                    let sum = digest(&content);
                    let _ = writeln!(
                        out,
                        "{kind} {path} {:04o} {} {} {sum}",
                        file.mode, file.uid, file.gid
                    );
                    contents
                        .entry(sum)
                        .or_insert_with(|| (path.clone(), content));
                }
                for (address, name) in hosts_entries.iter().flatten() {
                    let _ = writeln!(out, "hosts {address} {name}");
                }
            }
            Step::Create { spec } => {
                let _ = writeln!(out, "container {} {}", spec.component, spec.hash().0);
            }
            Step::Unit { unit, .. } => {
                let _ = writeln!(out, "unit {unit}");
            }
            Step::Install { .. } => {}
            other => panic!("a fresh host does not call for: {}", other.title()),
        }
    }
    out
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn rendered() -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (name, text) in clusters() {
        let desired = build(&text);
        let mut list = format!("cluster {}\n", desired.cluster);
        for host in plan::diff(&desired, &fresh(&desired)).hosts {
            let _ = write!(
                list,
                "\nhost {}\n{}",
                host.host,
                listing(&host, &mut contents)
            );
        }
        out.insert(format!("{name}.txt"), list);
    }
    let mut by_path: Vec<(&String, &(String, Vec<u8>))> = contents.iter().collect();
    by_path.sort_by_key(|(sum, (path, _))| (path, *sum));
    let mut bytes = String::new();
    for (sum, (path, content)) in by_path {
        let _ = writeln!(
            bytes,
            "##### {sum} {path}\n{}",
            String::from_utf8_lossy(content)
        );
    }
    out.insert("contents.txt".to_owned(), bytes);
    out
}

#[test]
fn rendered_bytes_and_specification_hashes_stay() {
    let write = std::env::var("TOOTS_GOLDEN").is_ok_and(|value| value == "write");
    let mut differ = Vec::new();
    for (name, text) in rendered() {
        let path = folder().join(&name);
        if write {
            fs::write(&path, text).unwrap();
            continue;
        }
        let golden = fs::read_to_string(&path).unwrap();
        if golden != text {
            let diff = similar::TextDiff::from_lines(&golden, &text);
            differ.push(
                diff.unified_diff()
                    .header("a running cluster has", "now")
                    .to_string(),
            );
        }
    }
    assert!(
        differ.is_empty(),
        "running clusters would change:\n{}",
        differ.join("\n")
    );
}

/// The observed state of the hosts according to the golden files, without the code under test.
fn running(cluster: &str) -> Observed {
    let text = fs::read_to_string(folder().join(format!("{cluster}.txt"))).unwrap();
    let contents = contents();
    let mut name = ClusterName::new("unknown").unwrap();
    let mut out = Observed::new();
    let mut host: Option<HostName> = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["cluster", cluster] => name = ClusterName::new(cluster).unwrap(),
            ["host", known] => {
                let known = HostName::new(known).unwrap();
                out.insert(known.clone(), HostStatus::default());
                host = Some(known);
            }
            _ => observe(
                out.get_mut(host.as_ref().unwrap()).unwrap(),
                &name,
                &words,
                &contents,
            ),
        }
    }
    out
}

fn contents() -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(folder().join("contents.txt")).unwrap();
    let blocks = text.split("##### ").filter(|block| !block.is_empty());
    blocks
        .filter_map(|block| {
            let (head, content) = block.split_once('\n')?;
            let sum = head.split(' ').next()?;
            Some((
                sum.to_owned(),
                content.strip_suffix('\n')?.as_bytes().to_vec(),
            ))
        })
        .collect()
}

fn observe(
    status: &mut HostStatus,
    cluster: &ClusterName,
    words: &[&str],
    contents: &BTreeMap<String, Vec<u8>>,
) {
    let mut seen = |kind, path: &str, mode: &str, owner: (&str, &str), sum: Option<&str>| {
        let file = FileStatus {
            kind,
            mode: u32::from_str_radix(mode, 8).unwrap(),
            uid: owner.0.parse().unwrap(),
            gid: owner.1.parse().unwrap(),
            sha256: sum.map(str::to_owned),
            content: sum.and_then(|sum| contents.get(sum)).cloned(),
        };
        if let (Some(content), Some(sum)) = (&file.content, sum) {
            assert_eq!(digest(content), sum, "{path}");
        }
        status.files.insert(path.to_owned(), file);
    };
    match *words {
        ["dir", path, mode, uid, gid] => seen('d', path, mode, (uid, gid), None),
        ["file", path, mode, uid, gid, sum] => seen('f', path, mode, (uid, gid), Some(sum)),
        // The marker that creates an ensemble is gone once the ensemble exists.
        ["once", ..] => {}
        ["hosts", address, name] => {
            status
                .hosts_entries
                .push((address.to_owned(), name.to_owned()));
        }
        ["unit", unit] => {
            status.units.insert(unit.to_owned(), true);
        }
        ["container", component, hash] => container(status, cluster, component, hash),
        _ => panic!("unknown line: {words:?}"),
    }
}

fn container(status: &mut HostStatus, cluster: &ClusterName, component: &str, hash: &str) {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let container = ContainerStatus {
        id: format!("id-of-{component}"),
        name: format!("toots-{component}"),
        state: "running".into(),
        labels: [
            label(ContainerSpec::LABEL_CLUSTER, cluster.as_str()),
            label(ContainerSpec::LABEL_COMPONENT, component),
            label(ContainerSpec::LABEL_SPEC, hash),
        ]
        .into(),
        ..ContainerStatus::default()
    };
    status.proven.insert(ComponentName::new(component).unwrap());
    if let DockerStatus::Up { containers, .. } = &mut status.docker {
        containers.push(container);
    } else {
        let image = ImageStatus {
            digests: vec![format!("any@{DIGEST}")],
            ..ImageStatus::default()
        };
        status.docker = DockerStatus::Up {
            engine: EngineStatus::default(),
            containers: vec![container],
            images: vec![image],
        };
    }
}

/// Records that the next run with a change writes.
fn outdated(host: &HostPlan) -> Vec<&str> {
    let paths = host.records.iter().flat_map(|step| match step {
        Step::Place { files, .. } => files
            .iter()
            .map(|change| change.file.path.as_str())
            .collect(),
        _ => Vec::new(),
    });
    paths.collect()
}

#[test]
fn running_clusters_get_an_empty_plan() {
    for (name, text) in clusters() {
        let mut observed = running(name);
        let desired = build(&text);
        for host in &desired.hosts {
            let status = observed.get_mut(&host.name).unwrap();
            status.facts.nfs_client = host.nfs.is_some();
        }
        let plan = plan::diff(&desired, &observed);
        let steps: Vec<String> = plan
            .hosts
            .iter()
            .flat_map(|host| {
                host.steps()
                    .map(move |step| format!("{}: {step:?}", host.host))
            })
            .collect();
        assert!(steps.is_empty(), "{name}:\n{}", steps.join("\n"));
        for host in &plan.hosts {
            let later: &[&str] = if host.roles.contains(&Role::Master) {
                LATER_RECORDS
            } else {
                &[]
            };
            assert_eq!(
                outdated(host),
                [&[NodeRecord::PATH], later].concat(),
                "{name}: one of an older format, and those that came later"
            );
        }
        assert_eq!(
            plan.hosts.len(),
            desired.hosts.len(),
            "{name}: every host was planned"
        );
    }
}

/// What programs read is ordered by member number, not by the list.
#[test]
fn reordered_masters_get_an_empty_plan() {
    for (name, text) in clusters() {
        let start = text.find("masters = [").unwrap() + "masters = [".len();
        let end = start + text[start..].find(']').unwrap();
        let mut list: Vec<&str> = text[start..end].split(", ").collect();
        list.rotate_left(1);
        let reordered = format!("{}{}{}", &text[..start], list.join(", "), &text[end..]);
        let desired = build_recorded(&reordered, &text);
        let mut observed = running(name);
        for host in &desired.hosts {
            let status = observed.get_mut(&host.name).unwrap();
            status.facts.nfs_client = host.nfs.is_some();
        }
        let plan = plan::diff(&desired, &observed);
        let steps: Vec<&Step> = plan.hosts.iter().flat_map(HostPlan::steps).collect();
        assert!(steps.is_empty(), "{name}: {steps:?}");
    }
}

/// A golden cluster without a component would let that component change unnoticed.
#[test]
fn every_component_has_a_golden_container() {
    let placed: BTreeSet<ComponentName> = clusters()
        .iter()
        .flat_map(|(name, _)| running(name).into_values())
        .flat_map(|status| status.machine.proven)
        .collect();
    assert_eq!(placed, component_names(&Playbook::load(None).unwrap()));
}

/// The test above can fail: one changed byte of one file replaces one component.
#[test]
fn a_changed_byte_is_not_an_empty_plan() {
    let text = &clusters()[0].1;
    let mut desired = build(text);
    let observed = running("separate_roles");
    let host: &mut HostDesired = &mut desired.hosts[0];
    let component = host
        .components
        .iter_mut()
        .find(|component| !component.files.is_empty());
    component.unwrap().files[0].content.push(b'\n');
    assert_eq!(plan::diff(&desired, &observed).changes(), 1);
    let mut desired = build(text);
    desired.hosts[0].components[0]
        .container
        .env
        .insert("A".into(), "b".into());
    let replaced = plan::diff(&desired, &observed);
    let steps = replaced.hosts.iter().flat_map(HostPlan::steps);
    assert_eq!(
        steps
            .filter(|step| matches!(step, Step::Replace { .. }))
            .count(),
        1
    );
}
