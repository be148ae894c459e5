//! The one way in which a run ends early, whatever asks for it: Ctrl-C, a signal, the end of the
//! terminal, the deadline, the loss of its locks, a panic. Nothing new begins; questions, pulls and
//! waits are dropped at once; a step under way is finished, because half a replacement is worse than
//! a late end. A step that outlasts its limit is given up and named. Without the locks of a majority
//! of the masters nothing more is sent to anyone: another run may be at work.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::cancel::EndCause;
use super::failure;
use super::ledger::{EarlyExit, Ledger};
use super::run_context::RunContext;
use crate::event::{Event, Outcome};
use crate::spec::{ExitCode, HostName};

/// What a step may take after the run was asked to end, besides the grace time of the container
/// that it stops.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Returns when the steps under way have had their time after the request to end. The deadline of the
/// run is such a request.
async fn limit_steps(cx: &RunContext, started: Instant) {
    if let Some(limit) = cx.timeouts.run {
        let deadline = tokio::time::sleep_until(started + limit);
        let passed = cx.cancel.droppable(deadline).await;
        if passed.is_some() && cx.cancel.cancel(EndCause::Deadline) {
            let text = "the deadline passed: finishing the steps under way, nothing new begins";
            cx.events.send(Event::warning(None, text));
        }
    }
    cx.cancel.cancelled().await;
    if cx.cancel.cause() == Some(EndCause::LocksLost) {
        return;
    }
    let components = cx.offline.hosts.iter().flat_map(|host| &host.components);
    let grace_s = components.map(|c| c.container.stop_timeout_s).max();
    tokio::time::sleep(STEP_LIMIT + Duration::from_secs(grace_s.unwrap_or(0).into())).await;
}

/// Runs a part of a run. A panic in it is a cause to end like any other: the steps under way on other
/// hosts are finished. `None`: it panicked.
pub(super) async fn contained<T>(cx: &RunContext, work: impl Future<Output = T>) -> Option<T> {
    // What it leaves behind is not used any more: nothing new begins.
    let value = AssertUnwindSafe(work).catch_unwind().await.ok();
    if value.is_none() {
        cx.cancel.cancel(EndCause::Panicked);
    }
    value
}

/// Records that a host's lock could not be taken again; without a majority of the masters' locks the
/// run ends.
pub(super) fn lock_lost(cx: &RunContext, ledger: &Ledger, host: &HostName) {
    let lost = ledger.lock_lost(host);
    let masters = lost.iter().filter(|name| cx.is_master(name));
    let is_majority = 2 * masters.count() > cx.masters;
    if is_majority && cx.cancel.cancel(EndCause::LocksLost) {
        let text = format!("{}: nothing more is sent", EndCause::LocksLost.as_str());
        cx.events.send(Event::warning(None, text));
    }
}

/// Runs `work` to its end, early or not. `None`: it panicked or was given up, and the steps that were
/// under way are in the ledger as failed.
pub(super) async fn run_to_end<T>(
    cx: &RunContext,
    ledger: &Ledger,
    started: Instant,
    work: impl Future<Output = T>,
) -> Option<T> {
    let value = tokio::select! {
        biased;
        // First: without the locks nothing more is sent.
        () = limit_steps(cx, started) => None,
        value = contained(cx, work) => value,
    };
    if value.is_none() {
        fail_steps_under_way(cx, ledger);
    }
    value
}

fn fail_steps_under_way(cx: &RunContext, ledger: &Ledger) {
    let cause = cx.cancel.cause().map_or("ended early", EndCause::as_str);
    for (host, step) in ledger.steps_under_way() {
        let why = format!("{cause}, and the step did not finish: its result is unknown");
        let failure = failure::midway(&step.phase, &step.title, why);
        ledger.fail_midway(&host, Outcome::Failed, failure, step.changes);
    }
}

/// The exit of a run that was asked to end.
pub(super) fn ended_early(cx: &RunContext, ledger: &Ledger) -> EarlyExit {
    let cause = cx.cancel.cause();
    ledger.note_error(
        || cause.map_or("ended early", EndCause::as_str).to_owned(),
        &[],
    );
    EarlyExit(cause.map_or(ExitCode::INTERNAL, |cause| {
        cause.exit_code(ledger.any_changed())
    }))
}

/// Does what changes nothing; ends the run when it was asked to end first.
pub(super) async fn droppable<T>(
    cx: &RunContext,
    ledger: &Ledger,
    work: impl Future<Output = T>,
) -> Result<T, EarlyExit> {
    let done = cx.cancel.droppable(work).await;
    done.ok_or_else(|| ended_early(cx, ledger))
}

pub(super) fn check_cancelled(cx: &RunContext, ledger: &Ledger) -> Result<(), EarlyExit> {
    if cx.cancel.is_cancelled() {
        Err(ended_early(cx, ledger))
    } else {
        Ok(())
    }
}
