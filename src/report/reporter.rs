//! The thread that shows events. Only this thread writes, so the engine never waits for a terminal
//! or a slow pipe.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::live::{permanent_lines, render};
use super::{Options, OutputMode, Plain, Screen, ViewState, ending, json_line};
use crate::event::{Event, EventSink};

/// Interval between two frames, and between two checks for silence.
const FRAME_INTERVAL: Duration = Duration::from_millis(125);

enum Message {
    Event(Instant, jiff::Timestamp, Event),
    /// Release the terminal until the second channel closes; the first one confirms the release.
    Pause(mpsc::Sender<()>, mpsc::Receiver<()>),
    Finish,
}

struct Sink(mpsc::Sender<Message>);

impl EventSink for Sink {
    fn send(&self, event: Event) {
        // After the end nobody receives.
        let _ = self.0.send(Message::Event(
            Instant::now(),
            jiff::Timestamp::now(),
            event,
        ));
    }
}

/// Ends the reporter, also when it is dropped without `finish`.
#[derive(Debug)]
pub struct ReporterHandle {
    pauser: Pauser,
    thread: Option<JoinHandle<()>>,
}

/// Releases the terminal for a question.
#[derive(Debug, Clone)]
pub struct Pauser(mpsc::Sender<Message>);

/// While it exists, the reporter is paused and events wait.
#[derive(Debug)]
pub struct PauseGuard(#[allow(dead_code)] Option<mpsc::Sender<()>>);

impl Pauser {
    /// Removes the live view and pauses the reporter until the guard is dropped.
    #[must_use]
    pub fn pause(&self) -> PauseGuard {
        let (free, is_free) = mpsc::channel();
        let (resume, resumed) = mpsc::channel();
        if self.0.send(Message::Pause(free, resumed)).is_err() {
            return PauseGuard(None);
        }
        // An error means that the reporter has ended and the terminal is free.
        let _ = is_free.recv();
        PauseGuard(Some(resume))
    }
}

impl Pauser {
    /// Like [`Pauser::pause`], without blocking the thread.
    pub async fn paused(&self) -> PauseGuard {
        let pauser = self.clone();
        let paused = tokio::task::spawn_blocking(move || pauser.pause()).await;
        paused.unwrap_or(PauseGuard(None))
    }
}

impl ReporterHandle {
    /// For code that asks the user a question during a run.
    #[must_use]
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// Shows all events, prints the end of the run and releases the terminal.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.pauser.0.send(Message::Finish);
            let _ = thread.join();
        }
    }
}

impl Drop for ReporterHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// A reporter on this process's stdout and stderr.
#[must_use]
pub fn reporter(mode: OutputMode, options: Options) -> (Arc<dyn EventSink>, ReporterHandle) {
    let size = || {
        console::Term::stderr()
            .size_checked()
            .map_or((80, 24), |(rows, columns)| (columns.into(), rows.into()))
    };
    reporter_to(
        mode,
        options,
        Box::new(io::stdout()),
        Box::new(io::stderr()),
        Box::new(size),
    )
}

/// A reporter on other writers; `size` returns the columns and rows of the terminal behind `err`.
#[must_use]
pub fn reporter_to(
    mode: OutputMode,
    options: Options,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    size: Box<dyn Fn() -> (usize, usize) + Send>,
) -> (Arc<dyn EventSink>, ReporterHandle) {
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    let form = match mode {
        OutputMode::Live => Form::Live {
            screen: Screen::new(err),
            above: Vec::new(),
        },
        OutputMode::Plain => Form::Plain {
            plain: Plain::default(),
            err,
        },
        OutputMode::Json => Form::Json,
    };
    let worker = Worker {
        form,
        options,
        out: Some(out),
        size,
        began,
        state: ViewState::default(),
    };
    let thread = std::thread::spawn(move || worker.run(&receiver));
    (
        Arc::new(Sink(sender.clone())),
        ReporterHandle {
            pauser: Pauser(sender),
            thread: Some(thread),
        },
    )
}

enum Form {
    Live {
        screen: Screen,
        above: Vec<String>,
    },
    Plain {
        plain: Plain,
        err: Box<dyn Write + Send>,
    },
    Json,
}

struct Worker {
    form: Form,
    options: Options,
    /// `None` once its reader went away (`toots … | head -1`): the run continues.
    out: Option<Box<dyn Write + Send>>,
    size: Box<dyn Fn() -> (usize, usize) + Send>,
    began: Instant,
    state: ViewState,
}

impl Worker {
    fn run(mut self, receiver: &mpsc::Receiver<Message>) {
        let mut next = self.began;
        loop {
            match receiver.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Event(at, ts, event)) => {
                    self.event(&event, at.saturating_duration_since(self.began), ts)
                }
                Ok(Message::Pause(free, resumed)) => {
                    self.clear();
                    let _ = free.send(());
                    let _ = resumed.recv();
                }
                Ok(Message::Finish) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= next {
                self.tick(self.began.elapsed());
                next = Instant::now() + FRAME_INTERVAL;
            }
        }
        self.end();
    }

    fn event(&mut self, event: &Event, at: Duration, ts: jiff::Timestamp) {
        // The result is the last event by contract: a program may stop reading there.
        if self.state.result.is_some() {
            return;
        }
        self.state.apply(event, at);
        let columns = (self.size)().0;
        let lines = match &mut self.form {
            Form::Live { above, .. } => {
                above.extend(permanent_lines(event, columns, self.options.colour));
                return;
            }
            Form::Plain { plain, err } => {
                let lines = plain.lines(event, &self.state, at);
                write_lines(err, &lines);
                return;
            }
            Form::Json => json_line(event, ts) + "\n",
        };
        self.data(&lines);
    }

    fn tick(&mut self, now: Duration) {
        match &mut self.form {
            // Before the first event there is nothing to show, and a command that only prints wants
            // no empty frame.
            Form::Live { above, .. }
                if self.state.command.is_empty()
                    && self.state.hosts.is_empty()
                    && above.is_empty() => {}
            Form::Live { screen, above } => {
                let (columns, rows) = (self.size)();
                // The last row holds the cursor.
                let frame =
                    |colour| render(&self.state, columns, rows.saturating_sub(1), now, colour);
                screen.draw(
                    &std::mem::take(above),
                    &frame(self.options.colour),
                    &frame(false),
                    columns,
                );
            }
            Form::Plain { plain, err } if self.state.result.is_none() => {
                write_lines(err, &plain.heartbeat(&self.state, now))
            }
            Form::Plain { .. } | Form::Json => {}
        }
    }

    fn clear(&mut self) {
        if let Form::Live { screen, above } = &mut self.form {
            let columns = (self.size)().0;
            screen.draw(&std::mem::take(above), "", "", columns);
            screen.clear(columns);
        }
    }

    /// The last frame of a live view stays, so that finished hosts can be read; the end of the run
    /// goes to stdout.
    fn end(&mut self) {
        let now = self.began.elapsed();
        // Without hosts there are no failures to list: the command itself says why it ended.
        let speaks = !self.state.command.is_empty() && !self.state.hosts.is_empty();
        if !speaks && self.state.result.is_none() {
            self.clear();
            return;
        }
        self.tick(now);
        if !matches!(self.form, Form::Json) {
            let elapsed = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            let text = ending(
                &self.state,
                elapsed,
                self.options.width(),
                self.options.out_colour,
            );
            match &mut self.form {
                Form::Live { screen, .. } => screen.leave(),
                Form::Plain { err, .. } => write_lines(err, &[String::new()]),
                Form::Json => {}
            }
            self.data(&text);
        }
    }

    fn data(&mut self, text: &str) {
        let Some(out) = &mut self.out else { return };
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            super::writer::record_loss(&error);
            self.out = None;
        }
    }
}

fn write_lines(to: &mut dyn Write, lines: &[String]) {
    if !lines.is_empty() {
        let text = lines.join("\n") + "\n";
        // Whole lines in one write, so that two processes on one pipe do not mix within a line.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}
