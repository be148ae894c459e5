//! The request to end a run, and its cause.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::spec::ExitCode;

/// Why a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// Ctrl-C.
    Interrupted,
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
pub struct Cancel {
    cause: Arc<OnceLock<EndCause>>,
    token: CancellationToken,
}

impl Cancel {
    /// Asks the run to end. Returns whether this is the first request.
    pub fn cancel(&self, cause: EndCause) -> bool {
        // Before the token: whoever sees the request finds its cause.
        let first = self.cause.set(cause).is_ok();
        self.token.cancel();
        first
    }

    /// Why the run ends, when it was asked to.
    #[must_use]
    pub fn cause(&self) -> Option<EndCause> {
        self.cause.get().copied()
    }

    /// Whether the run was asked to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// Waits for the request: for waits that may be dropped at any moment.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Does what changes nothing and may be dropped at any moment; `None` when the run ends first.
    pub async fn droppable<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // `run_until_cancelled` would prefer what ends at the same moment, and go on from there.
        tokio::select! {
            biased;
            () = self.cancelled() => None,
            value = work => Some(value),
        }
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
    }

    #[test]
    fn the_exit_code_tells_the_cause() {
        for (cause, changed, unchanged) in [
            (EndCause::Interrupted, 130, 130),
            (EndCause::Terminated, 143, 143),
            (EndCause::HungUp, 129, 129),
            (EndCause::Deadline, 8, 8),
            (EndCause::LocksLost, 5, 7),
            (EndCause::Panicked, 1, 1),
        ] {
            let codes = [true, false].map(|changed| cause.exit_code(changed).0);
            assert_eq!(codes, [changed, unchanged], "{cause:?}");
        }
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
