//! `cluster up`, `cluster plan` and `cluster check` from the first connection to the last proof.

use std::sync::Arc;

use tokio::time::Instant;

use super::checks::{choose_exit_code, require_all_for_creation, require_majority};
use super::components;
use super::connect::{self, Hosts};
use super::consent::lock_and_plan;
use super::ending::{self, EarlyExit, check_cancelled, droppable, ended_early};
use super::ledger::Ledger;
use super::planned::Planned;
use super::planning::{check_and_plan, check_hosts, check_saved_plan, pin_images};
use super::prepare;
use super::proofs::{find_unrecorded, record_late, record_proofs};
use super::run_context::RunContext;
use super::work::Work;
use super::{images, summary};
use crate::event::{Event, RunResult};
use crate::spec::ExitCode;

/// Connects, observes, checks and plans. Changes nothing.
///
/// # Errors
/// The result of a run that ended before its plan; the events have already been sent.
pub async fn observe_and_plan(cx: &RunContext) -> Result<Planned, RunResult> {
    let started = Instant::now();
    let ledger = ledger(cx);
    let outcome = in_session(cx, &ledger, started, async |hosts| {
        let planning = check_and_plan(cx, &ledger, hosts);
        droppable(cx, &ledger, planning).await?
    })
    .await;
    match outcome {
        Ok(planned) => Ok(Planned {
            outcomes: ledger.result(ExitCode::DONE).hosts,
            ..planned
        }),
        Err(EarlyExit(code)) => Err(finish(cx, &ledger, code)),
    }
}

/// Connects, observes and checks all hosts, and reports every finding. Changes nothing.
pub async fn check(cx: &RunContext) -> RunResult {
    let started = Instant::now();
    let ledger = ledger(cx);
    let outcome = in_session(cx, &ledger, started, async |hosts| {
        droppable(cx, &ledger, check_hosts(cx, &ledger, hosts)).await?
    })
    .await;
    finish_with(cx, &ledger, outcome)
}

/// Brings up the cluster. Everything is sent as events; the last one is the returned result.
pub async fn up(cx: &RunContext) -> RunResult {
    let started = Instant::now();
    let ledger = ledger(cx);
    let outcome = in_session(cx, &ledger, started, async |hosts| {
        attempt(cx, &ledger, hosts, started).await
    })
    .await;
    finish_with(cx, &ledger, outcome)
}

/// Connects to all hosts, does the work, and closes the connections, whether the work ended early
/// or not.
pub(super) async fn in_session<T>(
    cx: &RunContext,
    ledger: &Ledger,
    started: Instant,
    work: impl AsyncFnOnce(&Hosts) -> Result<T, EarlyExit>,
) -> Result<T, EarlyExit> {
    let connecting = cx.cancel.droppable(connect::connect_hosts(cx, ledger));
    let connected = ending::run_to_end(cx, ledger, started, connecting).await;
    let hosts = connected.flatten().ok_or_else(|| ended_early(cx, ledger))?;
    let outcome = ending::run_to_end(cx, ledger, started, work(&hosts)).await;
    close(&hosts).await;
    match outcome {
        Some(Ok(value)) => Ok(value),
        // What was refused or failed because the run ended is no result of its own.
        Some(Err(_)) if cx.cancel.is_cancelled() => Err(ended_early(cx, ledger)),
        Some(Err(early)) => Err(early),
        None => Err(ended_early(cx, ledger)),
    }
}

fn ledger(cx: &RunContext) -> Ledger {
    let hosts = cx
        .hosts
        .iter()
        .map(|host| (host.name.clone(), host.roles.iter().copied().collect()))
        .collect();
    cx.events.send(Event::RunStarted {
        command: cx.command.clone(),
        cluster: cx.cluster.clone(),
        hosts,
    });
    Ledger::new(
        cx.hosts.iter().map(|host| host.name.clone()),
        Arc::clone(&cx.events),
    )
}

async fn close(hosts: &Hosts) {
    for host in hosts.values() {
        let cost = host.session.cost();
        tracing::info!(host = %host.info.name, ?cost, "connection closed");
    }
    futures::future::join_all(hosts.values().map(|host| host.session.close())).await;
}

pub(super) fn finish_with(
    cx: &RunContext,
    ledger: &Ledger,
    outcome: Result<ExitCode, EarlyExit>,
) -> RunResult {
    match outcome {
        Ok(code) | Err(EarlyExit(code)) => finish(cx, ledger, code),
    }
}

fn finish(cx: &RunContext, ledger: &Ledger, code: ExitCode) -> RunResult {
    let result = ledger.result(code);
    cx.events.send(Event::Result(result.clone()));
    result
}

async fn attempt(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    started: Instant,
) -> Result<ExitCode, EarlyExit> {
    let planned = droppable(cx, ledger, check_and_plan(cx, ledger, hosts)).await??;
    check_saved_plan(cx, ledger, &planned)?;
    let work = Work {
        cx,
        ledger,
        hosts,
        planned: &planned,
    };
    if work.idle() {
        return prove_only(&work, started).await;
    }
    if !droppable(cx, ledger, prepare::prove_pulls(&work)).await? {
        return Err(EarlyExit(ExitCode::REFUSED));
    }
    let mut planned = lock_and_plan(cx, ledger, hosts, planned).await?;
    for host in planned
        .plan
        .hosts
        .iter()
        .filter(|host| cx.scope.contains(&host.host))
    {
        cx.events.send(Event::HostPlanned {
            host: host.host.clone(),
            steps: host.steps().count() + host.records.len(),
        });
    }
    prepare::prepare_hosts(&Work {
        cx,
        ledger,
        hosts,
        planned: &planned,
    })
    .await;
    check_cancelled(cx, ledger)?;
    require_all_for_creation(cx, ledger, hosts, &planned)?;
    require_majority(cx, ledger, hosts, ExitCode::PARTIAL)?;
    planned = pin_images(cx, ledger, hosts, planned).await?;
    let work = Work {
        cx,
        ledger,
        hosts,
        planned: &planned,
    };
    // A dropped pull leaves nothing half done: the Engine keeps the layers that it has.
    droppable(cx, ledger, images::bring_all(&work)).await?;
    require_majority(cx, ledger, hosts, ExitCode::PARTIAL)?;
    let gates = work.gates();
    let ended = components::run(&gates, &work, true).await;
    record_proofs(&work, &ended).await;
    for (host, plan) in work.in_scope() {
        // A failure is in the ledger.
        drop(work.run_steps(host, "cleanup", &plan.cleanup).await);
    }
    check_cancelled(cx, ledger)?;
    summary::send_summary(&gates, &ended, started);
    Ok(choose_exit_code(cx, ledger, &ended))
}

/// A run without changes: asks every gate.
async fn prove_only(work: &Work<'_>, started: Instant) -> Result<ExitCode, EarlyExit> {
    let Work { cx, ledger, .. } = *work;
    let gates = work.gates();
    let ended = components::run(&gates, work, cx.mode.prove).await;
    check_cancelled(cx, ledger)?;
    let marked = if find_unrecorded(work.planned, &ended).is_empty() {
        Ok(())
    } else {
        record_late(work, &ended).await
    };
    summary::send_summary(&gates, &ended, started);
    marked?;
    Ok(choose_exit_code(cx, ledger, &ended))
}
