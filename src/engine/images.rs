//! Brings every image to its hosts before any container is stopped.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::host_run::HostRun;
use super::ledger::EarlyExit;
use super::phases::in_phase;
use super::run::Run;
use super::saved_images::MAX_LOADS;
use super::steps::run_steps;
use super::work::Work;
use crate::observe::HostStatus;
use crate::plan::{self, LoadSource, Step};
use crate::spec::{HostName, ImageRef, Phase};

/// Parallel pulls per host: more would only wait for each other's layers.
const MAX_PULLS_PER_HOST: usize = 3;

/// Brings the images. A dropped pull leaves nothing half done: the Engine keeps the layers that it
/// has.
pub(super) async fn pull(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let work = run.work();
    if work.in_scope().any(|(_, plan)| !plan.images.is_empty()) {
        in_phase(work.cx, Phase::Images, bring_all(&work)).await;
    }
    Ok(())
}

/// Pulls and builds on all hosts in parallel, then loads what other hosts have.
pub(super) async fn bring_all(work: &Work<'_>) {
    let is_load = |step: &&Step| matches!(step, Step::Load { .. });
    let hosts = work.in_scope();
    let hosts = hosts.filter(|(host, _)| work.ledger.alive(&host.info.name));
    let pulls = hosts.map(|(host, plan)| {
        let steps = plan.images.iter().filter(|step| !is_load(step));
        futures::stream::iter(steps)
            .for_each_concurrent(MAX_PULLS_PER_HOST, move |step| bring(work, host, step))
    });
    join_all(pulls).await;
    // What was built or pulled just now is loaded by the others.
    let loads = work.in_scope().flat_map(|(host, plan)| {
        let steps = plan.images.iter().filter(is_load);
        steps.map(move |step| (host, step))
    });
    load_images(work, loads.collect()).await;
}

async fn bring(work: &Work<'_>, host: &HostRun, step: &Step) {
    // A failure is in the ledger.
    drop(run_steps(work, host, Phase::Images, std::slice::from_ref(step)).await);
}

/// One image after the other, so that the file of each is needed for a short time only. What comes
/// from a bundle is passed on while the next image is sent.
async fn load_images(work: &Work<'_>, mut loads: Vec<HostLoad<'_>>) {
    loads.sort_by_key(|(_, step)| step.image());
    let (first, others) = split_loads(work, loads);
    let observed = &work.planned.observed;
    let key = |(host, step): &HostLoad<'_>| {
        let status = observed.get(&host.info.name);
        (
            step.image(),
            status.map(|status| status.facts.arch.as_str()),
        )
    };
    let closed = |load| (key(load), Semaphore::new(0));
    let sent: BTreeMap<_, _> = first.iter().map(closed).collect();
    let load = async |(host, step): HostLoad<'_>| {
        let _turn = host.loading.lock().await;
        bring(work, host, step).await;
    };
    let (load, sent, key) = (&load, &sent, &key);
    let send = futures::stream::iter(first).for_each_concurrent(MAX_LOADS, async |to_load| {
        load(to_load).await;
        if let Some(sent) = sent.get(&key(&to_load)) {
            sent.close();
        }
    });
    let pass_on = futures::stream::iter(others).for_each_concurrent(MAX_LOADS, async |to_load| {
        if let Some(sent) = sent.get(&key(&to_load)) {
            // Ends when it is closed.
            drop(sent.acquire().await);
        }
        load(to_load).await;
    });
    futures::future::join(send, pass_on).await;
}

type HostLoad<'a> = (&'a HostRun, &'a Step);

/// Separates the loads of the host, one for each architecture, that gets the images which no host has
/// from the bundle. It gets all of them, because images share layers: preferably a host with the
/// classic store, which takes an archive without those that it has.
fn split_loads<'a>(
    work: &Work<'_>,
    loads: Vec<HostLoad<'a>>,
) -> (Vec<HostLoad<'a>>, Vec<HostLoad<'a>>) {
    let observed = &work.planned.observed;
    // By image and architecture, because thousands of hosts may lack the same image.
    let mut known: BTreeMap<(&ImageRef, &str), bool> = BTreeMap::new();
    for (host, step) in &loads {
        if let Some((image, digest)) = bundled(step)
            && let Some(status) = observed.get(&host.info.name)
        {
            let arch = status.facts.arch.as_str();
            let has_it = |other: &HostStatus| {
                other.facts.arch == arch && plan::is_present(other, image, digest)
            };
            let is_known = || observed.values().any(has_it);
            known.entry((image, arch)).or_insert_with(is_known);
        }
    }
    let must_be_sent = |(host, step): &HostLoad<'a>| {
        let status = observed.get(&host.info.name)?;
        let key = (bundled(step)?.0, status.facts.arch.as_str());
        (known.get(&key) == Some(&false)).then_some(status)
    };
    let mut receivers: BTreeMap<&str, (bool, &HostName)> = BTreeMap::new();
    for load in &loads {
        if let Some(status) = must_be_sent(load) {
            let candidate = (status.docker.has_containerd_store(), &load.0.info.name);
            let receiver = receivers.entry(&status.facts.arch).or_insert(candidate);
            *receiver = candidate.min(*receiver);
        }
    }
    loads.into_iter().partition(|load| {
        must_be_sent(load).is_some_and(|status| {
            let receiver = receivers.get(status.facts.arch.as_str());
            receiver.is_some_and(|(_, name)| **name == load.0.info.name)
        })
    })
}

/// The image and its digest, when it is loaded from a bundle.
fn bundled(step: &Step) -> Option<(&ImageRef, Option<&str>)> {
    match step {
        Step::Load {
            image,
            digest,
            from: LoadSource::Bundle(_),
        } => Some((image, digest.as_deref())),
        _ => None,
    }
}
