//! The registry of applications: what its switch changes in a running cluster, and what stays when
//! it is off again.

use toots::observe::HostStatus;
use toots::plan::{self, SavedPlan, Step};

use super::{host, settled, wanted};

const ON: &str = "[components]\nregistry = true\n";
const CA: &str = "/etc/docker/certs.d/registry.service.consul:5000/ca.crt";

/// The steps of each host, and whether one writes /etc/hosts.
fn titles(plan: &plan::Plan) -> Vec<(String, Vec<String>)> {
    let written = |step: &Step| match step {
        Step::Place {
            files,
            hosts_entries,
            ..
        } => {
            let paths = files.iter().map(|change| change.file.path.clone());
            let names = hosts_entries.iter().flatten();
            paths
                .filter(|path| !path.starts_with("/etc/toots/containers/"))
                .chain(names.map(|(address, name)| format!("{address} {name}")))
                .collect()
        }
        step => vec![step.title()],
    };
    plan.hosts
        .iter()
        .map(|host| {
            (
                host.host.to_string(),
                host.steps().flat_map(written).collect(),
            )
        })
        .collect()
}

#[test]
fn switched_on_in_a_running_cluster() {
    let plan = plan::diff(&wanted(ON), &settled(&wanted("")));
    let name = "10.0.0.1 registry.service.consul";
    let secrets = ["registry_ca", "registry_http", "registry_password"]
        .map(|name| format!("/etc/toots/secrets/{name}"));
    for (host, steps) in titles(&plan) {
        assert!(steps.iter().any(|step| step == CA), "{host}: {steps:?}");
        assert!(steps.iter().any(|step| step == name), "{host}: {steps:?}");
        let is_master = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].contains(&host.as_str());
        assert_eq!(
            secrets.iter().all(|path| steps.contains(path)),
            is_master,
            "{host}: {steps:?}"
        );
        let containers: Vec<&String> = steps
            .iter()
            .filter(|step| step.starts_with("create ") || step.starts_with("replace "))
            .collect();
        // The agent gets a login for the applications' images.
        let expected: &[&str] = match host.as_str() {
            "10.0.0.1" => &["create toots-registry"],
            "10.0.0.4" => &["replace toots-mesos-slave"],
            _ => &[],
        };
        assert_eq!(containers, expected, "{host}");
    }
    let settled_plan = plan::diff(&wanted(ON), &settled(&wanted(ON)));
    assert_eq!(settled_plan.changes(), 0);
}

#[test]
fn switched_off_again_keeps_the_images() {
    let plan = plan::diff(&wanted(""), &settled(&wanted(ON)));
    let steps: Vec<&Step> = plan.hosts.iter().flat_map(plan::HostPlan::steps).collect();
    let removed: Vec<String> = steps
        .iter()
        .filter(|step| matches!(step, Step::Remove { .. }))
        .map(|step| step.title())
        .collect();
    assert_eq!(removed, ["remove toots-registry"]);
    let without_names = steps.iter().filter(|step| {
        matches!(step, Step::Place { hosts_entries: Some(entries), .. } if entries.is_empty())
    });
    assert_eq!(without_names.count(), plan.hosts.len());
    // Nothing else removes anything: its images and secrets stay.
    assert!(steps.iter().all(|step| matches!(
        step,
        Step::Place { .. } | Step::Replace { .. } | Step::Remove { .. }
    )));
    let back = plan::diff(&wanted(ON), &{
        let mut observed = settled(&wanted(ON));
        let status: &mut HostStatus = observed.get_mut(&host(1)).unwrap();
        status.hosts_entries.clear();
        observed
    });
    assert_eq!(back.changes(), 1, "a missing name is written again");
}

#[test]
fn its_secrets_are_in_no_plan() {
    let desired = wanted(ON);
    let plan = plan::diff(&desired, &settled(&wanted("")));
    let saved = SavedPlan::from_plan("dc1", "", &plan);
    let mut shown = format!("{plan:?}");
    shown.push_str(&serde_json::to_string(&saved).unwrap());
    for step in plan.hosts.iter().flat_map(plan::HostPlan::steps) {
        match step {
            Step::Place { files, .. } => {
                shown.extend(files.iter().filter_map(|change| change.diff.clone()));
            }
            Step::Create { spec } | Step::Replace { spec, .. } => {
                shown.push_str(&serde_json::to_string(spec).unwrap());
            }
            _ => {}
        }
    }
    for (name, secret) in &desired.secrets {
        assert!(!shown.contains(secret.expose()), "{name}");
    }
    for derived in ["PRIVATE KEY", "$2y$"] {
        let files = desired.hosts.iter().flat_map(|host| &host.components);
        let texts = files
            .flat_map(|component| &component.files)
            .map(|file| String::from_utf8_lossy(&file.content).into_owned());
        assert!(
            texts.into_iter().any(|text| text.contains(derived)),
            "a file has it: {derived}"
        );
        assert!(!shown.contains(derived), "{derived}");
    }
}

/// A plan is saved before the secrets are drawn for good.
#[test]
fn saved_plan_ignores_drawn_secrets() {
    let observed = settled(&wanted(""));
    let lines = |mut desired: toots::desired::Desired| {
        for file in desired.hosts.iter_mut().flat_map(|host| &mut host.files) {
            if file.path == CA {
                file.content.push(b'\n');
            }
        }
        SavedPlan::from_plan("dc1", "", &plan::diff(&desired, &observed))
    };
    let saved = SavedPlan::from_plan("dc1", "", &plan::diff(&wanted(ON), &observed));
    assert!(saved.check(&lines(wanted(ON))).is_ok());
}
