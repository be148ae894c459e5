//! The time of day. Durations are measured on tokio's clock.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl std::fmt::Debug for WallClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WallClock").field(&self.now()).finish()
    }
}

impl WallClock {
    /// This machine's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the clock of the real machine")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// Shows `start` now, and goes on with tokio's clock, which a test can pause and move. A clock
    /// that stands wrong begins elsewhere.
    #[must_use]
    pub fn on_tokio_time(start: Timestamp) -> Self {
        let began = Instant::now();
        Self(Arc::new(move || {
            SignedDuration::try_from(began.elapsed())
                .ok()
                .and_then(|passed| start.checked_add(passed).ok())
                .unwrap_or(Timestamp::MAX)
        }))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn day_time_follows_the_virtual_clock() {
        let clock = WallClock::on_tokio_time("2026-01-01T00:00:00Z".parse().unwrap());
        tokio::time::sleep(Duration::from_millis(90_500)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T00:01:30.5Z");
    }
}
