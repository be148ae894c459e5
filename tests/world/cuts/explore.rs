//! All cuts of a scenario, on both cores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cut::{CUTS, CutLife, Known, PassedPoint, PlacedCut};
use super::scenario::Scenario;
use super::scene::{EqualCuts, find_equal_cuts, is_left_out};
use crate::chaos::on_own_clock;
use crate::random::Random;

/// One cut of so many is lived once more, with a second cut in the run after it.
const TWICE: u64 = 10;
/// Of so many cuts that have equals one is compared with one of them.
const COMPARED: u64 = 10;

/// What all cuts of a scenario showed.
#[derive(Default)]
struct Sum {
    cuts: usize,
    /// Lives with two cuts.
    twice: usize,
    /// Lives of a cut that has the key of another one.
    compared: usize,
    failed: usize,
    /// Lives that left keys of Consul's proof.
    with_proof_keys: usize,
    ends: BTreeSet<u64>,
    exits: BTreeMap<Option<u8>, usize>,
}

/// What all lives of a scenario share.
struct Exploration<'a> {
    scenario: &'a Scenario,
    expected: Vec<String>,
    known: Known,
    sum: Mutex<Sum>,
}

/// A cut of the run after a cut, drawn from its points.
fn draw_second(random: &mut Random, points: &[PassedPoint]) -> Option<PlacedCut> {
    if points.is_empty() {
        return None;
    }
    loop {
        let (cut, at) = (*random.choose(&CUTS), random.choose(points));
        if cut.applies_to(&at.point) {
            let at = at.clone();
            return Some(PlacedCut { cut, at });
        }
    }
}

fn describe(cuts: &[PlacedCut]) -> String {
    let at = |PlacedCut { cut, at }: &PlacedCut| format!("{cut:?} at {}", at.point);
    cuts.iter().map(at).collect::<Vec<_>>().join(", then ")
}

impl Exploration<'_> {
    fn live(&self, cuts: &[PlacedCut], keeps_points: bool) -> CutLife {
        let live = self
            .scenario
            .live(cuts, keeps_points, &self.expected, &self.known);
        let life = on_own_clock(live);
        let mut sum = self.sum.lock().unwrap();
        if !life.violations.is_empty() {
            println!("{} {}", self.scenario.name, describe(cuts));
            for violation in &life.violations {
                println!("  VIOLATION {violation}");
            }
            sum.failed += 1;
        }
        sum.with_proof_keys += usize::from(life.converged.proof_keys > 0);
        sum.ends.insert(life.converged.end);
        for exit in &life.exits {
            *sum.exits.entry(*exit).or_default() += 1;
        }
        life
    }

    /// Lives a cut, maybe a second one with it, and maybe one that counts as equal.
    fn live_equal_cuts(&self, EqualCuts(cuts): &EqualCuts) {
        let first = &cuts[0];
        let number = first.at.point.number as u64;
        let of_cut = CUTS.iter().position(|cut| *cut == first.cut).unwrap_or(0) as u64;
        let mut random = Random::new(self.scenario.seed << 48 ^ number << 8 ^ of_cut);
        let is_twice = random.below(TWICE) == 0;
        let is_compared = random.below(COMPARED) == 0;
        let life = self.live(&cuts[..1], is_twice);
        self.sum.lock().unwrap().cuts += 1;
        let second = match is_twice {
            true => draw_second(&mut random, &life.last_points),
            false => None,
        };
        if let Some(second) = second {
            self.live(&[first.clone(), second], false);
            self.sum.lock().unwrap().twice += 1;
        }
        let others = &cuts[1..];
        if std::env::var_os("TOOTS_LONG").is_some() {
            others
                .iter()
                .for_each(|other| self.compare(&life, first, other));
        } else if is_compared && !others.is_empty() {
            self.compare(&life, first, random.choose(others));
        }
    }

    /// What a cut with an equal key leaves must be the same.
    fn compare(&self, life: &CutLife, first: &PlacedCut, other: &PlacedCut) {
        let again = self.live(std::slice::from_ref(other), false);
        let mut sum = self.sum.lock().unwrap();
        sum.compared += 1;
        if (again.aftermath, &again.exits) != (life.aftermath, &life.exits) {
            let both = describe(&[first.clone(), other.clone()]);
            let (exits, others) = (&life.exits, &again.exits);
            println!("{} {both}", self.scenario.name);
            println!("  VIOLATION counted as equal: exit codes {exits:?} and {others:?}");
            sum.failed += 1;
        }
    }
}

/// Cuts a scenario off at one of `step` points.
pub fn explore(scenario: &Scenario, step: usize) {
    let began = std::time::Instant::now();
    let (points, expected) = on_own_clock(scenario.points());
    let count = points.len();
    let cuts = find_equal_cuts(&points);
    let different = cuts.len();
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    let cuts = cuts.into_iter();
    let cuts = cuts.filter(|EqualCuts(cuts)| is_long || !is_left_out(&cuts[0]));
    let cuts: Vec<EqualCuts> = cuts.step_by(step).collect();
    let exploration = Exploration {
        scenario,
        expected,
        known: Known::default(),
        sum: Mutex::default(),
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    exploration.live_equal_cuts(cut);
                }
            });
        }
    });
    let Exploration { known, sum, .. } = exploration;
    let sum = sum.into_inner().unwrap();
    println!(
        "{}: {count} cut-off points, {different} cuts that differ, {} lived, {} cut twice, {} compared \
         with an equal one, {} states left by them, {} end states, exit codes {:?}, {} left keys of a \
         proof, {} failed, {:.0?}",
        scenario.name,
        sum.cuts,
        sum.twice,
        sum.compared,
        known.count(),
        sum.ends.len(),
        sum.exits,
        sum.with_proof_keys,
        sum.failed,
        began.elapsed()
    );
    assert_eq!(sum.failed, 0);
}
