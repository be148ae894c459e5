//! A transfer of many files: how far, how fast, how long still.

use std::collections::VecDeque;
use std::time::Duration;

use super::text::{bytes, count, duration};

/// The rate is that of the last seconds: an average since the start hides a line that got slow.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The images and bytes of a bundle.
#[derive(Debug, Clone, Default)]
pub struct TransferView {
    /// Number of images whose parts are known.
    pub images: usize,
    /// Number of images whose parts are there.
    pub fetched: usize,
    /// Bytes that are there, of all.
    pub bytes: Option<(u64, u64)>,
    meter: RateMeter,
}

/// Measures how fast bytes arrive.
#[derive(Debug, Clone, Default)]
pub struct RateMeter {
    samples: VecDeque<(Duration, u64)>,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSummary {
    pub file: String,
    pub images: usize,
    pub platforms: Vec<String>,
    pub bytes: u64,
    pub fetched: u64,
}

impl RateMeter {
    pub(super) fn add(&mut self, done: u64, at: Duration) {
        // Bytes that are fetched again count from there.
        if self
            .samples
            .back()
            .is_some_and(|(_, before)| *before > done)
        {
            self.samples.clear();
        }
        self.samples.push_back((at, done));
        // One sample before the window is kept, so that the window is full.
        while self.samples.len() > 2 && at.saturating_sub(self.samples[1].0) >= RATE_WINDOW {
            self.samples.pop_front();
        }
    }

    /// Forgets the rate: what comes next is of another kind.
    pub(super) fn restart(&mut self) {
        self.samples.clear();
    }

    /// Bytes per second; `None` before there is something to compare.
    fn rate(&self, now: Duration) -> Option<u64> {
        let ((first, before), (_, done)) = (self.samples.front()?, self.samples.back()?);
        let elapsed = now.saturating_sub(*first).as_millis();
        if elapsed < 1000 || self.samples.len() < 2 {
            return None;
        }
        u64::try_from(u128::from(done - before) * 1000 / elapsed).ok()
    }

    /// `5.00 MB/s, 17 s left`; `None` before there is something to compare, and at the end.
    pub(super) fn text(&self, done: u64, total: Option<u64>, now: Duration) -> Option<String> {
        let is_running = |_: &u64| total.is_none_or(|total| done < total);
        let rate = self.rate(now).filter(is_running)?;
        let mut text = format!("{}/s", bytes(rate, None));
        let left = total.and_then(|total| total.saturating_sub(done).checked_div(rate));
        if let Some(left) = left {
            text.push_str(&format!(", {} left", duration(Duration::from_secs(left))));
        }
        Some(text)
    }
}

impl TransferView {
    pub(super) fn progress(&mut self, done: u64, total: u64, at: Duration) {
        self.bytes = Some((done, total));
        self.meter.add(done, at);
    }

    /// Forgets the rate: what comes next is of another kind.
    pub(super) fn restart_rate(&mut self) {
        self.meter.restart();
    }

    /// `34.25 MB of 120.00 MB, 28 %, 5.00 MB/s, 17 s left`.
    pub(super) fn text(&self, now: Duration) -> Option<String> {
        let (done, total) = self.bytes?;
        let percent = u128::from(done) * 100 / u128::from(total.max(1));
        let mut parts = vec![bytes(done, Some(total)), format!("{percent} %")];
        parts.extend(self.meter.text(done, Some(total), now));
        Some(parts.join(", "))
    }
}

impl BundleSummary {
    /// `dc1.tar: 12 images for linux/amd64, 903.21 MB (780.00 MB fetched)`.
    pub(super) fn text(&self) -> String {
        format!(
            "{}: {} for {}, {} ({} fetched)",
            self.file,
            count(self.images, "image"),
            self.platforms.join(" and "),
            bytes(self.bytes, None),
            bytes(self.fetched, None),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_covers_the_last_seconds() {
        let at = Duration::from_millis;
        let mut view = TransferView::default();
        assert_eq!(view.text(at(0)), None);
        view.progress(10_000_000, 100_000_000, at(0));
        let start = "10.00 MB of 100.00 MB, 10 %";
        assert_eq!(view.text(at(500)).as_deref(), Some(start));
        for n in 1..=10 {
            view.progress(10_000_000 + n * 4_000_000, 100_000_000, at(n * 1000));
        }
        let running = "50.00 MB of 100.00 MB, 50 %, 4.00 MB/s, 12 s left";
        assert_eq!(view.text(at(10_000)).as_deref(), Some(running));
        // Nothing arrives any more.
        for n in 11..=16 {
            view.progress(50_000_000, 100_000_000, at(n * 1000));
        }
        let stalled = "50.00 MB of 100.00 MB, 50 %, 0 B/s";
        assert_eq!(view.text(at(16_000)).as_deref(), Some(stalled));
        view.progress(20_000_000, 100_000_000, at(17_000));
        let restarted = "20.00 MB of 100.00 MB, 20 %";
        assert_eq!(view.text(at(17_000)).as_deref(), Some(restarted));
        view.progress(100_000_000, 100_000_000, at(30_000));
        let done = "100.00 MB of 100.00 MB, 100 %";
        assert_eq!(view.text(at(30_000)).as_deref(), Some(done));
    }
}
