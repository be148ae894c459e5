//! `toots cluster` on the lab's machines, one scenario after another, because each builds on the
//! state that the previous one left. Results are verified by other means than toots' own probes.
//! Runs without libtest, which has no order.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod lab;
#[path = "../pty/mod.rs"]
mod pty;
mod scenarios;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread::{self, Scope};
use std::time::Instant;

fn main() -> ExitCode {
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    // The arguments that cargo's own tools pass to a test binary.
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in scenarios::ALL.iter().chain(&scenarios::BESIDE) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(lab) = lab::Lab::find() else {
        println!(
            "skipped: the scenarios on the lab's machines: TOOTS_LAB does not name the lab's inventory (tests/run sets it)"
        );
        println!(
            "test result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out",
            scenarios::ALL.len() + scenarios::BESIDE.len()
        );
        return ExitCode::SUCCESS;
    };
    let is_chosen =
        |name: &str| filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()));
    let (passed, failed) = thread::scope(|scope| run_scenarios(&lab, scope, &is_chosen));
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

/// Returns the numbers of passed and failed scenarios.
fn run_scenarios<'scope, 'env: 'scope>(
    lab: &'env lab::Lab,
    scope: &'scope Scope<'scope, 'env>,
    is_chosen: &dyn Fn(&str) -> bool,
) -> (usize, usize) {
    let (first, last) = scenarios::BESIDE_SPAN;
    let place = |name: &str| {
        scenarios::ALL
            .iter()
            .position(|scenario| scenario.0 == name)
    };
    assert!(
        place(first).is_some() && place(first) <= place(last),
        "the scenarios beside others would never run"
    );
    let mut beside = None;
    let mut results = Vec::new();
    for scenario in scenarios::ALL {
        if scenario.0 == first {
            let mut chosen = scenarios::BESIDE.to_vec();
            chosen.retain(|(name, _)| is_chosen(name));
            beside = Some(scope.spawn(move || -> Vec<bool> {
                let run = |scenario| run_scenario(lab, scenario);
                chosen.into_iter().map(run).collect()
            }));
        }
        if is_chosen(scenario.0) {
            results.push(run_scenario(lab, *scenario));
        }
        if scenario.0 == last
            && let Some(beside) = beside.take()
        {
            results.extend(beside.join().unwrap_or(vec![false]));
        }
    }
    let passed = results.iter().filter(|passed| **passed).count();
    (passed, results.len() - passed)
}

fn run_scenario(lab: &lab::Lab, (name, scenario): scenarios::Scenario) -> bool {
    let began = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(|| scenario(lab))).is_ok();
    println!(
        "test {name} ... {} ({:.1} s)",
        if passed { "ok" } else { "FAILED" },
        began.elapsed().as_secs_f32()
    );
    passed
}
