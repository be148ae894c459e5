//! Locks, preparation of hosts, and pinning of images to digests.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::connect::{HostRun, Hosts};
use super::ledger::Ledger;
use super::run_context::RunContext;
use super::work::{RECORD, Work};
use super::{failure, images};
use crate::desired::{Desired, Recorded};
use crate::event::{Event, Failure, Outcome};
use crate::guard::{LockError, Owner};
use crate::observe::DockerStatus;
use crate::plan::{HostPlan, Observed, Plan, Step, is_elsewhere};
use crate::spec::{FileSpec, ImageRef, Package, Placement, Remedy, Role};

/// The file on masters that records the digests to which image references are pinned.
pub(super) const DIGESTS: &str = "/etc/toots/images.json";

/// Why nothing may be changed.
pub(super) enum NotLocked {
    /// Another run holds a lock.
    Held,
    /// A lock failed for another reason.
    Failed,
}

/// Locks every host that may be changed and all masters that take part. The locks are held until
/// the connections close.
pub(super) async fn lock(cx: &RunContext, ledger: &Ledger, hosts: &Hosts) -> Result<(), NotLocked> {
    let owner = Owner {
        who: cx.owner.clone(),
        command: cx.command.clone(),
        run_id: cx.run_id.clone(),
    };
    let wanted = hosts
        .values()
        .filter(|host| ledger.alive(&host.info.name))
        .filter(|host| {
            cx.scope.contains(&host.info.name) || host.info.roles.contains(&Role::Master)
        });
    let results = join_all(wanted.map(|host| {
        let owner = owner.clone();
        async move { (host, host.line.lock(owner).await) }
    }))
    .await;
    let mut refused = None;
    for (host, result) in results {
        let Err(error) = result else { continue };
        let held = matches!(error, LockError::Held { .. });
        let mut failure = failure::from_error("lock", "take the lock", &error);
        failure.hints = if held {
            vec!["wait until that run ends, then run again".into()]
        } else {
            Vec::new()
        };
        ledger.fail(&host.info.name, Outcome::Failed, failure);
        if held || refused.is_none() {
            refused = Some(if held {
                NotLocked::Held
            } else {
                NotLocked::Failed
            });
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Gives the locks back; the connections stay.
pub(super) async fn unlock(hosts: &Hosts) {
    join_all(hosts.values().map(|host| host.line.unlock())).await;
}

/// Proves before the first change that each host can pull its images from the private registry: its
/// Engine requests every image with the credentials. A host that does not know the registry's CA or
/// name yet cannot do that; there the pulls are the proof, before any container is stopped. Returns
/// whether no image was refused.
pub(super) async fn prove_pulls(work: &Work<'_>) -> bool {
    let Work { cx, ledger, .. } = *work;
    let asked = work
        .in_scope()
        .filter(|(host, plan)| ledger.alive(&host.info.name) && knows_registry(plan));
    let proven = asked.map(|(host, plan)| async move {
        let observed = &work.planned.observed;
        let refused = join_all(plan.images.iter().map(|step| async move {
            let refused = may_not_pull(cx, host, step).await;
            // What another host has is loaded from there.
            refused.filter(|_| {
                !matches!(step, Step::Pull { image, digest: Some(digest) }
                    if is_elsewhere(&plan.host, image, digest, observed))
            })
        }))
        .await;
        let (cause, mut hints): (Vec<String>, Vec<Remedy>) = refused.into_iter().flatten().unzip();
        if cause.is_empty() {
            return true;
        }
        hints.dedup();
        let failure = Failure {
            cause,
            ..failure::from_text("preflight", "check that images can be pulled", "", hints)
        };
        ledger.fail(&host.info.name, Outcome::Failed, failure);
        false
    });
    join_all(proven).await.into_iter().all(|proven| proven)
}

/// Whether the plan writes nothing that the Engine needs to know the registry.
fn knows_registry(plan: &HostPlan) -> bool {
    plan.prepare.iter().all(|step| match step {
        Step::Place {
            files,
            hosts_entries,
            ..
        } => {
            hosts_entries.is_none()
                && !files
                    .iter()
                    .any(|change| change.file.path.starts_with("/etc/docker/certs.d/"))
        }
        Step::Install { package, .. } => *package != Package::Docker,
        _ => true,
    })
}

/// Why an image of the private registry cannot be pulled, and what to do. Tried twice, as a pull is.
async fn may_not_pull(cx: &RunContext, host: &HostRun, step: &Step) -> Option<(String, Remedy)> {
    let Step::Pull { image, digest } = step else {
        return None;
    };
    let auth = images::login(cx, image)?;
    let reference = digest
        .as_ref()
        .map_or_else(|| image.to_string(), |digest| image.pinned(digest));
    let ask = || host.engine.distribution_digest(&reference, Some(&auth));
    if ask().await.is_ok() {
        return None;
    }
    let why = failure::chain(&ask().await.err()?).join(": ");
    let hint = images::pull_hint(image, &why);
    Some((why, hint))
}

/// Prepares all hosts in parallel.
pub(super) async fn prepare_hosts(work: &Work<'_>) {
    let cx = work.cx;
    cx.events.send(Event::PhaseStarted {
        phase: "prepare".into(),
    });
    let started = tokio::time::Instant::now();
    join_all(work.in_scope().map(|(host, plan)| async move {
        if work.run_steps(host, RECORD, &plan.records).await.is_ok() {
            // A failure is in the ledger.
            drop(work.run_steps(host, "prepare", &plan.prepare).await);
        }
    }))
    .await;
    cx.events.send(Event::PhaseFinished {
        phase: "prepare".into(),
        elapsed_ms: super::connect::ms(started),
    });
}

/// Image references of the desired state that are not pinned yet.
pub(super) fn unpinned(desired: &Desired) -> BTreeSet<ImageRef> {
    desired
        .images()
        .filter(|(image, digest)| digest.is_none() && image.recipe_hash().is_none())
        .map(|(image, _)| image.clone())
        .collect()
}

/// The bases of images that are to be built and are not pinned yet.
pub(super) fn unpinned_bases(plan: &Plan) -> BTreeSet<ImageRef> {
    let steps = plan.hosts.iter().flat_map(|host| &host.images);
    steps
        .filter_map(|step| match step {
            Step::Build {
                recipe,
                base_digest: None,
                ..
            } => Some(recipe.base.clone()),
            _ => None,
        })
        .collect()
}

/// Asks the registries, through the hosts' Engines, for the digests of unpinned references. One
/// host asks for all; the next host is tried for those that failed.
pub(super) async fn resolve(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    wanted: BTreeSet<ImageRef>,
) -> (BTreeMap<ImageRef, String>, BTreeMap<ImageRef, String>) {
    let mut found: BTreeMap<ImageRef, String> = wanted
        .iter()
        .filter_map(|image| {
            image
                .digest()
                .map(|digest| (image.clone(), digest.to_owned()))
        })
        .collect();
    let mut why = BTreeMap::new();
    for host in hosts
        .values()
        .filter(|host| ledger.alive(&host.info.name))
        .take(3)
    {
        let missing: Vec<ImageRef> = wanted
            .iter()
            .filter(|image| !found.contains_key(*image))
            .cloned()
            .collect();
        if missing.is_empty() {
            break;
        }
        let answers = join_all(missing.iter().map(|image| {
            let auth = images::login(cx, image);
            async move {
                host.engine
                    .distribution_digest(image.as_str(), auth.as_ref())
                    .await
            }
        }))
        .await;
        for (image, answer) in missing.into_iter().zip(answers) {
            match answer {
                Ok(digest) => {
                    why.remove(&image);
                    found.insert(image, digest);
                }
                Err(error) => {
                    why.insert(image, failure::chain(&error).join(": "));
                }
            }
        }
    }
    why.retain(|image, _| !found.contains_key(image));
    (found, why)
}

/// Whether at least one host has a working Engine.
pub(super) fn any_engine(observed: &Observed) -> bool {
    observed
        .values()
        .any(|status| matches!(status.docker, DockerStatus::Up { .. }))
}

/// Adds the record of pinned digests to the files of the masters.
pub(super) fn record_digests(desired: &mut Desired, recorded: &Recorded) {
    let bases = desired.recipes.values().map(|wanted| &wanted.recipe.base);
    let wanted: BTreeSet<&ImageRef> = desired
        .images()
        .map(|(image, _)| image)
        .chain(bases)
        .collect();
    let pinned: BTreeMap<&str, &String> = recorded
        .digests
        .iter()
        .filter(|(image, _)| wanted.contains(image))
        .map(|(image, digest)| (image.as_str(), digest))
        .collect();
    if pinned.is_empty() {
        return;
    }
    let mut content = serde_json::to_vec_pretty(&pinned).unwrap_or_default();
    content.push(b'\n');
    for host in desired
        .hosts
        .iter_mut()
        .filter(|host| host.roles.contains(&Role::Master))
    {
        host.files.push(FileSpec {
            path: DIGESTS.into(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            content: content.clone(),
            secret: false,
            place: Placement::Always,
        });
    }
}
