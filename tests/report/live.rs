//! The live view of recorded runs, at moments and in sizes.

use std::fmt::Write as _;
use std::time::Duration;

use toots::event::Event;
use toots::report::{Screen, ViewState, render};

use crate::recorded::Recording;
use crate::reporter::Shared;
use crate::{seconds, without_colour};

/// Images are pulled everywhere in a first `up`.
fn pulling() -> (ViewState, Duration) {
    let run = Recording::read("first_up");
    let at = run.in_phase("images", seconds(13));
    (run.state_at(at), at)
}

/// In a first `up` of two hundred hosts.
fn two_hundred() -> (ViewState, Duration) {
    let run = Recording::read("two_hundred");
    let at = run.in_phase("images", seconds(5));
    (run.state_at(at), at)
}

fn frame(title: &str, state: &ViewState, (width, height): (usize, usize), at: Duration) -> String {
    let view = render(state, width, height, at, false);
    format!("=== {title}, {width}x{height}\n{view}\n")
}

#[test]
fn a_first_up_in_its_phases() {
    let run = Recording::read("first_up");
    let is_build = |event: &Event| matches!(event, Event::StepProgress { line: Some(_), .. });
    let moments = [
        ("nothing answered", Duration::ZERO),
        (
            "hosts are prepared",
            run.in_phase("prepare", Duration::from_millis(90)),
        ),
        ("images are pulled", run.in_phase("images", seconds(13))),
        ("an image is built", run.when(is_build) + seconds(2)),
        ("an ensemble elects", run.in_phase("zookeeper", seconds(1))),
        ("frameworks start", run.in_phase("marathon", seconds(2))),
        ("all is done", run.took()),
    ];
    let mut shown = String::new();
    for (title, at) in moments {
        shown += &frame(title, &run.state_at(at), (80, 24), at);
    }
    insta::assert_snapshot!("live", shown);
}

#[test]
fn a_view_in_several_sizes() {
    let (state, at) = pulling();
    let sizes = [(120, 24), (100, 24), (60, 24), (40, 24), (20, 24), (80, 4)];
    let frames = sizes.map(|size| frame("images are pulled", &state, size, at));
    insta::assert_snapshot!("sizes", frames.concat());
}

#[test]
fn views_after_failures() {
    let mut shown = String::new();
    for (name, phase, after) in [
        ("one_slave_dead", "consul-server", 1),
        ("gate_deadline", "zookeeper", 20),
        ("crash_loop", "marathon", 60),
        ("replacement_put_back", "zookeeper", 0),
    ] {
        let run = Recording::read(name);
        let at = run.in_phase(phase, seconds(after));
        shown += &frame(name, &run.state_at(at), (80, 24), at);
        shown += &frame(
            &format!("{name}, its end"),
            &run.state_at(run.took()),
            (80, 24),
            run.took(),
        );
    }
    insta::assert_snapshot!("troubles", shown);
}

/// How fast images come and how long they still take, where there is room.
#[test]
fn rate_and_time_left_are_shown() {
    let (state, at) = pulling();
    let line = |width| {
        let view = render(&state, width, 24, at, false);
        let mut lines = view.lines().filter(|line| line.contains("10.0.0.11"));
        lines.next().unwrap().to_owned()
    };
    let (wide, narrow) = (line(120), line(119));
    assert!(
        wide.contains("MB/s, ") && wide.contains(" s left"),
        "{wide}"
    );
    assert!(narrow.contains(" MB of "), "{narrow}");
    assert!(!narrow.contains("/s"), "{narrow}");
    // Several pulls are added up.
    let host = state
        .hosts
        .iter()
        .find(|host| host.name.as_str() == "10.0.0.11")
        .unwrap();
    let parts: Vec<(u64, Option<u64>)> = host
        .running
        .iter()
        .filter_map(|step| step.progress)
        .collect();
    assert!(parts.len() > 1, "{parts:?}");
    let sum = parts.iter().map(|(bytes, _)| bytes).sum();
    let total = parts.iter().map(|(_, total)| total.unwrap()).sum();
    assert_eq!(host.progress(), Some((sum, Some(total))));
}

#[test]
fn two_hundred_hosts_fit() {
    let (state, at) = two_hundred();
    assert_eq!(state.hosts.len(), 200);
    let view = render(&state, 80, 20, at, false);
    assert_eq!(view.lines().count(), 20);
    insta::assert_snapshot!("two_hundred", view);
    assert_eq!(render(&state, 80, 1, at, false).lines().count(), 1);
    assert_eq!(render(&state, 80, 0, at, false), "");
}

#[test]
fn colours_change_no_text() {
    let (state, at) = pulling();
    let coloured = render(&state, 100, 24, at, true);
    assert!(coloured.contains("\x1b["));
    assert_eq!(
        without_colour(&coloured),
        render(&state, 100, 24, at, false)
    );
}

#[test]
fn lines_that_stay_above_the_view() {
    let mut shown = String::new();
    for name in [
        "first_up",
        "one_slave_dead",
        "replacement_put_back",
        "crash_loop",
        "bundle",
    ] {
        let lines = Recording::read(name).permanent(80).join("\n");
        let _ = writeln!(shown, "=== {name}\n{lines}");
    }
    insta::assert_snapshot!("permanent", shown);
}

#[test]
fn frames_replace_each_other_below_what_stays() {
    let (err, (state, at)) = (Shared::default(), two_hundred());
    let mut terminal = vt100::Parser::new(30, 80, 0);
    let mut screen = Screen::new(Box::new(err.clone()));
    let mut frame = |above: &[String], after, rows| {
        let view = render(&state, 80, rows, at + seconds(after), false);
        screen.draw(above, &view, &view, 80);
        terminal.process(err.take().as_bytes());
        terminal.screen().contents()
    };
    assert!(frame(&["stays".to_owned()], 0, 10).starts_with("stays\ndc1"));
    assert_eq!(frame(&[], 1, 10).matches("dc1").count(), 1);
    let last = frame(&["stays too".to_owned()], 2, 5);
    assert!(last.starts_with("stays\nstays too\ndc1"), "{last}");
    assert_eq!(last.lines().count(), 2 + 5, "{last}");
}

#[test]
fn narrower_window_is_cleared() {
    let (err, (state, at)) = (Shared::default(), two_hundred());
    let mut screen = Screen::new(Box::new(err.clone()));
    let view = render(&state, 80, 10, at, false);
    screen.draw(&[], &view, &view, 80);
    err.take();
    screen.clear(30);
    let rows: usize = view.lines().map(|l| l.chars().count().div_ceil(30)).sum();
    assert!(rows > 10);
    assert_eq!(err.take(), format!("\x1b[{rows}A\r\x1b[J"));
}

#[test]
fn a_frame_that_is_the_same_is_not_drawn_again() {
    let err = Shared::default();
    let mut screen = Screen::new(Box::new(err.clone()));
    screen.draw(&[], "frame", "frame", 80);
    assert!(!err.take().is_empty());
    screen.draw(&[], "frame", "frame", 80);
    assert_eq!(err.take(), "");
}
