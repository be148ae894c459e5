//! `toots cluster` on the lab's machines. The first scenarios lead from fresh machines to the base
//! cluster; each of the others begins from it, in an order that a seed gives. Results are verified by
//! other means than toots' own probes. Runs without libtest, which knows no base and no order.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod base;
mod lab;
mod order;
mod proxies;
#[path = "../pty/mod.rs"]
mod pty;
mod scenarios;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use lab::Lab;
use scenarios::{Begin, LANES, Scenario};

fn main() -> ExitCode {
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let scenarios = LANES.iter().flat_map(|lane| lane.scenarios);
    // The arguments that cargo's own tools pass to a test binary.
    if std::env::args().any(|arg| arg == "--list") {
        scenarios.for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    let Some(lab) = Lab::find() else {
        println!(
            "skipped: the scenarios on the lab's machines: TOOTS_LAB does not name the lab's inventory (tests/run sets it)"
        );
        println!(
            "test result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out",
            scenarios.count()
        );
        return ExitCode::SUCCESS;
    };
    let results = run_scenarios(&lab, &filter);
    let passed = results.iter().filter(|passed| **passed).count();
    let failed = results.len() - passed;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The lanes, then what needs the machine and the registry for itself.
fn run_scenarios(lab: &Lab, filter: &[String]) -> Vec<bool> {
    let seed = order::choose_seed();
    println!("  the order of the scenarios is that of TOOTS_SCENARIO_SEED={seed}");
    let lanes: Vec<LaneRun> = LANES
        .iter()
        .map(|lane| LaneRun::choose((lane.lab)(lab), lane.scenarios, filter, seed))
        .collect();
    let run_beside = |lane: &LaneRun| {
        let results = lane.run(&lane.beside);
        if lane.alone.is_empty() && filter.is_empty() {
            base::remove_machines(&lane.lab);
        }
        results
    };
    let mut results: Vec<bool> = thread::scope(|scope| {
        let start = |lane| scope.spawn(move || run_beside(lane));
        let running: Vec<_> = lanes.iter().map(start).collect();
        let results = running
            .into_iter()
            .flat_map(|lane| lane.join().expect("a lane"));
        results.collect()
    });
    for lane in &lanes {
        results.extend(lane.run(&lane.alone));
    }
    results
}

/// The chosen scenarios of a lane in their order.
struct LaneRun {
    lab: Lab,
    beside: Vec<&'static Scenario>,
    alone: Vec<&'static Scenario>,
}

impl LaneRun {
    fn choose(lab: Lab, scenarios: &'static [Scenario], filter: &[String], seed: u64) -> Self {
        let is_chosen = |scenario: &&Scenario| {
            let mut words = filter.iter();
            filter.is_empty() || words.any(|word| scenario.name.contains(word.as_str()))
        };
        let part = |begin: Begin| -> Vec<&'static Scenario> {
            let of_part = scenarios.iter().filter(|scenario| scenario.begin == begin);
            of_part.filter(is_chosen).collect()
        };
        let (mut beside, mut alone) = (part(Begin::Base), part(Begin::BaseAlone));
        order::shuffle(&mut beside, seed);
        order::shuffle(&mut alone, seed);
        beside.splice(..0, part(Begin::Fresh));
        Self { lab, beside, alone }
    }

    fn run(&self, scenarios: &[&'static Scenario]) -> Vec<bool> {
        let mut is_proven = false;
        let run = |scenario: &&'static Scenario| {
            let began = Instant::now();
            let mut took = Duration::ZERO;
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                self.prepare(scenario, is_proven);
                let began = Instant::now();
                let attempt = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&self.lab)));
                took = began.elapsed();
                is_proven = false;
                if let Err(panic) = attempt {
                    resume_unwind(panic);
                }
                if scenario.begin != Begin::Fresh {
                    let left = base::settle(&self.lab);
                    is_proven = left.is_empty();
                    assert!(is_proven, "it left: {}", base::shorten(&left));
                }
            }));
            println!(
                "test {} ... {} ({:.1} s, {:.1} s with its base)",
                scenario.name,
                if attempt.is_ok() { "ok" } else { "FAILED" },
                took.as_secs_f32(),
                began.elapsed().as_secs_f32()
            );
            attempt.is_ok()
        };
        scenarios.iter().map(run).collect()
    }

    /// Brings the machines into the state from which the scenario begins.
    fn prepare(&self, scenario: &Scenario, is_proven: bool) {
        if scenario.begin == Begin::Fresh {
            base::renew(&self.lab);
        } else if !is_proven {
            let differences = base::find_differences(&self.lab);
            if !differences.is_empty() {
                base::restore(&self.lab, &differences);
            }
        }
    }
}
