//! Limits the open session channels of one connection, and lowers the limit when the server allows
//! fewer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct LimiterState {
    limit: usize,
    /// Permits given out, whether the channel is open yet or not.
    taken: usize,
    /// Channels open now.
    open: usize,
    /// The most channels that were open at once.
    proven: usize,
    /// Callers that wait for a permit.
    waiting: usize,
}

/// Counts session channels. Not a semaphore: it must shrink to the server's `MaxSessions` while
/// permits are out.
#[derive(Debug, Clone)]
pub(super) struct ChannelLimiter {
    state: Arc<Mutex<LimiterState>>,
    freed: Arc<Notify>,
    wanted: Arc<Notify>,
}

/// The right to open one session channel.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: ChannelLimiter,
    open: bool,
}

impl ChannelLimiter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(LimiterState {
                limit: limit.max(1),
                taken: 0,
                open: 0,
                proven: 0,
                waiting: 0,
            })),
            freed: Arc::default(),
            wanted: Arc::default(),
        }
    }

    /// Waits for a permit.
    pub(super) async fn enter(&self) -> Permit {
        if let Some(permit) = self.try_enter() {
            return permit;
        }
        let _waiting = Waiting::new(self);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the check, so that a permit returned in between is not missed.
            freed.as_mut().enable();
            if let Some(permit) = self.try_enter() {
                return permit;
            }
            freed.await;
        }
    }

    /// Takes a permit when one is free.
    pub(super) fn try_enter(&self) -> Option<Permit> {
        self.with(|s| (s.taken < s.limit).then(|| s.taken += 1))
            .map(|()| Permit {
                limiter: self.clone(),
                open: false,
            })
    }

    /// Returns when somebody waits for a permit, so that an idle channel can make room.
    pub(super) async fn wanted(&self) {
        loop {
            let wanted = self.wanted.notified();
            tokio::pin!(wanted);
            wanted.as_mut().enable();
            if self.with(|s| s.waiting > 0) {
                return;
            }
            wanted.await;
        }
    }

    /// Records that the server refused a channel. Returns true when that is its limit, which is
    /// kept from then on. Returns false when as many channels were open before, or none is open:
    /// then a channel is about to close, or the refusal has another reason.
    pub(super) fn refused(&self) -> bool {
        self.with(|s| {
            let full = s.open > 0 && s.open >= s.proven;
            if full {
                s.limit = s.limit.min(s.open);
            }
            full
        })
    }

    /// The limit learned so far.
    pub(super) fn limit(&self) -> usize {
        self.with(|s| s.limit)
    }

    fn with<T>(&self, f: impl FnOnce(&mut LimiterState) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts a caller that waits, until it has a permit or gives up.
struct Waiting<'a>(&'a ChannelLimiter);

impl<'a> Waiting<'a> {
    fn new(limiter: &'a ChannelLimiter) -> Self {
        limiter.with(|s| s.waiting += 1);
        limiter.wanted.notify_waiters();
        Self(limiter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|s| s.waiting -= 1);
    }
}

impl Permit {
    /// Records that the channel is open.
    pub(super) fn opened(&mut self) {
        self.open = true;
        self.limiter.with(|s| {
            s.open += 1;
            s.proven = s.proven.max(s.open);
            // A refusal may arrive before the confirmation that the server sent first.
            s.limit = s.limit.max(s.open);
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.with(|s| {
            s.taken -= 1;
            s.open -= usize::from(self.open);
        });
        self.limiter.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn open(limiter: &ChannelLimiter) -> Permit {
        let mut permit = limiter.enter().await;
        permit.opened();
        permit
    }

    #[tokio::test]
    async fn shrinks_to_what_the_server_allows_and_goes_on() {
        let limiter = ChannelLimiter::new(8);
        let (a, b) = (open(&limiter).await, open(&limiter).await);
        let refused = [limiter.enter().await, limiter.enter().await];
        assert!(limiter.refused() && limiter.refused());
        drop(refused);
        assert_eq!(limiter.limit(), 2);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), limiter.enter())
                .await
                .is_err()
        );
        drop(a);
        let c = tokio::time::timeout(Duration::from_secs(1), limiter.enter())
            .await
            .unwrap();
        drop((b, c));
    }

    #[tokio::test]
    async fn an_idle_channel_learns_that_somebody_waits() {
        let limiter = ChannelLimiter::new(1);
        let held = open(&limiter).await;
        assert!(limiter.try_enter().is_none());
        let short = Duration::from_millis(20);
        assert!(
            tokio::time::timeout(short, limiter.wanted()).await.is_err(),
            "nobody waits"
        );
        let other = limiter.clone();
        let waiter = tokio::spawn(async move { other.enter().await });
        limiter.wanted().await;
        drop(held);
        let second = waiter.await.unwrap();
        assert!(
            tokio::time::timeout(short, limiter.wanted()).await.is_err(),
            "nobody waits any more"
        );
        drop(second);
    }

    #[tokio::test]
    async fn a_refusal_that_is_heard_early_does_not_stay() {
        let limiter = ChannelLimiter::new(8);
        let held = open(&limiter).await;
        let (mut accepted, refused) = (limiter.enter().await, limiter.enter().await);
        assert!(limiter.refused());
        assert_eq!(limiter.limit(), 1);
        accepted.opened();
        assert_eq!(limiter.limit(), 2);
        drop((held, accepted, refused));
    }

    #[tokio::test]
    async fn a_place_that_is_being_freed_is_not_a_limit() {
        let limiter = ChannelLimiter::new(8);
        let held = open(&limiter).await;
        drop(open(&limiter).await);
        let again = limiter.enter().await;
        assert!(!limiter.refused(), "two were open before");
        drop((held, again));
        let alone = limiter.enter().await;
        assert!(
            !limiter.refused(),
            "with none open, the refusal is not for want of a place"
        );
        assert_eq!(limiter.limit(), 8);
        drop(alone);
    }
}
