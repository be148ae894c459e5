//! Brings every image to its hosts before any container is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connect::{HostRun, ms};
use super::failure;
use super::loads::{ImageLoad, MAX_LOADS};
use super::run_context::{RegistryLogin, RunContext};
use super::work::Work;
use crate::docker::RegistryAuth;
use crate::event::{Event, Failure};
use crate::observe::HostStatus;
use crate::plan::{self, LoadSource, Step};
use crate::spec::{HostName, ImageRef, Remedy};

/// Parallel pulls per host: more would only wait for each other's layers.
const MAX_PULLS_PER_HOST: usize = 3;

/// Pulls and builds on all hosts in parallel, then loads what other hosts have.
pub(super) async fn bring_all(work: &Work<'_>) {
    let Work { cx, ledger, .. } = *work;
    if work.in_scope().all(|(_, plan)| plan.images.is_empty()) {
        return;
    }
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: "images".into(),
    });
    let is_load = |step: &&Step| matches!(step, Step::Load { .. });
    join_all(
        work.in_scope()
            .filter(|(host, _)| ledger.alive(&host.info.name))
            .map(|(host, plan)| {
                let steps = plan.images.iter().filter(|step| !is_load(step));
                futures::stream::iter(steps)
                    .for_each_concurrent(MAX_PULLS_PER_HOST, move |step| run(work, host, step))
            }),
    )
    .await;
    // What was built or pulled just now is loaded by the others.
    let loads = work.in_scope().flat_map(|(host, plan)| {
        let steps = plan.images.iter().filter(is_load);
        steps.map(move |step| (host, step))
    });
    load_images(work, loads.collect()).await;
    cx.events.send(Event::PhaseFinished {
        phase: "images".into(),
        elapsed_ms: ms(started),
    });
}

async fn run(work: &Work<'_>, host: &HostRun, step: &Step) {
    // A failure is in the ledger.
    drop(
        work.run_steps(host, "images", std::slice::from_ref(step))
            .await,
    );
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
        run(work, host, step).await;
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

/// Pulls one image on one host. When its digest cannot be pulled and another host has it, loads it
/// from there.
pub(super) async fn pull_or_load(load: &ImageLoad<'_>) -> Result<(), Box<Failure>> {
    let ImageLoad {
        work,
        host,
        phase,
        title,
        image,
        digest,
    } = *load;
    let Err(mut failure) = pull(work.cx, host, phase, title, image, digest).await else {
        return Ok(());
    };
    if digest.is_none() || host.session.closed() || failure::is_file_system_full(&failure) {
        return Err(failure);
    }
    match load.instead_of_pull(&failure).await {
        Some(Ok(())) => Ok(()),
        Some(Err(load)) => {
            failure.cause.extend(load.cause);
            Err(failure)
        }
        None => Err(failure),
    }
}

/// Pulls one image on one host, twice when the first attempt fails.
pub(super) async fn pull(
    cx: &RunContext,
    host: &HostRun,
    phase: &str,
    title: &str,
    image: &ImageRef,
    digest: Option<&str>,
) -> Result<(), Box<Failure>> {
    let reference = digest.map_or_else(|| image.0.clone(), |digest| image.pinned(digest));
    let name = &host.info.name;
    let progress = |bytes, total| {
        cx.events.send(Event::StepProgress {
            host: name.clone(),
            bytes,
            total,
            line: None,
        })
    };
    let auth = login(cx, image);
    let pull = || {
        host.engine
            .pull(&reference, auth.as_ref(), cx.timeouts.pull_idle, progress)
    };
    let mut pulled = pull().await;
    if let Err(error) = &pulled
        && !host.session.closed()
    {
        tracing::warn!(host = %name, %error, "retrying the pull");
        tokio::time::sleep(PULL_RETRY_DELAY).await;
        pulled = pull().await;
    }
    pulled.map_err(|error| {
        let mut failure = failure::from_error(phase, title, &error);
        failure.hints = vec![pull_hint(image, &failure.cause.join(": "))];
        Box::new(failure)
    })?;
    if digest.is_some() {
        // A pull by digest leaves the image without a name.
        let tagged = host
            .engine
            .tag(&reference, image.repository(), image.tag())
            .await;
        tagged.map_err(|error| Box::new(failure::from_error(phase, title, &error)))?;
    }
    Ok(())
}

/// Pause before the second attempt of a failed pull. It outlasts short faults: a busy registry, an
/// Engine's cached view of /etc/hosts (5 s).
const PULL_RETRY_DELAY: Duration = Duration::from_secs(6);

/// What to do about a failed pull, by the Engine's own words.
pub(super) fn pull_hint(image: &ImageRef, why: &str) -> Remedy {
    let registry = image.registry().unwrap_or("the public registry").to_owned();
    let own = image.registry().is_some();
    let why = why.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let reach = if own {
        format!("check that the hosts can reach {registry}").into()
    } else {
        Remedy::ReachRegistry {
            registry: registry.clone(),
        }
    };
    if says(&["x509", "certificate"]) {
        Remedy::SetRegistryCa { registry }
    } else if says(UNREACHABLE) {
        reach
    } else if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "denied",
    ]) && own
    {
        Remedy::CheckRegistryLogin
    } else if says(&["not found", "manifest unknown", "denied", "unauthorized"]) {
        let image = image.to_string();
        Remedy::CheckImage { registry, image }
    } else if own {
        format!("check that the hosts can reach {registry}").into()
    } else {
        Remedy::ReachRegistry { registry }
    }
}

/// Words of a registry that is down or cannot be reached. They come before those about credentials:
/// a token service that is down denies access too.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "timeout",
    "deadline exceeded",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
];

/// The credentials for an image, when it comes from the inventory's registry.
pub(super) fn login(cx: &RunContext, image: &ImageRef) -> Option<RegistryAuth> {
    registry_login(cx.registry.as_ref(), image)
}

/// The credentials for an image, when it comes from this registry.
pub(super) fn registry_login(
    registry: Option<&RegistryLogin>,
    image: &ImageRef,
) -> Option<RegistryAuth> {
    let login = registry.filter(|login| image.registry() == Some(&login.server))?;
    Some(RegistryAuth {
        username: login.username.clone(),
        password: login.password.clone(),
        server: login.server.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of Docker Engine 20.10 and 28.
    #[test]
    fn hints_follow_the_engines_words() {
        let own = ImageRef("registry.example.com:5000/zookeeper:3.9".into());
        let public = ImageRef("zookeeper:3.9".into());
        for (image, why, part) in [
            (
                &own,
                "Get \"https://registry.example.com:5000/v2/\": x509: certificate signed by unknown \
                 authority",
                "set ca in [registry]",
            ),
            (
                &own,
                "no basic auth credentials",
                "username and password_file",
            ),
            (
                &own,
                "dial tcp 10.0.0.5:5000: connect: connection refused",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "unauthorized: Get \"https://auth.example.com/token\": dial tcp 10.0.0.6:443: \
                 connect: connection refused",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "received unexpected HTTP status: 503 Service Unavailable",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "manifest for x not found: manifest unknown",
                "set another image",
            ),
            (
                &public,
                "pull access denied for x, repository does not exist or may require 'docker login'",
                "set another image",
            ),
            (
                &public,
                "dial tcp: lookup registry-1: no such host",
                "can reach the public registry",
            ),
        ] {
            let hint = pull_hint(image, why).to_string();
            assert!(hint.contains(part), "{why}: {hint}");
        }
    }
}
