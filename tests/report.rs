//! What a person or a program reads of a run, from one stream of events.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proptest::prelude::*;
use toots::env::{StandardStream, Terminal, WallClock};
use toots::event::{Event, EventSink, Outcome, ServiceView};
use toots::report::{
    Options, OutputMode, Plain, PlanChange, PlanHostView, ReporterHandle, Screen, Streams,
    ViewState, ending, json_line, permanent_lines, plan_text, render, reporter, status_json,
    status_table,
};
use toots::spec::{Role, Secret};

#[path = "report/any.rs"]
mod any;
#[path = "report/events.rs"]
mod events;

use any::{any_event, any_row, any_text};
use events::{
    bundle, check, failed, five, gate_failed, host, ms, plan, refused, result, run, started,
    state_at, status, summary, two_hundred, warning,
};

#[test]
fn live_view_at_several_sizes() {
    let events = run();
    let mut shown = String::new();
    let sizes = [
        (80, 24),
        (120, 24),
        (100, 24),
        (60, 24),
        (40, 24),
        (20, 24),
        (80, 4),
        (80, 24),
    ];
    for ((width, height), until) in sizes
        .into_iter()
        .zip([5, 2_000, 2_700, 2_700, 2_700, 2_700, 2_700, 41_300])
    {
        let view = render(
            &state_at(&events, until),
            width,
            height,
            ms(until + 400),
            false,
        );
        shown += &format!("=== {width}x{height} at {until} ms\n{view}\n");
    }
    insta::assert_snapshot!("live", shown);
}

/// How fast an image is sent and how long it still takes, where there is room.
#[test]
fn rate_and_time_left_are_shown() {
    let load = "load zookeeper:3.9";
    let progress = |bytes| Event::StepProgress {
        host: host("m1"),
        bytes,
        total: Some(100_000_000),
        line: None,
    };
    let mut events = vec![(0, five()), (10, events::step("m1", "images", load))];
    events.extend((0..=4).map(|s| (1_000 + s * 1_000, progress(s * 4_000_000))));
    let view = |events: &[(u64, Event)], width| {
        let text = render(&state_at(events, 5_000), width, 24, ms(5_000), false);
        text.lines()
            .find(|line| line.contains("m1"))
            .unwrap()
            .to_owned()
    };
    let rate = "16.00 MB of 100.00 MB, 4.00 MB/s, 21 s left";
    let line = view(&events, 120);
    assert!(line.contains(load) && line.contains(rate), "{line}");
    let line = view(&events, 119);
    assert!(
        line.contains("of 100.00 MB") && !line.contains("/s"),
        "{line}"
    );
    // Bytes of several images in turn have no rate.
    events.insert(1, (5, events::step("m1", "images", "pull consul:1.22")));
    let line = view(&events, 120);
    assert!(
        line.contains("of 100.00 MB") && !line.contains("/s"),
        "{line}"
    );

    // Plain lines name it for what takes long.
    events.remove(1);
    let lines = Plain::default().heartbeat(&state_at(&events, 30_000), ms(30_000));
    let [line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert!(line.contains("of 100.00 MB, 551.72 kB/s, "), "{line}");
}

#[test]
fn live_view_fits_two_hundred_hosts() {
    let state = two_hundred();
    let view = render(&state, 80, 20, ms(5_000), false);
    assert_eq!(view.lines().count(), 20);
    insta::assert_snapshot!("live_200", view);
    assert_eq!(render(&state, 80, 1, ms(5_000), false).lines().count(), 1);
    assert_eq!(render(&state, 80, 0, ms(5_000), false), "");
}

#[test]
fn live_view_in_colour_is_the_same_text() {
    let state = state_at(&run(), 2_700);
    let coloured = render(&state, 100, 24, ms(3_000), true);
    assert!(coloured.contains("\x1b["));
    assert_eq!(
        without_colour(&coloured),
        render(&state, 100, 24, ms(3_000), false)
    );
}

#[test]
fn lines_that_stay_above_the_live_view() {
    let lines: Vec<_> = run()
        .iter()
        .flat_map(|(_, e)| permanent_lines(e, 72, false))
        .collect();
    insta::assert_snapshot!("live_permanent", lines.join("\n"));
}

#[test]
fn plain_lines_with_heartbeats() {
    let (mut state, mut plain, mut out) = (ViewState::default(), Plain::default(), Vec::new());
    let events = run();
    let mut next = events.iter().peekable();
    for now in (0..=41_500).step_by(100) {
        while let Some((at, event)) = next.next_if(|(at, _)| *at <= now) {
            state.apply(event, ms(*at));
            out.extend(plain.lines(event, &state, ms(*at)));
        }
        out.extend(plain.heartbeat(&state, ms(now)));
    }
    insta::assert_snapshot!("plain", out.join("\n"));
}

#[test]
fn bundle_in_every_format() {
    let events = bundle();
    let mut shown = String::new();
    for until in [5, 930, 1_000, 4_000, 16_000, 26_100] {
        let state = state_at(&events, until);
        let view = render(&state, 72, 24, ms(until + 100), false);
        shown += &format!("=== at {until} ms\n{view}\n");
    }
    let permanent = events
        .iter()
        .flat_map(|(_, event)| permanent_lines(event, 72, false));
    shown += &format!("=== above\n{}\n", permanent.collect::<Vec<_>>().join("\n"));
    let (mut state, mut plain, mut lines) = (ViewState::default(), Plain::default(), Vec::new());
    let mut next = events.iter().peekable();
    for now in (0..=26_200).step_by(100) {
        while let Some((at, event)) = next.next_if(|(at, _)| *at <= now) {
            state.apply(event, ms(*at));
            lines.extend(plain.lines(event, &state, ms(*at)));
        }
        lines.extend(plain.heartbeat(&state, ms(now)));
    }
    shown += &format!("=== plain\n{}\n", lines.join("\n"));
    shown += &format!("=== ending\n{}", ending(&state, 26_100, 72, false));
    insta::assert_snapshot!("bundle", shown);
}

#[test]
fn silent_steps_share_a_line() {
    let mut state = two_hundred();
    let mut plain = Plain::default();
    assert_eq!(
        plain
            .lines(&events::phase("images"), &state, ms(3_000))
            .len(),
        1
    );
    assert_eq!(plain.heartbeat(&state, ms(12_900)), Vec::<String>::new());
    let said = plain.heartbeat(&state, ms(13_000));
    assert_eq!(
        said,
        [
            "[    13.0s] dc1: still running on s2, s3, s4, s10 and 71 more: pull image mesos-slave:1.11 (10 s)"
        ]
    );
    assert_eq!(plain.heartbeat(&state, ms(22_900)), Vec::<String>::new());
    assert_eq!(plain.heartbeat(&state, ms(23_000)).len(), 1);
    let ends: Vec<_> = state.hosts.iter().map(|h| h.name.to_string()).collect();
    let ends: Vec<_> = ends
        .iter()
        .map(|n| (n.as_str(), Outcome::Changed, 2))
        .collect();
    state.apply(&result(0, &ends), ms(24_000));
    assert_eq!(plain.heartbeat(&state, ms(60_000)), Vec::<String>::new());
}

#[test]
fn a_phase_without_steps_is_not_silent() {
    let events = [(0, five()), (100, events::phase("connect"))];
    let (state, mut plain) = (state_at(&events, 100), Plain::default());
    for (at, event) in &events {
        plain.lines(event, &state, ms(*at));
    }
    assert_eq!(plain.heartbeat(&state, ms(10_099)), Vec::<String>::new());
    assert_eq!(
        plain.heartbeat(&state, ms(10_100)),
        ["[    10.1s] dc1: still running: connect (10 s)"]
    );
    assert_eq!(plain.heartbeat(&state, ms(20_000)), Vec::<String>::new());
}

#[test]
fn json_lines() {
    let at: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let stamp = |after: u64| at + jiff::SignedDuration::from_millis(i64::try_from(after).unwrap());
    let lines: Vec<_> = run()
        .iter()
        .map(|(after, e)| json_line(e, stamp(*after)))
        .collect();
    insta::assert_snapshot!("json", lines.join("\n"));
    for line in &lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["v"], 1);
        assert_eq!(value.get("ts").is_none(), value["type"] == "result");
    }
    assert_eq!(
        json_line(&result(0, &[("m1", Outcome::Ok, 0)]), at),
        r#"{"v":1,"type":"result","exit_code":0,"changed":0,"hosts":{"m1":{"outcome":"ok","changed":0,"failed_step":null}}}"#
    );
}

#[test]
fn every_event_is_read_back_from_its_json() {
    for (_, event) in run() {
        let mut value: serde_json::Value =
            serde_json::from_str(&json_line(&event, jiff::Timestamp::UNIX_EPOCH)).unwrap();
        value
            .as_object_mut()
            .unwrap()
            .retain(|k, _| k != "v" && k != "ts");
        assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
    }
}

#[test]
fn good_ending() {
    let events = [
        (0, five()),
        (41_000, summary(true)),
        (41_000, result(0, &[("m1", Outcome::Changed, 3)])),
    ];
    let mut shown = String::new();
    for width in [160, 80, 40, 20] {
        shown += &format!(
            "=== {width}\n{}",
            ending(&state_at(&events, 99_999), 41_000, width, false)
        );
    }
    insta::assert_snapshot!("ending_good", shown);
}

#[test]
fn bad_endings() {
    use Outcome::{Changed, Failed, Ok, Skipped, Unreachable};
    let end = |name: &str, events: Vec<Event>, width| {
        let mut state = ViewState::default();
        events.iter().for_each(|e| state.apply(e, ms(0)));
        format!("=== {name}\n{}", ending(&state, 12_300, width, false))
    };
    let none = [
        ("m1", Unreachable, 0),
        ("m2", Unreachable, 0),
        ("m3", Skipped, 0),
    ];
    let gate = gate_failed("zookeeper", &["m1: no leader", "m2: imok, but standalone"]);
    let shown = [
        end(
            "a slave failed",
            vec![
                five(),
                failed("s1", Failed),
                summary(true),
                result(5, &[("m1", Ok, 0), ("s1", Failed, 2)]),
            ],
            120,
        ),
        end(
            "a service is not proven",
            vec![five(), summary(false), result(6, &[("m1", Ok, 1)])],
            80,
        ),
        end(
            "no quorum",
            vec![
                five(),
                failed("m1", Unreachable),
                failed("m2", Unreachable),
                result(3, &none),
            ],
            80,
        ),
        end(
            "a gate failed before the table",
            vec![five(), gate, result(6, &[("m1", Ok, 4)])],
            80,
        ),
        end(
            "interrupted",
            vec![five(), result(130, &[("m1", Skipped, 0)])],
            80,
        ),
        end("killed", vec![five()], 80),
        end(
            "another command",
            vec![
                started("cluster restart", &[("m1", &[Role::Master])]),
                result(0, &[("m1", Changed, 2)]),
            ],
            80,
        ),
        end("a plan", plan(&["create toots-zookeeper"], 0), 80),
        end(
            "a plan, with --exit-code",
            plan(&["create toots-zookeeper"], 10),
            80,
        ),
        end("a plan without changes", plan(&[], 0), 80),
        end(
            "a check",
            check(vec![warning("m1"), result(0, &[("m1", Ok, 0)])]),
            80,
        ),
        end(
            "a check that refuses",
            check(vec![
                refused("m1", "memory must be at least 512 MiB, got 1 MiB"),
                refused(
                    "m1",
                    "port 2181/tcp (zookeeper clients) is in use by java (pid 7)",
                ),
                refused("m2", "memory must be at least 512 MiB, got 1 MiB"),
                result(4, &[("m1", Failed, 0), ("m2", Failed, 0)]),
            ]),
            80,
        ),
        end(
            "narrow",
            vec![
                five(),
                failed("s1", Failed),
                summary(false),
                result(6, &[("s1", Failed, 2)]),
            ],
            30,
        ),
        end("nothing began", vec![], 80),
    ];
    insta::assert_snapshot!("endings_bad", shown.join("\n"));
}

#[test]
fn status_as_table_and_as_json() {
    insta::assert_snapshot!("status_100", status_table(&status(), 100, false));
    insta::assert_snapshot!("status_40", status_table(&status(), 40, false));
    let json: serde_json::Value = serde_json::from_str(&status_json(&status())).unwrap();
    insta::assert_json_snapshot!("status_json", json);
    assert!(status_json(&status()).starts_with(r#"{"v":1,"type":"status","#));
    assert_eq!(status_json(&status()).lines().count(), 1);
}

#[test]
fn plan_as_text() {
    let change = |symbol, what: &str, reason: &str, diff: Option<&str>| PlanChange {
        symbol,
        what: what.into(),
        reason: reason.into(),
        diff: diff.map(str::to_owned),
    };
    let view = |name: &str, changes| PlanHostView {
        host: host(name),
        roles: vec![Role::Master, Role::Slave],
        changes,
        records: vec!["/etc/toots/node.json".into()],
    };
    let diff = "--- /etc/toots/zoo.cfg\n+++ /etc/toots/zoo.cfg\n@@ -1,2 +1,2 @@\n tickTime=2000\n-\x1b[2Jbad\n+syncLimit=5\n\n";
    let file = change(
        '~',
        "file /etc/toots/zoo.cfg",
        "content differs",
        Some(diff),
    );
    let hosts = [
        view(
            "m1",
            vec![
                file,
                change('!', "container zookeeper", "its files changed", None),
            ],
        ),
        view("m2", vec![]),
        view(
            "m3",
            vec![
                change('+', "container consul", "not there", None),
                change('-', "container old", "not in the inventory", None),
            ],
        ),
    ];
    insta::assert_snapshot!("plan", plan_text(&hosts, false));
    assert_eq!(
        plan_text(&hosts[1..2], false),
        "Nothing to change on 1 host.\n\
         Record /etc/toots/node.json on m2: written by the next run that changes something.\n"
    );
    let coloured = plan_text(&hosts, true);
    assert!(coloured.contains("\x1b[32m+syncLimit=5"));
    assert_eq!(without_colour(&coloured), plan_text(&hosts, false));
}

fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
}

/// A writer whose bytes can be read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

/// A reader that went away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// Streams of a test: two writers, as a terminal of a size.
struct Played {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
}

#[async_trait]
impl Terminal for Played {
    fn is_terminal(&self, _: StandardStream) -> bool {
        true
    }

    fn size(&self, stream: StandardStream) -> Option<(usize, usize)> {
        (stream == StandardStream::Error).then_some((80, 24))
    }

    fn write_output(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.out.lock().unwrap();
        out.write_all(bytes).and_then(|()| out.flush())
    }

    fn write_error(&self, bytes: &[u8]) -> io::Result<()> {
        let mut err = self.err.lock().unwrap();
        err.write_all(bytes).and_then(|()| err.flush())
    }

    async fn read_line(&self, _: u64) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_input(&self, _: u64) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn ask_secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

fn reporter_to(
    mode: OutputMode,
    options: Options,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
) -> (Arc<dyn EventSink>, ReporterHandle) {
    let streams = Streams::new(Arc::new(Played {
        out: Mutex::new(out),
        err: Mutex::new(err),
    }));
    reporter(mode, options, streams, WallClock::system())
}

async fn through(mode: OutputMode, options: Options) -> (String, String) {
    let (out, err) = (Shared::default(), Shared::default());
    let (sink, handle) = reporter_to(mode, options, Box::new(out.clone()), Box::new(err.clone()));
    run().into_iter().for_each(|(_, e)| sink.send(e));
    handle.finish().await;
    (out.text(), err.text())
}

#[tokio::test]
async fn terminal_shows_failures_above_the_last_frame() {
    let (out, err) = through(
        OutputMode::Live,
        Options {
            columns: Some(100),
            ..Options::default()
        },
    )
    .await;
    let mut terminal = vt100::Parser::new(40, 80, 0);
    terminal.process(err.as_bytes());
    let screen = terminal.screen().contents();
    let at = |what: &str| {
        screen
            .find(what)
            .unwrap_or_else(|| panic!("{what:?} is not in\n{screen}"))
    };
    assert!(at("✗ s1 unreachable in images") < at("hint: start the registry"));
    assert!(at("hint: start the registry") < at("✓ m1"));
    assert!(at("✓ m2") < at("✓ e1"));
    assert!(
        out.starts_with(
            "dc1 is not up: chronos not proven, 1 of 5 hosts failed, 37 changes made, "
        ),
        "{out}"
    );
    assert!(!out.contains('\x1b'));
}

#[test]
fn frames_replace_each_other_below_what_stays() {
    let (err, state) = (Shared::default(), two_hundred());
    let mut terminal = vt100::Parser::new(30, 80, 0);
    let mut screen = Screen::new(Box::new(err.clone()));
    let mut frame = |above: &[String], now, rows| {
        let view = render(&state, 80, rows, ms(now), false);
        screen.draw(above, &view, &view, 80);
        terminal.process(err.take().as_bytes());
        terminal.screen().contents()
    };
    assert!(frame(&["stays".to_owned()], 5_000, 10).starts_with("stays\ndc1"));
    assert_eq!(frame(&[], 6_000, 10).matches("dc1").count(), 1);
    let last = frame(&["stays too".to_owned()], 7_000, 5);
    assert!(last.starts_with("stays\nstays too\ndc1"), "{last}");
    assert_eq!(last.lines().count(), 2 + 5, "{last}");
}

#[test]
fn narrower_window_is_cleared() {
    let (err, state) = (Shared::default(), two_hundred());
    let mut screen = Screen::new(Box::new(err.clone()));
    let view = render(&state, 80, 10, ms(5_000), false);
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

#[tokio::test]
async fn plain_has_no_control_bytes_and_whole_lines() {
    let (out, err) = through(OutputMode::Plain, Options::default()).await;
    assert!(
        (out.clone() + &err)
            .chars()
            .all(|c| c == '\n' || !c.is_control())
    );
    assert!(
        err.lines()
            .filter(|l| !l.is_empty())
            .all(|l| l.starts_with('[') && l.contains(": "))
    );
    assert!(err.ends_with('\n') && out.ends_with('\n'));
    assert!(out.contains("zookeeper  m2"));
}

#[tokio::test]
async fn json_is_alone_on_stdout_and_ends_with_the_result() {
    let (out, err) = through(OutputMode::Json, Options::default()).await;
    assert_eq!(err, "");
    assert_eq!(out.lines().count(), run().len());
    assert!(
        out.lines()
            .last()
            .unwrap()
            .starts_with(r#"{"v":1,"type":"result","exit_code":5"#)
    );
}

#[tokio::test]
async fn a_reader_that_went_away_does_not_stop_the_run() {
    for mode in OutputMode::ALL {
        let err = Shared::default();
        for err in [
            Box::new(err.clone()) as Box<dyn Write + Send>,
            Box::new(Gone),
        ] {
            let (sink, handle) = reporter_to(mode, Options::default(), Box::new(Gone), err);
            run().into_iter().for_each(|(_, e)| sink.send(e));
            handle.finish().await;
            sink.send(five());
        }
        assert_eq!(err.text().is_empty(), mode == OutputMode::Json);
    }
}

#[tokio::test]
async fn a_question_has_the_terminal_for_itself() {
    let (out, err) = (Shared::default(), Shared::default());
    let (sink, handle) = reporter_to(
        OutputMode::Live,
        Options::default(),
        Box::new(out),
        Box::new(err.clone()),
    );
    sink.send(five());
    let guard = handle.pauser().paused().await;
    let before = err.text();
    let mut terminal = vt100::Parser::new(24, 80, 0);
    terminal.process(before.as_bytes());
    assert_eq!(terminal.screen().contents().trim(), "");
    sink.send(Event::Warning {
        host: None,
        text: "while asked".into(),
        hints: Vec::new(),
    });
    tokio::time::sleep(ms(300)).await;
    assert_eq!(err.text(), before);
    drop(guard);
    handle.finish().await;
    assert!(err.text().contains("while asked"));
}

#[tokio::test]
async fn a_dropped_handle_ends_the_reporter() {
    let (out, err) = (Shared::default(), Shared::default());
    let (sink, handle) = reporter_to(
        OutputMode::Plain,
        Options::default(),
        Box::new(out),
        Box::new(err.clone()),
    );
    let (pauser, ended) = (handle.pauser(), handle.ended());
    sink.send(five());
    drop(handle);
    ended.await;
    assert!(err.text().contains("dc1: cluster up, 5 hosts"));
    drop(pauser.paused().await);
}

fn harmless(text: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    prop_assert!(!text.contains('\u{202e}'), "{text:?}");
    Ok(())
}

fn fits(text: &str, width: usize) -> Result<(), TestCaseError> {
    for line in text.lines() {
        prop_assert!(
            unicode_width::UnicodeWidthStr::width(line) <= width,
            "{width}: {line:?}"
        );
    }
    harmless(text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_events_in_any_order_are_shown_harmlessly_and_within_the_width(
        events in prop::collection::vec(any_event(), 0..30), width in 1..130usize, height in 0..12usize, gap in 0..7_000u64,
    ) {
        let (mut state, mut plain) = (ViewState::default(), Plain::default());
        for (i, event) in (0u64..).zip(&events) {
            let at = ms(i * gap);
            state.apply(event, at);
            let view = render(&state, width, height, at, false);
            fits(&view, width)?;
            prop_assert!(view.lines().count() <= height);
            fits(&permanent_lines(event, width, false).join("\n"), width)?;
            for line in plain.lines(event, &state, at).into_iter().chain(plain.heartbeat(&state, at)) {
                harmless(&line)?;
                prop_assert!(!line.contains('\n'));
            }
            let json = json_line(event, jiff::Timestamp::UNIX_EPOCH);
            harmless(&json)?;
            prop_assert!(!json.contains('\n') && serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
        fits(&ending(&state, 1_000, width, false), width)?;
    }

    #[test]
    fn any_status_fits_its_width(rows in prop::collection::vec(any_row(), 0..4), word in any_text(), width in 1..130usize) {
        let mut report = status();
        report.services = rows.into_iter().map(|row| ServiceView { row, members: 3, quorum: None }).collect();
        report.hosts[0].components[0].state.clone_from(&word);
        report.hosts[1].error = Some(word);
        fits(&status_table(&report, width, false), width)?;
        harmless(&status_json(&report))?;
    }
}
