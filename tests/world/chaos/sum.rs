//! What many lives showed together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::coverage::Shown;
use super::story::{Outcome, live};
use crate::host::faults::Fault;

/// How often each kind of fault occurs in a run of every day, at least.
const LEAST_FAULTS: u64 = 100;
/// In how many lives of a run of every day a fault meets a change, at least: only these count.
const LEAST_MET: u64 = 2_000;
/// What faults led to, counted beside them, and how often at least. An answer that is late is overtaken
/// only where its host has another one under way.
const LED_TO: [(&str, u64); 2] = [("answers reordered", 10), ("a leader's process ended", 100)];

#[derive(Default)]
pub struct Sum {
    pub failed: Vec<u64>,
    lives: u64,
    /// How many lives of each kind of cluster, and how long they took.
    kinds: BTreeMap<&'static str, (u64, Duration)>,
    /// In which a fault met a change.
    met: u64,
    /// In which a member was stopped, or a host did not serve, while clients had written.
    at_risk: u64,
    stops: u64,
    late_stops: u64,
    overlaps: u64,
    /// How long after its deadline a run ended, at most.
    late: Duration,
    faults: BTreeMap<&'static str, u64>,
    exits: BTreeMap<Option<u8>, u64>,
    pub shown: Shown,
    pub traces: BTreeMap<u64, u64>,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome, took: Duration) {
        let seed = outcome.seed;
        if !outcome.violations.is_empty() {
            println!("seed {seed}: {:?} {:?}", outcome.exits, outcome.faults);
            for violation in &outcome.violations {
                println!("  VIOLATION {violation}");
            }
            self.failed.push(seed);
        }
        self.lives += 1;
        let kind = self.kinds.entry(outcome.kind).or_default();
        *kind = (kind.0 + 1, kind.1 + took);
        self.met += u64::from(outcome.met);
        self.at_risk += u64::from(outcome.at_risk);
        self.stops += outcome.stops.0;
        self.late_stops += outcome.stops.1;
        self.overlaps += outcome.overlaps;
        self.late = self.late.max(outcome.late);
        for (name, count) in &outcome.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (_, exit) in &outcome.exits {
            *self.exits.entry(*exit).or_default() += 1;
        }
        self.shown.merge(&outcome.shown);
        self.traces.insert(seed, hash(&outcome.trace));
    }

    /// Lives seeds on both cores, in this order.
    pub fn live(seeds: &[u64]) -> Self {
        let (next, sum) = (AtomicUsize::new(0), Mutex::new(Self::default()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = std::time::Instant::now();
                        let outcome = live(*seed);
                        let took = began.elapsed();
                        sum.lock().expect("no panic").add(&outcome, took);
                    }
                });
            }
        });
        sum.into_inner().expect("no panic")
    }

    /// What lives of a run of every day must show, so that they can fail.
    pub fn assert_enough(&self) {
        let Self {
            lives,
            met,
            at_risk,
            ..
        } = self;
        assert!(
            *met >= LEAST_MET && met * 10 >= lives * 9,
            "faults met changes in {met} of {lives}"
        );
        assert!(
            at_risk * 5 > *lives,
            "data were at risk in {at_risk} of {lives}"
        );
        let kinds = Fault::NAMES.map(|name| (name, LEAST_FAULTS));
        for (name, least) in kinds.into_iter().chain(LED_TO) {
            let count = self.faults.get(name).copied().unwrap_or_default();
            assert!(count >= least, "{name}: {count}");
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}; {} in which a fault met a change, {} with written data at risk, {} members that \
             served were stopped ({} just after a fault), {} changes met those of a run that had lost \
             its lock, the latest end {:.1?} after its deadline; faults {:?}; exit codes {:?}",
            self.kinds,
            self.met,
            self.at_risk,
            self.stops,
            self.late_stops,
            self.overlaps,
            self.late,
            self.faults,
            self.exits,
        )
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
