//! All cuts of a scenario, on both cores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::cut::{CUTS, Cut, CutLife, PassedPoint, PlacedCut};
use super::scenario::Scenario;
use crate::chaos::on_own_clock;
use crate::random::Random;
use crate::state::{HostState, whole_outline};

/// One cut of so many is lived once more, with a second cut in the run after it.
const TWICE: u64 = 10;

/// What all cuts of a scenario showed.
#[derive(Default)]
struct Sum {
    cuts: usize,
    /// Lives with two cuts.
    twice: usize,
    failed: usize,
    /// Lives that left keys of Consul's proof.
    with_proof_keys: usize,
    ends: BTreeSet<Vec<String>>,
    exits: BTreeMap<Option<u8>, usize>,
}

impl Scenario {
    /// The points of the run when nothing cuts it, each state of hosts and pending operation once;
    /// and what the hosts are then.
    async fn points(&self) -> (Vec<PassedPoint>, Vec<String>) {
        let is_long = std::env::var_os("TOOTS_LONG").is_some();
        let life = self.begin().await;
        let first = life.world.passed();
        let seen = Arc::new(Mutex::new((BTreeSet::<(u64, String)>::new(), Vec::new())));
        let machines = life.world.machines().to_vec();
        let noted = Arc::clone(&seen);
        life.world.points.on_pass(move |point| {
            let of_host = machines.iter().find(|machine| machine.name == point.host);
            let state = of_host.map_or(0, |machine| HostState::read(machine).fingerprint());
            let name = match is_long {
                true => &point.name,
                false => without_question(&point.name),
            };
            let operation = format!("{} {name} {:?}", point.host, point.kind);
            let mut noted = noted.lock().unwrap();
            if noted.0.insert((state, operation)) {
                noted.1.push(point.clone());
            }
        });
        let began = tokio::time::Instant::now();
        let (ending, desk) = self.run(&life, &self.desk, &self.line).await;
        assert_eq!(ending.exit, Some(0), "{}: {}", self.name, ending.output);
        let wrong = self.judge_desk(&self.desk, &desk, ending.exit);
        assert!(wrong.is_empty(), "{}: {wrong:?}", self.name);
        let points = std::mem::take(&mut seen.lock().unwrap().1);
        let points = points.into_iter().filter(|point| point.number >= first);
        let points = points.map(|point| {
            let after = point.at - began;
            PassedPoint { point, after }
        });
        (points.collect(), whole_outline(&life))
    }
}

/// The name of an operation without what it asks for and where: a question leaves nothing on a host.
fn without_question(name: &str) -> &str {
    let is_opened = name.starts_with("TCP ") && name.ends_with(" opened");
    let port_at = name.find(|c: char| c.is_ascii_digit());
    match (name.split_once(" GET "), port_at) {
        (Some((operation, _)), _) => operation,
        (None, Some(at)) if is_opened => &name[..at],
        _ => name,
    }
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

/// Lives a cut, and maybe a second one with it.
fn live(scenario: &Scenario, first: &PlacedCut, expected: &[String], sum: &Mutex<Sum>) {
    let number = first.at.point.number as u64;
    let of_cut = CUTS.iter().position(|cut| *cut == first.cut).unwrap_or(0) as u64;
    let mut random = Random::new(scenario.seed << 48 ^ number << 8 ^ of_cut);
    let is_twice = random.below(TWICE) == 0;
    let cuts = [first.clone()];
    let life = on_own_clock(scenario.live(&cuts, is_twice, expected));
    let second = draw_second(&mut random, &life.last_points);
    add(scenario, &cuts, life, sum);
    if let Some(second) = second {
        let cuts = [first.clone(), second];
        let life = on_own_clock(scenario.live(&cuts, false, expected));
        add(scenario, &cuts, life, sum);
    }
}

fn add(scenario: &Scenario, cuts: &[PlacedCut], life: CutLife, sum: &Mutex<Sum>) {
    let mut sum = sum.lock().unwrap();
    if !life.violations.is_empty() {
        let at = |PlacedCut { cut, at }: &PlacedCut| format!("{cut:?} at {}", at.point);
        let at: Vec<String> = cuts.iter().map(at).collect();
        println!("{} {}", scenario.name, at.join(", then "));
        for violation in &life.violations {
            println!("  VIOLATION {violation}");
        }
        sum.failed += 1;
    }
    match cuts {
        [_] => sum.cuts += 1,
        _ => sum.twice += 1,
    }
    sum.with_proof_keys += usize::from(life.proof_keys > 0);
    sum.ends.insert(life.ended);
    for exit in life.exits {
        *sum.exits.entry(exit).or_default() += 1;
    }
}

/// Cuts a scenario off at one of `step` points.
pub fn explore(scenario: &Scenario, step: usize) {
    let began = std::time::Instant::now();
    let (points, expected) = on_own_clock(scenario.points());
    let count = points.len();
    let cuts = points.into_iter().flat_map(|at| {
        let place = |cut: &Cut| PlacedCut {
            cut: *cut,
            at: at.clone(),
        };
        CUTS.iter().map(place).collect::<Vec<_>>()
    });
    let cuts = cuts.filter(|placed| placed.cut.applies_to(&placed.at.point));
    let cuts: Vec<PlacedCut> = cuts.step_by(step).collect();
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    live(scenario, cut, &expected, &sum);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!(
        "{}: {count} cut-off points, {} cuts, {} cut twice, {} end states, exit codes {:?}, {} left \
         keys of a proof, {} failed, {:.0?}",
        scenario.name,
        sum.cuts,
        sum.twice,
        sum.ends.len(),
        sum.exits,
        sum.with_proof_keys,
        sum.failed,
        began.elapsed()
    );
    assert_eq!(sum.failed, 0);
}

#[test]
fn questions_are_merged_and_changes_are_not() {
    assert_eq!(without_question("Engine read GET /info"), "Engine read");
    assert_eq!(without_question("TCP 10.0.0.11:8500 opened"), "TCP ");
    for other in ["Engine read POST /containers/x/stop", "Place renamed /a"] {
        assert_eq!(without_question(other), other);
    }
}
