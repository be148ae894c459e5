//! The difference between wanted and seen, preflight, kept plans and recorded identities, without hosts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use toots::desired::{self, Desired, Draw, Recorded};
use toots::docker::{ContainerStatus, EngineStatus, ImageStatus};
use toots::inventory;
use toots::observe::{DockerStatus, FileStatus, HostStatus, Listener};
use toots::plan::{self, Limits, Observed, SavedPlan, Step};
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{ContainerSpec, HostName, NodeRecord, Place, Secret};

const INVENTORY: &str = r#"
masters = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
slaves = ["10.0.0.4"]
edges = ["10.0.0.5"]
"#;

struct Fixed;

impl Draw for Fixed {
    fn cluster_id(&self) -> String {
        "0123".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new("s3cret-sentinel")
    }
}

fn wanted(extra: &str) -> Desired {
    let inventory = inventory::parse(
        &format!("{INVENTORY}{extra}"),
        "inventory.toml",
        Path::new("."),
    )
    .unwrap();
    let playbook = Playbook::load(None).unwrap();
    let everything = desired::build(&inventory, &playbook, &Recorded::default(), &Fixed).unwrap();
    let images = everything.hosts.iter().flat_map(|host| &host.components);
    let digests = images
        .flat_map(|c| {
            std::iter::once(c.container.image.clone())
                .chain(c.extra_images.iter().map(|(image, _)| image.clone()))
        })
        .map(|image| (image, "sha256:ab".to_owned()))
        .collect();
    desired::build(
        &inventory,
        &playbook,
        &Recorded {
            digests,
            ..Recorded::default()
        },
        &Fixed,
    )
    .unwrap()
}

/// A machine that is fit and empty.
fn empty(n: u8) -> HostStatus {
    let mut status = HostStatus::default();
    status.facts.hostname = format!("h{n}");
    status.facts.os_id = "debian".into();
    status.facts.arch = "x86_64".into();
    status.facts.machine_id = format!("id{n}");
    status.facts.mem_total_kib = 8 << 20;
    status.facts.disk_free_docker_kib = 50 << 20;
    status.facts.disk_free_data_kib = 50 << 20;
    status.facts.cgroup_version = 1;
    status.facts.own_name_resolves_to = vec![[10, 0, 0, n].into()];
    status
        .facts
        .nics
        .insert("eth0".into(), vec![[10, 0, 0, n].into()]);
    status.docker = DockerStatus::Up {
        engine: EngineStatus {
            version: "20.10.24".into(),
            api: "1.41".into(),
            min_api: "1.12".into(),
        },
        containers: Vec::new(),
        images: Vec::new(),
    };
    status
}

fn host(n: u8) -> HostName {
    HostName::new(format!("10.0.0.{n}")).unwrap()
}

fn fresh() -> Observed {
    (1..=5).map(|n| (host(n), empty(n))).collect()
}

/// What the hosts look like when everything is as wanted: built from the plan of fresh hosts, not from the code under test's own view.
fn settled(desired: &Desired) -> Observed {
    let plan = plan::diff(desired, &fresh());
    let mut out = fresh();
    for host in &plan.hosts {
        let status = out.get_mut(&host.host).unwrap();
        let (mut containers, mut images) = (Vec::new(), Vec::new());
        for step in host.steps() {
            match step {
                Step::Place {
                    dirs,
                    files,
                    hosts_entries,
                } => {
                    for (dir, _) in dirs {
                        let seen = FileStatus {
                            kind: 'd',
                            mode: dir.mode,
                            uid: dir.uid,
                            gid: dir.gid,
                            sha256: None,
                            content: None,
                        };
                        status.files.insert(dir.path.clone(), seen);
                    }
                    for change in files
                        .iter()
                        .filter(|change| change.file.place == Place::Always)
                    {
                        let file = &change.file;
                        let seen = FileStatus {
                            kind: 'f',
                            mode: file.mode,
                            uid: file.uid,
                            gid: file.gid,
                            sha256: Some(file.digest()),
                            content: Some(file.content.clone()),
                        };
                        status.files.insert(file.path.clone(), seen);
                    }
                    status.hosts_entries = hosts_entries.clone().unwrap_or_default();
                }
                Step::Create { spec } => containers.push(container(spec)),
                Step::Pull { image, digest } => images.push(ImageStatus {
                    digests: vec![image.pinned(digest.as_deref().unwrap())],
                    ..ImageStatus::default()
                }),
                Step::Unit { unit, .. } => status.units.extend([(unit.clone(), true)]),
                Step::Install { .. } => {}
                other => panic!("a fresh host does not call for: {}", other.title()),
            }
        }
        if let DockerStatus::Up {
            containers: c,
            images: i,
            ..
        } = &mut status.docker
        {
            (*c, *i) = (containers, images);
        }
        for component in &desired
            .hosts
            .iter()
            .find(|h| h.name == host.host)
            .unwrap()
            .components
        {
            status.proven.insert(component.name.clone());
            status.has_data.extend(component.data_dir.clone());
        }
    }
    out
}

fn container(spec: &ContainerSpec) -> ContainerStatus {
    ContainerStatus {
        id: spec.name(),
        name: spec.name(),
        state: "running".into(),
        labels: [
            (ContainerSpec::LABEL_CLUSTER.to_owned(), "dc1".to_owned()),
            (
                ContainerSpec::LABEL_COMPONENT.to_owned(),
                spec.component.to_string(),
            ),
            (ContainerSpec::LABEL_SPEC.to_owned(), spec.hash().0),
        ]
        .into(),
        ..ContainerStatus::default()
    }
}

#[test]
fn a_fresh_cluster_gets_everything_and_a_settled_one_nothing() {
    let desired = wanted("");
    let plan = plan::diff(&desired, &fresh());
    let creates = plan
        .hosts
        .iter()
        .flat_map(plan::HostPlan::steps)
        .filter(|step| matches!(step, Step::Create { .. }))
        .count();
    assert_eq!(
        creates,
        desired
            .hosts
            .iter()
            .map(|host| host.components.len())
            .sum::<usize>()
    );
    assert_eq!(plan::diff(&desired, &settled(&desired)).changes(), 0);
}

#[test]
fn a_changed_parameter_replaces_only_what_it_concerns_and_says_why() {
    let before = settled(&wanted(""));
    let plan = plan::diff(&wanted("[consul]\nraft_multiplier = 5\n"), &before);
    for host in &plan.hosts {
        for step in host.steps() {
            match step {
                Step::Replace { spec, reason } => {
                    assert_eq!(spec.component.as_str(), "consul-server");
                    assert!(reason.contains("/etc/toots/consul/consul.json"), "{reason}");
                }
                Step::Place { files, .. } => {
                    for change in files {
                        let path = &change.file.path;
                        assert!(
                            path.contains("consul") || path == "/etc/toots/compose.yaml",
                            "{path}"
                        );
                        let shown = change.diff.clone().unwrap_or_default();
                        assert!(
                            !shown.contains("s3cret-sentinel"),
                            "secrets are masked: {shown}"
                        );
                    }
                }
                other => panic!("{}: {}", host.host, other.title()),
            }
        }
    }
    assert!(!format!("{plan:?}").contains("s3cret-sentinel"));
}

#[test]
fn stopped_left_over_and_dropped_containers_are_seen() {
    let desired = wanted("");
    let mut observed = settled(&desired);
    if let DockerStatus::Up { containers, .. } = &mut observed.get_mut(&host(1)).unwrap().docker {
        containers
            .iter_mut()
            .find(|c| c.name == "toots-zookeeper")
            .unwrap()
            .state = "exited".into();
        let mut old = containers[0].clone();
        old.name = "toots-marathon.old".into();
        containers.push(old);
        containers.push(ContainerStatus {
            name: "somebody-elses".into(),
            state: "running".into(),
            ..ContainerStatus::default()
        });
    }
    let titles: Vec<String> = plan::diff(&desired, &observed)
        .hosts
        .iter()
        .flat_map(plan::HostPlan::steps)
        .map(Step::title)
        .collect();
    assert_eq!(
        titles,
        ["start toots-zookeeper", "remove toots-marathon.old"]
    );
}

/// The marker with which an ensemble is created is put down only while it never was, and never on a host with data.
#[test]
fn an_ensemble_is_created_once() {
    let desired = wanted("");
    let marker = |observed: &Observed| -> Vec<HostName> {
        let plan = plan::diff(&desired, observed);
        let places = |host: &plan::HostPlan| {
            host.steps().any(|step| matches!(step, Step::Place { files, .. } if files.iter().any(|f| f.file.path.ends_with("/initialize"))))
        };
        plan.hosts
            .iter()
            .filter(|host| places(host))
            .map(|host| host.host.clone())
            .collect()
    };
    assert_eq!(marker(&fresh()), [host(1), host(2), host(3)]);
    // Cut off after one member had begun to write its log: the others still belong to the first creation.
    let mut begun = fresh();
    begun
        .get_mut(&host(1))
        .unwrap()
        .has_data
        .insert("/var/lib/toots/zookeeper/datalog/version-2".into());
    assert_eq!(marker(&begun), [host(2), host(3)]);
    // Proven once: a member that lost its data must not vote with an empty history.
    let mut wiped = settled(&desired);
    let status = wiped.get_mut(&host(2)).unwrap();
    status.has_data.clear();
    status
        .files
        .retain(|path, _| !path.starts_with("/var/lib/toots/zookeeper"));
    assert_eq!(marker(&wiped), []);
}

#[test]
fn preflight_says_everything_of_all_hosts_at_once() {
    let desired = wanted("");
    let mut observed = fresh();
    observed.get_mut(&host(1)).unwrap().facts.mem_total_kib = 1024;
    observed.get_mut(&host(2)).unwrap().facts.clock_offset_ms = 60_000;
    observed.get_mut(&host(2)).unwrap().docker = DockerStatus::Silent("inactive".into());
    observed
        .get_mut(&host(3))
        .unwrap()
        .listeners
        .push(Listener {
            protocol: "tcp".into(),
            address: [0, 0, 0, 0].into(),
            port: 2181,
            process: Some("java".into()),
            pid: Some(7),
            holders: vec![7],
            container: None,
        });
    observed.get_mut(&host(4)).unwrap().facts.cgroup_version = 2;
    observed.get_mut(&host(5)).unwrap().facts.machine_id = "id1".into();
    observed
        .get_mut(&host(5))
        .unwrap()
        .facts
        .reaches
        .insert("10.0.0.1 port 8300".into(), false);
    let limits = Limits {
        nics: (1..=5)
            .map(|n| (host(n), if n == 5 { "eth7" } else { "eth0" }.to_owned()))
            .collect(),
        ..Limits::default()
    };
    let found: Vec<String> = plan::preflight(&desired, &observed, &limits)
        .iter()
        .map(|f| format!("{} {}: {} → {}", f.host, f.fatal, f.why, f.hint))
        .collect();
    insta::assert_snapshot!(found.join("\n"));
    assert_eq!(
        plan::preflight(&desired, &settled(&desired), &Limits::default()),
        [],
        "it passes on a running cluster"
    );
}

/// One DNS server on a port and address: what is beside it is named once and left alone, what is in its way is refused.
#[test]
fn a_resolver_of_the_distribution_is_named_and_stays() {
    let desired = wanted("[components]\ndnsmasq = true\n");
    let found = |address: [u8; 4], mut observed: Observed| -> Vec<(bool, String)> {
        let resolver = |protocol: &str| Listener {
            protocol: protocol.into(),
            address: address.into(),
            port: 53,
            process: Some("systemd-resolve".into()),
            pid: Some(7),
            holders: vec![7],
            container: None,
        };
        observed
            .get_mut(&host(4))
            .unwrap()
            .listeners
            .extend(["tcp", "udp"].map(resolver));
        let findings = plan::preflight(&desired, &observed, &Limits::default());
        findings
            .into_iter()
            .filter(|found| found.why.contains("systemd-resolve"))
            .map(|found| (found.fatal, found.why))
            .collect()
    };
    let beside = "port 53/tcp of 127.0.0.53 is held by systemd-resolve (pid 7) and stays so; dnsmasq takes that of 10.0.0.4";
    assert_eq!(
        found([127, 0, 0, 53], fresh()),
        [(false, beside.to_owned())]
    );
    assert_eq!(found([127, 0, 0, 53], settled(&desired)), [], "once");
    let in_the_way = |protocol| {
        (
            true,
            format!("port 53/{protocol} (dnsmasq DNS) is taken by systemd-resolve (pid 7)"),
        )
    };
    assert_eq!(found([0, 0, 0, 0], fresh()), ["tcp", "udp"].map(in_the_way));
}

#[test]
fn hosts_of_elsewhere_are_refused() {
    let desired = wanted("");
    let node = |n: u8, cluster: &str, id: &str, name: &str| NodeRecord {
        cluster: cluster.parse().unwrap(),
        cluster_id: id.into(),
        node: name.parse().unwrap(),
        member: (n <= 3).then_some(n),
    };
    let mut observed = fresh();
    observed.get_mut(&host(1)).unwrap().node = Some(Ok(node(1, "dc1", "a", "10.0.0.1")));
    observed.get_mut(&host(2)).unwrap().node = Some(Ok(node(2, "dc1", "a", "10.0.0.2")));
    let recorded = plan::recorded(&desired.cluster, &observed, &desired).unwrap();
    assert_eq!(recorded.nodes.len(), 2);
    observed.get_mut(&host(3)).unwrap().node = Some(Ok(node(3, "other", "a", "10.0.0.3")));
    observed.get_mut(&host(4)).unwrap().node = Some(Ok(node(4, "dc1", "b", "10.0.0.4")));
    observed.get_mut(&host(5)).unwrap().node = Some(Err("not JSON".into()));
    let errors = plan::recorded(&desired.cluster, &observed, &desired).unwrap_err();
    let hosts: std::collections::BTreeSet<HostName> =
        errors.iter().map(|error| error.host.clone()).collect();
    assert_eq!(
        hosts.into_iter().collect::<Vec<_>>(),
        [host(3), host(4), host(5)],
        "{errors:?}"
    );
}

#[test]
fn a_kept_plan_is_bound_to_inventory_and_hosts_and_holds_no_secret() {
    let desired = wanted("");
    let kept = SavedPlan::of("dc1", INVENTORY, &plan::diff(&desired, &fresh()));
    let text = serde_json::to_string(&kept).unwrap();
    assert!(!text.contains("s3cret-sentinel"));
    let read = SavedPlan::parse(&text).unwrap();
    assert!(
        read.check(&SavedPlan::of(
            "dc1",
            INVENTORY,
            &plan::diff(&desired, &fresh())
        ))
        .is_ok()
    );
    assert!(
        read.check(&SavedPlan::of(
            "dc1",
            "other",
            &plan::diff(&desired, &fresh())
        ))
        .is_err()
    );
    assert!(
        read.check(&SavedPlan::of(
            "dc1",
            INVENTORY,
            &plan::diff(&desired, &settled(&desired))
        ))
        .is_err()
    );
    assert!(SavedPlan::parse("{}").is_err() && SavedPlan::parse("not a plan").is_err());
}

#[test]
fn a_persistent_slave_mounts_its_storage_or_says_why_not() {
    let desired =
        wanted("[hosts.\"10.0.0.4\"]\npersistent = true\n[nfs]\nexport = \"10.0.0.9:/store\"\n");
    let slave: HostName = "10.0.0.4".parse().unwrap();
    let seen = |change: &dyn Fn(&mut HostStatus)| {
        let mut observed = fresh();
        let status = observed.get_mut(&slave).unwrap();
        (status.facts.systemd, status.facts.nfs_kernel) = (true, true);
        status.facts.package_managers = vec!["apt-get".into()];
        status
            .facts
            .reaches
            .insert("10.0.0.9 port 2049".into(), true);
        change(status);
        observed
    };
    let refusals = |change: &dyn Fn(&mut HostStatus)| -> Vec<String> {
        plan::preflight(&desired, &seen(change), &Limits::default())
            .into_iter()
            .filter(|r| r.fatal)
            .map(|r| r.why)
            .collect()
    };
    assert_eq!(refusals(&|_| {}), Vec::<String>::new());
    assert!(
        refusals(&|s| s.facts.nfs_kernel = false)[0]
            .contains("has no NFS client, so 10.0.0.9:/store cannot be mounted")
    );
    let cut = refusals(&|s| {
        s.facts
            .reaches
            .extend([("10.0.0.9 port 2049".to_owned(), false)])
    });
    assert_eq!(
        cut,
        ["it does not reach the NFS server of 10.0.0.9:/store (10.0.0.9 port 2049)"]
    );
    assert!(refusals(&|s| s.facts.systemd = false)[0].contains("var-store.mount needs it"));

    let titles = |observed: &Observed| -> Vec<String> {
        plan::diff(&desired, observed)
            .host(&slave)
            .unwrap()
            .prepare
            .iter()
            .map(Step::title)
            .collect()
    };
    let fresh = titles(&seen(&|_| {}));
    assert_eq!(
        fresh[1..],
        ["install the NFS client", "start var-store.mount"],
        "{fresh:?}"
    );
    assert_eq!(
        titles(&seen(&|s| s.facts.nfs_client = true))[1..],
        ["start var-store.mount"]
    );

    let mut settled = settled(&desired);
    let status = settled.get_mut(&slave).unwrap();
    status.facts.nfs_client = true;
    assert_eq!(plan::diff(&desired, &settled).changes(), 0);
    settled
        .get_mut(&slave)
        .unwrap()
        .units
        .insert("var-store.mount".into(), false);
    assert_eq!(
        titles(&settled),
        ["start var-store.mount"],
        "a mount that is gone is made again"
    );
    let without = plan::diff(&wanted(""), &settled);
    let cleanup: Vec<String> = without
        .host(&slave)
        .unwrap()
        .cleanup
        .iter()
        .map(Step::title)
        .collect();
    assert_eq!(cleanup, ["remove var-store.mount"]);
    let slave_component = desired
        .hosts
        .iter()
        .find(|host| host.name == slave)
        .unwrap()
        .components
        .iter()
        .find(|c| c.name.as_str() == "mesos-slave");
    assert!(
        slave_component
            .unwrap()
            .container
            .command
            .contains(&"--attributes=type:data".to_owned())
    );
}

/// Its agent would end again and again, after everything else was changed.
#[test]
fn a_slave_with_data_keeps_its_kind() {
    let slave: HostName = "10.0.0.4".parse().unwrap();
    let mut observed = settled(&wanted(
        "[hosts.\"10.0.0.4\"]\npersistent = true\n[nfs]\nexport = \"10.0.0.9:/store\"\n",
    ));
    let refusals = |observed: &Observed| -> Vec<String> {
        plan::preflight(&wanted(""), observed, &Limits::default())
            .into_iter()
            .filter(|r| r.fatal)
            .map(|r| r.why)
            .collect()
    };
    let said = refusals(&observed);
    assert!(
        said[0].starts_with("mesos-slave has data with --attributes=type:data and is to start with --attributes=type:normal: "),
        "{said:?}"
    );
    observed
        .get_mut(&slave)
        .unwrap()
        .has_data
        .remove("/var/lib/toots/mesos-slave/meta");
    assert_eq!(
        refusals(&observed),
        Vec::<String>::new(),
        "without its data it is a new agent"
    );
}
