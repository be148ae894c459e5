//! Images that toots builds, and defaults that a cluster keeps.

use std::collections::BTreeMap;

use toots::desired::BundleContents;
use toots::spec::{ComponentName, DefaultImage, ImageRef, PackageVersions, Recipe};

use super::*;

const OPTIONAL: &str = "[components]\nsupervisord = true\ndnsmasq = true\n";

/// The image that a step brings.
pub fn built(step: &Step) -> ImageStatus {
    let image = step.image().unwrap();
    let hash = image.recipe_hash().unwrap().to_owned();
    ImageStatus {
        tags: vec![image.0],
        labels: [(Recipe::LABEL.to_owned(), hash)].into(),
        ..ImageStatus::default()
    }
}

/// How each host gets the image of a recipe.
fn ways(desired: &Desired, observed: &Observed, recipe: &str) -> BTreeMap<HostName, String> {
    let plan = plan::diff(desired, observed);
    let mut out = BTreeMap::new();
    for host in &plan.hosts {
        let prefix = format!("toots/{recipe}:");
        let of_recipe = |step: &&Step| {
            step.image()
                .is_some_and(|i| i.as_str().starts_with(&prefix))
        };
        for step in host.images.iter().filter(of_recipe) {
            let way = match step {
                Step::Build { .. } => "build".to_owned(),
                Step::Load { from, .. } => format!("from {from}"),
                other => other.title(),
            };
            out.insert(host.host.clone(), way);
        }
    }
    out
}

#[test]
fn an_image_is_built_on_a_single_host_and_loaded_by_the_others() {
    let desired = wanted(OPTIONAL);
    let way = |n, way: &str| (host(n), way.to_owned());
    let from_first = [2, 3, 4, 5].map(|n| way(n, "from 10.0.0.1"));
    let expected = BTreeMap::from_iter([way(1, "build")].into_iter().chain(from_first));
    assert_eq!(ways(&desired, &fresh(), "supervisord"), expected);
    assert_eq!(
        ways(&desired, &fresh(), "dnsmasq"),
        [way(4, "build")].into()
    );

    let mut observed = settled(&desired);
    assert_eq!(plan::diff(&desired, &observed).changes(), 0);
    // Images are removed by hand on all hosts but the last.
    for n in 1..=4 {
        if let DockerStatus::Up { images, .. } = &mut observed.get_mut(&host(n)).unwrap().docker {
            images.retain(|image| image.labels.is_empty());
        }
    }
    let expected = [1, 2, 3, 4].map(|n| way(n, "from 10.0.0.5")).into();
    assert_eq!(ways(&desired, &observed, "supervisord"), expected);
    assert_eq!(
        ways(&desired, &observed, "dnsmasq"),
        [way(4, "build")].into(),
        "nobody has it any more"
    );
}

#[test]
fn a_limited_run_builds_where_it_may() {
    let desired = wanted(OPTIONAL);
    let mut observed = fresh();
    observed.retain(|name, _| [host(1), host(2), host(3)].contains(name));
    let plan = plan::diff_in_scope(&desired, &observed, |name| *name != host(1));
    let builds = |n| {
        let steps = &plan.host(&host(n)).unwrap().images;
        let builds = steps.iter().filter(|s| matches!(s, Step::Build { .. }));
        let names = builds.filter_map(|s| s.image());
        names
            .filter(|i| !i.as_str().starts_with("toots/mesos:"))
            .count()
    };
    assert_eq!((builds(1), builds(2), builds(3)), (0, 1, 0));
    // A host of another architecture needs a build of its own.
    observed.get_mut(&host(3)).unwrap().facts.arch = "aarch64".into();
    assert_eq!(
        ways(&desired, &observed, "supervisord"),
        [(1, "build"), (2, "from 10.0.0.1"), (3, "build")]
            .map(|(n, way)| (host(n), way.to_owned()))
            .into()
    );
}

#[test]
fn an_old_engine_does_not_build() {
    let desired = wanted(OPTIONAL);
    let mut observed = fresh();
    let mut age = |n| {
        if let DockerStatus::Up { engine, .. } = &mut observed.get_mut(&host(n)).unwrap().docker {
            engine.version = "19.03.15".into();
        }
        let ways = ways(&desired, &observed, "supervisord");
        let plan = plan::diff(&desired, &observed);
        (ways, plan::find_unbuildable(&plan, &observed).len())
    };
    let (ways, unbuildable) = age(1);
    assert_eq!(
        (ways[&host(1)].as_str(), ways[&host(2)].as_str()),
        ("from 10.0.0.2", "build")
    );
    assert_eq!(unbuildable, 0);
    let unbuildable = [2, 3, 4, 5].map(|n| age(n).1);
    assert_eq!(unbuildable, [0, 0, 5, 10], "dnsmasq is for the slave alone");
}

/// The host that builds is named, with both places where its store has images.
#[test]
fn a_builder_needs_more_space() {
    let desired = wanted(OPTIONAL);
    let mut observed = fresh();
    let limits = plan::Limits::default();
    let status = observed.get_mut(&host(1)).unwrap();
    status.facts.docker_root = "/data/docker".into();
    status.facts.disk_free_docker_kib = limits.disk_docker_kib;
    status.facts.disk_free_containerd_kib = Some(limits.disk_docker_kib);
    let find = |observed: &Observed| -> Vec<String> {
        let plan = plan::diff(&desired, observed);
        let found = plan::find_full_builders(&plan, observed, &limits).into_iter();
        found.map(|f| format!("{}: {}", f.host, f.why)).collect()
    };
    let found = find(&observed);
    let [why] = found.as_slice() else {
        panic!("{found:?}")
    };
    let text =
        "10.0.0.1: free space for /data/docker must be at least 3072 MiB, got 2048 MiB (it builds";
    assert!(
        why.starts_with(text) && why.contains("toots/mesos:"),
        "{why}"
    );

    if let DockerStatus::Up { engine, .. } = &mut observed.get_mut(&host(1)).unwrap().docker {
        engine.info = Some(EngineInfo {
            has_containerd_store: true,
            ..EngineInfo::default()
        });
    }
    let found = find(&observed);
    assert!(
        found.len() == 2 && found[1].contains("/var/lib/containerd"),
        "{found:?}"
    );
    let status = observed.get_mut(&host(1)).unwrap();
    status.facts.disk_free_docker_kib += limits.disk_build_kib;
    status.facts.disk_free_containerd_kib = None;
    assert_eq!(find(&observed), [""; 0]);
}

#[test]
fn a_changed_argument_builds_and_replaces() {
    let observed = settled(&wanted(OPTIONAL));
    let changed = wanted(&format!("{OPTIONAL}[images.dnsmasq]\nversion = \"2.9*\"\n"));
    let plan = plan::diff(&changed, &observed);
    let titles: Vec<String> = plan
        .hosts
        .iter()
        .flat_map(|host| {
            host.steps()
                .map(move |step| format!("{}: {}", host.host, step.title()))
        })
        .filter(|title| !title.contains("write "))
        .collect();
    let [build, replace] = titles.as_slice() else {
        panic!("{titles:#?}")
    };
    assert!(
        build.starts_with("10.0.0.4: build toots/dnsmasq:"),
        "{build}"
    );
    assert_eq!(replace, "10.0.0.4: replace toots-dnsmasq");
}

#[test]
fn a_newer_default_is_not_followed() {
    let text = format!("{INVENTORY}{OPTIONAL}");
    let keep = |image: &str| DefaultImage {
        image: ImageRef(image.to_owned()),
        arguments: BTreeMap::new(),
    };
    let recorded = Recorded {
        default_images: BTreeMap::from([
            ("zookeeper".to_owned(), keep("zookeeper:3.8.4")),
            ("dnsmasq".to_owned(), keep("toots/dnsmasq:0123456789abcdef")),
        ]),
        proven: [ComponentName::new("dnsmasq").unwrap()].into(),
        ..Recorded::default()
    };
    let desired = build(&text, recorded.clone());
    let said: Vec<String> = desired
        .newer_defaults
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].starts_with("zookeeper stays at zookeeper:3.8.4, "),
        "{said:?}"
    );
    let image = |desired: &Desired, component: &str| {
        let mut components = desired.hosts.iter().flat_map(|host| &host.components);
        let found = components.find(|c| c.name.as_str() == component).unwrap();
        found.container.image.to_string()
    };
    assert_eq!(image(&desired, "dnsmasq"), "toots/dnsmasq:0123456789abcdef");
    // Its recipe is not known any more, so it can only come from a host that has it.
    assert_eq!(ways(&desired, &fresh(), "dnsmasq"), BTreeMap::new());
    let findings = plan::preflight(&desired, &fresh(), &Limits::default());
    let lost = findings
        .iter()
        .find(|finding| finding.why.contains("no host has"));
    assert!(
        lost.is_some_and(|finding| finding.fatal && finding.host == host(4)),
        "{findings:?}"
    );
    // A bundle that was made with the cluster has it.
    let former = ImageRef("toots/dnsmasq:0123456789abcdef".into());
    let bundled = Desired {
        bundle: Some(BundleContents {
            file: "dc1.tar".into(),
            platforms: ["linux/amd64".to_owned()].into(),
            digests: [(former, "sha256:cd".into())].into(),
        }),
        ..desired
    };
    let from_file = [(host(4), "from dc1.tar".to_owned())];
    assert_eq!(ways(&bundled, &fresh(), "dnsmasq"), from_file.into());
    let findings = plan::preflight(&bundled, &fresh(), &Limits::default());
    assert!(!findings.iter().any(|f| f.why.contains("no host has")));
    // The record of an image whose first build failed binds nobody.
    let mut unused = recorded.clone();
    unused.proven.clear();
    assert_ne!(
        image(&build(&text, unused), "dnsmasq"),
        "toots/dnsmasq:0123456789abcdef"
    );
    // The inventory decides.
    let explicit = format!(
        "{text}[images]\nzookeeper = \"zookeeper:3.9\"\n[images.dnsmasq]\nversion = \"2\"\n"
    );
    let desired = build(&explicit, recorded);
    assert_eq!(desired.newer_defaults, []);
    assert_eq!(image(&desired, "zookeeper"), "zookeeper:3.9");
    assert_ne!(image(&desired, "dnsmasq"), "toots/dnsmasq:0123456789abcdef");
}

#[test]
fn an_unpinned_former_default_stays() {
    let text = format!("{INVENTORY}{OPTIONAL}");
    let recorded = |images: &[&str]| Recorded {
        running_images: images.iter().map(|i| ImageRef((*i).to_owned())).collect(),
        ..Recorded::default()
    };
    let image = |recorded| {
        let desired = build(&text, recorded);
        let mut components = desired.hosts.into_iter().flat_map(|host| host.components);
        let dnsmasq = components.find(|c| c.name.as_str() == "dnsmasq").unwrap();
        dnsmasq.container.image.0
    };
    let former = "dockurr/dnsmasq:latest";
    assert_eq!(image(recorded(&[former])), former);
    assert!(image(recorded(&[])).starts_with("toots/dnsmasq:"));
}

#[test]
fn container_labels_name_the_images() {
    let desired = wanted(OPTIONAL);
    let mut observed = settled(&desired);
    let read = |observed: &Observed| {
        plan::recorded(&desired.cluster, observed, &desired)
            .unwrap()
            .running_images
    };
    assert!(read(&fresh()).is_empty());
    let DockerStatus::Up { containers, .. } = &mut observed.get_mut(&host(4)).unwrap().docker
    else {
        panic!("no Engine")
    };
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    containers[0].labels.extend([
        label(ContainerSpec::LABEL_CLUSTER, desired.cluster.as_str()),
        label(ContainerSpec::LABEL_IMAGE, "dockurr/dnsmasq:latest"),
    ]);
    assert!(read(&observed).contains(&ImageRef("dockurr/dnsmasq:latest".into())));
}

#[test]
fn a_build_names_the_arguments_that_changed() {
    let changed = |text: &str, former: &[(&str, &str)], image: &str| {
        let arguments = former
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let kept = DefaultImage {
            image: ImageRef(image.to_owned()),
            arguments: arguments.collect(),
        };
        let recorded = Recorded {
            default_images: [("dnsmasq".to_owned(), kept)].into(),
            ..Recorded::default()
        };
        let desired = build(&format!("{INVENTORY}{OPTIONAL}{text}"), recorded);
        let plan = plan::diff(&desired, &fresh());
        let steps = &plan.host(&host(4)).unwrap().images;
        let build = steps.iter().find_map(|step| match step {
            Step::Build {
                recipe, changed, ..
            } if recipe.name == "dnsmasq" => Some(changed.iter().cloned().collect::<Vec<_>>()),
            _ => None,
        });
        build.unwrap()
    };
    let version = "[images.dnsmasq]\nversion = \"2.9*\"\n";
    let built = "toots/dnsmasq:0123456789abcdef";
    assert_eq!(changed(version, &[], built), ["version"]);
    assert_eq!(changed(version, &[("version", "2.8*")], built), ["version"]);
    let base = [("version", "2.9*"), ("base", "debian:12")];
    assert_eq!(changed(version, &base, built), ["base"]);
    assert_eq!(changed("", &base, built), ["base", "version"]);
    // Before, there was no recipe whose arguments could have changed.
    let former: [&str; 0] = [];
    assert_eq!(changed(version, &[], "dockurr/dnsmasq:latest"), former);
}

/// The newest packages would make the image another one than the cluster had.
#[test]
fn a_rebuild_asks_for_the_recorded_packages() {
    let desired = wanted(OPTIONAL);
    let mut observed = settled(&desired);
    for n in 1..=5 {
        if let DockerStatus::Up { images, .. } = &mut observed.get_mut(&host(n)).unwrap().docker {
            images.retain(|image| image.labels.is_empty());
        }
    }
    let asked = |observed: &Observed| {
        let plan = plan::diff(&desired, observed);
        let mut steps = plan.hosts.into_iter().flat_map(|host| host.images);
        let packages = steps.find_map(|step| match step {
            Step::Build {
                recipe, packages, ..
            } if recipe.name == "dnsmasq" => Some(packages.argument()),
            _ => None,
        });
        packages.unwrap()
    };
    assert_eq!(asked(&observed), "");
    let images = desired.recipes.keys();
    let mut images = images.filter(|image| image.as_str().starts_with("toots/dnsmasq:"));
    let path = PackageVersions::path(images.next().unwrap());
    let record = |observed: &mut Observed, n, path: &str, text: &str| {
        let file = FileStatus {
            kind: 'f',
            mode: 0o644,
            uid: 0,
            gid: 0,
            sha256: None,
            content: Some(text.into()),
        };
        let files = &mut observed.get_mut(&host(n)).unwrap().files;
        files.insert(path.to_owned(), file);
    };
    // A slave has none, and that of another recipe is another one.
    record(&mut observed, 4, &path, "dnsmasq-base 2.89-1\n");
    let other = "/etc/toots/packages/dnsmasq-0123456789abcdef";
    record(&mut observed, 1, other, "dnsmasq-base 2.89-1\n");
    assert_eq!(asked(&observed), "");
    record(&mut observed, 3, &path, "dnsmasq-base 2.90-1\n");
    assert_eq!(asked(&observed), "dnsmasq-base=2.90-1");
    // The third was away during the last build.
    for n in [1, 2] {
        record(&mut observed, n, &path, "dnsmasq-base 2.91-1\nx $(y)\n");
    }
    assert_eq!(asked(&observed), "dnsmasq-base=2.91-1");
}

/// Two builds of a recipe are two images, so what a host has comes first.
#[test]
fn a_bundled_image_is_loaded_and_not_built() {
    let bundled = |platforms: &[&str]| {
        let desired = wanted(OPTIONAL);
        let images = desired.recipes.keys();
        let digests = images.map(|image| (image.clone(), "sha256:cd".into()));
        let bundle = BundleContents {
            file: "dc1.tar".into(),
            platforms: platforms.iter().map(|p| (*p).to_owned()).collect(),
            digests: digests.collect(),
        };
        Desired {
            bundle: Some(bundle),
            ..desired
        }
    };
    let desired = bundled(&["linux/amd64"]);
    let from_file = [1, 2, 3, 4, 5].map(|n| (host(n), "from dc1.tar".to_owned()));
    assert_eq!(
        ways(&desired, &fresh(), "supervisord"),
        from_file.clone().into()
    );
    assert_eq!(
        ways(&desired, &fresh(), "dnsmasq"),
        [from_file[3].clone()].into()
    );
    let plan = plan::diff(&desired, &fresh());
    let steps = plan.hosts.iter().flat_map(|host| &host.images);
    assert_eq!(steps.filter(|s| matches!(s, Step::Build { .. })).count(), 0);

    let mut observed = settled(&desired);
    assert_eq!(plan::diff(&desired, &observed).changes(), 0);
    for n in 1..=4 {
        if let DockerStatus::Up { images, .. } = &mut observed.get_mut(&host(n)).unwrap().docker {
            images.retain(|image| image.labels.is_empty());
        }
    }
    let from_last = [1, 2, 3, 4].map(|n| (host(n), "from 10.0.0.5".to_owned()));
    assert_eq!(ways(&desired, &observed, "supervisord"), from_last.into());

    // A bundle for other hosts refuses nothing: the images are built.
    let desired = bundled(&["linux/arm64"]);
    let findings = plan::preflight(&desired, &fresh(), &Limits::default());
    assert!(!findings.iter().any(|f| f.why.contains("dc1.tar")));
    let ways = ways(&desired, &fresh(), "supervisord");
    assert_eq!(
        (ways[&host(1)].as_str(), ways[&host(2)].as_str()),
        ("build", "from 10.0.0.1")
    );
}
