//! The plan: desired state minus observed state.

use std::collections::BTreeMap;

use super::explain::{changed_fields, file_diff};
use super::images;
use super::reason::{Reason, Rights};
use super::types::{FileChange, HostPlan, Observed, Plan, Step};
use crate::desired::{ComponentDesired, Desired, HostDesired};
use crate::docker::ContainerStatus;
use crate::observe::{DockerStatus, FileStatus, HostStatus};
use crate::spec::{
    ComponentName, ContainerSpec, DirSpec, FileSpec, HostName, NodeRecord, Package, Placement,
};

/// The changes that bring the observed hosts to their desired state.
#[must_use]
pub fn diff(desired: &Desired, observed: &Observed) -> Plan {
    diff_in_scope(desired, observed, |_| true)
}

/// The same, when only some hosts may be changed: the others build and pull nothing for them.
#[must_use]
pub fn diff_in_scope(
    desired: &Desired,
    observed: &Observed,
    may_change: impl Fn(&HostName) -> bool,
) -> Plan {
    let holders = images::Holders::new(desired, observed);
    let hosts = desired
        .hosts
        .iter()
        .filter_map(|host| {
            observed
                .get(&host.name)
                .map(|status| host_plan(desired, host, status, observed, &holders))
        })
        .collect();
    let mut plan = Plan { hosts };
    images::bring_once(&mut plan, desired.spread_images, observed, may_change);
    plan
}

fn host_plan(
    desired: &Desired,
    host: &HostDesired,
    status: &HostStatus,
    observed: &Observed,
    holders: &images::Holders<'_>,
) -> HostPlan {
    let containers = match &status.docker {
        DockerStatus::Up { containers, .. } => containers.as_slice(),
        _ => &[],
    };
    let hosts_entries =
        (host.hosts_entries != status.hosts_entries).then(|| host.hosts_entries.clone());
    // Before the Engine starts: it caches /etc/hosts for some seconds.
    let mut prepare: Vec<Step> = place(&host.dirs, host.files.iter(), hosts_entries, status)
        .into_iter()
        .collect();
    let changed: Vec<String> = match prepare.first() {
        Some(Step::Place { files, .. }) => {
            let units: Vec<String> = host
                .units
                .iter()
                .map(|unit| format!("/etc/systemd/system/{unit}"))
                .collect();
            files
                .iter()
                .map(|change| change.file.path.clone())
                .filter(|path| units.contains(path))
                .collect()
        }
        _ => Vec::new(),
    };
    let install = |package| Step::Install {
        package,
        manager: status
            .facts
            .package_managers
            .first()
            .cloned()
            .unwrap_or_default(),
    };
    if host.nfs.is_some() && !status.facts.nfs_client {
        prepare.push(install(Package::NfsClient));
    }
    prepare.extend(units(&host.units, &changed, status));
    if matches!(status.docker, DockerStatus::Absent) {
        prepare.push(install(Package::Docker));
    }
    let mut pulls: BTreeMap<String, Step> = BTreeMap::new();
    let mut components = BTreeMap::new();
    for component in &host.components {
        let steps = component_steps(
            component,
            containers,
            status,
            find_data(component, &host.name, observed),
        );
        for (image, digest) in component.images() {
            let step = images::bring(image, digest, status, holders);
            pulls.extend(step.map(|step| (image.0.clone(), step)));
        }
        if !steps.is_empty() {
            components.insert(component.name.clone(), steps);
        }
    }
    HostPlan {
        host: host.name.clone(),
        roles: host.roles.iter().copied().collect(),
        prepare,
        images: pulls.into_values().collect(),
        components,
        cleanup: unwanted_units(host, status)
            .into_iter()
            .chain(cleanup(desired, host, containers))
            .collect(),
        records: outdated_records(host, status),
    }
}

/// A record that differs or is missing on a host with an identity: not a change by itself.
fn is_outdated_record(file: &FileSpec, status: &HostStatus) -> bool {
    file.place == Placement::Record
        && match status.files.get(&file.path) {
            Some(seen) => seen.kind == 'f' && rights(seen, file.mode, file.uid, file.gid).is_none(),
            None => file.path != NodeRecord::PATH && status.files.contains_key(NodeRecord::PATH),
        }
}

fn outdated_records(host: &HostDesired, status: &HostStatus) -> Vec<Step> {
    let files: Vec<FileChange> = host
        .files
        .iter()
        .filter(|file| is_outdated_record(file, status))
        .filter_map(|file| file_change(file, status.files.get(&file.path)))
        .collect();
    if files.is_empty() {
        return Vec::new();
    }
    vec![Step::Place {
        dirs: Vec::new(),
        files,
        hosts_entries: None,
    }]
}

/// What is known of the data of a component's ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EnsembleData {
    /// No member has ever been proven, and this one holds no data: it takes part in the creation.
    Never,
    /// This member holds data, or once did as a member of a proven ensemble.
    Once,
}

fn find_data(component: &ComponentDesired, host: &HostName, observed: &Observed) -> EnsembleData {
    let proven = observed
        .values()
        .any(|status| status.proven.contains(&component.name));
    let has_data = component.data_dir.as_ref().is_some_and(|dir| {
        observed
            .get(host)
            .is_some_and(|status| status.has_data.contains(dir))
    });
    if proven || has_data {
        EnsembleData::Once
    } else {
        EnsembleData::Never
    }
}

fn component_steps(
    component: &ComponentDesired,
    containers: &[ContainerStatus],
    status: &HostStatus,
    data: EnsembleData,
) -> Vec<Step> {
    let spec = &component.container;
    let existing = containers
        .iter()
        .find(|container| container.name == spec.name());
    // A container that runs took the marker when it started: one that is written after that stays,
    // and lets the member vote if it ever loses its data.
    let creates = data == EnsembleData::Never && !existing.is_some_and(may_run);
    let record = record(component);
    let files = component
        .files
        .iter()
        .filter(|file| file.place == Placement::Always || creates)
        .chain(std::iter::once(&record));
    let placed = place(&component.dirs, files, None, status);
    let changed: Vec<String> = match &placed {
        Some(Step::Place { files, .. }) => files
            .iter()
            .map(|change| change.file.path.clone())
            .collect(),
        _ => Vec::new(),
    };
    let mut steps: Vec<Step> = placed.into_iter().collect();
    if data == EnsembleData::Once {
        let markers = component.files.iter();
        let markers = markers.filter(|file| file.place == Placement::Creation);
        let left = markers.filter(|file| status.files.contains_key(&file.path));
        steps.extend(left.map(|file| Step::RemoveMarker {
            path: file.path.clone(),
        }));
    }
    match existing {
        None => steps.push(Step::Create {
            spec: Box::new(spec.clone()),
        }),
        Some(container) if !same(container, spec) => {
            let reason = replace_reason(component, container, status);
            steps.push(Step::Replace {
                spec: Box::new(spec.clone()),
                reason,
            });
        }
        Some(container) if !may_run(container) => {
            steps.push(Step::Start {
                container: container.name.clone(),
                state: container.state.clone(),
            });
        }
        Some(container) => steps.extend(signals(component, &container.name, &changed)),
    }
    steps.extend(units(&component.units, &changed, status));
    steps
}

/// Units that are not enabled and active, or whose component's files changed. The record of the
/// container does not count as such a file.
fn units(wanted: &[String], changed: &[String], status: &HostStatus) -> Vec<Step> {
    let files = changed
        .iter()
        .any(|path| !path.starts_with("/etc/toots/containers/"));
    let reason = |unit: &String| match status.units.get(unit) {
        None => Some(Reason::New),
        Some(false) => Some(Reason::NotActive),
        Some(true) => files.then_some(Reason::FilesChanged),
    };
    wanted
        .iter()
        .filter_map(|unit| {
            reason(unit).map(|reason| Step::Unit {
                unit: unit.clone(),
                reason,
            })
        })
        .collect()
}

/// Whether it runs, or the Engine may start it at any moment.
fn may_run(container: &ContainerStatus) -> bool {
    matches!(container.state.as_str(), "running" | "restarting")
}

fn same(container: &ContainerStatus, spec: &ContainerSpec) -> bool {
    container.labels.get(ContainerSpec::LABEL_SPEC) == Some(&spec.hash().0)
}

fn replace_reason(
    component: &ComponentDesired,
    container: &ContainerStatus,
    status: &HostStatus,
) -> Reason {
    // The record may be newer than the container, when a run was interrupted between the two.
    let former = recorded_spec(component, status).filter(|former| same(container, former));
    Reason::Specification(match former {
        Some(former) => changed_fields(&former, &component.container),
        None => "specification changed".into(),
    })
}

/// The record of the specification, stored on the host so that the next change can be explained
/// field by field.
fn record(component: &ComponentDesired) -> FileSpec {
    let mut content = serde_json::to_vec_pretty(&component.container).unwrap_or_default();
    content.push(b'\n');
    FileSpec {
        path: record_path(component),
        mode: 0o600,
        uid: 0,
        gid: 0,
        content,
        secret: false,
        place: Placement::Always,
    }
}

/// The recorded specification of the last created container.
pub(super) fn recorded_spec(
    component: &ComponentDesired,
    status: &HostStatus,
) -> Option<ContainerSpec> {
    serde_json::from_slice(
        status
            .files
            .get(&record_path(component))?
            .content
            .as_deref()?,
    )
    .ok()
}

fn record_path(component: &ComponentDesired) -> String {
    format!("/etc/toots/containers/{}.json", component.name)
}

fn signals(component: &ComponentDesired, container: &str, changed: &[String]) -> Vec<Step> {
    let mut by_signal: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (path, signal) in &component.reload {
        if changed.contains(path) {
            by_signal.entry(signal).or_default().push(path.clone());
        }
    }
    by_signal
        .into_iter()
        .map(|(signal, files)| Step::Signal {
            container: container.to_owned(),
            component: component.name.clone(),
            signal: signal.clone(),
            files,
        })
        .collect()
}

fn place<'a>(
    dirs: &[DirSpec],
    files: impl Iterator<Item = &'a FileSpec>,
    hosts_entries: Option<Vec<(String, String)>>,
    status: &HostStatus,
) -> Option<Step> {
    let dirs: Vec<_> = dirs
        .iter()
        .filter_map(|dir| {
            dir_reason(dir, status.files.get(&dir.path)).map(|why| (dir.clone(), why))
        })
        .collect();
    let files: Vec<_> = files
        .filter(|file| !is_outdated_record(file, status))
        .filter_map(|file| file_change(file, status.files.get(&file.path)))
        .collect();
    (!dirs.is_empty() || !files.is_empty() || hosts_entries.is_some()).then_some(Step::Place {
        dirs,
        files,
        hosts_entries,
    })
}

fn dir_reason(dir: &DirSpec, seen: Option<&FileStatus>) -> Option<Reason> {
    match seen {
        None => Some(Reason::New),
        Some(seen) if seen.kind != 'd' => Some(Reason::NotADirectory),
        Some(seen) => rights(seen, dir.mode, dir.uid, dir.gid),
    }
}

fn rights(seen: &FileStatus, mode: u32, uid: u32, gid: u32) -> Option<Reason> {
    let (former, owner) = ((seen.uid, seen.gid), (uid, gid));
    let rights = Rights {
        mode: (seen.mode != mode).then_some((seen.mode, mode)),
        owner: (former != owner).then_some((former, owner)),
    };
    let differs = rights.mode.is_some() || rights.owner.is_some();
    differs.then_some(Reason::Rights(rights))
}

fn file_change(file: &FileSpec, seen: Option<&FileStatus>) -> Option<FileChange> {
    let reason = match seen {
        None => Reason::New,
        Some(seen) if seen.kind != 'f' => Reason::NotAFile,
        Some(seen) if seen.sha256.as_deref() != Some(&file.digest()) => Reason::Content,
        Some(seen) => rights(seen, file.mode, file.uid, file.gid)?,
    };
    let former = seen.and_then(|seen| seen.content.as_deref());
    let diff = file_diff(file, former, reason == Reason::New);
    Some(FileChange {
        file: file.clone(),
        reason,
        diff,
    })
}

/// Units first: what they changed on the host may lead to the containers that are removed after
/// them.
fn unwanted_units(host: &HostDesired, status: &HostStatus) -> Vec<Step> {
    let wanted = |unit: &String| {
        host.units.contains(unit)
            || host
                .components
                .iter()
                .any(|component| component.units.contains(unit))
    };
    status
        .units
        .keys()
        .filter(|unit| !wanted(unit))
        .map(|unit| Step::RemoveUnit { unit: unit.clone() })
        .collect()
}

/// Containers with this cluster's label that are not desired: of removed components, or renamed
/// aside by an interrupted replacement.
fn cleanup(desired: &Desired, host: &HostDesired, containers: &[ContainerStatus]) -> Vec<Step> {
    containers
        .iter()
        .filter(|c| {
            c.labels
                .get(ContainerSpec::LABEL_CLUSTER)
                .map(String::as_str)
                == Some(desired.cluster.as_str())
        })
        .filter_map(|c| {
            let component = c.labels.get(ContainerSpec::LABEL_COMPONENT)?;
            Some((c, ComponentName::new(component.as_str()).ok()?))
        })
        .filter(|(c, _)| {
            !host
                .components
                .iter()
                .any(|wanted| wanted.container.name() == c.name)
        })
        .map(|(c, component)| {
            let reason = if c.name.ends_with(ContainerSpec::FORMER) {
                Reason::LeftOver
            } else {
                Reason::Unwanted
            };
            Step::Remove {
                container: c.name.clone(),
                replaced: host
                    .components
                    .iter()
                    .any(|wanted| wanted.name == component),
                component,
                reason,
            }
        })
        .collect()
}
