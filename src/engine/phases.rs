//! The events around a phase of a run, and the time that it took.

use std::sync::Arc;

use tokio::time::Instant;

use super::run_context::RunContext;
use crate::event::{Event, EventSink};
use crate::spec::{HostName, Phase};

/// A phase under way. Its last event is sent when this is dropped: also after a failure, and when the
/// run was asked to end, no phase stays open in what reporters show.
pub(super) struct OpenPhase {
    events: Arc<dyn EventSink>,
    phase: Phase,
    started: Instant,
}

impl OpenPhase {
    /// Sends its first event.
    pub fn start(events: &Arc<dyn EventSink>, phase: Phase) -> Self {
        events.send(Event::PhaseStarted {
            phase: phase.clone(),
        });
        Self {
            events: Arc::clone(events),
            phase,
            started: Instant::now(),
        }
    }
}

impl Drop for OpenPhase {
    fn drop(&mut self) {
        self.events.send(Event::PhaseFinished {
            phase: self.phase.clone(),
            elapsed_ms: ms(self.started),
        });
    }
}

/// Does the work of a phase between its events.
pub(super) async fn in_phase<T>(cx: &RunContext, phase: Phase, work: impl Future<Output = T>) -> T {
    let _open = OpenPhase::start(&cx.events, phase);
    work.await
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
