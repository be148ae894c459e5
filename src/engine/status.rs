//! `cluster status`: how every component on every host stands right now. Changes nothing, waits for nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;

use super::components::Ended;
use super::connect;
use super::context::Context;
use super::gates::Gates;
use super::ledger::Ledger;
use super::summary;
use crate::desired::HostDesired;
use crate::docker::ContainerDetail;
use crate::event::{Event, EventSink, ServiceRow, WebAddress};
use crate::observe::{DockerStatus, HostStatus};
use crate::plan;
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, ContainerSpec, HostName};

/// One component on one host.
#[derive(Debug, Clone, Default)]
pub struct ComponentState {
    /// The container's state, `absent` when it is not there.
    pub state: String,
    /// Whether it is as wanted (running, from the wanted specification).
    pub as_wanted: bool,
    /// The role that it plays now.
    pub role: Option<String>,
    /// Version of the service.
    pub version: Option<String>,
    /// The image as named.
    pub image: String,
}

/// The whole cluster.
#[derive(Debug, Clone, Default)]
pub struct StatusView {
    /// Whether everything is proven and every container is as wanted.
    pub healthy: bool,
    /// Services with a leader or a quorum.
    pub services: Vec<(ServiceRow, Verdict)>,
    /// Hosts and their components; hosts that could not be read have none.
    pub hosts: BTreeMap<HostName, BTreeMap<ComponentName, ComponentState>>,
    /// Hosts that could not be read.
    pub unread: BTreeMap<HostName, String>,
    /// Web addresses.
    pub web: Vec<WebAddress>,
}

/// Reads the cluster once.
pub async fn status(cx: &Context) -> StatusView {
    let failures = Arc::new(Failures {
        passed_on: Arc::clone(&cx.events),
        seen: Mutex::default(),
    });
    let ledger = Ledger::new(
        cx.hosts.iter().map(|host| host.name.clone()),
        Arc::clone(&failures) as Arc<dyn EventSink>,
    );
    let hosts = connect::connect(cx, &ledger).await;
    let observed = connect::observe(cx, &ledger, &hosts).await;
    let recorded = plan::recorded(&cx.cluster, &observed, &cx.offline).unwrap_or_default();
    let desired = (cx.build)(&recorded).unwrap_or_else(|_| cx.offline.clone());
    let gates = Gates {
        cx,
        ledger: &ledger,
        hosts: &hosts,
        desired: &desired,
    };
    let mut names: Vec<ComponentName> = Vec::new();
    for component in desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .filter(|c| c.gate.is_some())
    {
        if !names.contains(&component.name) {
            names.push(component.name.clone());
        }
    }
    let verdicts = join_all(names.iter().map(|name| gates.ask(name, Proof::Read, false))).await;
    let verdicts: BTreeMap<ComponentName, Verdict> = names
        .into_iter()
        .zip(verdicts)
        .filter_map(|(name, verdict)| verdict.map(|verdict| (name, verdict)))
        .collect();
    let repeating = repeating(&hosts, &observed).await;
    let mut view = StatusView {
        healthy: true,
        ..StatusView::default()
    };
    for host in &desired.hosts {
        match observed.get(&host.name) {
            Some(status) => {
                view.hosts.insert(
                    host.name.clone(),
                    components(host, status, &verdicts, &repeating),
                );
            }
            None => {
                view.healthy = false;
                view.unread
                    .insert(host.name.clone(), failures.why(&host.name));
            }
        }
    }
    view.healthy &= view
        .hosts
        .values()
        .flat_map(BTreeMap::values)
        .all(|component| component.as_wanted);
    view.healthy &= verdicts.values().all(|verdict| verdict.healthy);
    let ended = Ended {
        verdicts,
        ..Ended::default()
    };
    view.web = summary::web(&gates, &ended);
    view.services = summary::rows(&ended)
        .into_iter()
        .filter_map(|row| {
            let verdict = ended
                .verdicts
                .values()
                .find(|verdict| verdict.service == row.service)?
                .clone();
            Some((row, verdict))
        })
        .collect();
    join_all(hosts.values().map(|host| host.session.close())).await;
    view
}

/// Containers that end again and again, by host and name, in words. Only those that began a moment ago are asked about.
async fn repeating(
    hosts: &connect::Hosts,
    observed: &plan::Observed,
) -> BTreeMap<(HostName, String), String> {
    let young = observed
        .iter()
        .filter_map(|(name, status)| match &status.docker {
            DockerStatus::Up { containers, .. } => Some(
                containers
                    .iter()
                    .filter(|c| c.is_young())
                    .map(move |c| (name, c)),
            ),
            _ => None,
        });
    let asked = young.flatten().filter_map(|(name, container)| {
        let run = hosts.get(name)?;
        Some(async move {
            let detail = run
                .engine
                .inspect(&container.name)
                .await
                .ok()
                .filter(ContainerDetail::ends_again_and_again)?;
            let words = format!(
                "ends again and again ({} times, last exit code {})",
                detail.restart_count, detail.exit_code
            );
            Some(((name.clone(), container.name.clone()), words))
        })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Remembers why hosts could not be read, for the table.
struct Failures {
    passed_on: Arc<dyn EventSink>,
    seen: Mutex<BTreeMap<HostName, String>>,
}

impl EventSink for Failures {
    fn send(&self, event: Event) {
        if let Event::HostFailed { host, failure, .. } = &event {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(host.clone(), failure.cause.join(": "));
        }
        self.passed_on.send(event);
    }
}

impl Failures {
    fn why(&self, host: &HostName) -> String {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .cloned()
            .unwrap_or_else(|| "not read".into())
    }
}

fn components(
    host: &HostDesired,
    status: &HostStatus,
    verdicts: &BTreeMap<ComponentName, Verdict>,
    repeating: &BTreeMap<(HostName, String), String>,
) -> BTreeMap<ComponentName, ComponentState> {
    let containers = match &status.docker {
        DockerStatus::Up { containers, .. } => containers.as_slice(),
        _ => &[],
    };
    let state = |component: &crate::desired::ComponentDesired| {
        let verdict = verdicts.get(&component.name);
        let container = containers
            .iter()
            .find(|c| c.name == component.container.name());
        let image = container
            .and_then(|c| c.labels.get(ContainerSpec::LABEL_IMAGE))
            .unwrap_or(&component.container.image.0)
            .clone();
        let ill = container.and_then(|c| repeating.get(&(host.name.clone(), c.name.clone())));
        ComponentState {
            state: ill
                .cloned()
                .or_else(|| container.map(|c| c.state.clone()))
                .unwrap_or_else(|| "absent".to_owned()),
            // A restart that does not repeat is how some programs wait for others.
            as_wanted: ill.is_none()
                && container.is_some_and(|c| {
                    matches!(c.state.as_str(), "running" | "restarting")
                        && c.labels.get(ContainerSpec::LABEL_SPEC)
                            == Some(&component.container.hash().0)
                }),
            role: verdict.and_then(|verdict| verdict.roles.get(&host.name).cloned()),
            version: verdict.and_then(|verdict| verdict.versions.get(&host.name).cloned()),
            image,
        }
    };
    host.components
        .iter()
        .map(|component| (component.name.clone(), state(component)))
        .collect()
}
