//! Gates: ask for the proof of a service until it passes or its deadline expires.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::Instant;

use super::host_run::Hosts;
use super::ledger::Ledger;
use super::phases::ms;
use super::run_context::RunContext;
use super::{ending, failure};
use crate::desired::{ComponentDesired, Desired};
use crate::event::Event;
use crate::guard::{QuorumServices, Refusal};
use crate::probe::{self, Groups, Member, Poll, Proof, Verdict};
use crate::spec::{ComponentName, HostName, Phase, Remedy};

/// First pause between two questions. It doubles up to [`MAX_RETRY_INTERVAL`].
const FIRST_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Longest pause between two questions.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Interval of the events about an open gate.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the guard is asked again when every member's host takes part: an election or an
/// outdated view passes, a dead host does not.
const GUARD_RETRY_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two questions to the guard.
const GUARD_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// A gate that did not pass: the faults.
#[derive(Debug)]
pub(super) struct ClosedGate(pub Vec<String>);

/// What gates need of a run.
pub(super) struct Gates<'a> {
    pub cx: &'a RunContext,
    pub ledger: &'a Ledger,
    pub hosts: &'a Hosts,
    pub desired: &'a Desired,
}

#[async_trait]
impl QuorumServices for Gates<'_> {
    fn components(&self) -> BTreeSet<ComponentName> {
        let components = self.desired.hosts.iter().flat_map(|host| &host.components);
        components
            .filter(|c| c.quorum)
            .map(|c| c.name.clone())
            .collect()
    }

    async fn read(&self) -> BTreeMap<ComponentName, Verdict> {
        let names = self.components();
        let verdicts = join_all(names.iter().map(|name| self.ask(name, Proof::Read, false))).await;
        // A component without a gate tells nothing about its members, and unknown counts as down.
        let unknown = |name: &ComponentName| Verdict {
            service: name.to_string(),
            members: self.holders(name).len(),
            ..Verdict::default()
        };
        let named = |(name, verdict): (&ComponentName, Option<Verdict>)| {
            (name.clone(), verdict.unwrap_or_else(|| unknown(name)))
        };
        names.iter().zip(verdicts).map(named).collect()
    }

    /// While every member's host takes part. Dropped when the run is to end.
    async fn wait_to_ask_again(
        &self,
        component: &ComponentName,
        refusal: &Refusal,
        began: Instant,
    ) -> bool {
        let takes_part = |host: &HostName| self.hosts.contains_key(host) && self.ledger.alive(host);
        let holders = self.holders(component);
        let is_complete = holders.iter().all(|(host, _)| takes_part(host));
        if !is_complete || began.elapsed() >= GUARD_RETRY_LIMIT {
            return false;
        }
        tracing::info!(%refusal, "asking the guard again");
        self.cx.events.send(Event::GateWaiting {
            service: component.to_string(),
            missing: refusal.to_string(),
            elapsed_ms: ms(began),
        });
        let pause = tokio::time::sleep(GUARD_RETRY_INTERVAL);
        self.cx.cancel.droppable(pause).await.is_some()
    }
}

/// The fault for which a gate waits: a member known to be down holds up nothing.
fn name_obstacle(faults: &[String], verdict: Option<&Verdict>) -> String {
    let is_down = |fault: &&String| {
        let host = fault.split(": ").next().map(HostName::new);
        let (Some(Ok(host)), Some(verdict)) = (host, verdict) else {
            return false;
        };
        verdict.is_down(&host)
    };
    let first = faults.iter().find(|fault| !is_down(fault));
    first.or(faults.first()).cloned().unwrap_or_default()
}

impl Gates<'_> {
    /// The hosts that run a component, with the component as desired there.
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

    /// The hosts of every component, with their sessions. A host whose step failed is still
    /// included: it may run a healthy member. One that was given up counts as down, so that nobody
    /// waits for it to the end.
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
                    .filter(|_| !self.ledger.is_given_up(&host.name))
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
            hosts: self
                .desired
                .hosts
                .iter()
                .map(|host| (host.name.clone(), host.address))
                .collect(),
            members,
            images,
            settings: self.cx.settings.clone(),
            secrets: self.desired.secrets.clone(),
            cluster: Some(self.desired.cluster.clone()),
            domain: self.cx.domain.clone(),
            vip: self.cx.vip,
            random: self.cx.random.clone(),
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

    /// Waits until the component's service and its ordinary probes pass. `None` when the component
    /// has neither.
    pub async fn wait(
        &self,
        component: &ComponentName,
        proof: Proof,
        after_change: bool,
    ) -> Result<Option<Verdict>, ClosedGate> {
        let limit = self.cx.timeouts.gate;
        let mut poll = Poll::doubling(FIRST_RETRY_INTERVAL, MAX_RETRY_INTERVAL, limit);
        let mut said: Option<Instant> = None;
        loop {
            let question = self.ask_all(component, proof, after_change);
            // A question changes nothing; a proof by writing removes what it wrote.
            let answer = match proof {
                Proof::Read => self.cx.cancel.droppable(question).await,
                Proof::Write => Some(question.await),
            };
            let Some((verdict, faults)) = answer else {
                return Err(ClosedGate(vec!["not asked to the end".into()]));
            };
            if faults.is_empty() {
                self.report_passed(component, verdict.as_ref(), poll.started());
                return Ok(verdict);
            }
            if poll.is_over() || self.cx.cancel.is_cancelled() {
                return Err(self.close(component, verdict.as_ref(), faults).await);
            }
            if said.is_none_or(|said| said.elapsed() >= HEARTBEAT_INTERVAL) {
                said = Some(Instant::now());
                self.cx.events.send(Event::GateWaiting {
                    service: component.to_string(),
                    missing: name_obstacle(&faults, verdict.as_ref()),
                    elapsed_ms: ms(poll.started()),
                });
            }
            // Ended early or not: the next question tells.
            let _ = self.cx.cancel.droppable(poll.pause()).await;
        }
    }

    /// Asks the service and the ordinary probes once; returns what is missing too.
    async fn ask_all(
        &self,
        component: &ComponentName,
        proof: Proof,
        after_change: bool,
    ) -> (Option<Verdict>, Vec<String>) {
        self.renew().await;
        let (verdict, mut faults) = futures::join!(
            self.ask(component, proof, after_change),
            self.ordinary(component)
        );
        if let Some(verdict) = verdict.as_ref().filter(|verdict| !verdict.healthy) {
            faults.extend(verdict.faults.iter().cloned());
            if faults.is_empty() {
                faults.push(format!("{} is not healthy", verdict.service));
            }
        }
        (verdict, faults)
    }

    fn report_passed(&self, component: &ComponentName, verdict: Option<&Verdict>, since: Instant) {
        let holders = self.holders(component);
        let is_probed = holders.iter().any(|(_, wanted)| !wanted.probes.is_empty());
        let proof = verdict.map(|verdict| verdict.proof.clone());
        let proof = proof.or_else(|| is_probed.then(|| "probes passed".to_owned()));
        if let Some(proof) = proof {
            self.cx.events.send(Event::GatePassed {
                service: component.to_string(),
                proof,
                elapsed_ms: ms(since),
            });
        }
    }

    /// Reports a gate that did not pass in time.
    async fn close(
        &self,
        component: &ComponentName,
        verdict: Option<&Verdict>,
        mut faults: Vec<String>,
    ) -> ClosedGate {
        faults.extend(self.find_crash_loops(component).await);
        let fault = faults.first().map_or("no answer", String::as_str);
        let text = || format!("{component} is not proven: {fault}");
        let hints: Vec<Remedy> = verdict.map(Verdict::remedies).unwrap_or_default();
        self.ledger.note_error(text, &hints);
        self.cx.events.send(Event::GateFailed {
            service: component.to_string(),
            faults: faults.clone(),
            hints,
        });
        ClosedGate(faults)
    }

    /// Reconnects lost hosts. No step was in progress on them, so nothing needs to be observed
    /// again.
    async fn renew(&self) {
        let lost = self
            .hosts
            .values()
            .filter(|host| host.session.closed() && self.ledger.alive(&host.info.name));
        join_all(lost.map(|host| async move {
            tracing::warn!(host = %host.info.name, "connection lost; reconnecting");
            if let Err(error) = host.line.renew(&*self.cx.dial).await {
                if error.is_lock_lost() {
                    ending::lock_lost(self.cx, self.ledger, &host.info.name);
                }
                self.ledger.fail(
                    &host.info.name,
                    error.outcome(),
                    failure::from_error(&Phase::Gate, "reconnect", &error),
                );
            }
        }))
        .await;
    }

    /// Containers of the component that are stopped or in a crash loop, with their last log lines.
    /// A single restart does not count: some programs wait for others by exiting.
    async fn find_crash_loops(&self, component: &ComponentName) -> Vec<String> {
        let asked = self.holders(component).into_iter().filter_map(|(host, wanted)| {
            let run = self.hosts.get(&host)?;
            let name = wanted.container.name();
            Some(async move {
                let Ok(detail) = run.engine.inspect(&name).await else { return Vec::new() };
                if detail.running && !detail.restarting && !detail.is_crash_looping() {
                    return Vec::new();
                }
                let state = if detail.running { "runs" } else { "not running" };
                let memory = if detail.oom_killed { ", OOM-killed" } else { "" };
                let mut lines = vec![format!(
                    "{host}: {name} {state}, restarted {} times, last exit code {}{memory}; its last lines:",
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

    /// The faults of ordinary probes on the component's hosts that still take part.
    async fn ordinary(&self, component: &ComponentName) -> Vec<String> {
        let asked = self
            .holders(component)
            .into_iter()
            .filter(|(host, _)| self.ledger.alive(host))
            .filter_map(|(host, wanted)| {
                let run = self.hosts.get(&host)?;
                Some(async move {
                    let mut faults = Vec::new();
                    let member = Member {
                        host: host.clone(),
                        address: run.info.address,
                        member: None,
                        session: Some(Arc::clone(&run.session)),
                    };
                    for spec in &wanted.probes {
                        if let Err(why) = probe::ordinary(
                            &member,
                            &run.engine,
                            &wanted.container.name(),
                            spec,
                            &self.desired.secrets,
                            &self.cx.clock,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_down_is_no_obstacle() {
        let down = ["m2: host is unreachable".to_owned()];
        let both = [down[0].clone(), "m3: mntr: no answer".to_owned()];
        let roles = [(HostName::new("m2").unwrap(), "down".to_owned())];
        let verdict = Verdict {
            roles: roles.into(),
            ..Verdict::default()
        };
        assert_eq!(name_obstacle(&both, Some(&verdict)), both[1]);
        assert_eq!(name_obstacle(&down, Some(&verdict)), down[0]);
        assert_eq!(name_obstacle(&both, None), both[0]);
        assert_eq!(name_obstacle(&[], None), "");
    }
    /// A member that is late for a moment must not end a run; one whose host is lost stays away.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_stands_when_time_or_a_host_is_lost() {
        use crate::engine::fake_engine::FakeEngine;
        use crate::engine::test_run::{TestRun, host};

        let run = TestRun::on(&[FakeEngine::default()], None).await;
        let component = ComponentName::new("consul").unwrap();
        let refusal = Refusal {
            member: host(1),
            service: "consul".into(),
            down: Vec::new(),
            left: 1,
            members: 3,
            needed: 2,
        };
        let began = Instant::now();
        let work = run.work();
        let gates = work.gates();
        while gates.wait_to_ask_again(&component, &refusal, began).await {}
        assert_eq!(began.elapsed(), GUARD_RETRY_LIMIT);
        let ended = TestRun::on(&[FakeEngine::default()], None).await;
        ended
            .cx
            .cancel
            .cancel(crate::engine::cancel::EndCause::Interrupted);
        let (work, now) = (ended.work(), Instant::now());
        let again = work
            .gates()
            .wait_to_ask_again(&component, &refusal, now)
            .await;
        assert!(!again, "nothing waits in a run that ends");
        let failure = failure::from_text(
            &(&component).into(),
            "connect",
            String::from("lost"),
            Vec::new(),
        );
        run.ledger
            .fail(&host(1), crate::event::Outcome::Failed, failure);
        let again = gates.wait_to_ask_again(&component, &refusal, Instant::now());
        assert!(!again.await);
    }
}
