//! The time limit of one hop, paused while a person answers a prompt.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::TransportError;

#[derive(Debug, Default)]
struct Paused {
    total: Duration,
    since: Option<Instant>,
}

/// One limit for TCP, banner, key exchange and authentication together.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    start: Instant,
    limit: Duration,
    paused: Arc<Mutex<Paused>>,
}

impl Budget {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            start: Instant::now(),
            limit,
            paused: Arc::default(),
        }
    }

    /// Runs a future whose time does not count: a person who types, a security key that waits for a
    /// touch.
    pub(super) async fn pause<F: Future>(&self, future: F) -> F::Output {
        self.state(|p| p.since = Some(Instant::now()));
        let out = future.await;
        self.state(|p| p.total += p.since.take().map(|s| s.elapsed()).unwrap_or_default());
        out
    }

    /// The remaining time; `None` when it is used up.
    pub(super) fn left(&self) -> Option<Duration> {
        let paused = self.state(|p| p.total + p.since.map(|s| s.elapsed()).unwrap_or_default());
        (self.limit + paused)
            .checked_sub(self.start.elapsed())
            .filter(|d| !d.is_zero())
    }

    /// The time that did not count.
    pub(super) fn paused(&self) -> Duration {
        self.state(|p| p.total)
    }

    /// Runs one stage inside the limit.
    pub(super) async fn run<F: Future>(
        &self,
        what: &str,
        future: F,
    ) -> Result<F::Output, TransportError> {
        tokio::pin!(future);
        while let Some(left) = self.left() {
            if let Ok(out) = timeout(left, future.as_mut()).await {
                return Ok(out);
            }
            // The next `left` gives back the time that was paused meanwhile.
        }
        Err(TransportError::Deadline {
            what: what.to_owned(),
            limit: self.limit,
        })
    }

    fn state<T>(&self, f: impl FnOnce(&mut Paused) -> T) -> T {
        f(&mut self.paused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_is_silent_ends_at_the_limit() {
        let budget = Budget::new(Duration::from_secs(10));
        budget
            .run("a", sleep(Duration::from_secs(4)))
            .await
            .unwrap();
        let start = Instant::now();
        assert!(matches!(
            budget.run("b", std::future::pending::<()>()).await,
            Err(TransportError::Deadline { .. })
        ));
        assert_eq!(start.elapsed().as_secs(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_person_does_not_count() {
        let budget = Budget::new(Duration::from_secs(10));
        let stage = async {
            sleep(Duration::from_secs(9)).await;
            budget.pause(sleep(Duration::from_secs(300))).await;
            budget.left()
        };
        let left = budget.run("a", stage).await.unwrap().unwrap();
        assert!(
            left <= Duration::from_secs(1) && left > Duration::from_millis(900),
            "{left:?}"
        );
    }
}
