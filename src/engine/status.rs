//! `cluster status`: the current state of every component on every host. Changes nothing, waits for
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;

use super::connect::{close, connect};
use super::host_run::Hosts;
use super::ledger::Ledger;
use super::observing::observe;
use super::outcomes::ComponentOutcomes;
use super::run::Run;
use super::run_context::RunContext;
use super::{masters, summary};
use crate::desired::{ComponentDesired, HostDesired};
use crate::docker::{ContainerDetail, ContainerStatus};
use crate::event::{ComponentView, Event, EventSink, HostStatusView, ServiceView, StatusReport};
use crate::observe::{DockerStatus, HostStatus};
use crate::plan::{self, LostData, Observed};
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, ContainerSpec, HostName, ImageRef};

/// A component that runs with the desired specification.
const HEALTHY: &str = "ok";
/// Any other.
const OUTDATED: &str = "out of date";

/// Observes the cluster once.
pub async fn status(cx: &RunContext) -> StatusReport {
    let failures = Arc::new(Failures {
        passed_on: Arc::clone(&cx.events),
        seen: Mutex::default(),
    });
    let names = cx.hosts.iter().map(|host| host.name.clone());
    let ledger = Ledger::new(names, Arc::clone(&failures) as Arc<dyn EventSink>);
    let mut run = Run::with(cx, Arc::new(ledger));
    // Hosts that fail are in the ledger.
    drop(connect(&mut run).await);
    drop(observe(&mut run).await);
    read_desired(&mut run).await;
    let ended = ComponentOutcomes {
        verdicts: ask_services(&run).await,
        ..ComponentOutcomes::default()
    };
    let hosts = HostViews {
        run: &run,
        verdicts: &ended.verdicts,
        crash_loops: find_crash_loops(&run.hosts, &run.planned.observed).await,
    };
    let hosts = hosts.list(&failures);
    let is_healthy = |host: &HostStatusView| {
        let mut components = host.components.iter();
        let is_healthy = |c: &ComponentView| c.health.as_deref() == Some(HEALTHY);
        host.error.is_none() && components.all(is_healthy)
    };
    let report = StatusReport {
        cluster: cx.cluster.clone(),
        healthy: hosts.iter().all(is_healthy)
            && ended.verdicts.values().all(|verdict| verdict.healthy),
        services: list_services(&run, &ended),
        hosts,
        web: summary::web(&run.planned.desired, &ended),
    };
    close(&run.hosts).await;
    report
}

/// The desired state as far as the records tell it.
async fn read_desired(run: &mut Run<'_>) {
    let (cx, observed) = (run.cx, &run.planned.observed);
    let mut recorded = plan::recorded(&cx.cluster, observed, &cx.offline).unwrap_or_default();
    let completed = masters::complete_records(cx, &run.hosts, observed, &mut recorded).await;
    if let Err(error) = completed {
        tracing::warn!(%error, "the masters of the inventory are not those of the cluster");
    }
    run.planned.desired = (cx.build)(&recorded).unwrap_or_else(|_| cx.offline.clone());
}

/// Asks every service that has a gate.
async fn ask_services(run: &Run<'_>) -> BTreeMap<ComponentName, Verdict> {
    let gates = run.work().gates();
    let hosts = run.planned.desired.hosts.iter();
    let components = hosts.flat_map(|host| &host.components);
    let mut names: Vec<&ComponentName> = Vec::new();
    for component in components.filter(|component| component.gate.is_some()) {
        if !names.contains(&&component.name) {
            names.push(&component.name);
        }
    }
    let verdicts = join_all(names.iter().map(|name| gates.ask(name, Proof::Read, false))).await;
    let verdicts = names.into_iter().zip(verdicts);
    verdicts
        .filter_map(|(name, verdict)| Some((name.clone(), verdict?)))
        .collect()
}

/// The services that answered, with the data that their members lost.
fn list_services(run: &Run<'_>, ended: &ComponentOutcomes) -> Vec<ServiceView> {
    let lost = plan::find_lost_data(&run.planned.desired, &run.planned.observed);
    let rows = summary::rows(ended).into_iter();
    let services = rows.filter_map(|mut row| {
        let mut verdicts = ended.verdicts.values();
        let verdict = verdicts.find(|verdict| verdict.service == row.service)?;
        let is_own = |lost: &&LostData| lost.component.as_str() == row.service;
        let own: Vec<String> = lost
            .iter()
            .filter(is_own)
            .map(ToString::to_string)
            .collect();
        row.faults.splice(0..0, own);
        Some(ServiceView {
            row,
            members: verdict.members,
            quorum: (verdict.quorum > 0).then_some(verdict.quorum),
        })
    });
    services.collect()
}

/// Containers in a crash loop, by host and name, with the reason. Only those that started a moment
/// ago are checked.
async fn find_crash_loops(
    hosts: &Hosts,
    observed: &Observed,
) -> BTreeMap<(HostName, String), String> {
    let containers = observed.iter().flat_map(|(name, status)| {
        let containers = match &status.docker {
            DockerStatus::Up { containers, .. } => containers.as_slice(),
            _ => &[],
        };
        containers.iter().map(move |container| (name, container))
    });
    let young = containers.filter(|(_, container)| container.is_young());
    let asked = young.filter_map(|(name, container)| {
        let run = hosts.get(name)?;
        Some(async move {
            let detail = run.engine.inspect(&container.name).await;
            let detail = detail.ok().filter(ContainerDetail::is_crash_looping)?;
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
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(host.clone(), failure.cause.join(": "));
        }
        self.passed_on.send(event);
    }
}

impl Failures {
    fn why(&self, host: &HostName) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let why = seen.get(host).cloned();
        why.unwrap_or_else(|| "unreachable".into())
    }
}

/// The hosts with their components.
struct HostViews<'a> {
    run: &'a Run<'a>,
    verdicts: &'a BTreeMap<ComponentName, Verdict>,
    crash_loops: BTreeMap<(HostName, String), String>,
}

impl HostViews<'_> {
    /// Those that were observed, then those that were not, each by name.
    fn list(&self, failures: &Failures) -> Vec<HostStatusView> {
        let mut hosts: Vec<HostStatusView> = Vec::new();
        for host in &self.run.planned.desired.hosts {
            let status = self.run.planned.observed.get(&host.name);
            if let Some(why) = status.and_then(|status| status.docker.obstacle()) {
                let text = format!("the Docker Engine does not answer: {why}");
                let event = Event::warning(Some(host.name.clone()), text);
                self.run.cx.events.send(event);
            }
            hosts.push(HostStatusView {
                host: host.name.clone(),
                error: status.is_none().then(|| failures.why(&host.name)),
                components: status.map_or_else(Vec::new, |status| self.components(host, status)),
            });
        }
        hosts.sort_by(|a, b| (a.error.is_some(), &a.host).cmp(&(b.error.is_some(), &b.host)));
        hosts
    }

    /// The components of an observed host, by name.
    fn components(&self, host: &HostDesired, status: &HostStatus) -> Vec<ComponentView> {
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
        let view = |component: &ComponentDesired| {
            let name = component.container.name();
            let container = containers.iter().find(|container| container.name == name);
            self.component(host, component, container, without)
        };
        let mut views: Vec<ComponentView> = host.components.iter().map(view).collect();
        views.sort_by(|a, b| a.component.cmp(&b.component));
        views
    }

    /// `without`: its state when there is no container.
    fn component(
        &self,
        host: &HostDesired,
        component: &ComponentDesired,
        container: Option<&ContainerStatus>,
        without: &str,
    ) -> ComponentView {
        let verdict = self.verdicts.get(&component.name);
        let crash_loop =
            container.and_then(|c| self.crash_loops.get(&(host.name.clone(), c.name.clone())));
        let label = |name| container.and_then(|container| container.labels.get(name));
        let state = crash_loop.or_else(|| container.map(|container| &container.state));
        // Some programs wait for others by exiting: a restart that does not repeat is normal.
        let is_running =
            container.is_some_and(|c| matches!(c.state.as_str(), "running" | "restarting"));
        let is_current = label(ContainerSpec::LABEL_SPEC) == Some(&component.container.hash().0);
        let is_wanted = is_running && is_current && crash_loop.is_none();
        let image = label(ContainerSpec::LABEL_IMAGE).cloned().map(ImageRef);
        ComponentView {
            component: component.name.clone(),
            state: state.map_or(without, String::as_str).to_owned(),
            health: Some(if is_wanted { HEALTHY } else { OUTDATED }.to_owned()),
            role: verdict.and_then(|verdict| verdict.roles.get(&host.name).cloned()),
            version: verdict.and_then(|verdict| verdict.versions.get(&host.name).cloned()),
            image: Some(image.unwrap_or_else(|| component.container.image.clone())),
        }
    }
}
