//! The task that shows events. Only this task writes, and never on the thread of the others, so that
//! the engine never waits for a terminal or a slow pipe.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::live::{permanent_lines, render};
use super::{Options, OutputMode, Plain, Screen, Streams, ViewState, ending, json_line};
use crate::env::{self, WallClock};
use crate::event::{Event, EventSink};

/// Interval between two frames, and between two checks for silence.
const FRAME_INTERVAL: Duration = Duration::from_millis(125);

enum Message {
    Event(ReceivedEvent),
    /// Release the terminal until the second channel closes; the first one confirms the release.
    Pause(oneshot::Sender<()>, oneshot::Receiver<()>),
    Finish,
}

struct ReceivedEvent {
    at: Instant,
    time: jiff::Timestamp,
    event: Event,
}

struct Sink {
    messages: mpsc::UnboundedSender<Message>,
    clock: WallClock,
}

impl EventSink for Sink {
    fn send(&self, event: Event) {
        // After the end nobody receives.
        let _ = self.messages.send(Message::Event(ReceivedEvent {
            at: Instant::now(),
            time: self.clock.now(),
            event,
        }));
    }
}

/// Ends the reporter, also when it is dropped without `finish`.
#[derive(Debug)]
pub struct ReporterHandle {
    pauser: Pauser,
    ended: ReporterEnd,
}

/// Comes when the reporter has shown everything and released the terminal.
pub type ReporterEnd = Shared<BoxFuture<'static, ()>>;

/// Releases the terminal for a question.
#[derive(Debug, Clone)]
pub struct Pauser(mpsc::UnboundedSender<Message>);

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

/// While it exists, the reporter is paused and events wait.
#[derive(Debug)]
pub struct PauseGuard(#[allow(dead_code)] Option<oneshot::Sender<()>>);

impl Pauser {
    /// Removes the live view and pauses the reporter until the guard is dropped.
    pub async fn paused(&self) -> PauseGuard {
        let (free, is_free) = oneshot::channel();
        let (resume, resumed) = oneshot::channel();
        if self.0.send(Message::Pause(free, resumed)).is_err() {
            return PauseGuard(None);
        }
        // An error means that the reporter has ended and the terminal is free.
        let _ = is_free.await;
        PauseGuard(Some(resume))
    }
}

impl ReporterHandle {
    /// For code that asks the user a question during a run.
    #[must_use]
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// For code that must not end before the reporter, also when the handle is dropped.
    pub fn ended(&self) -> ReporterEnd {
        self.ended.clone()
    }

    /// Shows all events, prints the end of the run and releases the terminal.
    pub async fn finish(self) {
        let ended = self.ended();
        drop(self);
        ended.await;
    }
}

impl Drop for ReporterHandle {
    fn drop(&mut self) {
        let _ = self.pauser.0.send(Message::Finish);
    }
}

/// Starts a reporter on the streams of a run.
#[must_use]
pub fn reporter(
    mode: OutputMode,
    options: Options,
    streams: Streams,
    clock: WallClock,
) -> (Arc<dyn EventSink>, ReporterHandle) {
    let (messages, receiver) = mpsc::unbounded_channel();
    let form = match mode {
        OutputMode::Live => Form::Live {
            screen: Screen::new(Box::new(streams.clone())),
            above: Vec::new(),
        },
        OutputMode::Plain => Form::Plain(Plain::default()),
        OutputMode::Json => Form::Json,
    };
    let worker = Worker {
        form,
        options,
        streams,
        has_reader: true,
        began: Instant::now(),
        state: ViewState::default(),
    };
    let task = env::spawn(show(worker, receiver));
    let handle = ReporterHandle {
        pauser: Pauser(messages.clone()),
        ended: task.map(drop).boxed().shared(),
    };
    (Arc::new(Sink { messages, clock }), handle)
}

/// Shows events until it is asked to finish.
async fn show(mut worker: Worker, mut receiver: mpsc::UnboundedReceiver<Message>) {
    let mut next = worker.began;
    loop {
        let received = match worker.form {
            Form::Json => Ok(receiver.recv().await),
            Form::Live { .. } | Form::Plain(_) => timeout_at(next, receiver.recv()).await,
        };
        let mut events = Vec::new();
        let mut other = None;
        match received {
            Ok(Some(Message::Event(event))) => {
                events.push(event);
                // Those that came together are shown together.
                while other.is_none() {
                    match receiver.try_recv() {
                        Ok(Message::Event(event)) => events.push(event),
                        Ok(message) => other = Some(message),
                        Err(_) => break,
                    }
                }
            }
            Ok(message) => other = Some(message.unwrap_or(Message::Finish)),
            Err(_) => {}
        }
        let is_due = Instant::now() >= next;
        let is_pause = matches!(other, Some(Message::Pause(..)));
        let shown = move |worker: &mut Worker| {
            for ReceivedEvent { at, time, event } in &events {
                worker.event(event, at.saturating_duration_since(worker.began), *time);
            }
            if is_pause {
                worker.clear();
            } else if is_due {
                worker.tick();
            }
        };
        match writing(worker, shown).await {
            Some(same) => worker = same,
            None => return,
        }
        match other {
            Some(Message::Pause(free, resumed)) => {
                let _ = free.send(());
                // An error means that the guard was dropped.
                let _ = resumed.await;
            }
            Some(Message::Finish) => break,
            Some(Message::Event(_)) | None => {}
        }
        if is_due {
            next = Instant::now() + FRAME_INTERVAL;
        }
    }
    drop(writing(worker, Worker::end).await);
}

/// Does what may wait for the reader of a pipe.
async fn writing(
    mut worker: Worker,
    work: impl FnOnce(&mut Worker) + Send + 'static,
) -> Option<Worker> {
    let work = move || {
        work(&mut worker);
        worker
    };
    env::run_blocking(work).await
}

enum Form {
    Live { screen: Screen, above: Vec<String> },
    Plain(Plain),
    Json,
}

struct Worker {
    form: Form,
    options: Options,
    streams: Streams,
    /// Not when it went away (`toots … | head -1`): the run continues.
    has_reader: bool,
    began: Instant,
    state: ViewState,
}

impl Worker {
    fn event(&mut self, event: &Event, at: Duration, time: jiff::Timestamp) {
        // The result is the last event by contract: a program may stop reading there.
        if self.state.result.is_some() {
            return;
        }
        self.state.apply(event, at);
        let columns = self.streams.size().0;
        let lines = match &mut self.form {
            Form::Live { above, .. } => {
                above.extend(permanent_lines(event, columns, self.options.colour));
                return;
            }
            Form::Plain(plain) => {
                let lines = plain.lines(event, &self.state, at);
                self.messages(&lines);
                return;
            }
            Form::Json => json_line(event, time) + "\n",
        };
        self.data(&lines);
    }

    fn tick(&mut self) {
        let now = self.began.elapsed();
        match &mut self.form {
            // Before the first event there is nothing to show, and a command that only prints wants
            // no empty frame.
            Form::Live { above, .. }
                if self.state.command.is_empty()
                    && self.state.hosts.is_empty()
                    && above.is_empty() => {}
            Form::Live { screen, above } => {
                let (columns, rows) = self.streams.size();
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
            Form::Plain(plain) if self.state.result.is_none() => {
                let lines = plain.heartbeat(&self.state, now);
                self.messages(&lines);
            }
            Form::Plain(_) | Form::Json => {}
        }
    }

    fn clear(&mut self) {
        if let Form::Live { screen, above } = &mut self.form {
            let columns = self.streams.size().0;
            screen.draw(&std::mem::take(above), "", "", columns);
            screen.clear(columns);
        }
    }

    /// The last frame of a live view stays, so that finished hosts can be read; the end of the run
    /// goes to stdout.
    fn end(&mut self) {
        // Without hosts there are no failures to list: the command itself says why it ended.
        let speaks = !self.state.command.is_empty() && !self.state.hosts.is_empty();
        if !speaks && self.state.result.is_none() {
            self.clear();
            return;
        }
        self.tick();
        if matches!(self.form, Form::Json) {
            return;
        }
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let columns = self
            .options
            .columns
            .or_else(|| self.streams.output_columns());
        let options = Options {
            columns,
            ..self.options
        };
        let text = ending(&self.state, elapsed, options.width(), options.out_colour);
        match &mut self.form {
            Form::Live { screen, .. } => screen.leave(),
            Form::Plain(_) => self.messages(&[String::new()]),
            Form::Json => {}
        }
        self.data(&text);
    }

    fn data(&mut self, text: &str) {
        self.has_reader = self.has_reader && self.streams.try_write_data(text);
    }

    fn messages(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.streams.write_message(&lines.join("\n"));
        }
    }
}
