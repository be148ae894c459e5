//! The one way in which a run ends early, whatever asks for it: Ctrl-C, a signal, the end of the
//! terminal, the deadline, the loss of its locks, a panic. Nothing new begins; questions, pulls and waits are dropped at once; a
//! step under way is finished, because half a replacement is worse than a late end. A step that
//! outlasts its limit is given up and named. Without the locks of a majority of the masters nothing
//! more is sent to anyone: another run may be at work.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::FutureExt as _;

use super::failure;
use super::ledger::Ledger;
use super::run_context::RunContext;
use crate::event::{Event, Outcome};
use crate::spec::{ExitCode, HostName, Role};

/// What a step may take after the run was asked to end, besides the grace time of the container
/// that it stops.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Why a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndCause {
    /// Ctrl-C.
    Interrupted = 1,
    /// SIGTERM.
    Terminated,
    /// SIGHUP: the terminal closed.
    HungUp,
    /// The limit of the whole run passed.
    Deadline,
    /// A majority of the masters' locks is lost.
    LocksLost,
    /// A bug of toots: a part of the run panicked.
    Panicked,
}

impl EndCause {
    const ALL: [Self; 6] = [
        Self::Interrupted,
        Self::Terminated,
        Self::HungUp,
        Self::Deadline,
        Self::LocksLost,
        Self::Panicked,
    ];

    /// The exit code of a run that changed something or nothing.
    #[must_use]
    pub fn exit_code(self, changed: bool) -> ExitCode {
        match self {
            Self::Interrupted => ExitCode::INTERRUPTED,
            Self::Terminated => ExitCode::TERMINATED,
            Self::HungUp => ExitCode::HUNG_UP,
            Self::Deadline => ExitCode::DEADLINE,
            Self::LocksLost if changed => ExitCode::PARTIAL,
            Self::LocksLost => ExitCode::LOCKED,
            Self::Panicked => ExitCode::INTERNAL,
        }
    }

    /// The cause in a message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::HungUp => "the terminal closed",
            Self::Deadline => "the deadline passed",
            Self::LocksLost => "the locks of a majority of the masters are lost",
            Self::Panicked => "internal error",
        }
    }
}

/// A request to end a run. The first cause stays.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    /// An [`EndCause`]; zero while nobody asked.
    cause: AtomicU8,
    notify: tokio::sync::Notify,
}

impl Cancel {
    /// Asks the run to end. Returns whether this is the first request.
    pub fn cancel(&self, cause: EndCause) -> bool {
        let first = self
            .0
            .cause
            .compare_exchange(0, cause as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        self.0.notify.notify_waiters();
        first
    }

    /// Why the run ends, when it was asked to.
    #[must_use]
    pub fn cause(&self) -> Option<EndCause> {
        let cause = self.0.cause.load(Ordering::SeqCst);
        EndCause::ALL.into_iter().find(|c| *c as u8 == cause)
    }

    /// Whether the run was asked to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// Waits for the request: for waits that may be dropped at any moment.
    pub async fn cancelled(&self) {
        let notified = self.0.notify.notified();
        tokio::pin!(notified);
        // Registered before the check, so that a request in between is not missed.
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    /// Does what changes nothing and may be dropped at any moment; `None` when the run ends first.
    pub async fn droppable<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cancelled() => None,
            value = work => Some(value),
        }
    }
}

/// Asks the run to end when its deadline passes. Never returns.
async fn watch_deadline(cx: &RunContext, started: tokio::time::Instant) {
    if let Some(limit) = cx.timeouts.run {
        tokio::time::sleep_until(started + limit).await;
        if cx.cancel.cancel(EndCause::Deadline) {
            let text = "the deadline passed: finishing the steps under way, nothing new begins";
            cx.events.send(Event::warning(None, text));
        }
    }
    std::future::pending::<()>().await;
}

/// Returns when the steps under way have had their time after the request to end.
async fn wait_for_steps(cx: &RunContext) {
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
    let is_master = |name: &&HostName| {
        cx.host(name)
            .is_some_and(|host| host.roles.contains(&Role::Master))
    };
    let is_majority = 2 * lost.iter().filter(is_master).count() > cx.masters;
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
    started: tokio::time::Instant,
    work: impl Future<Output = T>,
) -> Option<T> {
    let value = tokio::select! {
        value = contained(cx, work) => value,
        () = watch_deadline(cx, started) => None,
        () = wait_for_steps(cx) => None,
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

/// Early exit with this code.
pub(super) struct EarlyExit(pub ExitCode);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays() {
        let cancel = Cancel::default();
        assert_eq!(cancel.cause(), None);
        assert!(cancel.cancel(EndCause::HungUp));
        assert!(!cancel.cancel(EndCause::Interrupted));
        assert_eq!(cancel.cause(), Some(EndCause::HungUp));
        let codes = |changed| EndCause::ALL.map(|cause| cause.exit_code(changed).0);
        assert_eq!(codes(true), [130, 143, 129, 8, 5, 1]);
        assert_eq!(codes(false), [130, 143, 129, 8, 7, 1]);
    }

    #[tokio::test]
    async fn what_may_be_dropped_is_dropped_at_once() {
        let cancel = Cancel::default();
        assert_eq!(cancel.droppable(async { 1 }).await, Some(1));
        let waiting = cancel.droppable(std::future::pending::<()>());
        let request = async { cancel.cancel(EndCause::Interrupted) };
        assert_eq!(futures::join!(waiting, request), (None, true));
        assert_eq!(
            cancel.droppable(async { 1 }).await,
            None,
            "nothing new begins"
        );
    }
}
