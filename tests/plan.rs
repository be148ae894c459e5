//! The plan, preflight, saved plans and recorded identities, without hosts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use toots::desired::{self, Desired, Draw, Recorded};
use toots::docker::{ContainerStatus, EngineInfo, EngineStatus, ImageStatus};
use toots::inventory;
use toots::observe::{DockerStatus, FileStatus, HostStatus, Listener};
use toots::plan::{self, Limits, Observed, SavedPlan, Step};
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{ClusterName, ContainerSpec, HostName, NodeRecord, Placement, Secret};

const INVENTORY: &str = r#"
masters = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
slaves = ["10.0.0.4"]
edges = ["10.0.0.5"]
"#;

struct Fixed;

impl Draw for Fixed {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "0123".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new("s3cret-sentinel")
    }
}

#[path = "plan/images.rs"]
mod images;
#[path = "plan/masters.rs"]
mod masters;
#[path = "plan/recipes.rs"]
mod recipes;
#[path = "plan/registry.rs"]
mod registry;

fn wanted(extra: &str) -> Desired {
    build(&format!("{INVENTORY}{extra}"), Recorded::default())
}

/// The desired state with every image pinned.
fn build(text: &str, recorded: Recorded) -> Desired {
    let inventory = inventory::parse(text, "inventory.toml", Path::new(".")).unwrap();
    let playbook = Playbook::load(None).unwrap();
    let everything = desired::build(&inventory, &playbook, &Recorded::default(), &Fixed).unwrap();
    let images = everything.hosts.iter().flat_map(|host| &host.components);
    let digests = images
        .flat_map(|c| {
            std::iter::once(c.container.image.clone())
                .chain(c.extra_images.iter().map(|(image, _)| image.clone()))
        })
        .map(|image| (image, "sha256:ab".into()))
        .collect();
    desired::build(
        &inventory,
        &playbook,
        &Recorded {
            digests,
            ..recorded
        },
        &Fixed,
    )
    .unwrap()
}

/// A suitable, empty machine.
fn empty(n: u8) -> HostStatus {
    let mut status = HostStatus::default();
    status.facts.hostname = format!("h{n}");
    status.facts.os_id = "debian".into();
    status.facts.arch = "x86_64".into();
    status.facts.machine_id = format!("id{n}");
    status.facts.mem_total_kib = 8 << 20;
    status.facts.docker_root = "/var/lib/docker".into();
    status.facts.disk_free_docker_kib = 50 << 20;
    status.facts.disk_free_data_kib = 50 << 20;
    status.facts.cgroup_version = 2;
    status.facts.own_name_resolves_to = vec![[10, 0, 0, n].into()];
    status
        .facts
        .nics
        .insert("eth0".into(), vec![[10, 0, 0, n].into()]);
    status.docker = DockerStatus::Up {
        engine: EngineStatus {
            platform: "linux/amd64".into(),
            version: "20.10.24".into(),
            api: "1.41".into(),
            min_api: "1.12".into(),
            is_podman: false,
            info: Some(EngineInfo {
                root: "/var/lib/docker".into(),
                ..EngineInfo::default()
            }),
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

/// The observed state after a completed run, derived from the plan of fresh hosts.
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
                        .filter(|change| change.file.place != Placement::Creation)
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
                    if let Some(entries) = hosts_entries {
                        status.hosts_entries.clone_from(entries);
                    }
                }
                Step::Create { spec } => containers.push(container(spec)),
                Step::Pull { image, digest } => images.push(ImageStatus {
                    digests: vec![image.pinned(digest.as_deref().unwrap())],
                    ..ImageStatus::default()
                }),
                Step::Load {
                    image,
                    digest: Some(digest),
                    ..
                } => images.push(images::loaded(image, digest)),
                Step::Build { .. } | Step::Load { .. } => images.push(recipes::built(step)),
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
        labels: spec.all_labels(&ClusterName::new("dc1").unwrap()),
        ..ContainerStatus::default()
    }
}

#[test]
fn fresh_clusters_get_everything_and_settled_clusters_nothing() {
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
                    assert!(
                        reason.to_string().contains("/etc/toots/consul/consul.json"),
                        "{reason}"
                    );
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

/// The marker that creates an ensemble is written only before the first proof, and never on a host
/// with data.
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
    // Interrupted after one member had started its log: the others still belong to the first
    // creation.
    let mut begun = fresh();
    begun
        .get_mut(&host(1))
        .unwrap()
        .has_data
        .insert("/var/lib/toots/zookeeper/datalog/version-2".into());
    assert_eq!(marker(&begun), [host(2), host(3)]);
    // Killed right after a member's container started: it took the marker then, and its log begins
    // later.
    let mut started = settled(&desired);
    for status in started.values_mut() {
        status.proven.clear();
        status.has_data.clear();
    }
    assert_eq!(marker(&started), []);
    // Proven once: a member that lost its data must not vote with an empty history.
    let mut wiped = settled(&desired);
    let status = wiped.get_mut(&host(2)).unwrap();
    status.has_data.clear();
    status
        .files
        .retain(|path, _| !path.starts_with("/var/lib/toots/zookeeper"));
    assert_eq!(marker(&wiped), []);
}

/// A marker that was written after its member had started is removed before it can do harm.
#[test]
fn a_marker_that_is_left_is_removed() {
    let desired = wanted("");
    let mut observed = settled(&desired);
    let path = "/var/lib/toots/zookeeper/datalog/initialize";
    let marker = FileStatus {
        kind: 'f',
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        sha256: None,
        content: None,
    };
    let status = observed.get_mut(&host(3)).unwrap();
    status.files.insert(path.into(), marker);
    let plan = plan::diff(&desired, &observed);
    let steps = plan.hosts.iter().flat_map(plan::HostPlan::steps);
    let titles: Vec<String> = steps.map(Step::title).collect();
    assert_eq!(titles, [format!("remove {path}")]);
}

#[test]
fn preflight_names_the_setting_that_leaves_no_session() {
    let desired = wanted("");
    let mut observed = settled(&desired);
    let why = "the host allows 1 session per connection (MaxSessions)";
    observed.get_mut(&host(2)).unwrap().docker = DockerStatus::OutOfSessions(why.into());
    let findings = plan::preflight(&desired, &observed, &Limits::default());
    let fatal: Vec<_> = findings.iter().filter(|f| f.fatal).collect();
    assert_eq!(fatal.len(), 1, "{findings:?}");
    assert_eq!(fatal[0].host, host(2));
    assert!(fatal[0].why.contains(why), "{}", fatal[0].why);
    assert!(
        fatal[0].hint.to_string().contains("MaxSessions 10"),
        "{}",
        fatal[0].hint
    );
}

#[test]
fn preflight_reports_every_host_together() {
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
    let slave = &mut observed.get_mut(&host(4)).unwrap().facts;
    slave.mounts = [
        ("/".to_owned(), false),
        ("/var/lib/toots".to_owned(), false),
    ]
    .into();
    slave.cgroup_version = 1;
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
    let hash = desired.recipes.keys().next().unwrap().tag();
    insta::assert_snapshot!(found.join("\n").replace(hash, "HASH"));
    assert_eq!(
        plan::preflight(&desired, &settled(&desired), &Limits::default()),
        [],
        "it passes on a running cluster"
    );
}

/// What answers at Docker's socket is named, whatever it is.
/// Before there is an inventory, nobody has named the interface.
#[test]
fn an_address_that_no_interface_has_is_refused() {
    let desired = wanted("");
    let mut observed = fresh();
    let other = vec![[192, 168, 0, 2].into()];
    observed
        .get_mut(&host(2))
        .unwrap()
        .facts
        .nics
        .insert("ens3".into(), vec![[10, 0, 0, 2].into()]);
    observed
        .get_mut(&host(2))
        .unwrap()
        .facts
        .nics
        .remove("eth0");
    observed
        .get_mut(&host(3))
        .unwrap()
        .facts
        .nics
        .insert("eth0".into(), other);
    let found = plan::preflight(&desired, &observed, &Limits::default());
    let found: Vec<_> = found
        .iter()
        .filter(|f| f.why.contains("interface"))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].host, found[0].fatal), (&host(3), true));
    assert_eq!(
        found[0].why,
        "10.0.0.3 is not an address of any interface (found: 192.168.0.2)"
    );
}

#[test]
fn engines_that_cannot_run_a_cluster_are_named() {
    let desired = wanted("");
    let mut observed = fresh();
    let mut set = |n: u8, change: &dyn Fn(&mut EngineStatus)| {
        let status = observed.get_mut(&host(n)).unwrap();
        if let DockerStatus::Up { engine, .. } = &mut status.docker {
            change(engine);
        }
    };
    set(1, &|engine| {
        engine.is_podman = true;
        engine.version = "4.3.1".into();
    });
    set(2, &|engine| {
        let info = engine.info.as_mut().unwrap();
        (info.is_rootless, info.remaps_users) = (true, true);
    });
    set(3, &|engine| engine.info = None);
    set(4, &|engine| {
        engine.info.as_mut().unwrap().root = "/srv/docker".into()
    });
    observed.get_mut(&host(5)).unwrap().docker = DockerStatus::Unreadable {
        engine: EngineStatus {
            version: "1.11.2".into(),
            ..EngineStatus::default()
        },
        why: "list the images: missing field `SharedSize`".into(),
    };
    let found: Vec<String> = plan::preflight(&desired, &observed, &Limits::default())
        .iter()
        .map(|f| format!("{} {}: {} → {}", f.host, f.fatal, f.why, f.hint))
        .collect();
    insta::assert_snapshot!(found.join("\n"));
}

/// One DNS server per port and address: another one beside it is reported once, one in its way is
/// refused.
#[test]
fn distribution_resolver_is_named_and_kept() {
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
    let beside = "systemd-resolve (pid 7) keeps 53/tcp on 127.0.0.53; dnsmasq will use 10.0.0.4";
    assert_eq!(
        found([127, 0, 0, 53], fresh()),
        [(false, beside.to_owned())]
    );
    assert_eq!(found([127, 0, 0, 53], settled(&desired)), [], "once");
    let in_the_way = |protocol| {
        (
            true,
            format!("port 53/{protocol} (dnsmasq DNS) is in use by systemd-resolve (pid 7)"),
        )
    };
    assert_eq!(found([0, 0, 0, 0], fresh()), ["tcp", "udp"].map(in_the_way));
}

#[test]
fn hosts_from_other_clusters_are_refused() {
    let desired = wanted("");
    let node = |n: u8, cluster: &str, id: &str, name: &str| NodeRecord {
        format: NodeRecord::FORMAT,
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
    observed.get_mut(&host(5)).unwrap().node = Some(NodeRecord::parse(b"not JSON"));
    let errors = plan::recorded(&desired.cluster, &observed, &desired).unwrap_err();
    let hosts: std::collections::BTreeSet<HostName> =
        errors.iter().map(|error| error.host.clone()).collect();
    assert_eq!(
        hosts.into_iter().collect::<Vec<_>>(),
        [host(3), host(4), host(5)],
        "{errors:?}"
    );
}

/// An older toots must not act on records that it does not know.
#[test]
fn newer_records_are_refused() {
    let desired = wanted("");
    let mut observed = settled(&desired);
    observed.get_mut(&host(2)).unwrap().node = Some(NodeRecord::parse(br#"{"format":2}"#));
    let errors = plan::recorded(&desired.cluster, &observed, &desired).unwrap_err();
    insta::assert_debug_snapshot!(errors);
}

#[test]
fn a_kept_plan_is_bound_to_inventory_and_hosts_and_holds_no_secret() {
    let desired = wanted("");
    let kept = SavedPlan::from_plan("dc1", INVENTORY, &plan::diff(&desired, &fresh()));
    let text = serde_json::to_string(&kept).unwrap();
    assert!(!text.contains("s3cret-sentinel"));
    let read = SavedPlan::parse(&text).unwrap();
    assert!(
        read.check(&SavedPlan::from_plan(
            "dc1",
            INVENTORY,
            &plan::diff(&desired, &fresh())
        ))
        .is_ok()
    );
    assert!(
        read.check(&SavedPlan::from_plan(
            "dc1",
            "other",
            &plan::diff(&desired, &fresh())
        ))
        .is_err()
    );
    assert!(
        read.check(&SavedPlan::from_plan(
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
            .contains("has no NFS client, 10.0.0.9:/store cannot be mounted")
    );
    let cut = refusals(&|s| {
        s.facts
            .reaches
            .extend([("10.0.0.9 port 2049".to_owned(), false)])
    });
    assert_eq!(
        cut,
        ["cannot connect to the NFS server of 10.0.0.9:/store (10.0.0.9 port 2049)"]
    );
    assert!(refusals(&|s| s.facts.systemd = false)[0].contains("var-store.mount needs systemd"));

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

/// The agent would be in a crash loop, after everything else was changed.
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
        "without its data a new agent"
    );
}

/// What an image needs follows from where it comes from.
#[test]
fn apache_mesos_needs_old_hosts() {
    let found = |images: &str| {
        let desired = wanted(images);
        let observed = fresh();
        let found = plan::preflight(&desired, &observed, &Limits::default());
        let why = found.into_iter().map(|finding| finding.why);
        why.filter(|why| why.contains("mesos")).collect::<Vec<_>>()
    };
    let image = |tag: &str| {
        format!(
            "[images]\nmesos-slave = \"example/mesos-slave:{tag}\"\nmesos-master = \"a/b:1\"\nmesos-executor = \"a/b:1\"\n"
        )
    };
    let apache = found(&image("1.11.0"));
    assert_eq!(
        apache,
        [
            "example/mesos-slave:1.11.0 does not run on this host: Apache Mesos needs cgroup v1; the agent does not start on cgroup v2 (cgroup v2 found)"
        ]
    );
    assert_eq!(found(&image("1.11.0-0.9.0")), Vec::<String>::new());
    assert_eq!(found(""), Vec::<String>::new());
}

/// Programs with data change to versions that they support; those without run any.
#[test]
fn unsupported_versions_are_refused() {
    let images = |consul: &str, haproxy: &str| {
        format!(
            "[images]\nconsul = \"hashicorp/consul:{consul}\"\nhaproxy = \"haproxy:{haproxy}\"\n"
        )
    };
    let former = images("1.20.1", "3.2");
    let observed = settled(&wanted(&former));
    let found = |images: &str| {
        let found = plan::preflight(&wanted(images), &observed, &Limits::default());
        let refused = found.iter().filter(|finding| finding.fatal);
        refused
            .map(|finding| finding.why.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&former), Vec::<String>::new());
    assert_eq!(found(&images("1.22", "2.6")), Vec::<String>::new());
    let older =
        "hashicorp/consul:1.19.2 is older than hashicorp/consul:1.20.1, which wrote the data";
    assert_eq!(found(&images("1.19.2", "3.2")), [older; 5]);
    let far = found(&images("1.23", "3.2"));
    assert!(far.len() == 5 && far[0].contains("at most"), "{far:?}");
}

/// A replacement that failed leaves the record of an image whose program never ran.
#[test]
fn versions_follow_the_container_that_wrote_the_data() {
    let images = |version: &str| format!("[images]\nconsul = \"hashicorp/consul:{version}\"\n");
    let mut observed = settled(&wanted(&images("1.22")));
    let newer = settled(&wanted(&images("1.23")));
    for (host, status) in &mut observed {
        status.files.clone_from(&newer[host].files);
    }
    let refused = |version: &str, observed: &Observed| {
        let found = plan::preflight(&wanted(&images(version)), observed, &Limits::default());
        found.iter().filter(|finding| finding.fatal).count()
    };
    assert_eq!(refused("1.22", &observed), 0);
    // Aside for a replacement that was cut off, with a container that never started.
    for status in observed.values_mut() {
        let DockerStatus::Up { containers, .. } = &mut status.docker else {
            continue;
        };
        let mut begun = Vec::new();
        for container in containers.iter_mut() {
            let name = container.name.clone() + ContainerSpec::FORMER;
            let former = std::mem::replace(&mut container.name, name);
            let mut created = container.clone();
            (created.name, created.state) = (former, "created".into());
            let image = "hashicorp/consul:1.23".to_owned();
            created
                .labels
                .insert(ContainerSpec::LABEL_IMAGE.into(), image);
            begun.push(created);
        }
        containers.extend(begun);
    }
    assert_eq!(refused("1.22", &observed), 0);
    assert_eq!(refused("1.21", &observed), 5);
}

/// With an image by reference, a container is the same as before there were recipes.
#[test]
fn a_recipe_has_its_own_settings() {
    let agent = |images: &str| {
        let desired = wanted(images);
        let host = desired.hosts.iter().find(|h| h.name == host(4)).unwrap();
        let mut components = host.components.iter();
        let found = components.find(|c| c.name.as_str() == "mesos-slave");
        found.unwrap().container.clone()
    };
    let built = agent("");
    assert_eq!(built.entrypoint, Some(vec!["mesos-agent".to_owned()]));
    assert!(built.cgroupns_host && built.pid_host && built.cap_add.is_empty());
    assert!(built.mounts.iter().all(|mount| mount.source != "/sys"));
    assert_eq!(built.mounts[0].propagation.as_deref(), Some("shared"));
    let has = |spec: &ContainerSpec, flag: &str| spec.command.iter().any(|a| a.starts_with(flag));
    assert!(has(&built, "--network_cni_root_dir_persist"));

    // The same program in an image of one's own.
    for image in ["a/mesos:1.11.0-0.9.0", "a/clusterd:latest"] {
        let own = agent(&format!("[images]\nmesos-slave = \"{image}\"\n"));
        assert!(own.cgroupns_host && has(&own, "--network_cni_plugins_dir"));
    }
    let named = agent("[images]\nmesos-slave = \"mesosphere/mesos-slave:1.7.1\"\n");
    assert_eq!(
        (named.entrypoint.as_ref(), named.cgroupns_host),
        (None, false)
    );
    assert_eq!(named.cap_add, ["SYS_ADMIN", "SYS_PTRACE"]);
    assert!(named.mounts.iter().any(|mount| mount.source == "/sys"));
    assert!(!has(&named, "--network_cni"));
    let json = serde_json::to_string(&named).unwrap();
    assert!(
        !json.contains("cgroupns") && !json.contains("init\""),
        "{json}"
    );
}

/// A dead host is reported once, by its connection, not as a closed firewall by each of its peers.
#[test]
fn unobserved_hosts_close_no_ports() {
    let desired = wanted("");
    let mut observed = fresh();
    observed.remove(&HostName::new("10.0.0.3").unwrap());
    let first = observed
        .get_mut(&HostName::new("10.0.0.1").unwrap())
        .unwrap();
    for peer in ["10.0.0.2 port 2181", "10.0.0.3 port 2181"] {
        first.facts.reaches.insert(peer.to_owned(), false);
    }
    let why: Vec<String> = plan::preflight(&desired, &observed, &Limits::default())
        .into_iter()
        .map(|finding| finding.why)
        .collect();
    assert_eq!(why, ["cannot connect to 10.0.0.2 port 2181"]);
}

#[test]
fn members_that_lost_their_data_are_explained() {
    let desired = wanted("");
    let lose = |observed: &mut Observed, n: u8| {
        let data = |dir: &String| dir.contains("zookeeper");
        observed
            .get_mut(&host(n))
            .unwrap()
            .has_data
            .retain(|dir| !data(dir));
    };
    let mut observed = settled(&desired);
    assert_eq!(plan::find_lost_data(&desired, &observed), []);
    // The other two are a quorum: it takes its data from them.
    lose(&mut observed, 1);
    assert_eq!(plan::find_lost_data(&desired, &observed), []);
    lose(&mut observed, 3);
    let lost = plan::find_lost_data(&desired, &observed);
    let [lost] = lost.as_slice() else {
        panic!("{lost:?}")
    };
    assert_eq!(
        (lost.component.as_str(), &lost.kept),
        ("zookeeper", &vec![host(2)])
    );
    let text = lost.to_string();
    assert!(
        text.starts_with("zookeeper: 10.0.0.1, 10.0.0.3 lost their data"),
        "{text}"
    );
    assert!(
        text.contains("as root on 10.0.0.1, run: docker stop toots-zookeeper"),
        "{text}"
    );
    // A service that never came up has lost nothing.
    for status in observed.values_mut() {
        status.proven.clear();
    }
    assert_eq!(plan::find_lost_data(&desired, &observed), []);
}
