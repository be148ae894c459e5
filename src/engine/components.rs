//! Brings up components in their order: a component starts when everything before it has passed its
//! gate; components without a path between them run in parallel.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::ending;
use super::gates::{ClosedGate, Gates};
use super::host_run::HostRun;
use super::ledger::EarlyExit;
use super::outcomes::{ComponentEnd, ComponentOutcomes, SkipReason};
use super::phases::{OpenPhase, ms};
use super::rollout::{MemberTurns, Rollout};
use super::run::Run;
use super::steps::run_steps;
use super::work::Work;
use crate::plan::Step;
use crate::probe::Proof;
use crate::spec::{ComponentName, HostName};

/// Brings up all components. A run without changes asks their gates, all at once: questions need no
/// order.
pub(super) async fn bring_up(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let work = run.work();
    let components = Components {
        work,
        gates: work.gates(),
        is_ordered: !work.is_idle(),
        writes: run.has_changes() || run.cx.mode.prove,
        turns: MemberTurns::default(),
    };
    let ended = components.bring_up().await;
    run.ended = ended;
    Ok(())
}

/// All components of a run.
struct Components<'a> {
    work: Work<'a>,
    gates: Gates<'a>,
    /// Whether a component waits for those before it.
    is_ordered: bool,
    /// Whether a service is proven by writing even where nothing changed.
    writes: bool,
    turns: MemberTurns,
}

impl Components<'_> {
    async fn bring_up(&self) -> ComponentOutcomes {
        let order = &self.gates.desired.order;
        let mut waiting = self.find_present();
        let present = waiting.clone();
        let mut passed: BTreeSet<ComponentName> = BTreeSet::new();
        let mut ended = ComponentOutcomes::default();
        let mut running = FuturesUnordered::new();
        loop {
            let is_ready = |name: &ComponentName| {
                !self.is_ordered || order.missing(name, &present, &passed).is_empty()
            };
            let (ready, others): (BTreeSet<_>, _) = waiting.into_iter().partition(is_ready);
            waiting = others;
            for name in ready {
                running.push(async move {
                    let started = Instant::now();
                    let end = ending::contained(self.work.cx, self.bring_up_one(&name)).await;
                    let end = end.unwrap_or(ComponentEnd::Skipped(SkipReason::Panicked));
                    (name, end, ms(started))
                });
            }
            let Some((name, end, took)) = running.next().await else {
                break;
            };
            if matches!(end, ComponentEnd::Passed(_)) {
                passed.insert(name.clone());
            }
            ended.record(name, end, took);
        }
        for name in waiting {
            let missing = order.missing(&name, &present, &passed);
            let missing = missing.into_iter().cloned().collect();
            ended.skipped.insert(name, SkipReason::NotProven(missing));
        }
        ended
    }

    /// Every component on a contacted host.
    fn find_present(&self) -> BTreeSet<ComponentName> {
        let hosts = self.gates.desired.hosts.iter();
        let contacted = hosts.filter(|host| self.work.cx.host(&host.name).is_some());
        let components = contacted.flat_map(|host| &host.components);
        components.map(|component| component.name.clone()).collect()
    }

    async fn bring_up_one(&self, name: &ComponentName) -> ComponentEnd {
        let steps: Vec<(&HostRun, &[Step])> = self
            .work
            .in_scope()
            .filter(|(host, _)| self.work.ledger.alive(&host.info.name))
            .filter(|(host, _)| !self.turns.is_returned(name, &host.info.name))
            .filter_map(|(host, plan)| Some((host, plan.components.get(name)?.as_slice())))
            .collect();
        let has_changes = !steps.is_empty();
        let events = &self.work.cx.events;
        let _open = has_changes.then(|| OpenPhase::start(events, name.into()));
        if let Some(end) = self.change(name, steps).await {
            return end;
        }
        if let Some(end) = self.find_obstacle(name) {
            return end;
        }
        let proof = if has_changes || self.writes {
            Proof::Write
        } else {
            Proof::Read
        };
        match self.gates.wait(name, proof, has_changes).await {
            Ok(verdict) => ComponentEnd::Passed(verdict.map(Box::new)),
            Err(ClosedGate(faults)) => ComponentEnd::Failed(faults),
        }
    }

    /// Runs the steps: those that interrupt nothing on all hosts at once, the others one host at a
    /// time. Returns `Some` when it stopped early.
    async fn change(
        &self,
        name: &ComponentName,
        steps: Vec<(&HostRun, &[Step])>,
    ) -> Option<ComponentEnd> {
        let (rolling, parallel): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .partition(|(_, steps)| steps.iter().any(Step::interrupts));
        let parallel = parallel.into_iter();
        join_all(parallel.map(|(host, steps)| run_steps(&self.work, host, name, steps))).await;
        if rolling.is_empty() {
            return None;
        }
        let rollout = Rollout::new(&self.work, &self.gates, name, &self.turns);
        rollout.run(rolling).await
    }

    /// Why its gate is not asked: a gate judges hosts that take part.
    fn find_obstacle(&self, name: &ComponentName) -> Option<ComponentEnd> {
        let holders = self.gates.holders(name);
        let all_hosts = |is_lost: &dyn Fn(&HostName) -> bool| {
            !holders.is_empty() && holders.iter().all(|(host, _)| is_lost(host))
        };
        let ledger = self.work.ledger;
        if all_hosts(&|host| ledger.is_given_up(host)) {
            return Some(ComponentEnd::Skipped(SkipReason::NoHostReached));
        }
        let is_down = all_hosts(&|host| !ledger.alive(host));
        is_down.then(|| ComponentEnd::Failed(vec![format!("{name} runs on no host")]))
    }
}
