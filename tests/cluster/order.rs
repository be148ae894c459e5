//! The order of the scenarios, which follows from a seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of each run that names none. With another order somebody's change would fail for a fault
/// that it did not make.
const DEFAULT_SEED: u64 = 15;

/// `TOOTS_SCENARIO_SEED`; else from the clock in a long run, which is to try another order each time.
pub fn choose_seed() -> u64 {
    match std::env::var("TOOTS_SCENARIO_SEED") {
        Ok(text) => text.parse().expect("TOOTS_SCENARIO_SEED is a number"),
        Err(_) if crate::lab::is_long() => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("a clock after 1970").as_secs()
        }
        Err(_) => DEFAULT_SEED,
    }
}

pub fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..list.len()).rev() {
        let other = next_number(&mut state) % (last as u64 + 1);
        list.swap(last, other as usize);
    }
}

/// SplitMix64.
fn next_number(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
