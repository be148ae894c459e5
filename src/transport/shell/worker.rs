//! One shell on one session channel: it runs one command after the other, and a companion.
//!
//! The task reads the channel to its end, even when nobody waits for an answer any more: the
//! protocol library delivers channel data inside the connection's loop, so an unread channel would
//! stall all others.

use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::command::{Ending, ExecAnswer, signal_of};
use super::launch::{Launch, Skip, not_started};
use super::pool::{Attach, QueuedCommand, ShellPool};
use super::program::{EventFilter, Piece, ShellEvent, ShellProgram};
use crate::transport::channel_limiter::Permit;
use crate::transport::link::Link;
use crate::transport::{ExecOutput, TransportError};

/// Output accepted from an abandoned command before its shell is given up, in bytes.
const MAX_LINGER_BYTES: usize = 1 << 20;
/// How long an abandoned command may take to end. `timeout` on the host kills it after 5 s.
const LINGER_LIMIT: Duration = Duration::from_secs(7);
/// How long the host may take to confirm that a channel is closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// A login shell that takes longer is named.
const SLOW_LOGIN: Duration = Duration::from_secs(3);
/// Ends the companion's input, which cannot be closed: other texts follow in the same pipe.
const END_OF_INPUT: &str = "\u{4}";

/// The shell started and ended in some way; its commands have their answers.
pub(super) struct Served {
    /// It took a companion with it.
    pub(super) lost_companion: bool,
}

/// The command that runs.
struct Running {
    /// Taken when it is answered.
    answer: Option<oneshot::Sender<ExecAnswer>>,
    pid: Option<u32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Bytes per stream.
    max: usize,
    status: Option<u32>,
    stderr_ended: bool,
    fault: Option<TransportError>,
    /// When the shell is given up, once nobody waits for the answer.
    give_up: Option<Instant>,
    discarded: usize,
}

/// The companion's near end.
struct Companion {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    reader: JoinHandle<()>,
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The state of a shell that has started.
struct Shell {
    program: ShellProgram,
    stdout: EventFilter,
    stderr: EventFilter,
    out: mpsc::UnboundedSender<Bytes>,
    running: Option<Running>,
    /// The shell reads a command's bytes; lines that are sent now must wait.
    feeding: bool,
    held: Vec<String>,
    companion: Option<Companion>,
    /// What the companion is to read.
    input: (
        mpsc::UnboundedSender<String>,
        mpsc::UnboundedReceiver<String>,
    ),
}

/// Starts a shell and serves commands until it is no longer needed or ends. Holds the permit until
/// the host has closed the channel.
///
/// # Errors
/// When the shell does not start.
pub(super) async fn serve(
    pool: &ShellPool,
    link: &Link,
    channel: Channel<Msg>,
    permit: Permit,
    requests: Option<&mut mpsc::UnboundedReceiver<Attach>>,
) -> Result<Served, TransportError> {
    pool.count_login_shell();
    let (mut read, write) = channel.split();
    let program = ShellProgram::new();
    let launch = Launch::new(&program.text);
    if write.exec(true, launch.line.as_str()).await.is_err() {
        return Err(TransportError::Lost(link.lost()));
    }
    let (out, sent) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(write_all(write, sent, stopped));
    drop(out.send(launch.preface.into()));
    let result = match start(pool, link, &mut read, &launch.mark).await {
        Ok(Some(rest)) => {
            let mut shell = Shell {
                stdout: EventFilter::new(&program.mark),
                stderr: EventFilter::new(&program.mark),
                program,
                out,
                running: None,
                feeding: false,
                held: Vec::new(),
                companion: None,
                input: mpsc::unbounded_channel(),
            };
            shell.work(pool, link, &mut read, requests, rest).await;
            Ok(Served {
                lost_companion: shell.companion.is_some(),
            })
        }
        Ok(None) => Ok(Served {
            lost_companion: false,
        }),
        Err(error) => Err(error),
    };
    drop(stop);
    // The host keeps the session slot until the shell has ended; nobody else waits for that.
    tokio::spawn(async move {
        let closed =
            async { while !matches!(read.wait().await, None | Some(ChannelMsg::Close)) {} };
        let _ = timeout(CLOSE_LIMIT, closed).await;
        drop(permit);
    });
    result
}

/// Sends what is queued, so that the task that reads never waits for the host to take input.
async fn write_all(
    write: ChannelWriteHalf<Msg>,
    mut sent: mpsc::UnboundedReceiver<Bytes>,
    stopped: oneshot::Receiver<()>,
) {
    let send = async {
        while let Some(bytes) = sent.recv().await {
            if write.data_bytes(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = send => {}
        _ = stopped => {}
    }
    let _ = write.eof().await;
    let _ = write.close().await;
}

/// Waits until the login shell has started the program, which is measured. Returns what came behind
/// the mark, or `None` when the session was closed before.
async fn start(
    pool: &ShellPool,
    link: &Link,
    read: &mut ChannelReadHalf,
    mark: &str,
) -> Result<Option<[Vec<u8>; 2]>, TransportError> {
    let started = Instant::now();
    let mut skips = [Skip::new(mark), Skip::new(mark)];
    let mut rest = [Vec::new(), Vec::new()];
    let mut ending = Ending::default();
    while !skips.iter().all(Skip::found) {
        let message = tokio::select! {
            message = read.wait() => message,
            () = pool.wait_closed() => return Ok(None),
        };
        match message {
            Some(ChannelMsg::Data { data }) => rest[0].extend(skips[0].feed(&data)?),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                rest[1].extend(skips[1].feed(&data)?)
            }
            Some(other) => ending.note(&other),
            None => return Err(TransportError::Lost(link.lost())),
        }
        if ending.over() {
            let [stdout, stderr] = &skips;
            // A fault or a missing status says more.
            ending.status(|| link.lost())?;
            return Err(not_started(stdout, stderr));
        }
    }
    let took = started.elapsed();
    if took > SLOW_LOGIN {
        pool.note_slow_login(took);
    }
    Ok(Some(rest))
}

impl Shell {
    async fn work(
        &mut self,
        pool: &ShellPool,
        link: &Link,
        read: &mut ChannelReadHalf,
        mut requests: Option<&mut mpsc::UnboundedReceiver<Attach>>,
        [stdout, stderr]: [Vec<u8>; 2],
    ) {
        let first = requests.is_some();
        let mut ending = Ending::default();
        let mut broken = self
            .hear(&stdout, false)
            .and(self.hear(&stderr, true))
            .err();
        // A command that is still running would keep the channel of a dead shell open.
        while broken.is_none() && !ending.is_announced() {
            let idle = self.running.is_none() && !self.feeding;
            if first {
                pool.note_first(!idle);
            }
            let give_up = self.running.as_ref().and_then(|running| running.give_up);
            tokio::select! {
                message = read.wait() => match message {
                    Some(ChannelMsg::Data { data }) => broken = self.hear(&data, false).err(),
                    Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                        broken = self.hear(&data, true).err();
                    }
                    Some(other) => ending.note(&other),
                    None => break,
                },
                job = pool.next_job(), if idle => match job {
                    Some(job) => self.run(job),
                    None => break,
                },
                Some(attach) = receive(&mut requests) => self.attach(attach),
                Some(text) = self.input.1.recv() => self.send(ShellProgram::companion_input(&text)),
                () = abandoned(self.running.as_mut()) => self.abandon(),
                () = wait_until(give_up), if self.companion.is_none() => break,
                () = link.limiter().wanted(), if idle && !first => break,
            }
        }
        if let Some(running) = self.running.take() {
            let ended = || match ending.status(|| link.lost()) {
                Ok(_) => TransportError::Command("no exit status: the shell ended".to_owned()),
                Err(error) => error,
            };
            running.answer(Err(broken.unwrap_or_else(ended)));
        }
    }

    /// Sends the shell a line, as soon as it reads lines.
    fn send(&mut self, line: String) {
        if self.feeding {
            self.held.push(line);
        } else {
            drop(self.out.send(line.into()));
        }
    }

    fn run(&mut self, job: QueuedCommand) {
        let QueuedCommand { task, answer } = job;
        let request = ShellProgram::run(&task.command, task.stdin.len());
        drop(self.out.send(request.into()));
        if !task.stdin.is_empty() {
            drop(self.out.send(task.stdin));
        }
        self.feeding = true;
        self.running = Some(Running {
            answer: Some(answer),
            pid: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            max: task.max_output,
            status: None,
            stderr_ended: false,
            fault: None,
            give_up: None,
            discarded: 0,
        });
    }

    fn attach(&mut self, attach: Attach) {
        if attach.started.is_closed() {
            return;
        }
        if self.companion.is_some() {
            let busy = TransportError::Command("the shell has a companion already".to_owned());
            drop(attach.started.send(Err(busy)));
            return;
        }
        let line = self.program.start_companion(&attach.command);
        self.send(line);
        if !attach.preface.is_empty() {
            self.send(ShellProgram::companion_input(&attach.preface));
        }
        let (lines, to_write) = mpsc::unbounded_channel();
        let (from, to) = tokio::io::split(attach.pipe);
        tokio::spawn(deliver(to, to_write));
        self.companion = Some(Companion {
            lines,
            reader: tokio::spawn(collect(from, self.input.0.clone())),
        });
        drop(attach.started.send(Ok(())));
    }

    /// Ends a command that nobody waits for.
    fn abandon(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.answer = None;
        running.give_up.get_or_insert(Instant::now() + LINGER_LIMIT);
        if let Some(pid) = running.pid {
            self.send(ShellProgram::kill(pid));
        }
    }

    /// Takes in what a stream of the shell says.
    fn hear(&mut self, data: &[u8], is_stderr: bool) -> Result<(), TransportError> {
        let filter = if is_stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        };
        for piece in filter.feed(data)? {
            match piece {
                Piece::Output(data) => self.keep(&data, is_stderr),
                Piece::Event(event) => self.note(event, is_stderr),
            }
        }
        Ok(())
    }

    fn keep(&mut self, data: &[u8], is_stderr: bool) {
        // Between two commands, only what one of them left behind can print.
        let Some(running) = &mut self.running else {
            return;
        };
        if running.answer.is_none() {
            running.discarded += data.len();
            if running.discarded > MAX_LINGER_BYTES {
                running.give_up = Some(Instant::now());
            }
            return;
        }
        let buffer = if is_stderr {
            &mut running.stderr
        } else {
            &mut running.stdout
        };
        if buffer.len() + data.len() <= running.max {
            buffer.extend_from_slice(data);
            return;
        }
        let too_long = TransportError::Command(format!(
            "output is longer than {} bytes; the command was stopped",
            running.max
        ));
        running.respond(Err(too_long));
        self.abandon();
    }

    fn note(&mut self, event: ShellEvent, is_stderr: bool) {
        match (event, &mut self.running) {
            (ShellEvent::Started(pid), Some(running)) => {
                running.pid = Some(pid);
                if running.answer.is_none() {
                    self.send(ShellProgram::kill(pid));
                }
            }
            (ShellEvent::InputRead, _) => {
                self.feeding = false;
                for line in std::mem::take(&mut self.held) {
                    drop(self.out.send(line.into()));
                }
            }
            (ShellEvent::Finished(_), Some(running)) if is_stderr => running.stderr_ended = true,
            (ShellEvent::Finished(status), Some(running)) => {
                if running.status.is_some() {
                    let why = "the host sent two exit statuses".to_owned();
                    running.fault = Some(TransportError::Command(why));
                }
                running.status = status;
            }
            (ShellEvent::Companion(line), _) => {
                if let Some(companion) = &self.companion {
                    drop(companion.lines.send(line));
                }
            }
            (ShellEvent::CompanionEnded, _) => self.companion = None,
            (ShellEvent::Started(_) | ShellEvent::Finished(_), None) => {}
        }
        let over = |r: &mut Running| r.stderr_ended && r.status.is_some();
        if let Some(running) = self.running.take_if(over) {
            running.finish();
        }
    }
}

impl Running {
    fn respond(&mut self, result: ExecAnswer) {
        if let Some(answer) = self.answer.take() {
            drop(answer.send(result));
        }
    }

    fn answer(mut self, result: ExecAnswer) {
        self.respond(result);
    }

    fn finish(mut self) {
        let result = match (self.fault.take(), self.status) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err(TransportError::Command("no exit status".to_owned())),
            (None, Some(status)) => match signal_of(status) {
                Some(signal) => Err(TransportError::Command(format!(
                    "killed by signal {signal}"
                ))),
                None => Ok(ExecOutput {
                    status,
                    stdout: std::mem::take(&mut self.stdout),
                    stderr: std::mem::take(&mut self.stderr),
                }),
            },
        };
        self.answer(result);
    }
}

async fn receive(requests: &mut Option<&mut mpsc::UnboundedReceiver<Attach>>) -> Option<Attach> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns when the caller of the command has given up.
async fn abandoned(running: Option<&mut Running>) {
    match running.and_then(|running| running.answer.as_mut()) {
        Some(answer) => answer.closed().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Passes on what the companion is to read.
async fn collect(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    input: mpsc::UnboundedSender<String>,
) {
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        drop(input.send(String::from_utf8_lossy(&buffer[..n]).into_owned()));
    }
    drop(input.send(END_OF_INPUT.to_owned()));
}

/// Passes on what the companion said.
async fn deliver(
    mut to: tokio::io::WriteHalf<DuplexStream>,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(mut line) = lines.recv().await {
        line.push(b'\n');
        if to.write_all(&line).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
