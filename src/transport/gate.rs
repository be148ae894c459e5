//! How many session channels may be open on one connection, learned down when the server allows fewer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct State {
    limit: usize,
    open: usize,
}

/// Counts open session channels. A semaphore cannot shrink while its permits are out, and that is what a server's `MaxSessions` asks for.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
    freed: Arc<Notify>,
}

/// The right to one session channel.
#[derive(Debug)]
pub(super) struct Permit(Gate);

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Arc::new(Mutex::new(State { limit: limit.max(1), open: 0 })), freed: Arc::default() }
    }

    /// Waits for a free place.
    pub(super) async fn enter(&self) -> Permit {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // registered before the look, so that a place freed in between is not missed
            freed.as_mut().enable();
            if let Some(permit) = self.with(|s| (s.open < s.limit).then(|| s.open += 1)).map(|()| Permit(self.clone())) {
                return permit;
            }
            freed.await;
        }
    }

    /// The server refused one more channel: from now on at most as many as were open besides it. False when none were, for then the
    /// refusal has another reason.
    pub(super) fn shrink(&self) -> bool {
        self.with(|s| {
            let others = s.open.saturating_sub(1);
            if others > 0 {
                s.limit = s.limit.min(others);
            }
            others > 0
        })
    }

    /// The limit as learned so far.
    pub(super) fn limit(&self) -> usize {
        self.with(|s| s.limit)
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.with(|s| s.open -= 1);
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn shrinks_to_what_the_server_allows_and_goes_on() {
        let gate = Gate::new(8);
        let a = gate.enter().await;
        let b = gate.enter().await;
        let refused = gate.enter().await;
        assert!(gate.shrink());
        drop(refused);
        assert_eq!(gate.limit(), 2);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.enter()).await.is_err());
        drop(a);
        let c = tokio::time::timeout(Duration::from_secs(1), gate.enter()).await.unwrap();
        drop((b, c));
        let only = gate.enter().await;
        assert!(!gate.shrink(), "alone, the refusal is not for want of a place");
        drop(only);
    }
}
