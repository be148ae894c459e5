//! Plain lines of recorded runs.

use std::time::Duration;

use toots::report::{Plain, ViewState};

use crate::recorded::Recording;
use crate::seconds;

#[test]
fn plain_lines_with_those_that_break_a_silence() {
    let mut shown = String::new();
    for name in [
        "first_up",
        "second_up",
        "gate_deadline",
        "check_refused",
        "bundle",
    ] {
        let lines = Recording::read(name).plain().join("\n");
        shown += &format!("=== {name}\n{lines}\n\n");
    }
    insta::assert_snapshot!("plain", shown);
}

/// What is known when every slave pulls, and lines up to then.
fn pulling_everywhere() -> (ViewState, Plain, Duration) {
    let run = Recording::read("two_hundred");
    let at = run.in_phase("images", Duration::ZERO);
    let (mut state, mut plain) = (ViewState::default(), Plain::default());
    for line in run.lines.iter().take_while(|line| line.at <= at) {
        state.apply(&line.event, line.at);
        plain.lines(&line.event, &state, line.at);
    }
    (state, plain, at)
}

#[test]
fn silent_steps_share_a_line() {
    let (state, mut plain, at) = pulling_everywhere();
    let mut after = |passed| plain.heartbeat(&state, at + passed);
    let almost = Duration::from_millis(9_900);
    assert_eq!(after(almost), [""; 0]);
    let said = after(seconds(10));
    // Masters pull another image last than slaves.
    let [_, line] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert!(line.contains("dc1: still running on 10.0."), "{line}");
    assert!(
        line.contains(" more: pull ") && line.ends_with("(10 s)"),
        "{line}"
    );
    assert_eq!(after(seconds(10) + almost), [""; 0]);
    assert_eq!(after(seconds(20)).len(), 2);
}

#[test]
fn nothing_is_silent_after_the_result() {
    let run = Recording::read("two_hundred");
    let mut plain = Plain::default();
    let state = run.state_at(run.took());
    assert_eq!(plain.heartbeat(&state, run.took() + seconds(60)), [""; 0]);
}
