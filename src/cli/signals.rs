//! Ctrl-C once: the current steps are finished and nothing new begins. Twice: at once.

use crate::engine::Cancel;

/// Watches for signals until the process ends.
pub(super) fn watch(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if cancel.is_cancelled() {
                std::process::exit(130);
            }
            cancel.cancel();
            eprintln!("\nfinishing the current steps; again to abandon them");
        }
    });
}
