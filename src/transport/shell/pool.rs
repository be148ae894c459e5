//! The shells of one connection, and the commands that wait for them.
//!
//! Owns: how many shells there are and which command is next. Must not know what a shell says.
//!
//! A login shell may take seconds to start, so a connection has one shell for all its commands, and
//! a second one only when a command waits longer than [`GROW_INTERVAL`] for the first. The first one
//! stays; the second makes room when somebody waits for a channel.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::command::{CommandTask, ExecAnswer};
use super::worker::{self, Served};
use crate::transport::TransportError;
use crate::transport::channel_limiter::Permit;
use crate::transport::link::Link;

/// How long a command waits for a busy shell before a second one is opened. Most commands end
/// sooner, and a second shell costs another run of the startup files.
pub(in crate::transport) const GROW_INTERVAL: Duration = Duration::from_millis(300);

/// A command that waits.
pub(in crate::transport) struct QueuedCommand {
    pub(in crate::transport) task: CommandTask,
    /// Closed when the caller has given up.
    pub(in crate::transport) answer: oneshot::Sender<ExecAnswer>,
}

/// A companion that is to be started in the first shell.
pub(in crate::transport) struct Attach {
    /// The command line.
    pub(in crate::transport) command: String,
    /// What it reads first.
    pub(in crate::transport) preface: String,
    /// Its input and output.
    pub(in crate::transport) pipe: DuplexStream,
    pub(in crate::transport) started: oneshot::Sender<Result<(), TransportError>>,
}

/// How far the first shell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum ShellPhase {
    /// Its channel is being opened.
    Opening,
    /// Its startup files run.
    Starting,
    Ready,
    Absent,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<QueuedCommand>,
    /// Requests to the first shell, while there is one.
    first: Option<mpsc::UnboundedSender<Attach>>,
    has_second: bool,
}

/// The shells of one connection.
pub(in crate::transport) struct ShellPool {
    link: Arc<Link>,
    state: Mutex<PoolState>,
    /// Changes when a command is added.
    added: watch::Sender<()>,
    phase: watch::Sender<ShellPhase>,
    /// Nobody uses the session any more.
    closed: watch::Sender<bool>,
    first_busy: AtomicBool,
    started: AtomicU32,
    slow_login: OnceLock<Duration>,
}

impl ShellPool {
    pub(in crate::transport) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            state: Mutex::default(),
            added: watch::channel(()).0,
            phase: watch::channel(ShellPhase::Absent).0,
            closed: watch::channel(false).0,
            first_busy: AtomicBool::new(false),
            started: AtomicU32::new(0),
            slow_login: OnceLock::new(),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut PoolState) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a command; its answer comes through its channel.
    pub(in crate::transport) fn submit(self: &Arc<Self>, job: QueuedCommand) {
        self.with(|s| s.queue.push_back(job));
        self.added.send_replace(());
        self.open_first();
    }

    /// Starts a companion in the first shell.
    pub(in crate::transport) fn attach(self: &Arc<Self>, attach: Attach) {
        // Refused only when that shell has just ended.
        if let Err(mpsc::error::SendError(attach)) = self.open_first().send(attach) {
            drop(self.open_first().send(attach));
        }
    }

    /// Opens a second shell when a command waits for the first, which is busy.
    pub(in crate::transport) fn grow(self: &Arc<Self>) {
        if !self.first_busy.load(Ordering::Relaxed) {
            return;
        }
        let permit = self.with(|s| {
            let wanted = !s.has_second && s.queue.iter().any(|job| !job.answer.is_closed());
            let permit = wanted.then(|| self.link.limiter().try_enter()).flatten();
            s.has_second = s.has_second || permit.is_some();
            permit
        });
        if let Some(permit) = permit {
            let pool = Arc::clone(self);
            tokio::spawn(async move { pool.run_second(permit).await });
        }
    }

    /// Returns when the first shell has its channel, or cannot have it. Every other channel comes
    /// after it: commands must not wait for one that is kept open.
    pub(in crate::transport) async fn first_opened(self: &Arc<Self>) {
        self.open_first();
        let mut phase = self.phase.subscribe();
        // An error means that the pool is gone.
        drop(phase.wait_for(|phase| *phase != ShellPhase::Opening).await);
    }

    /// Lets the shells end as soon as they are idle.
    pub(in crate::transport) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Login shells so far.
    pub(in crate::transport) fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    /// Counts a login shell.
    pub(in crate::transport) fn count_login_shell(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// How long a login shell took, when that was long.
    pub(in crate::transport) fn slow_login(&self) -> Option<Duration> {
        self.slow_login.get().copied()
    }

    pub(in crate::transport) fn note_slow_login(&self, took: Duration) {
        let _ = self.slow_login.set(took);
    }

    /// Whether no command can have started yet.
    pub(in crate::transport) fn is_starting(&self) -> bool {
        *self.phase.borrow() != ShellPhase::Ready
    }

    /// The next command; `None` when the session is closed.
    pub(in crate::transport) async fn next_job(&self) -> Option<QueuedCommand> {
        let mut added = self.added.subscribe();
        let mut closed = self.closed.subscribe();
        loop {
            added.mark_unchanged();
            if let Some(job) = self.pop() {
                return Some(job);
            }
            tokio::select! {
                _ = added.changed() => {}
                _ = closed.wait_for(|closed| *closed) => return None,
            }
        }
    }

    /// Returns when nobody uses the session any more.
    pub(in crate::transport) async fn wait_closed(&self) {
        drop(self.closed.subscribe().wait_for(|closed| *closed).await);
    }

    fn pop(&self) -> Option<QueuedCommand> {
        self.with(|s| {
            // Callers that have given up are passed over.
            while let Some(job) = s.queue.pop_front() {
                if !job.answer.is_closed() {
                    return Some(job);
                }
            }
            None
        })
    }

    /// Requests to the first shell, which is opened when there is none.
    fn open_first(self: &Arc<Self>) -> mpsc::UnboundedSender<Attach> {
        self.with(|s| {
            if let Some(requests) = &s.first {
                return requests.clone();
            }
            let (requests, received) = mpsc::unbounded_channel();
            s.first = Some(requests.clone());
            self.phase.send_replace(ShellPhase::Opening);
            let pool = Arc::clone(self);
            tokio::spawn(async move { pool.run_first(received).await });
            requests
        })
    }

    async fn run_first(self: Arc<Self>, mut requests: mpsc::UnboundedReceiver<Attach>) {
        let served = match self.link.session("a shell").await {
            Ok((channel, permit)) => {
                self.phase.send_replace(ShellPhase::Starting);
                worker::serve(&self, &self.link, channel, permit, Some(&mut requests)).await
            }
            Err(error) => Err(error),
        };
        self.first_busy.store(false, Ordering::Relaxed);
        let error = match served {
            _ if self.link.closed() => Some(TransportError::Lost(self.link.lost())),
            // What the companion held (a lock) is free: no command may follow on this connection.
            Ok(Served {
                lost_companion: true,
            }) => {
                self.link.disconnect().await;
                Some(TransportError::Lost(
                    "the shell ended and its companion with it".to_owned(),
                ))
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let left = self.with(|s| {
            s.first = None;
            requests.close();
            self.phase.send_replace(ShellPhase::Absent);
            // The next shell would fail in the same way.
            error.as_ref().map(|_| std::mem::take(&mut s.queue))
        });
        let error = error.unwrap_or_else(|| TransportError::Command("the shell ended".to_owned()));
        while let Ok(attach) = requests.try_recv() {
            drop(attach.started.send(Err(error.clone())));
        }
        for job in left.into_iter().flatten() {
            drop(job.answer.send(Err(error.clone())));
        }
        if !*self.closed.borrow() && self.with(|s| !s.queue.is_empty()) {
            self.open_first();
        }
    }

    async fn run_second(self: Arc<Self>, mut permit: Permit) {
        // Refused or broken, it is not needed: the first one serves the commands.
        match self.link.open_now(&mut permit).await {
            Some(channel) => {
                let served = worker::serve(&self, &self.link, channel, permit, None).await;
                if let Err(error) = served {
                    tracing::debug!(%error, "the second shell did not start");
                }
            }
            None => drop(permit),
        }
        self.with(|s| s.has_second = false);
    }

    /// Records that the first shell serves commands, and whether one runs.
    pub(in crate::transport) fn note_first(&self, busy: bool) {
        self.first_busy.store(busy, Ordering::Relaxed);
        self.phase.send_if_modified(|phase| {
            let starting = *phase == ShellPhase::Starting;
            if starting {
                *phase = ShellPhase::Ready;
            }
            starting
        });
    }
}
