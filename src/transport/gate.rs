//! How many session channels may be open on one connection, learned down when the server allows fewer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct State {
    limit: usize,
    /// Places taken, whether the channel is open yet or not.
    taken: usize,
    /// Channels open now.
    open: usize,
    /// The most that were open at once.
    proven: usize,
}

/// Counts session channels. A semaphore cannot shrink while its permits are out, and that is what a server's `MaxSessions` asks for.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
    freed: Arc<Notify>,
}

/// The right to one session channel.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Gate,
    open: bool,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                limit: limit.max(1),
                taken: 0,
                open: 0,
                proven: 0,
            })),
            freed: Arc::default(),
        }
    }

    /// Waits for a free place.
    pub(super) async fn enter(&self) -> Permit {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // registered before the look, so that a place freed in between is not missed
            freed.as_mut().enable();
            if self
                .with(|s| (s.taken < s.limit).then(|| s.taken += 1))
                .is_some()
            {
                return Permit {
                    gate: self.clone(),
                    open: false,
                };
            }
            freed.await;
        }
    }

    /// The server refused one more channel. True when that is its limit, which is kept from now on. False when as many were open before, or
    /// none is open: then a place is being freed, or the refusal has another reason.
    pub(super) fn refused(&self) -> bool {
        self.with(|s| {
            let full = s.open > 0 && s.open >= s.proven;
            if full {
                s.limit = s.limit.min(s.open);
            }
            full
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

impl Permit {
    /// The channel is open.
    pub(super) fn opened(&mut self) {
        self.open = true;
        self.gate.with(|s| {
            s.open += 1;
            s.proven = s.proven.max(s.open);
            // a refusal may be heard before the acceptance that the server sent first
            s.limit = s.limit.max(s.open);
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.with(|s| {
            s.taken -= 1;
            s.open -= usize::from(self.open);
        });
        self.gate.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn open(gate: &Gate) -> Permit {
        let mut permit = gate.enter().await;
        permit.opened();
        permit
    }

    #[tokio::test]
    async fn shrinks_to_what_the_server_allows_and_goes_on() {
        let gate = Gate::new(8);
        let (a, b) = (open(&gate).await, open(&gate).await);
        let refused = [gate.enter().await, gate.enter().await];
        assert!(gate.refused() && gate.refused());
        drop(refused);
        assert_eq!(gate.limit(), 2);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), gate.enter())
                .await
                .is_err()
        );
        drop(a);
        let c = tokio::time::timeout(Duration::from_secs(1), gate.enter())
            .await
            .unwrap();
        drop((b, c));
    }

    #[tokio::test]
    async fn a_refusal_that_is_heard_early_does_not_stay() {
        let gate = Gate::new(8);
        let held = open(&gate).await;
        let (mut accepted, refused) = (gate.enter().await, gate.enter().await);
        assert!(gate.refused());
        assert_eq!(gate.limit(), 1);
        accepted.opened();
        assert_eq!(gate.limit(), 2);
        drop((held, accepted, refused));
    }

    #[tokio::test]
    async fn a_place_that_is_being_freed_is_not_a_limit() {
        let gate = Gate::new(8);
        let held = open(&gate).await;
        drop(open(&gate).await);
        let again = gate.enter().await;
        assert!(!gate.refused(), "two were open before");
        drop((held, again));
        let alone = gate.enter().await;
        assert!(
            !gate.refused(),
            "with none open, the refusal is not for want of a place"
        );
        assert_eq!(gate.limit(), 8);
        drop(alone);
    }
}
