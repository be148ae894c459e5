//! Runs that are cut off at each point where they touch a host, and the run after them.
//!
//! A scenario is a command line and what was before it. An undisturbed run lists its points; `scene.rs`
//! says which cuts at them are equal. The scenario is lived a second time, by a process that makes a copy
//! of itself at each other cut: the copy's run is cut off there and run again, and the process goes on. To
//! add a scenario: a constructor in `scenario.rs`, and a test here.

mod bundle;
mod copies;
mod cut;
mod explore;
mod placed;
mod results;
mod scenario;
mod scene;

use explore::explore;
use scenario::Scenario;

/// Each cut when `TOOTS_LONG` is set, else one of so many: enough to see that the scenario still lives.
/// `TOOTS_STEP` says another number.
fn explore_some(test: &str, scenario: fn() -> Scenario, step: usize) {
    let given = std::env::var("TOOTS_STEP").ok();
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    let default = if is_long { 1 } else { step };
    let step = given.map_or(default, |text| text.parse().unwrap());
    explore(&format!("cuts::{test}"), scenario, step);
}

/// A test for each scenario.
macro_rules! explored {
    ($($test:ident: $scenario:ident, $step:literal;)*) => {$(
        #[test]
        fn $test() {
            explore_some(stringify!($test), Scenario::$scenario, $step);
        }
    )*};
}

explored! {
    a_first_up_converges_after_each_cut: first_up, 1;
    a_changed_image_converges_after_each_cut: changed_image, 1;
    a_changed_parameter_converges_after_cuts: changed_parameter, 60;
    a_changed_recipe_converges_after_cuts: changed_recipe, 60;
    images_from_a_bundle_converge_after_cuts: from_bundle, 60;
    an_added_slave_converges_after_cuts: add_slave, 60;
    a_first_up_with_every_role_converges_after_cuts: with_slave_and_edge, 60;
}
