//! Signals. The engine's runs end in order: the steps under way are finished and nothing new begins.
//! Every other command changes nothing by itself and ends at once.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::{Cancel, EndCause};
use crate::env;
use crate::event::{Event, EventSink};

/// The signals that end a command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> EndCause {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => EndCause::Interrupted,
            _ = self.terminate.recv() => EndCause::Terminated,
            _ = self.hangup.recv() => EndCause::HungUp,
        }
    }
}

/// Asks the run to end when a signal comes. Listens until the process ends.
pub(super) fn watch(cancel: Cancel, events: Arc<dyn EventSink>) {
    // Before anything of the run: a signal that comes earlier would end the process.
    let Ok(mut signals) = Signals::listen() else {
        return;
    };
    env::spawn(async move {
        loop {
            let cause = signals.next().await;
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
pub(super) fn first() -> impl Future<Output = EndCause> {
    let signals = Signals::listen();
    async move {
        match signals {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        }
    }
}
