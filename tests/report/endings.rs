//! The ends of recorded runs, as they are read on a terminal.

use toots::report::{ViewState, ending, render};

use crate::recorded::{Recording, names};
use crate::{seconds, without_colour};

fn show(title: &str, run: &Recording, state: &ViewState, width: usize) -> String {
    let elapsed = u64::try_from(run.took().as_millis()).unwrap();
    format!("=== {title}\n{}\n", ending(state, elapsed, width, false))
}

#[test]
fn every_recorded_run_has_an_ending() {
    let endings = names().into_iter().map(|name| {
        let run = Recording::read(&name);
        show(&name, &run, &run.state_at(run.took()), 80)
    });
    insta::assert_snapshot!("endings", endings.collect::<String>());
}

#[test]
fn endings_in_several_widths() {
    let mut shown = String::new();
    for (name, width) in [
        ("first_up", 160),
        ("first_up", 40),
        ("first_up", 20),
        ("one_master_dead", 120),
        ("one_master_dead", 30),
    ] {
        let run = Recording::read(name);
        let state = run.state_at(run.took());
        shown += &show(&format!("{name}, {width} columns"), &run, &state, width);
    }
    insta::assert_snapshot!("widths", shown);
}

/// What a run that was killed told so far.
#[test]
fn runs_without_a_result() {
    let run = Recording::read("first_up");
    let pulling = run.state_at(run.in_phase("images", seconds(1)));
    let refused = Recording::read("check_refused");
    let shown = [
        show("while images are pulled", &run, &pulling, 80),
        show("before the result", &run, &run.without_result(), 80),
        show("with findings", &refused, &refused.without_result(), 80),
        show("before the first event", &run, &ViewState::default(), 80),
    ];
    insta::assert_snapshot!("without_result", shown.concat());
}

#[test]
fn colours_change_no_ending() {
    for name in names() {
        let run = Recording::read(&name);
        let state = run.state_at(run.took());
        let coloured = ending(&state, 1_000, 80, true);
        assert!(coloured.contains("\x1b["), "{name}");
        assert_eq!(without_colour(&coloured), ending(&state, 1_000, 80, false));
    }
}

/// A bundle has no hosts: how far it is stands below the header.
#[test]
fn bundle_views_show_the_transfer() {
    let run = Recording::read("bundle");
    let took = run.took();
    let moments = [
        run.in_phase("resolve", std::time::Duration::ZERO),
        run.in_phase("download", seconds(0)),
        run.in_phase("download", seconds(3)),
        took,
    ];
    let frames = moments.map(|at| {
        let view = render(&run.state_at(at), 72, 24, at, false);
        format!("===\n{view}\n")
    });
    insta::assert_snapshot!("bundle", frames.concat());
}
