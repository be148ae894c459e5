//! Brings components up in the order that they name themselves: each begins when everything it comes `after` has passed its gate, and
//! components with no path between them go on together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;

use super::connect::{HostRun, ms};
use super::failure;
use super::gates::Gates;
use super::work::Work;
use crate::event::{Event, Outcome};
use crate::guard;
use crate::plan::Step;
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, HostName};

/// How long the guard is asked again when every member's host takes part: an election or a view that lags passes, a dead host does not.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two of those questions.
const AGAIN: Duration = Duration::from_secs(2);

/// How the components ended.
#[derive(Default)]
pub(super) struct Ended {
    /// Verdicts of the gates that passed.
    pub verdicts: BTreeMap<ComponentName, Verdict>,
    /// Gates that did not pass, with what was answered.
    pub failed: BTreeMap<ComponentName, Vec<String>>,
    /// Components that were not tried, since one before them failed.
    pub skipped: BTreeSet<ComponentName>,
    /// How long each took, milliseconds.
    pub took: BTreeMap<ComponentName, u64>,
    /// The guard refused to stop a member.
    pub refused: bool,
}

enum End {
    Passed(Option<Verdict>),
    Failed(Vec<String>),
    Refused,
}

/// Runs all components to their end. `writing`: prove by writing even where nothing changed.
pub(super) async fn run(gates: &Gates<'_>, work: &Work<'_>, writing: bool) -> Ended {
    let mut waiting = graph(gates);
    let mut passed: BTreeSet<ComponentName> = BTreeSet::new();
    let mut ended = Ended::default();
    let mut running = FuturesUnordered::new();
    let idle = work.idle();
    loop {
        let ready: Vec<ComponentName> = waiting
            .iter()
            // A run that changes nothing only asks, and questions need no order.
            .filter(|(_, after)| idle || after.iter().all(|name| passed.contains(name)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            waiting.remove(&name);
            running.push(async move {
                let started = Instant::now();
                let end = one(gates, work, &name, writing).await;
                (name, end, ms(started))
            });
        }
        let Some((name, end, took)) = running.next().await else {
            break;
        };
        ended.took.insert(name.clone(), took);
        match end {
            End::Passed(verdict) => {
                ended
                    .verdicts
                    .extend(verdict.map(|verdict| (name.clone(), verdict)));
                passed.insert(name);
            }
            End::Failed(faults) => {
                ended.failed.insert(name, faults);
            }
            End::Refused => {
                ended.refused = true;
                ended.skipped.insert(name);
            }
        }
    }
    ended.skipped.extend(waiting.into_keys());
    ended
}

/// Every component that a contacted host holds, with what it comes after.
fn graph(gates: &Gates<'_>) -> BTreeMap<ComponentName, BTreeSet<ComponentName>> {
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

async fn one(gates: &Gates<'_>, work: &Work<'_>, name: &ComponentName, writing: bool) -> End {
    let cx = gates.cx;
    let steps: Vec<(&HostRun, &[Step])> = work
        .in_scope(gates.hosts)
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
            .map(|(host, steps)| work.all(host, name.as_str(), steps)),
    )
    .await;
    if !rolling.is_empty()
        && let Some(end) = roll(gates, work, name, rolling).await
    {
        return end;
    }
    let everyone_failed = {
        let holders = gates.holders(name);
        !holders.is_empty() && holders.iter().all(|(host, _)| !gates.ledger.alive(host))
    };
    if everyone_failed {
        return End::Failed(vec![format!("{name} runs on no host")]);
    }
    let proof = if changes || writing {
        Proof::Write
    } else {
        Proof::Read
    };
    let end = match gates.wait(name, proof, changes).await {
        Ok(verdict) => End::Passed(verdict),
        Err(faults) => End::Failed(faults),
    };
    if changes {
        cx.events.send(Event::PhaseFinished {
            phase: name.to_string(),
            elapsed_ms: ms(started),
        });
    }
    end
}

/// Replaces running containers one host at a time, the service proven after each. `Some` when it had to stop.
async fn roll(
    gates: &Gates<'_>,
    work: &Work<'_>,
    name: &ComponentName,
    rolling: Vec<(&HostRun, &[Step])>,
) -> Option<End> {
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
        if gates.cx.cancel.is_cancelled() {
            return Some(End::Failed(vec!["interrupted".into()]));
        }
        if !first && let Err(faults) = gates.wait(name, Proof::Read, true).await {
            return Some(End::Failed(faults));
        }
        first = false;
        let (next, refusal) = choose(gates, name, left.keys(), quorum).await?;
        let (host, steps) = left.remove(&next)?;
        if let Some(refusal) = refusal {
            let hints =
                vec!["bring the missing member back first: toots cluster status shows it".into()];
            let failure = failure::words(
                name.as_str(),
                "replace a member",
                refusal.to_string(),
                hints,
            );
            gates.ledger.fail(&next, Outcome::Failed, failure);
            return Some(End::Refused);
        }
        if !work.all(host, name.as_str(), steps).await {
            return Some(End::Failed(vec![format!(
                "{next}: the replacement failed; no other member was touched"
            )]));
        }
    }
    None
}

/// The host whose turn it is, and the guard's no when it stays with it.
async fn choose(
    gates: &Gates<'_>,
    name: &ComponentName,
    left: impl Iterator<Item = &HostName>,
    quorum: bool,
) -> Option<(HostName, Option<guard::Refusal>)> {
    let started = Instant::now();
    let candidates: Vec<HostName> = left.cloned().collect();
    let everyone = gates
        .holders(name)
        .iter()
        .all(|(host, _)| gates.hosts.contains_key(host) && gates.ledger.alive(host));
    loop {
        let views = if quorum {
            quorum_views(gates).await
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
        let next = guard::order(&candidates, &own).into_iter().next()?;
        let allowed = if quorum {
            guard::may_stop(&next, &views.into_values().collect::<Vec<_>>())
        } else {
            Ok(())
        };
        let Err(refusal) = allowed else {
            return Some((next, None));
        };
        if !everyone || started.elapsed() >= PATIENCE || gates.cx.cancel.is_cancelled() {
            return Some((next, Some(refusal)));
        }
        tracing::info!(%refusal, "the guard is asked again");
        let event = Event::GateWaiting {
            service: name.to_string(),
            missing: refusal.to_string(),
            elapsed_ms: ms(started),
        };
        gates.cx.events.send(event);
        tokio::time::sleep(AGAIN).await;
    }
}

/// How every service with a quorum stands right now.
async fn quorum_views(gates: &Gates<'_>) -> BTreeMap<ComponentName, Verdict> {
    let names: BTreeSet<ComponentName> = gates
        .desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .filter(|c| c.quorum)
        .map(|c| c.name.clone())
        .collect();
    let verdicts = join_all(names.iter().map(|name| gates.ask(name, Proof::Read, false))).await;
    // A component that has no gate says nothing of its members, and unknown counts as down.
    let unknown = |name: &ComponentName| Verdict {
        service: name.to_string(),
        members: gates.holders(name).len(),
        ..Verdict::default()
    };
    let named = |(name, verdict): (&ComponentName, Option<Verdict>)| {
        (name.clone(), verdict.unwrap_or_else(|| unknown(name)))
    };
    names.iter().zip(verdicts).map(named).collect()
}
