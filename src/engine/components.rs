//! Brings up components in the order of their `after` lists: a component starts when everything in
//! its list has passed its gate; components without a path between them run in parallel.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::connect::{HostRun, ms};
use super::gates::{ClosedGate, Gates};
use super::work::{StepsError, Work};
use super::{ending, failure};
use crate::event::{Event, Outcome};
use crate::guard::{self, QuorumServices as _, Standing};
use crate::plan::Step;
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, HostName};

/// The results of all components.
#[derive(Default)]
pub(super) struct ComponentOutcomes {
    /// Verdicts of the gates that passed.
    pub verdicts: BTreeMap<ComponentName, Verdict>,
    /// Gates that failed, with the faults.
    pub failed: BTreeMap<ComponentName, Vec<String>>,
    /// Components that were not brought up to their end, and why.
    pub skipped: BTreeMap<ComponentName, String>,
    /// How long each took, milliseconds.
    pub took: BTreeMap<ComponentName, u64>,
    /// The guard refused to stop a member.
    pub refused: bool,
}

enum ComponentEnd {
    Passed(Option<Box<Verdict>>),
    Failed(Vec<String>),
    Refused,
    /// Its gate was not asked, and why.
    Skipped(String),
}

/// Runs all components. `writing`: prove by writing even where nothing changed.
pub(super) async fn run(gates: &Gates<'_>, work: &Work<'_>, writing: bool) -> ComponentOutcomes {
    let mut waiting = dependency_graph(gates);
    let mut passed: BTreeSet<ComponentName> = BTreeSet::new();
    let mut ended = ComponentOutcomes::default();
    let rolls = &Rolls::default();
    let mut running = FuturesUnordered::new();
    let idle = work.idle();
    loop {
        let ready: Vec<ComponentName> = waiting
            .iter()
            // A run without changes only asks, and questions need no order.
            .filter(|(_, after)| idle || after.iter().all(|name| passed.contains(name)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            waiting.remove(&name);
            running.push(async move {
                let started = Instant::now();
                let bring_up = bring_up_component(gates, work, &name, writing, rolls);
                let end = ending::contained(gates.cx, bring_up).await;
                let end = end.unwrap_or_else(|| ComponentEnd::Skipped("internal error".into()));
                (name, end, ms(started))
            });
        }
        let Some((name, end, took)) = running.next().await else {
            break;
        };
        ended.took.insert(name.clone(), took);
        match end {
            ComponentEnd::Passed(verdict) => {
                ended
                    .verdicts
                    .extend(verdict.map(|verdict| (name.clone(), *verdict)));
                passed.insert(name);
            }
            ComponentEnd::Failed(faults) => {
                ended.failed.insert(name, faults);
            }
            ComponentEnd::Refused => {
                ended.refused = true;
                ended
                    .skipped
                    .insert(name, "the guard refused to stop a member".into());
            }
            ComponentEnd::Skipped(why) => {
                ended.skipped.insert(name, why);
            }
        }
    }
    let blocked = |(name, after): (ComponentName, BTreeSet<ComponentName>)| {
        let missing = after.difference(&passed).map(ComponentName::as_str);
        let missing: Vec<&str> = missing.collect();
        (
            name,
            format!("not proven before it: {}", missing.join(", ")),
        )
    };
    ended.skipped.extend(waiting.into_iter().map(blocked));
    ended
}

/// Every component on a contacted host, with the components before it.
fn dependency_graph(gates: &Gates<'_>) -> BTreeMap<ComponentName, BTreeSet<ComponentName>> {
    let mut graph: BTreeMap<ComponentName, BTreeSet<ComponentName>> = BTreeMap::new();
    for host in gates
        .desired
        .hosts
        .iter()
        .filter(|host| gates.cx.host(&host.name).is_some())
    {
        for component in &host.components {
            graph
                .entry(component.name.clone())
                .or_default()
                .extend(component.after.iter().cloned());
        }
    }
    let present: BTreeSet<ComponentName> = graph.keys().cloned().collect();
    for after in graph.values_mut() {
        after.retain(|name| present.contains(name));
    }
    graph
}

async fn bring_up_component(
    gates: &Gates<'_>,
    work: &Work<'_>,
    name: &ComponentName,
    writing: bool,
    rolls: &Rolls,
) -> ComponentEnd {
    let cx = gates.cx;
    let steps: Vec<(&HostRun, &[Step])> = work
        .in_scope()
        .filter(|(host, _)| gates.ledger.alive(&host.info.name))
        .filter_map(|(host, plan)| {
            plan.components
                .get(name)
                .map(|steps| (host, steps.as_slice()))
        })
        .collect();
    let changes = !steps.is_empty();
    let started = Instant::now();
    if changes {
        cx.events.send(Event::PhaseStarted {
            phase: name.to_string(),
        });
    }
    let (rolling, parallel): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|(_, steps)| steps.iter().any(Step::interrupts));
    join_all(
        parallel
            .into_iter()
            .map(|(host, steps)| work.run_steps(host, name.as_str(), steps)),
    )
    .await;
    if !rolling.is_empty()
        && let Some(end) = roll_containers(gates, work, name, rolling, rolls).await
    {
        return end;
    }
    let holders = gates.holders(name);
    let all_hosts = |lost: &dyn Fn(&HostName) -> bool| {
        !holders.is_empty() && holders.iter().all(|(host, _)| lost(host))
    };
    // A gate judges hosts that take part.
    if all_hosts(&|host| gates.ledger.is_given_up(host)) {
        return ComponentEnd::Skipped("none of its hosts was reached".into());
    }
    if all_hosts(&|host| !gates.ledger.alive(host)) {
        return ComponentEnd::Failed(vec![format!("{name} runs on no host")]);
    }
    let proof = if changes || writing {
        Proof::Write
    } else {
        Proof::Read
    };
    let end = match gates.wait(name, proof, changes).await {
        Ok(verdict) => ComponentEnd::Passed(verdict.map(Box::new)),
        Err(ClosedGate(faults)) => ComponentEnd::Failed(faults),
    };
    if changes {
        cx.events.send(Event::PhaseFinished {
            phase: name.to_string(),
            elapsed_ms: ms(started),
        });
    }
    end
}

/// The turn to replace a member of a quorum, from the guard's question to the end of the
/// replacement. Components are brought up in parallel, and one host runs members of several: the
/// replacement of one would be refused while another one's member is away.
type Rolls = tokio::sync::Mutex<()>;

/// The next host, the guard's refusal when it persists, and the turn.
type Choice<'a> = (
    HostName,
    Option<guard::Refusal>,
    Option<tokio::sync::MutexGuard<'a, ()>>,
);

async fn take_turn(rolls: &Rolls, quorum: bool) -> Option<tokio::sync::MutexGuard<'_, ()>> {
    if quorum {
        Some(rolls.lock().await)
    } else {
        None
    }
}

/// Replaces running containers one host at a time and proves the service after each. Returns `Some`
/// when it stopped early.
async fn roll_containers(
    gates: &Gates<'_>,
    work: &Work<'_>,
    name: &ComponentName,
    rolling: Vec<(&HostRun, &[Step])>,
    rolls: &Rolls,
) -> Option<ComponentEnd> {
    let quorum = gates
        .holders(name)
        .iter()
        .any(|(_, component)| component.quorum);
    let mut left: BTreeMap<HostName, (&HostRun, &[Step])> = rolling
        .into_iter()
        .map(|(host, steps)| (host.info.name.clone(), (host, steps)))
        .collect();
    let mut first = true;
    while !left.is_empty() {
        let remaining: Vec<HostName> = left.keys().cloned().collect();
        let chosen = choose_next_member(gates, name, &remaining, quorum, first, rolls);
        let (next, refusal, _turn) = match gates.cx.cancel.droppable(chosen).await {
            None => return Some(ComponentEnd::Failed(vec!["ended early".into()])),
            Some(Err(ClosedGate(faults))) => return Some(ComponentEnd::Failed(faults)),
            Some(Ok(next)) => next?,
        };
        first = false;
        let (host, steps) = left.remove(&next)?;
        if let Some(refusal) = refusal {
            let failure = failure::refused(name.as_str(), "replace a member", &refusal);
            gates.ledger.fail(&next, Outcome::Failed, failure);
            return Some(ComponentEnd::Refused);
        }
        match work.run_steps(host, name.as_str(), steps).await {
            Ok(()) => {}
            Err(StepsError::Refused) => return Some(ComponentEnd::Refused),
            Err(StepsError::Failed) => {
                return Some(ComponentEnd::Skipped(format!(
                    "the replacement on {next} failed; no other member was changed"
                )));
            }
        }
    }
    None
}

/// A member of a quorum that its own Engine reports as stopped or in a crash loop, and that no
/// other member counts as synced: stopping it takes no vote from anyone.
async fn find_stopped_member(
    gates: &Gates<'_>,
    name: &ComponentName,
    left: &[HostName],
    quorum: bool,
) -> Option<HostName> {
    if !quorum {
        return None;
    }
    let mut stopped = Vec::new();
    for (host, component) in gates.holders(name) {
        let Some(run) = gates.hosts.get(&host).filter(|_| left.contains(&host)) else {
            continue;
        };
        if let Ok(detail) = run.engine.inspect(&component.container.name()).await
            && !detail.is_serving()
        {
            stopped.push(host);
        }
    }
    if stopped.is_empty() {
        return None;
    }
    let view = gates.ask(name, Proof::Read, false).await;
    stopped
        .into_iter()
        .find(|host| Standing::judge(host, view.as_ref(), Some(false)) == Standing::NotServing)
}

/// The next host, and the guard's refusal when it persists. Before any but the first one the
/// service must pass its gate again.
async fn choose_next_member<'a>(
    gates: &Gates<'_>,
    name: &ComponentName,
    left: &[HostName],
    quorum: bool,
    first: bool,
    rolls: &'a Rolls,
) -> Result<Option<Choice<'a>>, ClosedGate> {
    // Members that do not run cost nothing, and a service without them may have no gate to pass:
    // a wrong first image would otherwise stay for good.
    if let Some(stopped) = find_stopped_member(gates, name, left, quorum).await {
        return Ok(Some((stopped, None, take_turn(rolls, quorum).await)));
    }
    if !first {
        gates.wait(name, Proof::Read, true).await?;
    }
    let turn = take_turn(rolls, quorum).await;
    let chosen = ask_guard(gates, name, left, quorum).await;
    Ok(chosen.map(|(next, refusal)| (next, refusal, turn)))
}

/// The member that the guard lets go first.
async fn ask_guard(
    gates: &Gates<'_>,
    name: &ComponentName,
    left: &[HostName],
    quorum: bool,
) -> Option<(HostName, Option<guard::Refusal>)> {
    let began = Instant::now();
    loop {
        let views = if quorum {
            gates.read().await
        } else {
            BTreeMap::new()
        };
        let own = match views.get(name) {
            Some(view) => view.clone(),
            None => gates
                .ask(name, Proof::Read, false)
                .await
                .unwrap_or_default(),
        };
        let next = guard::order(left, &own).into_iter().next()?;
        let allowed = if quorum {
            let views: Vec<Verdict> = views.into_values().collect();
            guard::may_stop(&next, Standing::Unknown, &views)
        } else {
            Ok(())
        };
        let Err(refusal) = allowed else {
            return Some((next, None));
        };
        if !gates.wait_to_ask_again(name, &refusal, began).await {
            return Some((next, Some(refusal)));
        }
    }
}
