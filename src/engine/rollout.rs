//! Replaces the running containers of one component, one host at a time behind the guard, and proves
//! the service after each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use futures::future::join_all;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::Instant;

use super::failure;
use super::gates::{ClosedGate, Gates};
use super::host_run::HostRun;
use super::outcomes::{ComponentEnd, SkipReason};
use super::phases::OpenPhase;
use super::steps::{StepsError, run_steps};
use super::work::Work;
use crate::event::Outcome;
use crate::guard::{self, QuorumServices as _, Refusal, Standing};
use crate::plan::Step;
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, HostName};

/// What the replacements of several components share.
#[derive(Default)]
pub(super) struct MemberTurns {
    /// The turn to replace a member of a quorum, from the guard's question to the end of the
    /// replacement. Components are brought up in parallel, and one host runs members of several: the
    /// replacement of one would be refused while another one's member is away.
    turn: Mutex<()>,
    /// Members that were created before the turn of their component.
    returned: std::sync::Mutex<BTreeSet<(ComponentName, HostName)>>,
}

impl MemberTurns {
    /// Whether the member on this host was created before the turn of its component.
    pub fn is_returned(&self, component: &ComponentName, host: &HostName) -> bool {
        self.lock_returned()
            .contains(&(component.clone(), host.clone()))
    }

    fn lock_returned(&self) -> std::sync::MutexGuard<'_, BTreeSet<(ComponentName, HostName)>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a replacement does next.
enum Next<'a> {
    /// The member on this host is replaced, unless the guard's refusal persists; with the turn.
    Replace(HostName, Option<Refusal>, Option<MutexGuard<'a, ()>>),
    /// These come back before.
    Create(Vec<Missing<'a>>),
}

/// A member that is to be created, and its steps.
type Missing<'a> = (ComponentName, &'a HostRun, &'a [Step]);

/// The replacement of one component.
pub(super) struct Rollout<'a> {
    work: &'a Work<'a>,
    gates: &'a Gates<'a>,
    name: &'a ComponentName,
    has_quorum: bool,
    turns: &'a MemberTurns,
    /// The members that did not run when the replacement began. A quorum is asked before each.
    stopped_at_start: OnceCell<Vec<HostName>>,
}

impl<'a> Rollout<'a> {
    pub fn new(
        work: &'a Work<'a>,
        gates: &'a Gates<'a>,
        name: &'a ComponentName,
        turns: &'a MemberTurns,
    ) -> Self {
        let holders = gates.holders(name);
        Self {
            work,
            gates,
            name,
            has_quorum: holders.iter().any(|(_, component)| component.quorum),
            turns,
            stopped_at_start: OnceCell::new(),
        }
    }

    /// Replaces the containers. Returns `Some` when it stopped early.
    pub async fn run(&self, hosts: Vec<(&HostRun, &[Step])>) -> Option<ComponentEnd> {
        let mut left: BTreeMap<HostName, (&HostRun, &[Step])> = hosts
            .into_iter()
            .map(|(host, steps)| (host.info.name.clone(), (host, steps)))
            .collect();
        let mut is_first = true;
        while !left.is_empty() {
            let remaining: Vec<HostName> = left.keys().cloned().collect();
            let chosen = self.choose_next_member(&remaining, is_first);
            let next = match self.work.cx.cancel.droppable(chosen).await {
                None => return Some(ComponentEnd::Failed(vec!["ended early".into()])),
                Some(Err(ClosedGate(faults))) => return Some(ComponentEnd::Failed(faults)),
                Some(Ok(next)) => next?,
            };
            let (next, refusal, _turn) = match next {
                Next::Replace(next, refusal, turn) => (next, refusal, turn),
                Next::Create(missing) => {
                    self.create(missing).await;
                    continue;
                }
            };
            is_first = false;
            let (host, steps) = left.remove(&next)?;
            if let Some(refusal) = refusal {
                let failure = failure::refused(&self.name.into(), "replace a member", &refusal);
                self.work.ledger.fail(&next, Outcome::Failed, failure);
                return Some(ComponentEnd::Skipped(SkipReason::Refused));
            }
            match run_steps(self.work, host, self.name, steps).await {
                Ok(()) => {}
                Err(StepsError::Refused) => {
                    return Some(ComponentEnd::Skipped(SkipReason::Refused));
                }
                Err(StepsError::Failed) => {
                    return Some(ComponentEnd::Skipped(SkipReason::NotReplaced(next)));
                }
            }
        }
        None
    }

    /// The next member. Before any but the first one the service must pass its gate again.
    async fn choose_next_member(
        &self,
        left: &[HostName],
        is_first: bool,
    ) -> Result<Option<Next<'a>>, ClosedGate> {
        // Members that do not run cost nothing, and a service without them may have no gate to
        // pass: a wrong first image would otherwise stay for good.
        if let Some(stopped) = self.find_stopped_member(left).await {
            let turn = self.take_turn().await;
            return Ok(Some(Next::Replace(stopped, None, turn)));
        }
        let missing = self.find_missing_after();
        if !is_first || !missing.is_empty() {
            self.gates.wait(self.name, Proof::Read, true).await?;
        }
        if !missing.is_empty() {
            return Ok(Some(Next::Create(missing)));
        }
        Ok(self.ask_guard(left).await)
    }

    /// Members to create of services with a quorum that wait for this one only: until they run, the
    /// guard lets no host's member be stopped.
    fn find_missing_after(&self) -> Vec<Missing<'a>> {
        if !self.has_quorum {
            return Vec::new();
        }
        let order = &self.gates.desired.order;
        let names = self.gates.components().into_iter();
        let names = names.filter(|name| order.before(name).eq([self.name]));
        let missing = names.flat_map(|name| {
            self.work.in_scope().filter_map(move |(host, plan)| {
                let steps = plan.components.get(&name)?.as_slice();
                let is_left = self.work.ledger.alive(&host.info.name)
                    && !self.turns.is_returned(&name, &host.info.name);
                let creates = !steps.is_empty() && !steps.iter().any(Step::interrupts);
                (is_left && creates).then(|| (name.clone(), host, steps))
            })
        });
        missing.collect()
    }

    /// Creates members before the turn of their component.
    async fn create(&self, missing: Vec<Missing<'a>>) {
        let names: BTreeSet<ComponentName> =
            missing.iter().map(|(name, ..)| name.clone()).collect();
        let phases = names.iter();
        let _open: Vec<OpenPhase> = phases
            .map(|name| OpenPhase::start(&self.work.cx.events, name.into()))
            .collect();
        join_all(missing.into_iter().map(|(name, host, steps)| async move {
            // A failure takes the host out of the run.
            let _ = run_steps(self.work, host, &name, steps).await;
            let member = (name, host.info.name.clone());
            self.turns.lock_returned().insert(member);
        }))
        .await;
    }

    async fn take_turn(&self) -> Option<MutexGuard<'a, ()>> {
        match self.has_quorum {
            true => Some(self.turns.turn.lock().await),
            false => None,
        }
    }

    /// A member that its own Engine reports as stopped or in a crash loop. Of a quorum no other member
    /// may count it as synced either: then stopping it takes no vote from anyone.
    async fn find_stopped_member(&self, left: &[HostName]) -> Option<HostName> {
        if !self.has_quorum {
            // Once: a service of slaves may have hundreds of members.
            let asked = self
                .stopped_at_start
                .get_or_init(|| self.find_stopped(left));
            let mut stopped = asked.await.iter();
            return stopped.find(|host| left.contains(host)).cloned();
        }
        let stopped = self.find_stopped(left).await;
        if stopped.is_empty() {
            return None;
        }
        let view = self.gates.ask(self.name, Proof::Read, false).await;
        stopped
            .into_iter()
            .find(|host| Standing::judge(host, view.as_ref(), Some(false)) == Standing::NotServing)
    }

    /// The members whose own Engines report them as stopped or in a crash loop.
    async fn find_stopped(&self, left: &[HostName]) -> Vec<HostName> {
        let holders = self.gates.holders(self.name).into_iter();
        let asked = holders.filter(|(host, _)| left.contains(host));
        let asked = asked.filter_map(|(host, component)| {
            let run = self.work.hosts.get(&host)?;
            Some(async move {
                let detail = run.engine.inspect(&component.container.name()).await.ok()?;
                let now = self.work.cx.clock.now();
                (!detail.is_serving(now)).then_some(host)
            })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The member that the guard lets go first, and its refusal when that stands.
    async fn ask_guard(&self, left: &[HostName]) -> Option<Next<'a>> {
        let began = Instant::now();
        loop {
            let turn = self.take_turn().await;
            let (next, allowed) = self.ask_guard_once(left).await?;
            let Err(refusal) = allowed else {
                return Some(Next::Replace(next, None, turn));
            };
            // The missing member may be of a component that waits for its turn.
            drop(turn);
            let (gates, name) = (self.gates, self.name);
            if !gates.wait_to_ask_again(name, &refusal, began).await {
                return Some(Next::Replace(next, Some(refusal), None));
            }
        }
    }

    async fn ask_guard_once(&self, left: &[HostName]) -> Option<(HostName, Result<(), Refusal>)> {
        if !self.has_quorum {
            let own = self.gates.ask(self.name, Proof::Read, false).await;
            let next = guard::order(left, &own.unwrap_or_default());
            return Some((next.into_iter().next()?, Ok(())));
        }
        let views = self.gates.read().await;
        let own = match views.get(self.name) {
            Some(view) => view.clone(),
            None => {
                let own = self.gates.ask(self.name, Proof::Read, false).await;
                own.unwrap_or_default()
            }
        };
        let next = guard::order(left, &own).into_iter().next()?;
        let views: Vec<Verdict> = views.into_values().collect();
        let allowed = guard::may_stop(&next, Standing::Unknown, &views);
        Some((next, allowed))
    }
}
