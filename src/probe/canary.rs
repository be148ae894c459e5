//! Proofs that need a temporary service: a container that Registrator must register, and a route
//! that every edge must serve.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::answer::{Answer, show};
use super::consul::Instance;
use super::poll::Poll;
use super::{Member, ProbeContext, Route, Verdict, consul_service_instances, registrator};
use crate::docker::{DockerError, Engine};
use crate::probe::http::Http;
use crate::spec::{ClusterName, ComponentName, ContainerSpec, ImageDigest, ImageRef};

/// A change takes about two seconds to arrive everywhere; the rest is for slow machines.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(40);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The canary container.
#[derive(Debug, Clone)]
pub struct CanaryImage {
    /// The cluster name, stored in a label by which leftover canaries are found.
    pub cluster: ClusterName,
    pub image: ImageRef,
    pub digest: Option<ImageDigest>,
    /// The port on which it listens briefly.
    pub port: u16,
}

/// A name that no service has, different for every proof.
fn name(context: &ProbeContext) -> String {
    format!("toots-canary-{}", context.random.hex32())
}

/// Starts the canary on each slave, waits until it is registered in Consul, stops it, and waits
/// until it is deregistered.
pub(super) async fn registrator(
    slaves: &[Member],
    consul: &[Member],
    context: &ProbeContext,
    canary: &CanaryImage,
) -> Verdict {
    let name = name(context);
    if consul.iter().all(|member| member.session.is_none()) {
        return registrator::judge(slaves, &Ok(Vec::new()), true);
    }
    let engines: Vec<(&Member, Engine)> = slaves
        .iter()
        .filter_map(|slave| Some((slave, Engine::over(Arc::clone(slave.session.as_ref()?)))))
        .collect();
    let started = join_all(
        engines
            .iter()
            .map(|(slave, engine)| start(slave, engine, canary, &name)),
    )
    .await;
    let mut faults: Vec<String> = engines
        .iter()
        .zip(&started)
        .filter_map(|((slave, _), result)| {
            Some(format!(
                "{}: canary did not start: {}",
                slave.host,
                show(result.as_ref().err()?.to_string().as_bytes())
            ))
        })
        .collect();
    let mut verdict = wait(consul, context, slaves, &name, true).await;
    join_all(
        engines
            .iter()
            .map(|(_, engine)| engine.force_remove(CONTAINER)),
    )
    .await;
    let gone = wait(consul, context, slaves, &name, false).await;
    if verdict.healthy && gone.healthy {
        verdict.proof = "canary registered and deregistered on every slave".into();
    } else {
        verdict.healthy = false;
        verdict.faults.extend(gone.faults);
    }
    verdict.healthy &= faults.is_empty();
    verdict.faults.append(&mut faults);
    verdict
}

const CONTAINER: &str = "toots-canary";

async fn start(
    slave: &Member,
    engine: &Engine,
    canary: &CanaryImage,
    name: &str,
) -> Result<(), DockerError> {
    let Ok(component) = ComponentName::new("canary") else {
        return Ok(());
    };
    let spec = ContainerSpec {
        command: vec![format!("-listen=:{}", canary.port), format!("-text={name}")],
        env: [("SERVICE_NAME".to_owned(), name.to_owned())].into(),
        expose: vec![canary.port],
        // As applications do; Registrator up to v7 ignores containers in the host's network.
        published: Some(slave.address),
        ..ContainerSpec::bare(component, canary.image.clone(), canary.digest.clone())
    };
    // A leftover of an interrupted proof.
    match engine.force_remove(CONTAINER).await {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let images = engine.images().await?;
    let image = images
        .iter()
        .find(|image| image.provides(&spec.image, spec.digest.as_deref()));
    // Its id, because the host may know the image by another name.
    let image = image.map_or_else(|| spec.image_to_run(), |image| image.id.clone());
    engine
        .create(
            &spec,
            &image,
            &canary.cluster,
            &std::collections::BTreeMap::new(),
        )
        .await?;
    engine.start(CONTAINER).await
}

async fn wait(
    consul: &[Member],
    context: &ProbeContext,
    slaves: &[Member],
    name: &str,
    there: bool,
) -> Verdict {
    let mut poll = Poll::every(RETRY_INTERVAL, REGISTRATION_LIMIT);
    loop {
        let verdict = registrator::judge(slaves, &instances(consul, context, name).await, there);
        if verdict.healthy || !poll.pause().await {
            return verdict;
        }
    }
}

/// The instances of a service as the first member knows them that answers: a host may be lost while
/// the canary is awaited.
async fn instances(consul: &[Member], context: &ProbeContext, name: &str) -> Answer<Vec<Instance>> {
    let mut last = Ok(Vec::new());
    for member in consul {
        let Some(session) = &member.session else {
            continue;
        };
        let address = member.address.to_string();
        last = consul_service_instances(session, &address, context.ports.consul, name).await;
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Registers a service in the first edge's Consul agent whose only instance is that agent itself,
/// and requests it through every edge: the whole path from Consul over consul-template and HAProxy
/// to a client, without a slave.
pub(super) async fn edges(edges: &[Member], context: &ProbeContext, domain: &str) -> Verdict {
    let Some((session, address)) = edges
        .iter()
        .find_map(|edge| Some((Arc::clone(edge.session.as_ref()?), edge.address)))
    else {
        return super::haproxy::ask(edges, context).await;
    };
    let name = name(context);
    let mut consul = Http::new(
        session,
        address.to_string(),
        context.ports.consul,
        context.deadline,
    );
    let service = serde_json::json!({
        "ID": name, "Name": name, "Tags": ["haproxy"], "Address": address, "Port": context.ports.consul,
        // If this run is interrupted, Consul itself removes the canary.
        "Check": { "TTL": "60s", "Status": "passing", "DeregisterCriticalServiceAfter": "1m" },
    });
    let registered = consul
        .put("/v1/agent/service/register", service.to_string())
        .await;
    let route = Route {
        host: format!("{name}.service.{domain}"),
        path: "/v1/status/leader".into(),
        expect: ":8300".into(),
    };
    let context = ProbeContext {
        route: Some(route),
        ..context.clone()
    };
    let mut poll = Poll::every(RETRY_INTERVAL, REGISTRATION_LIMIT);
    let mut verdict = loop {
        let verdict = super::haproxy::ask(edges, &context).await;
        if verdict.healthy || !poll.pause().await {
            break verdict;
        }
    };
    for (question, answer) in [
        ("register", registered),
        (
            "deregister",
            consul
                .put(&format!("/v1/agent/service/deregister/{name}"), Vec::new())
                .await,
        ),
    ] {
        match answer.and_then(|reply| reply.ok(question)) {
            Ok(_) => {}
            Err(error) => verdict
                .faults
                .push(format!("canary failed to {question} itself: {error}")),
        }
    }
    verdict
}
