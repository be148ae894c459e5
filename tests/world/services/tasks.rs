//! The tasks of a process: they end with it, and any of them can end it.

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::process::Signal;

/// What the tasks of a process hold of each other.
#[derive(Clone)]
pub struct TaskHandle {
    spawn: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    exit: mpsc::UnboundedSender<(i64, String)>,
}

impl TaskHandle {
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // After the process's end nothing begins any more.
        let _ = self.spawn.send(Box::pin(task));
    }

    /// Ends the process with this code.
    pub fn exit(&self, code: i64, why: &str) {
        let _ = self.exit.send((code, why.to_owned()));
    }
}

/// Owned by the future of the process; dropped with it, all tasks end.
pub struct Tasks {
    handle: TaskHandle,
    spawned: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>,
    exits: mpsc::UnboundedReceiver<(i64, String)>,
    set: JoinSet<()>,
}

/// Why a process is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Term,
    Exit(i64, String),
}

impl Tasks {
    pub fn new() -> Self {
        let (spawn, spawned) = mpsc::unbounded_channel();
        let (exit, exits) = mpsc::unbounded_channel();
        Self {
            handle: TaskHandle { spawn, exit },
            spawned,
            exits,
            set: JoinSet::new(),
        }
    }

    pub fn handle(&self) -> TaskHandle {
        self.handle.clone()
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Runs the tasks until SIGTERM comes or a task ends the process.
    pub async fn run(&mut self, signals: &mut mpsc::UnboundedReceiver<Signal>) -> Stop {
        loop {
            tokio::select! {
                biased;
                Some(signal) = signals.recv() => if signal == Signal::Term {
                    return Stop::Term;
                },
                Some((code, why)) = self.exits.recv() => return Stop::Exit(code, why),
                Some(task) = self.spawned.recv() => { self.set.spawn(task); }
                Some(_) = self.set.join_next() => {}
            }
        }
    }
}

/// Returns at the first SIGTERM.
pub async fn terminated(signals: &mut mpsc::UnboundedReceiver<Signal>) {
    loop {
        match signals.recv().await {
            Some(Signal::Term) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
