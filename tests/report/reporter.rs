//! The task that shows a run, from the events of recorded ones.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use toots::env::{StandardStream, Terminal, WallClock};
use toots::event::{Event, EventSink};
use toots::report::{Options, OutputMode, ReporterHandle, Streams, reporter};
use toots::spec::Secret;

use crate::recorded::Recording;

/// A slave is dead, the rest is changed.
const RUN: &str = "one_slave_dead";

/// A writer whose bytes can be read.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

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

    pub fn take(&self) -> String {
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

fn send_all(sink: &Arc<dyn EventSink>) {
    let lines = Recording::read(RUN).lines.into_iter();
    lines.for_each(|line| sink.send(line.event));
}

/// The first event of the run.
fn first() -> Event {
    Recording::read(RUN).lines.remove(0).event
}

/// Standard output and standard error of the whole run.
async fn through(mode: OutputMode, options: Options) -> (String, String) {
    let (out, err) = (Shared::default(), Shared::default());
    let (sink, handle) = reporter_to(mode, options, Box::new(out.clone()), Box::new(err.clone()));
    send_all(&sink);
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
    let mut terminal = vt100::Parser::new(80, 80, 0);
    terminal.process(err.as_bytes());
    let screen = terminal.screen().contents();
    let at = |what: &str| {
        screen
            .find(what)
            .unwrap_or_else(|| panic!("{what:?} is not in\n{screen}"))
    };
    assert!(at("✗ 10.0.0.22 unreachable") < at("left: nothing was changed"));
    assert!(at("left: nothing was changed") < at("✓ zookeeper: written through"));
    assert!(at("✓ zookeeper: written through") < at("✓ 10.0.0.11"));
    assert!(
        out.starts_with("dc1 is partly up: 1 of 5 hosts failed, 29 changes made, "),
        "{out}"
    );
    assert!(!out.contains('\x1b'));
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
    assert!(out.contains("\n  zookeeper  "));
}

#[tokio::test]
async fn json_is_alone_on_stdout_and_ends_with_the_result() {
    let (out, err) = through(OutputMode::Json, Options::default()).await;
    assert_eq!(err, "");
    assert_eq!(out.lines().count(), Recording::read(RUN).lines.len());
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
            send_all(&sink);
            handle.finish().await;
            sink.send(first());
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
    sink.send(first());
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
    tokio::time::sleep(Duration::from_millis(300)).await;
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
    sink.send(first());
    drop(handle);
    ended.await;
    assert!(err.text().contains("dc1: cluster up, 5 hosts"));
    drop(pauser.paused().await);
}
