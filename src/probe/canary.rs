//! The proofs that need a service of their own: a container that Registrator must publish, and a route that every edge must serve.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::answer::show;
use super::{Context, Member, Route, Verdict, consul_service_instances, registrator};
use crate::docker::{DockerError, Engine};
use crate::probe::http::Http;
use crate::spec::{ClusterName, ComponentName, ContainerSpec, ImageRef};
use crate::transport::Session;

/// A change takes about two seconds to arrive everywhere; the rest is for busy machines.
const APPEARS: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(500);

/// What the canary's container is made of.
#[derive(Debug, Clone)]
pub struct CanaryImage {
    /// The cluster, for the label by which a canary that was left over is found.
    pub cluster: ClusterName,
    /// Its image.
    pub image: ImageRef,
    /// Its digest.
    pub digest: Option<String>,
    /// The port that it listens on for a moment.
    pub port: u16,
}

/// A name that no service has: every proof is its own.
fn name() -> String {
    format!("toots-canary-{:08x}", rand::random::<u32>())
}

/// Starts the canary on each slave, waits until Consul has it from there, stops it, and waits until it is gone.
pub(super) async fn registrator(
    slaves: &[Member],
    consul: &[Member],
    context: &Context,
    canary: &CanaryImage,
) -> Verdict {
    let name = name();
    let Some(asked) = consul.iter().find_map(|member| {
        Some((
            Arc::clone(member.session.as_ref()?),
            member.address.to_string(),
        ))
    }) else {
        return registrator::judge(slaves, &Ok(Vec::new()), true);
    };
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
                "{}: its canary did not start: {}",
                slave.host,
                show(result.as_ref().err()?.to_string().as_bytes())
            ))
        })
        .collect();
    let mut verdict = wait(&asked, context, slaves, &name, true).await;
    join_all(
        engines
            .iter()
            .map(|(_, engine)| engine.remove(CONTAINER, true)),
    )
    .await;
    let gone = wait(&asked, context, slaves, &name, false).await;
    if verdict.healthy && gone.healthy {
        verdict.proof = "a canary on each slave came into Consul and went".into();
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
    let address = if slave.address.is_ipv6() {
        format!("[{}]", slave.address)
    } else {
        slave.address.to_string()
    };
    let spec = ContainerSpec {
        component,
        image: canary.image.clone(),
        digest: canary.digest.clone(),
        entrypoint: None,
        command: vec![
            format!("-listen={address}:{}", canary.port),
            format!("-text={name}"),
        ],
        env: [("SERVICE_NAME".to_owned(), name.to_owned())].into(),
        user: None,
        mounts: Vec::new(),
        tmpfs: Vec::new(),
        cap_add: Vec::new(),
        devices: Vec::new(),
        privileged: false,
        pid_host: false,
        expose: vec![canary.port],
        stop_signal: None,
        stop_timeout_s: 1,
        nofile: None,
        labels: std::collections::BTreeMap::new(),
        files: std::collections::BTreeMap::new(),
    };
    // One of a proof that was cut off.
    match engine.remove(CONTAINER, true).await {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    engine
        .create(&spec, &canary.cluster, &std::collections::BTreeMap::new())
        .await?;
    engine.start(CONTAINER).await
}

async fn wait(
    asked: &(Arc<dyn Session>, String),
    context: &Context,
    slaves: &[Member],
    name: &str,
    there: bool,
) -> Verdict {
    let began = Instant::now();
    loop {
        let found = consul_service_instances(&asked.0, &asked.1, context.ports.consul, name).await;
        let verdict = registrator::judge(slaves, &found, there);
        if verdict.healthy || began.elapsed() >= APPEARS {
            return verdict;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Registers a service with the first edge's Consul agent whose only instance is that agent itself, and wants it through every edge: the
/// whole way from Consul over consul-template and HAProxy to a client, without a slave.
pub(super) async fn edges(edges: &[Member], context: &Context, domain: &str) -> Verdict {
    let Some((session, address)) = edges
        .iter()
        .find_map(|edge| Some((Arc::clone(edge.session.as_ref()?), edge.address)))
    else {
        return super::haproxy::ask(edges, context).await;
    };
    let name = name();
    let mut consul = Http::new(
        session,
        address.to_string(),
        context.ports.consul,
        context.deadline,
    );
    let service = serde_json::json!({
        "ID": name, "Name": name, "Tags": ["haproxy"], "Address": address, "Port": context.ports.consul,
        // Should this run be cut off, Consul itself takes the canary away.
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
    let context = Context {
        route: Some(route),
        ..context.clone()
    };
    let began = Instant::now();
    let mut verdict = loop {
        let verdict = super::haproxy::ask(edges, &context).await;
        if verdict.healthy || began.elapsed() >= APPEARS {
            break verdict;
        }
        tokio::time::sleep(PAUSE).await;
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
                .push(format!("the canary could not {question} itself: {error}")),
        }
    }
    verdict
}
