//! A build that asks for the versions of an earlier one, against a repository on loopback.

use super::apt::{Lab, Run};
use super::builder::sent_with;
use toots::playbook::Playbook;
use toots::spec::{ImageRef, PackageVersions, Recipe};

/// The recipe of this name as it is built by default.
fn recipe(name: &str) -> Recipe {
    let source = &Playbook::load(None).unwrap().recipes[name];
    Recipe {
        name: name.into(),
        base: ImageRef(source.base.clone()),
        arguments: source.arguments.clone(),
        files: source.files.clone(),
        local_files: std::collections::BTreeMap::new(),
    }
}

/// Runs packages.sh as the builder gets it for this record.
async fn install(lab: &Lab, wanted: &str, record: &str) -> Run {
    let packages = PackageVersions::parse(record);
    let (argument, files) = sent_with(&recipe("dnsmasq"), &packages).await;
    let run = lab.install_packages(&files["packages.sh"], wanted, argument.as_deref());
    assert!(run.success, "{}", run.text);
    run
}

/// The packages that were installed.
fn installed(run: &Run) -> &str {
    let calls = run.calls.iter();
    let mut calls =
        calls.filter_map(|call| call.split_once(" install -qy --no-install-recommends "));
    calls.next().unwrap().1
}

/// What toots reads of the output.
fn said(run: &Run) -> Vec<&str> {
    let lines = run.text.lines();
    lines.filter(|l| l.starts_with("toots-package-")).collect()
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn a_rebuild_installs_the_recorded_versions() {
    let Some(lab) = Lab::new() else { return };
    lab.distribute("dnsmasq-base", "2.91-1", "");
    lab.distribute("dnsmasq-base", "2.92-1", "");
    let run = install(&lab, "dnsmasq-base", "").await;
    assert_eq!(installed(&run), "dnsmasq-base");
    let record = "dnsmasq-base 2.91-1\nsomething-else 1\n";
    for wanted in [
        "dnsmasq-base",
        "'dnsmasq-base=2.9*'",
        "'nobody|dnsmasq-base'",
    ] {
        let run = install(&lab, wanted, record).await;
        assert_eq!(installed(&run), "dnsmasq-base=2.91-1", "{wanted}");
        assert_eq!(said(&run), NOTHING);
    }
    // Of several, in their order; files stay as they are.
    let file = lab.package_file().display().to_string();
    lab.publish(None);
    let wanted = format!("{file} docker.io dnsmasq-base");
    let run = install(&lab, &wanted, &format!("docker.io 1\n{record}")).await;
    let expected = format!("{file} docker.io=1 dnsmasq-base=2.91-1");
    assert_eq!(installed(&run), expected);
}

#[tokio::test]
async fn a_version_that_is_gone_is_said_and_the_newest_installed() {
    let Some(lab) = Lab::new() else { return };
    lab.distribute("dnsmasq-base", "2.92-1", "");
    let record = "dnsmasq-base 2.91-1\ndocker.io 1\n";
    for wanted in ["dnsmasq-base", "'dnsmasq-base=2.9*'"] {
        let run = install(&lab, &format!("{wanted} docker.io"), record).await;
        let expected = format!("{} docker.io=1", wanted.trim_matches('\''));
        assert_eq!(installed(&run), expected);
        assert_eq!(said(&run), ["toots-package-gone dnsmasq-base 2.91-1"]);
    }
}

#[tokio::test]
async fn a_version_whose_dependency_is_gone_is_said_as_well() {
    let Some(lab) = Lab::new() else { return };
    lab.distribute("dnsmasq-base", "2.91-1", "libnettle (= 1)");
    lab.distribute("dnsmasq-base", "2.92-1", "libnettle");
    lab.distribute("libnettle", "1", "");
    let record = "dnsmasq-base 2.91-1\n";
    let run = install(&lab, "'dnsmasq-base=2.9*'", record).await;
    assert_eq!(installed(&run), "dnsmasq-base=2.91-1");
    lab.withdraw("libnettle", "1");
    lab.distribute("libnettle", "2", "");
    let run = install(&lab, "'dnsmasq-base=2.9*'", record).await;
    assert_eq!(installed(&run), "dnsmasq-base=2.9*");
    assert_eq!(said(&run), ["toots-package-refused dnsmasq-base 2.91-1"]);
}

/// Clusters that run keep their images: a hash that changes makes every recipe's image another one.
#[test]
fn the_script_in_a_recipe_is_not_changed() {
    let files = &recipe("dnsmasq").files;
    assert!(!files["packages.sh"].contains("toots_packages"));
    assert!(files["packages.sh"].contains("\ninstall() {"));
}
