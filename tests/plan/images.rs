//! Images that a registry has: pulled, loaded from a host, or loaded from a bundle.

use std::collections::{BTreeMap, BTreeSet};

use toots::desired::BundleContents;
use toots::spec::{ImageRef, Remedy};

use super::*;

const SPREAD: &str = "[images]\nspread = true\n";
const DIGEST: &str = "sha256:ab";

/// An image as the classic store knows it after toots loaded it: without a digest of its registry.
pub fn loaded(image: &ImageRef, digest: &str) -> ImageStatus {
    ImageStatus {
        id: format!("sha256:config of {image}"),
        tags: vec![image.0.clone(), ImageRef::verified(digest).0],
        ..ImageStatus::default()
    }
}

/// How each host gets an image.
fn ways(desired: &Desired, observed: &Observed, image: &str) -> Vec<(u8, String)> {
    let plan = plan::diff(desired, observed);
    let mut out = Vec::new();
    for n in 1..=5 {
        let Some(host) = plan.host(&host(n)) else {
            continue;
        };
        let is_image = |step: &&Step| step.image().is_some_and(|i| i.as_str() == image);
        for step in host.images.iter().filter(is_image) {
            let way = match step {
                Step::Pull { digest, .. } => format!("pull {digest:?}"),
                Step::Load { from, digest, .. } => format!("load from {from} {digest:?}"),
                other => other.title(),
            };
            out.push((n, way));
        }
    }
    out
}

const CONSUL: &str = "hashicorp/consul:1.22";

fn pull(n: u8) -> (u8, String) {
    (n, format!("pull {:?}", Some(DIGEST)))
}

fn load(n: u8, from: &str) -> (u8, String) {
    (n, format!("load from {from} {:?}", Some(DIGEST)))
}

/// Removes the images of registries on a host, as `docker system prune -a` does.
fn lose_images(observed: &mut Observed, n: u8) {
    if let DockerStatus::Up { images, .. } = &mut observed.get_mut(&host(n)).unwrap().docker {
        images.retain(|image| !image.has_digest(DIGEST));
    }
}

#[test]
fn each_host_pulls_unless_images_are_spread() {
    let pulled = ways(&wanted(""), &fresh(), CONSUL);
    assert_eq!(pulled, [1, 2, 3, 4, 5].map(pull));

    let desired = wanted(SPREAD);
    let others = [2, 3, 4, 5].map(|n| load(n, "10.0.0.1"));
    let expected: Vec<_> = [pull(1)].into_iter().chain(others).collect();
    assert_eq!(ways(&desired, &fresh(), CONSUL), expected);
    // Loaded images count as present, so the next run changes nothing.
    assert_eq!(plan::diff(&desired, &settled(&desired)).changes(), 0);
    assert_eq!(plan::diff(&wanted(""), &settled(&desired)).changes(), 0);
}

#[test]
fn a_lost_image_comes_from_a_host_that_has_it() {
    let desired = wanted(SPREAD);
    let mut observed = settled(&desired);
    for n in [1, 4] {
        lose_images(&mut observed, n);
    }
    let expected = [load(1, "10.0.0.2"), load(4, "10.0.0.2")];
    assert_eq!(ways(&desired, &observed, CONSUL), expected);
    assert_eq!(ways(&wanted(""), &observed, CONSUL), [pull(1), pull(4)]);
    // Only from hosts of the same architecture.
    for n in [2, 3] {
        observed.get_mut(&host(n)).unwrap().facts.arch = "aarch64".into();
    }
    let expected = [load(1, "10.0.0.5"), load(4, "10.0.0.5")];
    assert_eq!(ways(&desired, &observed, CONSUL), expected);
    let other = |observed: &Observed, n, digest| {
        plan::is_elsewhere(&host(n), &ImageRef(CONSUL.into()), digest, observed)
    };
    assert!(other(&observed, 1, DIGEST) && other(&observed, 3, DIGEST));
    assert!(!other(&observed, 1, "sha256:cd"));
    lose_images(&mut observed, 5);
    assert!(!other(&observed, 1, DIGEST));
}

#[test]
fn each_architecture_pulls_once() {
    let mut observed = fresh();
    for n in [2, 5] {
        observed.get_mut(&host(n)).unwrap().facts.arch = "aarch64".into();
    }
    let expected = [
        pull(1),
        pull(2),
        load(3, "10.0.0.1"),
        load(4, "10.0.0.1"),
        load(5, "10.0.0.2"),
    ];
    assert_eq!(ways(&wanted(SPREAD), &observed, CONSUL), expected);
}

#[test]
fn a_limited_run_pulls_where_it_may() {
    let desired = wanted(SPREAD);
    let scope = [host(4), host(5)];
    let plan = plan::diff_in_scope(&desired, &fresh(), |name| scope.contains(name));
    let way = |n| {
        let images = &plan.host(&host(n)).unwrap().images;
        let consul = |step: &&Step| step.image().is_some_and(|i| i.as_str() == CONSUL);
        images.iter().find(consul).unwrap().title()
    };
    assert_eq!(
        (way(4), way(5)),
        (format!("pull {CONSUL}"), format!("load {CONSUL}"))
    );
}

/// What is pinned to nothing could be another image on the other host.
#[test]
fn unpinned_images_are_pulled_by_each_host() {
    let text = format!("{INVENTORY}{SPREAD}");
    let inventory = inventory::parse(&text, "inventory.toml", Path::new(".")).unwrap();
    let playbook = Playbook::load(None).unwrap();
    let desired = desired::build(&inventory, &playbook, &Recorded::default(), &Fixed).unwrap();
    let expected = [1, 2, 3, 4, 5].map(|n| (n, "pull None".to_owned()));
    assert_eq!(ways(&desired, &fresh(), CONSUL), expected);
}

/// The desired state with a bundle that has these images for these platforms.
fn with_bundle(extra: &str, digests: &[(&str, &str)], platforms: &[&str]) -> Desired {
    let digests = digests.iter();
    Desired {
        bundle: Some(BundleContents {
            file: "dc1.tar".into(),
            platforms: platforms.iter().map(|p| (*p).to_owned()).collect(),
            digests: digests
                .map(|(image, digest)| (ImageRef((*image).to_owned()), (*digest).into()))
                .collect(),
        }),
        ..wanted(extra)
    }
}

#[test]
fn a_bundle_comes_before_registries_and_hosts() {
    for extra in ["", SPREAD] {
        let desired = with_bundle(extra, &[(CONSUL, DIGEST)], &["linux/amd64"]);
        let from_file = [1, 2, 3, 4, 5].map(|n| load(n, "dc1.tar"));
        assert_eq!(ways(&desired, &fresh(), CONSUL), from_file);
        // What it does not have is pulled.
        assert_eq!(ways(&desired, &fresh(), "zookeeper:3.9.5")[0], pull(1));
        let mut observed = settled(&desired);
        assert_eq!(plan::diff(&desired, &observed).changes(), 0);
        lose_images(&mut observed, 3);
        assert_eq!(ways(&desired, &observed, CONSUL), [load(3, "dc1.tar")]);
        assert_eq!(plan::preflight(&desired, &fresh(), &Limits::default()), []);
    }
}

#[test]
fn a_saved_plan_names_what_is_loaded() {
    let save =
        |desired: &Desired| SavedPlan::from_plan("dc1", INVENTORY, &plan::diff(desired, &fresh()));
    let bundled = with_bundle("", &[(CONSUL, DIGEST)], &["linux/amd64"]);
    let lines: BTreeSet<String> = save(&bundled)
        .changes
        .into_iter()
        .map(|(_, line)| line)
        .filter(|line| line.contains(CONSUL))
        .collect();
    assert_eq!(lines, [format!("bring {CONSUL} {DIGEST}")].into());
    assert!(save(&bundled).check(&save(&bundled)).is_ok());
    assert!(save(&bundled).check(&save(&wanted(""))).is_err());
}

#[test]
fn a_bundle_that_lacks_a_platform_is_refused() {
    let desired = with_bundle("", &[(CONSUL, DIGEST)], &["linux/amd64"]);
    let mut observed = settled(&desired);
    for n in [2, 4] {
        observed.get_mut(&host(n)).unwrap().facts.arch = "aarch64".into();
    }
    // A host that has the images needs nothing of the bundle.
    lose_images(&mut observed, 4);
    let findings = plan::preflight(&desired, &observed, &Limits::default());
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert!(finding.fatal && finding.host == host(4));
    assert_eq!(finding.why, "dc1.tar has no images for linux/arm64");
    let platforms = ["linux/amd64", "linux/arm64"].map(str::to_owned).to_vec();
    let file = "dc1.tar".to_owned();
    assert_eq!(finding.hint, Remedy::CreateBundleFor { file, platforms });
}

#[test]
fn an_image_with_another_digest_is_not_loaded() {
    let desired = with_bundle("", &[(CONSUL, "sha256:cd")], &["linux/amd64"]);
    assert_eq!(ways(&desired, &fresh(), CONSUL), [1, 2, 3, 4, 5].map(pull));
    let findings = plan::preflight(&desired, &fresh(), &Limits::default());
    let whys: BTreeMap<&HostName, &str> = findings
        .iter()
        .map(|finding| (&finding.host, finding.why.as_str()))
        .collect();
    assert_eq!(whys.len(), 5);
    assert!(!findings.iter().any(|finding| finding.fatal));
    assert_eq!(
        whys[&host(1)],
        format!("dc1.tar has {CONSUL} with sha256:cd, the cluster uses {DIGEST}")
    );
    let settled = settled(&desired);
    assert_eq!(plan::preflight(&desired, &settled, &Limits::default()), []);
}
