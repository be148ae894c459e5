//! Waits until a gate opens, asking first often and then more rarely.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Verdict;

/// First pause between two questions.
pub const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two questions.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A gate that did not open in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gate did not open within {limit:?}")]
pub struct GateClosed {
    /// The limit.
    pub limit: Duration,
    /// What was found last; absent when not even one question was answered.
    pub last: Option<Box<Verdict>>,
}

/// Asks until the verdict is healthy or `limit` has passed; `on_missing` hears of each verdict that is not (to show what is still
/// missing). The pause between two questions doubles from `first` to [`LONGEST_PAUSE`].
///
/// # Errors
/// With the last verdict when the limit passes; a question that is being asked then is dropped.
pub async fn wait<F: Future<Output = Verdict>>(
    limit: Duration,
    first: Duration,
    mut ask: impl FnMut() -> F,
    mut on_missing: impl FnMut(&Verdict),
) -> Result<Verdict, GateClosed> {
    let end = Instant::now() + limit;
    let mut pause = first;
    let mut last = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(verdict) = timeout(left, ask()).await else {
            break;
        };
        if verdict.healthy {
            return Ok(verdict);
        }
        on_missing(&verdict);
        last = Some(Box::new(verdict));
        if Instant::now() + pause >= end {
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(GateClosed { limit, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(healthy: bool) -> Verdict {
        Verdict {
            healthy,
            ..Verdict::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_as_soon_as_the_verdict_is_healthy() {
        let mut asked = 0;
        let mut missing = 0;
        let start = Instant::now();
        let end = wait(
            Duration::from_secs(60),
            FIRST_PAUSE,
            || {
                asked += 1;
                std::future::ready(verdict(asked == 5))
            },
            |_| missing += 1,
        )
        .await
        .unwrap();
        assert!(end.healthy);
        assert_eq!(missing, 4);
        // 250 ms, 500 ms, 1 s, 2 s
        assert_eq!(start.elapsed(), Duration::from_millis(3750));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_and_a_silent_one_end_in_time() {
        let start = Instant::now();
        let error = wait(
            Duration::from_secs(5),
            FIRST_PAUSE,
            || std::future::ready(verdict(false)),
            |_| {},
        )
        .await
        .unwrap_err();
        assert!(start.elapsed() <= Duration::from_secs(5));
        assert_eq!(error.last.map(|v| v.healthy), Some(false));

        let start = Instant::now();
        let error = wait(
            Duration::from_secs(5),
            FIRST_PAUSE,
            std::future::pending,
            |_| {},
        )
        .await
        .unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        assert_eq!(error.last, None);
    }
}
