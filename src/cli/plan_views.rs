//! A plan as it is printed: one line for each change, with its reason.

use std::fmt;

use crate::plan::{HostPlan, Plan, Reason, Step};
use crate::report::{PlanChange, PlanHostView};
use crate::spec::HostName;

pub(super) fn views(plan: &Plan) -> Vec<PlanHostView> {
    let view = |host: &HostPlan| PlanHostView {
        host: host.host.clone(),
        roles: host.roles.clone(),
        changes: host
            .steps()
            .flat_map(|step| changes(&host.host, step))
            .collect(),
        records: records(host).collect(),
    };
    plan.hosts.iter().map(view).collect()
}

/// Paths of the records that the next run with a change on the host would update.
pub(super) fn records(host: &HostPlan) -> impl Iterator<Item = String> + '_ {
    host.records.iter().flat_map(|step| match step {
        Step::Place { files, .. } => files
            .iter()
            .map(|change| change.file.path.clone())
            .collect(),
        _ => Vec::new(),
    })
}

fn changes(host: &HostName, step: &Step) -> Vec<PlanChange> {
    let change = |symbol, what: String, reason: &dyn fmt::Display, diff| PlanChange {
        symbol,
        what,
        reason: reason.to_string(),
        diff,
    };
    match step {
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let sign = |why: &Reason| if *why == Reason::New { '+' } else { '~' };
            let dirs = dirs
                .iter()
                .map(|(dir, why)| change(sign(why), format!("directory {}", dir.path), why, None));
            let files = files.iter().map(|f| {
                // The record of a container repeats what its own line says.
                let diff = f.diff.clone().filter(|_| {
                    !f.file.path.starts_with("/etc/toots/containers/") || f.reason != Reason::New
                });
                change(
                    sign(&f.reason),
                    format!("file {}", f.file.path),
                    &f.reason,
                    diff,
                )
            });
            let entries = hosts_entries.iter().map(|entries| {
                let lines: Vec<String> = entries
                    .iter()
                    .map(|(address, name)| format!("{address} {name}"))
                    .collect();
                let (names, reason) = match lines.as_slice() {
                    [] => ("without names".to_owned(), "no registry"),
                    lines => (lines.join(", "), "registry's name"),
                };
                change('~', format!("/etc/hosts: {names}"), &reason, None)
            });
            dirs.chain(files).chain(entries).collect()
        }
        Step::Install { package, manager } => {
            vec![change(
                '+',
                package.as_str().to_owned(),
                &format!("absent, installed by {manager}"),
                None,
            )]
        }
        Step::Pull { image, digest } => {
            let reason = digest
                .as_deref()
                .unwrap_or("digest resolved when the registry can be asked");
            vec![change('+', format!("image {image}"), &reason, None)]
        }
        Step::Build {
            recipe,
            base_digest,
            changed,
            packages,
        } => {
            let base = base_digest.as_deref().map_or_else(
                || recipe.base.to_string(),
                |digest| recipe.base.pinned(digest),
            );
            let mut reason = format!("build {} on {host} from {base}", recipe.name);
            if !changed.is_empty() {
                let names: Vec<&str> = changed.iter().map(String::as_str).collect();
                reason.push_str(&format!(" (recipe changed: {})", names.join(", ")));
            }
            if !packages.is_empty() {
                reason.push_str(" with the recorded packages");
            }
            vec![change(
                '+',
                format!("image {}", recipe.image()),
                &reason,
                None,
            )]
        }
        Step::Load { image, from, .. } => {
            let reason = format!("loaded from {from}");
            vec![change('+', format!("image {image}"), &reason, None)]
        }
        Step::Create { spec } => vec![change(
            '+',
            format!("container {}", spec.name()),
            &spec.image,
            None,
        )],
        Step::Replace { spec, reason } => vec![change(
            '!',
            format!("container {}", spec.name()),
            reason,
            None,
        )],
        Step::Start { container, state } => {
            vec![change('~', format!("container {container}"), state, None)]
        }
        Step::Rejoin {
            container, dirs, ..
        } => vec![change(
            '!',
            format!("container {container}"),
            &format!("without {}", dirs.join(", ")),
            None,
        )],
        Step::Signal {
            container,
            signal,
            files,
            ..
        } => {
            vec![change(
                '~',
                format!("container {container}"),
                &format!("{signal} for {}", files.join(", ")),
                None,
            )]
        }
        Step::Unit { unit, reason } => vec![change(
            if *reason == Reason::New { '+' } else { '~' },
            format!("unit {unit}"),
            reason,
            None,
        )],
        Step::RemoveMarker { path } => vec![change(
            '-',
            path.clone(),
            &"left of the creation; with it, a member without data would vote",
            None,
        )],
        Step::RemoveUnit { unit } => {
            vec![change('-', format!("unit {unit}"), &Reason::Unwanted, None)]
        }
        Step::Remove {
            container, reason, ..
        } => {
            vec![change('-', format!("container {container}"), reason, None)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::plan::LoadSource;
    use crate::spec::{ImageRef, PackageVersions, Recipe};

    #[test]
    fn the_host_that_builds_is_named() {
        let recipe = Recipe {
            name: "mesos".into(),
            base: ImageRef("ubuntu:24.04".into()),
            arguments: BTreeMap::new(),
            files: BTreeMap::new(),
            local_files: BTreeMap::new(),
        };
        let [m1, m2] = ["m1", "m2"].map(|name| HostName::new(name).unwrap());
        let image = recipe.image();
        let load = Step::Load {
            image: image.clone(),
            digest: None,
            from: LoadSource::Host(m1.clone()),
        };
        let build = Step::Build {
            recipe: Box::new(recipe),
            base_digest: None,
            changed: BTreeSet::from(["version".to_owned()]),
            packages: PackageVersions::parse("aventer-mesos 1.11.0"),
        };
        let host = |host: &HostName, step: &Step| HostPlan {
            host: host.clone(),
            roles: Vec::new(),
            prepare: Vec::new(),
            images: vec![step.clone()],
            components: BTreeMap::new(),
            cleanup: Vec::new(),
            records: Vec::new(),
        };
        let plan = Plan {
            hosts: vec![host(&m1, &build), host(&m2, &load)],
        };
        let lines: Vec<String> = views(&plan)
            .iter()
            .flat_map(|host| &host.changes)
            .map(|change| format!("{}: {}", change.what, change.reason))
            .collect();
        let expected = [
            format!(
                "image {image}: build mesos on m1 from ubuntu:24.04 (recipe changed: version) with \
                 the recorded packages"
            ),
            format!("image {image}: loaded from m1"),
        ];
        assert_eq!(lines, expected);
    }
}
