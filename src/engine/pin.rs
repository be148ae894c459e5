//! Pins unpinned images to digests, once the hosts know the registry.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::digests::{find_record_step, find_unpinned, find_unpinned_bases};
use super::ledger::EarlyExit;
use super::planning::build_plan;
use super::prepare::prepare_hosts;
use super::pull::login;
use super::run::Run;
use super::steps::run_steps;
use super::work::Work;
use super::{failure, observing};
use crate::event::{Event, Outcome};
use crate::plan::{self, Step};
use crate::spec::{ImageDigest, ImageRef, Package, Phase};

/// Hosts that are asked for digests: one asks the registry for all, the next for those that failed.
const MAX_ASKED: usize = 3;

/// Pins unpinned images, and plans the rest again. Does nothing when all are pinned and no Engine was
/// just installed.
pub(super) async fn pin(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let mut wanted = find_unpinned(&run.planned.desired);
    wanted.append(&mut find_unpinned_bases(&run.planned.plan));
    let is_complete = wanted.is_empty() && !installs_engine(&run.work());
    if is_complete || run.cx.mode.repair.is_some() {
        return Ok(());
    }
    observing::observe(run).await?;
    let mut observed = run.planned.observed.values();
    if !wanted.is_empty() && observed.any(|status| status.docker.is_up()) {
        let digests = ask_registries(&run.work(), wanted).await;
        for (image, why) in digests.missing {
            let text = format!("cannot pin {image} to a digest, using its tag: {why}");
            run.cx.events.send(Event::warning(None, text));
        }
        run.planned.recorded.digests.extend(digests.found);
    }
    fail_silent_engines(&run.work());
    build_plan(run)?;
    // The record of digests belongs to the preparation; the rest of the preparation is already
    // done.
    prepare_hosts(&run.work()).await;
    record_on_other_masters(&run.work()).await;
    Ok(())
}

/// Masters outside the scope of `add-slave` record the digests too. Without a record the next `up` would
/// ask the registries again, and replace what was added when a tag has moved.
async fn record_on_other_masters(work: &Work<'_>) {
    let plan = plan::diff(&work.planned.desired, &work.planned.observed);
    let masters = work.usable_masters();
    let others = masters.filter(|master| !work.cx.scope.contains(&master.info.name));
    let writes = others.filter_map(|master| {
        let steps = [find_record_step(plan.host(&master.info.name)?)?];
        Some(async move { run_steps(work, master, Phase::Record, &steps).await })
    });
    // Failures are in the ledger.
    drop(join_all(writes).await);
}

fn installs_engine(work: &Work<'_>) -> bool {
    let mut steps = work
        .planned
        .plan
        .hosts
        .iter()
        .flat_map(|host| &host.prepare);
    steps.any(|step| matches!(step, Step::Install { package, .. } if *package == Package::Docker))
}

/// Without its Engine a host cannot go on.
fn fail_silent_engines(work: &Work<'_>) {
    for (host, status) in &work.planned.observed {
        let takes_part = work.cx.scope.contains(host) && work.ledger.alive(host);
        if status.docker.is_up() || !takes_part {
            continue;
        }
        let step = "ask the docker engine";
        let why = "no answer after the installation";
        let failure = failure::from_text(&Phase::Prepare, step, why, Vec::new());
        work.ledger.fail(host, Outcome::Failed, failure);
    }
}

/// The answers of registries.
struct PinnedDigests {
    found: BTreeMap<ImageRef, ImageDigest>,
    /// Why they are unknown.
    missing: BTreeMap<ImageRef, String>,
}

/// Asks the registries, through the hosts' Engines, for the digests of unpinned references.
async fn ask_registries(work: &Work<'_>, wanted: BTreeSet<ImageRef>) -> PinnedDigests {
    let written = |image: ImageRef| {
        let digest = ImageDigest::from(image.digest()?);
        Some((image, digest))
    };
    let mut found: BTreeMap<_, _> = wanted.iter().cloned().filter_map(written).collect();
    let mut missing = BTreeMap::new();
    let hosts = work.hosts.values();
    let hosts = hosts.filter(|host| work.ledger.alive(&host.info.name));
    for host in hosts.take(MAX_ASKED) {
        let unknown = wanted.iter().filter(|image| !found.contains_key(*image));
        let unknown: Vec<&ImageRef> = unknown.collect();
        let answers = unknown.iter().map(|image| async move {
            let auth = login(work.cx, image);
            let engine = &host.engine;
            engine
                .distribution_digest(image.as_str(), auth.as_ref())
                .await
        });
        let answers = join_all(answers).await;
        for (image, answer) in unknown.into_iter().cloned().zip(answers) {
            match answer {
                Ok(digest) => {
                    missing.remove(&image);
                    found.insert(image, digest.into());
                }
                Err(error) => {
                    missing.insert(image, failure::chain(&error).join(": "));
                }
            }
        }
    }
    PinnedDigests { found, missing }
}
