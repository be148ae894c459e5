//! Asks for what proves a service, and waits until it is proven or its deadline has passed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::connect::{Hosts, ms};
use super::context::Context;
use super::failure;
use super::ledger::Ledger;
use crate::desired::{ComponentDesired, Desired};
use crate::event::{Event, Outcome};
use crate::probe::{self, Groups, Member, Proof, Verdict};
use crate::spec::{ComponentName, HostName};

/// First pause between two questions; it doubles up to [`SLOWEST`], since a service that needs long is not helped by being asked often.
const FIRST: Duration = Duration::from_millis(250);
/// Longest pause between two questions.
const SLOWEST: Duration = Duration::from_secs(2);
/// A gate that is being waited for is heard of this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The view of a run that gates need.
pub(super) struct Gates<'a> {
    pub cx: &'a Context,
    pub ledger: &'a Ledger,
    pub hosts: &'a Hosts,
    pub desired: &'a Desired,
}

impl Gates<'_> {
    /// The hosts that hold a component, with the component as each must have it.
    pub fn holders(&self, component: &ComponentName) -> Vec<(HostName, &ComponentDesired)> {
        let hosts = self
            .desired
            .hosts
            .iter()
            .filter(|host| self.cx.host(&host.name).is_some());
        hosts
            .filter_map(|host| {
                host.components
                    .iter()
                    .find(|c| c.name == *component)
                    .map(|c| (host.name.clone(), c))
            })
            .collect()
    }

    /// The hosts of every component, with the way to each. A host whose step failed is still asked: it may hold a healthy member.
    fn groups(&self) -> Groups {
        let mut members: BTreeMap<ComponentName, Vec<Member>> = BTreeMap::new();
        for host in self
            .desired
            .hosts
            .iter()
            .filter(|host| self.cx.host(&host.name).is_some())
        {
            let member = Member {
                host: host.name.clone(),
                address: host.address,
                member: host.node.member,
                session: self
                    .hosts
                    .get(&host.name)
                    .map(|run| Arc::clone(&run.session)),
            };
            for component in &host.components {
                members
                    .entry(component.name.clone())
                    .or_default()
                    .push(member.clone());
            }
        }
        let components = self.desired.hosts.iter().flat_map(|host| &host.components);
        let images = components
            .map(|component| (component.name.clone(), component.extra_images.clone()))
            .collect();
        Groups {
            members,
            images,
            settings: self.cx.settings.clone(),
            secrets: self.desired.secrets.clone(),
            cluster: Some(self.desired.cluster.clone()),
            domain: self.cx.domain.clone(),
            vip: self.cx.vip,
        }
    }

    /// Asks once.
    pub async fn ask(
        &self,
        component: &ComponentName,
        proof: Proof,
        after_change: bool,
    ) -> Option<Verdict> {
        let gate = self
            .holders(component)
            .iter()
            .find_map(|(_, c)| c.gate.clone())?;
        Some(probe::gate(&gate, &self.groups(), proof, after_change).await)
    }

    /// Waits until the component's service and its ordinary probes hold. `None` when the component has neither.
    pub async fn wait(
        &self,
        component: &ComponentName,
        proof: Proof,
        after_change: bool,
    ) -> Result<Option<Verdict>, Vec<String>> {
        let started = Instant::now();
        let (mut pause, mut said) = (FIRST, started);
        loop {
            self.renew().await;
            let (verdict, ordinary) = futures::join!(
                self.ask(component, proof, after_change),
                self.ordinary(component)
            );
            let mut faults = ordinary;
            if let Some(verdict) = verdict.as_ref().filter(|verdict| !verdict.healthy) {
                faults.extend(verdict.faults.iter().cloned());
                if faults.is_empty() {
                    faults.push(format!("{} is not healthy", verdict.service));
                }
            }
            if faults.is_empty() {
                let asked = self
                    .holders(component)
                    .iter()
                    .any(|(_, wanted)| !wanted.probes.is_empty());
                let proof = verdict
                    .as_ref()
                    .map(|verdict| verdict.proof.clone())
                    .or_else(|| asked.then(|| "its probes hold".to_owned()));
                if let Some(proof) = proof {
                    self.cx.events.send(Event::GatePassed {
                        service: component.to_string(),
                        proof,
                        elapsed_ms: ms(started),
                    });
                }
                return Ok(verdict);
            }
            if started.elapsed() >= self.cx.timeouts.gate || self.cx.cancel.is_cancelled() {
                faults.extend(self.ill(component).await);
                self.cx.events.send(Event::GateFailed {
                    service: component.to_string(),
                    faults: faults.clone(),
                });
                return Err(faults);
            }
            if said.elapsed() >= HEARTBEAT || said == started {
                said = Instant::now();
                let missing = faults.first().cloned().unwrap_or_default();
                self.cx.events.send(Event::GateWaiting {
                    service: component.to_string(),
                    missing,
                    elapsed_ms: ms(started),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST);
        }
    }

    /// Connects lost hosts anew: nothing was under way on them, so there is nothing to find out.
    async fn renew(&self) {
        let lost = self
            .hosts
            .values()
            .filter(|host| host.session.closed() && self.ledger.alive(&host.info.name));
        join_all(lost.map(|host| async move {
            tracing::warn!(host = %host.info.name, "the connection was lost; connecting again");
            if let Err(error) = host.line.renew(&*self.cx.dial).await {
                self.ledger.fail(
                    &host.info.name,
                    Outcome::Unreachable,
                    failure::of("gate", "connect again", &error),
                );
            }
        }))
        .await;
    }

    /// Containers of the component that do not run, or that end again and again, with their last lines. One restart is no illness: some
    /// programs wait for others by ending.
    async fn ill(&self, component: &ComponentName) -> Vec<String> {
        let asked = self.holders(component).into_iter().filter_map(|(host, wanted)| {
            let run = self.hosts.get(&host)?;
            let name = wanted.container.name();
            Some(async move {
                let Ok(detail) = run.engine.inspect(&name).await else { return Vec::new() };
                if detail.running && !detail.restarting && !detail.ends_again_and_again() {
                    return Vec::new();
                }
                let state = if detail.running { "runs" } else { "does not run" };
                let memory = if detail.oom_killed { ", killed for want of memory" } else { "" };
                let mut lines = vec![format!(
                    "{host}: {name} {state}, was started again {} times, last exit code {}{memory}; its last lines:",
                    detail.restart_count, detail.exit_code
                )];
                if let Ok(log) = run.engine.logs_tail(&name, 20).await {
                    lines.extend(failure::tail(log.as_bytes()).into_iter().map(|line| format!("  | {line}")));
                }
                lines
            })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The faults that ordinary probes show on the component's hosts that still take part.
    async fn ordinary(&self, component: &ComponentName) -> Vec<String> {
        let asked = self
            .holders(component)
            .into_iter()
            .filter(|(host, _)| self.ledger.alive(host))
            .filter_map(|(host, wanted)| {
                let run = self.hosts.get(&host)?;
                Some(async move {
                    let mut faults = Vec::new();
                    for spec in &wanted.probes {
                        if let Err(why) = probe::ordinary(
                            &host,
                            &run.session,
                            &run.engine,
                            &wanted.container.name(),
                            run.info.address,
                            spec,
                        )
                        .await
                        {
                            faults.push(format!("{host}: {why}"));
                        }
                    }
                    faults
                })
            });
        join_all(asked).await.into_iter().flatten().collect()
    }
}
