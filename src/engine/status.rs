//! `cluster status`: the current state of every component on every host. Changes nothing, waits for
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;

use super::components::ComponentOutcomes;
use super::gates::Gates;
use super::ledger::Ledger;
use super::run_context::RunContext;
use super::{connect, masters, summary};
use crate::desired::HostDesired;
use crate::docker::ContainerDetail;
use crate::event::{Event, EventSink, ServiceRow, WebAddress};
use crate::observe::{DockerStatus, HostStatus};
use crate::plan;
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, ContainerSpec, HostName};

/// The state of one component on one host.
#[derive(Debug, Clone, Default)]
pub struct ComponentState {
    /// The container's state; `absent` when there is none, `unknown` with the reason when its Engine
    /// does not answer.
    pub state: String,
    /// Whether it runs with the desired specification.
    pub as_wanted: bool,
    /// Its current role.
    pub role: Option<String>,
    /// Version of the service.
    pub version: Option<String>,
    /// The image reference.
    pub image: String,
}

/// The state of the whole cluster.
#[derive(Debug, Clone, Default)]
pub struct StatusView {
    /// Whether everything is proven and every container is up to date.
    pub healthy: bool,
    /// Services with a leader or a quorum.
    pub services: Vec<(ServiceRow, Verdict)>,
    /// Hosts and their components; hosts that could not be observed have none.
    pub hosts: BTreeMap<HostName, BTreeMap<ComponentName, ComponentState>>,
    /// Hosts that could not be observed, and why.
    pub unread: BTreeMap<HostName, String>,
    /// Web addresses.
    pub web: Vec<WebAddress>,
}

/// Observes the cluster once.
pub async fn status(cx: &RunContext) -> StatusView {
    let failures = Arc::new(Failures {
        passed_on: Arc::clone(&cx.events),
        seen: Mutex::default(),
    });
    let ledger = Ledger::new(
        cx.hosts.iter().map(|host| host.name.clone()),
        Arc::clone(&failures) as Arc<dyn EventSink>,
    );
    let hosts = connect::connect_hosts(cx, &ledger).await;
    let observed = connect::observe(cx, &ledger, &hosts).await;
    let mut recorded = plan::recorded(&cx.cluster, &observed, &cx.offline).unwrap_or_default();
    if let Err(error) = masters::complete_records(cx, &hosts, &observed, &mut recorded).await {
        tracing::warn!(%error, "the masters of the inventory are not those of the cluster");
    }
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
                let why = match &status.docker {
                    DockerStatus::Silent(why)
                    | DockerStatus::OutOfSessions(why)
                    | DockerStatus::Unreadable { why, .. } => Some(why),
                    DockerStatus::Absent | DockerStatus::Up { .. } => None,
                };
                if let Some(why) = why {
                    let text = format!("the Docker Engine does not answer: {why}");
                    cx.events
                        .send(Event::warning(Some(host.name.clone()), text));
                }
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
    let ended = ComponentOutcomes {
        verdicts,
        ..ComponentOutcomes::default()
    };
    view.web = summary::web(&gates, &ended);
    let lost = plan::find_lost_data(&desired, &observed);
    view.services = summary::rows(&ended)
        .into_iter()
        .filter_map(|mut row| {
            let verdict = ended
                .verdicts
                .values()
                .find(|verdict| verdict.service == row.service)?
                .clone();
            let own = lost
                .iter()
                .filter(|lost| lost.component.as_str() == row.service);
            row.faults.splice(0..0, own.map(ToString::to_string));
            Some((row, verdict))
        })
        .collect();
    join_all(hosts.values().map(|host| host.session.close())).await;
    view
}

/// Containers in a crash loop, by host and name, with the reason. Only those that started a moment
/// ago are checked.
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
                .filter(ContainerDetail::is_crash_looping)?;
            let words = format!(
                "crash loop ({} restarts, last exit code {})",
                detail.restart_count, detail.exit_code
            );
            Some(((name.clone(), container.name.clone()), words))
        })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Collects why hosts could not be observed, for the table.
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
            .unwrap_or_else(|| "unreachable".into())
    }
}

fn components(
    host: &HostDesired,
    status: &HostStatus,
    verdicts: &BTreeMap<ComponentName, Verdict>,
    repeating: &BTreeMap<(HostName, String), String>,
) -> BTreeMap<ComponentName, ComponentState> {
    let (containers, without) = match &status.docker {
        DockerStatus::Up { containers, .. } => (containers.as_slice(), "absent"),
        DockerStatus::Absent => (&[][..], "absent"),
        // Its containers may exist, and even run.
        DockerStatus::Silent(_)
        | DockerStatus::OutOfSessions(_)
        | DockerStatus::Unreadable { .. } => {
            (&[][..], "unknown: the Docker Engine does not answer")
        }
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
        let crash_looping =
            container.and_then(|c| repeating.get(&(host.name.clone(), c.name.clone())));
        ComponentState {
            state: crash_looping
                .cloned()
                .or_else(|| container.map(|c| c.state.clone()))
                .unwrap_or_else(|| without.to_owned()),
            // Some programs wait for others by exiting: a restart that does not repeat is normal.
            as_wanted: crash_looping.is_none()
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
