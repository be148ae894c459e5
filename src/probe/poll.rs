//! Asks again until a deadline: whoever waits for something that no event announces.

use std::time::Duration;

use tokio::time::Instant;

/// The questions to something that may not be ready yet, with pauses between them.
///
/// ```ignore
/// let mut poll = Poll::every(INTERVAL, LIMIT);
/// loop {
///     let answer = ask().await;
///     if answer.is_good() || !poll.pause().await {
///         return answer;
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Poll {
    started: Instant,
    limit: Duration,
    interval: Duration,
    max_interval: Duration,
}

impl Poll {
    /// Asks with the same pause each time. The limit counts from now on.
    #[must_use]
    pub fn every(interval: Duration, limit: Duration) -> Self {
        Self::doubling(interval, interval, limit)
    }

    /// Asks with pauses that double up to the longest one: frequent questions do not help a service
    /// that starts slowly. The limit counts from now on.
    #[must_use]
    pub fn doubling(first: Duration, longest: Duration, limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            limit,
            interval: first,
            max_interval: longest,
        }
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether the time is over: a question that was answered then is the last one.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.started.elapsed() >= self.limit
    }

    /// Waits until the next question is due. Returns false, at once, when the time is over.
    pub async fn pause(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        let interval = self.interval;
        self.interval = (interval * 2).min(self.max_interval);
        tokio::time::sleep(interval).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of the questions, milliseconds.
    async fn moments(mut poll: Poll) -> Vec<u128> {
        let mut moments = vec![0];
        while poll.pause().await {
            moments.push(poll.started().elapsed().as_millis());
        }
        moments
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_question_comes_when_the_time_is_over() {
        let ms = Duration::from_millis;
        let every = moments(Poll::every(ms(400), ms(1000))).await;
        assert_eq!(every, [0, 400, 800, 1200]);
        let doubling = moments(Poll::doubling(ms(250), ms(600), ms(2000))).await;
        assert_eq!(doubling, [0, 250, 750, 1350, 1950, 2550]);
        assert_eq!(moments(Poll::every(ms(1), ms(0))).await, [0]);
    }
}
