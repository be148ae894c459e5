//! Runs that are cut off at each point where they touch a host, and the run after them.
//!
//! A scenario is a command line and what was before it. An undisturbed run lists its points; `scene.rs`
//! says which cuts at them are equal; then each other one is a life of its own, in which the run is cut
//! off there and run again. To add a scenario: a constructor in `scenario.rs`, and a test here.

mod bundle;
mod cut;
mod explore;
mod scenario;
mod scene;

use explore::explore;
use scenario::Scenario;

/// `TOOTS_STEP` says of how many cuts that differ one is lived.
fn explore_each(scenario: &Scenario, default: usize) {
    let given = std::env::var("TOOTS_STEP").ok();
    let step = given.map_or(default, |text| text.parse().unwrap());
    explore(scenario, step);
}

/// Each cut when `TOOTS_LONG` is set, else one of so many: enough to see that the scenario still lives.
fn explore_some(scenario: &Scenario, step: usize) {
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    explore_each(scenario, if is_long { 1 } else { step });
}

#[test]
fn a_first_up_converges_after_each_cut() {
    explore_some(&Scenario::first_up(), 5);
}

#[test]
fn a_changed_image_converges_after_each_cut() {
    explore_some(&Scenario::changed_image(), 5);
}

#[test]
fn a_changed_parameter_converges_after_cuts() {
    explore_some(&Scenario::changed_parameter(), 60);
}

#[test]
fn a_changed_recipe_converges_after_cuts() {
    explore_some(&Scenario::changed_recipe(), 60);
}

#[test]
fn images_from_a_bundle_converge_after_cuts() {
    explore_some(&Scenario::from_bundle(), 60);
}

#[test]
fn an_added_slave_converges_after_cuts() {
    explore_some(&Scenario::add_slave(), 60);
}

#[test]
fn a_first_up_with_every_role_converges_after_cuts() {
    explore_some(&Scenario::with_slave_and_edge(), 60);
}
