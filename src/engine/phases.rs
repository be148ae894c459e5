//! The events around a phase of a run, and the time that it took.

use tokio::time::Instant;

use super::run_context::RunContext;
use crate::event::Event;
use crate::spec::{HostName, Phase};

/// Does the work of a phase between its events.
pub(super) async fn in_phase<T>(cx: &RunContext, phase: Phase, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: phase.clone(),
    });
    let done = work.await;
    cx.events.send(Event::PhaseFinished {
        phase,
        elapsed_ms: ms(started),
    });
    done
}

/// The event of a step that succeeded.
pub(super) fn finished(host: &HostName, step: &str, changed: bool, started: Instant) -> Event {
    Event::StepFinished {
        host: host.clone(),
        step: step.to_owned(),
        changed,
        elapsed_ms: ms(started),
    }
}

/// Milliseconds since `started`.
pub(super) fn ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
