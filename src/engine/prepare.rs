//! Locks, the preparation of hosts, and the pinning of images to digests.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::apply;
use super::connect::{HostRun, Hosts};
use super::context::Context;
use super::failure;
use super::ledger::Ledger;
use super::work::Work;
use crate::desired::{Desired, Recorded};
use crate::event::{Event, Failure, Outcome};
use crate::guard::{LockError, Owner};
use crate::observe::DockerStatus;
use crate::plan::{HostPlan, Observed, Package, Step};
use crate::spec::{FileSpec, ImageRef, Place, Role};

/// Where masters keep the digests to which image references were pinned.
pub(super) const DIGESTS: &str = "/etc/toots/images.json";

/// Why nothing may be changed.
pub(super) enum NotLocked {
    /// Another run holds it.
    Held,
    /// A host could not be locked for another reason.
    Failed,
}

/// Takes the lock of every host that may be changed and of all masters that take part; held until the connections are closed.
pub(super) async fn lock(cx: &Context, ledger: &Ledger, hosts: &Hosts) -> Result<(), NotLocked> {
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
        let mut failure = failure::of("lock", "take the host's lock", &error);
        failure.hints = if held {
            vec!["wait for that run to end, then run again".into()]
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

/// Proves before the first change that each host may pull what it has to from the private registry: its Engine asks for every image, with the
/// login. A host that does not know the registry's CA or name yet cannot ask; there the pulls are the proof, before any container is stopped.
/// Returns whether none was refused.
pub(super) async fn prove_pulls(work: &Work<'_>, hosts: &Hosts) -> bool {
    let Work { cx, ledger, .. } = *work;
    let asked = work
        .in_scope(hosts)
        .filter(|(host, plan)| ledger.alive(&host.info.name) && knows_registry(plan));
    let proven = asked.map(|(host, plan)| async move {
        let refused = join_all(plan.images.iter().map(|step| may_not_pull(cx, host, step))).await;
        let cause: Vec<String> = refused.into_iter().flatten().collect();
        if cause.is_empty() {
            return true;
        }
        let hints = vec![
            "correct [registry] (username, password, ca) or the image in [images] of the inventory"
                .to_owned(),
        ];
        let failure = Failure {
            cause,
            ..failure::words("preflight", "prove the pulls", "", hints)
        };
        ledger.fail(&host.info.name, Outcome::Failed, failure);
        false
    });
    join_all(proven).await.into_iter().all(|proven| proven)
}

/// Whether nothing by which the Engine knows the registry is still to be written.
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

/// Why an image of the private registry cannot be pulled. As a pull, it is tried once more.
async fn may_not_pull(cx: &Context, host: &HostRun, step: &Step) -> Option<String> {
    let Step::Pull { image, digest } = step else {
        return None;
    };
    let auth = apply::login(cx, image)?;
    let reference = digest
        .as_ref()
        .map_or_else(|| image.to_string(), |digest| image.pinned(digest));
    let ask = || host.engine.distribution_digest(&reference, Some(&auth));
    if ask().await.is_ok() {
        return None;
    }
    Some(failure::chain(&ask().await.err()?).join(": "))
}

/// Runs the preparation of all hosts at once.
pub(super) async fn prepare(work: &Work<'_>, hosts: &Hosts) {
    let cx = work.cx;
    cx.events.send(Event::PhaseStarted {
        phase: "prepare".into(),
    });
    let started = std::time::Instant::now();
    join_all(
        work.in_scope(hosts)
            .map(|(host, plan)| work.all(host, "prepare", &plan.prepare)),
    )
    .await;
    cx.events.send(Event::PhaseFinished {
        phase: "prepare".into(),
        elapsed_ms: super::connect::ms(started),
    });
}

/// References of the desired state that are not pinned yet.
pub(super) fn unpinned(desired: &Desired) -> BTreeSet<ImageRef> {
    let components = desired.hosts.iter().flat_map(|host| &host.components);
    let images = components.flat_map(|c| {
        std::iter::once((&c.container.image, &c.container.digest))
            .chain(c.extra_images.iter().map(|(image, digest)| (image, digest)))
    });
    images
        .filter(|(_, digest)| digest.is_none())
        .map(|(image, _)| image.clone())
        .collect()
}

/// Asks the registries, through the hosts' Engines, for the digests of references that are not recorded. One host asks for all; the next
/// host is tried for what the former could not get.
pub(super) async fn resolve(
    cx: &Context,
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
            let auth = apply::login(cx, image);
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

/// Whether at least one host's Engine can be asked.
pub(super) fn any_engine(observed: &Observed) -> bool {
    observed
        .values()
        .any(|status| matches!(status.docker, DockerStatus::Up { .. }))
}

/// Adds the record of pinned digests to the files of the masters.
pub(super) fn record_digests(desired: &mut Desired, recorded: &Recorded) {
    let wanted: BTreeSet<&ImageRef> = desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .flat_map(|c| {
            std::iter::once(&c.container.image).chain(c.extra_images.iter().map(|(image, _)| image))
        })
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
            place: Place::Always,
        });
    }
}
