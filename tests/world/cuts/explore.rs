//! All cuts of a scenario, each in a copy of a process that lives the scenario once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::cut::CutLife;
use super::placed::{CUTS, PlannedCut};
use super::results::{LifeId, Results};
use super::scenario::Scenario;
use super::scene::{EqualCuts, find_equal_cuts};
use crate::chaos::on_own_clock;
use crate::random::Random;

/// One cut of so many is lived once more, with a second cut in the run after it.
const TWICE: u64 = 10;
/// Of so many cuts that have equals one is compared with one of them.
const COMPARED: u64 = 10;
/// Says that a process is the one whose copies live the cuts.
const ALONE: &str = "TOOTS_CUTS_ALONE";

/// The cuts to be lived, and those of them that count as equal.
#[derive(Default)]
struct Selection {
    planned: Vec<PlannedCut>,
    /// The number of a cut, and of the one that must lead to the same.
    equal: Vec<(usize, usize)>,
}

impl Selection {
    fn add(&mut self, planned: PlannedCut) -> usize {
        self.planned.push(planned);
        self.planned.len() - 1
    }

    /// A cut, maybe with a second one after it, and maybe others that count as equal.
    fn add_equal_cuts(&mut self, seed: u64, EqualCuts { cuts, .. }: &EqualCuts) {
        let cut = cuts[0].clone();
        let kind = CUTS.iter().position(|known| *known == cut.cut).unwrap_or(0) as u64;
        let mut random = Random::new(seed << 48 ^ (cut.number as u64) << 8 ^ kind);
        let is_twice = random.below(TWICE) == 0;
        let is_compared = random.below(COMPARED) == 0;
        let others = match &cuts[1..] {
            others if std::env::var_os("TOOTS_LONG").is_some() => others.to_vec(),
            others if is_compared && !others.is_empty() => vec![random.choose(others).clone()],
            _ => Vec::new(),
        };
        let second = is_twice.then(|| random.below(u64::MAX));
        let id = self.planned.len();
        let first = self.add(PlannedCut { id, cut, second });
        for cut in others {
            let id = self.planned.len();
            let other = self.add(PlannedCut {
                id,
                cut,
                second: None,
            });
            self.equal.push((first, other));
        }
    }
}

/// What all cuts of a scenario showed.
#[derive(Default)]
struct Sum {
    /// Lives with one cut, and with two.
    lived: [usize; 2],
    failed: usize,
    /// Lives that left keys of Consul's proof.
    with_proof_keys: usize,
    states: BTreeSet<u64>,
    ends: BTreeSet<u64>,
    exits: BTreeMap<String, usize>,
}

impl Sum {
    fn fail(&mut self, what: &str, violations: &[String]) {
        if violations.is_empty() {
            return;
        }
        eprintln!("{what}");
        for violation in violations {
            eprintln!("  VIOLATION {violation}");
        }
        self.failed += 1;
    }

    fn add(&mut self, life: &CutLife, results: &Results) {
        let cuts: Vec<String> = life.cuts.iter().map(ToString::to_string).collect();
        let cuts = cuts.join(", then ");
        self.lived[life.cuts.len() - 1] += 1;
        self.states.insert(life.aftermath);
        for exit in &life.exits {
            let shown = exit.map_or_else(|| "killed".to_owned(), |code| code.to_string());
            *self.exits.entry(shown).or_default() += 1;
        }
        let Some(converged) = results.converged(life.aftermath) else {
            self.fail(&cuts, &["the run after it came to no end".to_owned()]);
            return;
        };
        self.ends.insert(converged.end);
        self.with_proof_keys += usize::from(converged.proof_keys > 0);
        self.fail(&cuts, &life.violations(&converged));
    }

    fn collect(selection: &Selection, results: &Results) -> Self {
        let mut sum = Self::default();
        let mut lives = Vec::new();
        for PlannedCut { id, cut, second } in &selection.planned {
            let life_id = |is_twice| LifeId { id: *id, is_twice };
            let life = results.life(life_id(false));
            match &life {
                Some(life) => sum.add(life, results),
                None => sum.fail(&cut.to_string(), &["its process failed".to_owned()]),
            }
            lives.push(life);
            if second.is_some() && results.second(*id).is_some() {
                match results.life(life_id(true)) {
                    Some(life) => sum.add(&life, results),
                    None => sum.fail(&cut.to_string(), &["its second cut failed".to_owned()]),
                }
            }
        }
        // What a cut with an equal key leaves must be the same.
        for (first, other) in &selection.equal {
            let (Some(first), Some(other)) = (&lives[*first], &lives[*other]) else {
                continue;
            };
            if (first.aftermath, &first.exits) != (other.aftermath, &other.exits) {
                let both = format!("{} and {}", first.cuts[0], other.cuts[0]);
                let text = format!(
                    "counted as equal: exit codes {:?} and {:?}",
                    first.exits, other.exits
                );
                sum.fail(&both, &[text]);
            }
        }
        sum
    }
}

/// Cuts a scenario off at one of `step` points.
fn live_cuts(scenario: &Scenario, step: usize) {
    let began = std::time::Instant::now();
    let (points, expected) = on_own_clock(scenario.points());
    let count = points.len();
    let cuts = find_equal_cuts(&points);
    drop(points);
    let different = cuts.len();
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    let cuts = cuts.iter();
    let cuts = cuts.filter(|cuts| is_long || !cuts.are_left_out);
    let mut selection = Selection::default();
    for cuts in cuts.step_by(step) {
        selection.add_equal_cuts(scenario.seed, cuts);
    }
    let results = Results::new();
    let is_copy = on_own_clock(scenario.live(&selection.planned, &expected, &results));
    if is_copy {
        std::process::exit(0);
    }
    let sum = Sum::collect(&selection, &results);
    results.remove();
    eprintln!(
        "{}: {count} cut-off points, {different} cuts that differ, {} lived, {} cut twice, {} compared \
         with an equal one, {} states left by them, {} end states, exit codes {:?}, {} left keys of a \
         proof, {} failed, {:.0?}",
        scenario.name,
        sum.lived[0],
        sum.lived[1],
        selection.equal.len(),
        sum.states.len(),
        sum.ends.len(),
        sum.exits,
        sum.with_proof_keys,
        sum.failed,
        began.elapsed()
    );
    assert_eq!(sum.failed, 0);
}

/// Cuts a scenario off at one of `step` points. The test of this name runs in a process of its own: copies
/// are made of it, and no other test may hold a lock then.
pub fn explore(test: &str, scenario: fn() -> Scenario, step: usize) {
    if std::env::var_os(ALONE).is_some() {
        live_cuts(&scenario(), step);
        return;
    }
    let this = std::env::current_exe().expect("the path of this test");
    let alone = Command::new(this)
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&alone.stderr);
    println!("{}", said.trim_end());
    assert!(alone.status.success(), "{}", alone.status);
    assert!(said.contains("cut-off points"), "no test is named {test}");
}
