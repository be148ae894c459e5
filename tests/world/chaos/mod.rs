//! Lives in which faults meet changes, drawn from seeds.
//!
//! `cluster` draws hosts and inventories, `story` lives one life, `sum` many of them. `coverage` holds
//! what their runs showed against everything that there is to show, with the lives of `supplied` for
//! what faults do not lead to. To add a fault: `host/faults.rs`; a change: `cluster.rs`; a refusal:
//! `refusals.rs`.

mod cluster;
mod coverage;
mod refusals;
mod story;
mod sum;
mod supplied;

use std::net::Ipv4Addr;

use tokio::task::LocalSet;

use crate::random::Random;
use story::live;
use sum::Sum;

pub const MASTERS: [(&str, Ipv4Addr); 3] = [
    ("10.0.0.11", Ipv4Addr::new(10, 0, 0, 11)),
    ("10.0.0.12", Ipv4Addr::new(10, 0, 0, 12)),
    ("10.0.0.13", Ipv4Addr::new(10, 0, 0, 13)),
];
pub const THREE_MASTERS: &str = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";

/// Lives of a run of every day, of which 2 000 count: in some no fault meets a change. Their seeds are
/// always the same: a fault that was there before must not turn somebody's change red.
const LIVES: u64 = 2_100;
/// Lives of a long run, whose seeds are new each time.
const LONG_LIVES: u64 = 10_000;
/// Seeds that are lived twice.
const TWICE: u64 = 200;
/// Seeds that failed once, with the reasons.
const FAILED_SEEDS: &str = include_str!("../failed_seeds");

/// Lives on a clock of its own.
pub fn on_own_clock<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(life))
}

fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(given.parse().expect("a number"))
}

/// A first seed that no run had before, from the clock.
fn new_seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    // Short enough to be typed.
    Random::new(nanoseconds).below(1 << 40)
}

fn failed_seeds() -> Vec<u64> {
    let lines = FAILED_SEEDS.lines().filter(|line| !line.starts_with('#'));
    let seeds = lines.map(|line| {
        let (seed, reason) = line.split_once(' ').expect("a seed and a reason");
        assert!(!reason.trim().is_empty(), "{seed} has no reason");
        seed.parse().expect("a seed")
    });
    seeds.collect()
}

/// `TOOTS_LIVES` says how many, `TOOTS_SEED` the first; of a single one everything is printed. Seeds that
/// failed once are lived first, but for who asks for certain ones.
#[test]
fn lives_keep_what_must_hold() {
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    let asked = number("TOOTS_SEED");
    let from = asked.unwrap_or_else(|| if is_long { new_seed() } else { 0 });
    let default = if is_long { LONG_LIVES } else { LIVES };
    let count = number("TOOTS_LIVES").unwrap_or(default);
    if count == 1 {
        println!("{}", live(from).trace);
    }
    let mut seeds = if asked.is_none() {
        failed_seeds()
    } else {
        Vec::new()
    };
    seeds.extend(from..from + count);
    let began = std::time::Instant::now();
    let mut sum = Sum::live(&seeds);
    let took = began.elapsed();
    println!(
        "{} lives of the seeds from {from} in {took:.0?}: {sum}",
        seeds.len()
    );
    let failed = &sum.failed;
    assert!(failed.is_empty(), "VIOLATION in the seeds {failed:?}");
    if count < LIVES {
        return;
    }
    sum.assert_enough();
    sum.shown.merge(&supplied::shown());
    let shown = &sum.shown;
    println!(
        "events {:?}; steps {:?}; refusals {:?}",
        shown.events, shown.steps, shown.refusals
    );
    // What no life met, and what one met that is said to be met by none.
    let faults = shown.faults();
    assert!(faults.is_empty(), "not as listed: {faults:?}");
}

/// Once beside other lives, and once in another order.
#[test]
fn a_seed_is_lived_twice_alike() {
    let count = number("TOOTS_LIVES").unwrap_or(TWICE).min(TWICE);
    let seeds: Vec<u64> = (0..count).collect();
    let reversed: Vec<u64> = seeds.iter().rev().copied().collect();
    let first = Sum::live(&seeds).traces;
    let second = Sum::live(&reversed).traces;
    let differing: Vec<_> = first
        .iter()
        .filter(|(seed, trace)| second[seed] != **trace)
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    println!("{count} seeds lived twice");
}
