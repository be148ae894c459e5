//! Signals. The engine's runs end in order: the steps under way are finished and nothing new begins.
//! Every other command changes nothing by itself and ends at once.

use std::sync::Arc;

use futures::StreamExt as _;

use super::console::Console;
use crate::engine::{Cancel, EndCause};
use crate::env::{self, Signal};
use crate::event::{Event, EventSink};

fn cause_of(signal: Signal) -> EndCause {
    match signal {
        Signal::Interrupt => EndCause::Interrupted,
        Signal::Terminate => EndCause::Terminated,
        Signal::HangUp => EndCause::HungUp,
    }
}

/// Asks the run to end when a signal comes. Listens until the process ends.
pub(super) fn watch(console: &Console, cancel: Cancel, events: Arc<dyn EventSink>) {
    // Before anything of the run: a signal that comes earlier would end the process.
    let Ok(mut signals) = console.machine().signals.listen() else {
        return;
    };
    env::spawn(async move {
        while let Some(signal) = signals.next().await {
            let cause = cause_of(signal);
            // A second signal must not cut in two what the first one left to be finished.
            let text = if cancel.cancel(cause) {
                format!(
                    "{}: finishing the steps under way, nothing new begins",
                    cause.as_str()
                )
            } else {
                "already ending: the steps under way are finished first".to_owned()
            };
            // Through the reporter, so that a live view stays whole.
            events.send(Event::warning(None, text));
        }
    });
}

/// Listens from now on; the future is the first signal. It never ends when signals cannot be
/// listened to.
pub(super) fn first(console: &Console) -> impl Future<Output = EndCause> + use<> {
    let signals = console.machine().signals.listen();
    async move {
        if let Ok(mut signals) = signals
            && let Some(signal) = signals.next().await
        {
            return cause_of(signal);
        }
        std::future::pending().await
    }
}
