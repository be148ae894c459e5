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
use std::time::Instant;

fn main() -> ExitCode {
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    // The arguments that cargo's own tools pass to a test binary.
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in scenarios::ALL {
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
            scenarios::ALL.len()
        );
        return ExitCode::SUCCESS;
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, scenario) in scenarios::ALL {
        if !filter.is_empty() && !filter.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let began = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(|| scenario(&lab))).is_ok();
        println!(
            "test {name} ... {} ({:.1} s)",
            if ok { "ok" } else { "FAILED" },
            began.elapsed().as_secs_f32()
        );
        if ok { passed += 1 } else { failed += 1 }
    }
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
