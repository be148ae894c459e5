//! Starts and ends of containers, and what follows from them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::container::{Container, KILL, Running, State};
use super::containers::absent;
use super::reply::{Lines, Reply, no_space};
use super::{Engine, EngineState};
use crate::files::Node;
use crate::network::Holder;
use crate::process::Process;

/// Exit code of a process that was killed.
const KILLED: i64 = 137;
/// Exit code of a program of the world that panicked.
const PANICKED: i64 = 134;
/// How long the removal of a container's layer takes, while others find it under way.
const REMOVAL: Duration = Duration::from_millis(30);

impl Engine {
    pub(super) fn start(&self, name: &str, by: &str) -> Reply {
        let mut state = self.lock();
        let is_disk_full = state.is_disk_full;
        let Some(container) = state.find(name) else {
            return absent(name);
        };
        if container.is_running() {
            return Reply::done(304);
        }
        if container.is_being_removed {
            let why = "container is marked for removal and cannot be started";
            return Reply::failed(409, why);
        }
        let command = container.command();
        if is_disk_full || !container.program.has_command(&command) {
            let (status, code, why) = match is_disk_full {
                true => (500, 128, no_space("containers")),
                false => (400, 127, not_found(&command)),
            };
            container.reset();
            container.exit_code = code;
            container.error.clone_from(&why);
            return Reply::failed(status, why);
        }
        container.reset();
        let id = container.id.clone();
        self.run(&mut state, &id, by);
        Reply::done(204)
    }

    /// Starts the process of a container in a task.
    pub(super) fn run(&self, state: &mut EngineState, id: &str, by: &str) {
        let at = (Instant::now(), self.now());
        state.started += 1;
        let pid = 1000 + state.started;
        let Some(container) = state.find(id) else {
            return;
        };
        let (signals, received) = mpsc::unbounded_channel();
        let (kill, killed) = oneshot::channel();
        container.state = State::Running;
        container.exit_code = 0;
        container.epoch += 1;
        container.started = Some(at);
        container.process = Some(Running {
            pid,
            signals,
            kill: Some(kill),
        });
        let mut process = self.process(container, received);
        process.network = process.network.of_process(Holder {
            pid,
            container: container.id.clone(),
        });
        let (program, name) = (container.program.clone(), container.name.clone());
        let (engine, id, epoch) = (self.clone(), id.to_owned(), container.epoch);
        self.note(&name, format!("start by {by}"));
        self.tell_of(state, &id, "start", json!({}));
        self.spawn_process(async move {
            let ran = AssertUnwindSafe(program.run(process)).catch_unwind();
            let code = tokio::select! {
                biased;
                _ = killed => KILLED,
                code = ran => code.unwrap_or_else(|_| {
                    engine.note(&name, "panicked");
                    PANICKED
                }),
            };
            // An Engine that does not run notices the end when it does.
            engine.until_awake().await;
            engine.ended(&id, epoch, code);
        });
    }

    fn process(
        &self,
        container: &Container,
        signals: mpsc::UnboundedReceiver<crate::process::Signal>,
    ) -> Process {
        let machine = self.machine();
        let mounts = container.mounts();
        for source in mounts.values() {
            // The Engine creates what a bind lacks, as a folder.
            for (at, _) in format!("{source}/").match_indices('/').skip(1) {
                let folder = &source[..at];
                if machine.files.node(folder).is_none() {
                    let node = Node::Dir {
                        mode: 0o755,
                        owner: 0,
                    };
                    machine.files.set(folder, node);
                }
            }
        }
        let hostname = match container.host_config("NetworkMode").as_str() {
            Some("host") => machine.name.clone(),
            _ => container.id.get(..12).unwrap_or_default().to_owned(),
        };
        Process {
            name: container.name.clone(),
            image: container.contains.clone(),
            command: container.command(),
            env: container.env().into_iter().collect(),
            mounts,
            files: machine.files.clone(),
            address: machine.address,
            hostname,
            network: machine.network.clone(),
            signals,
            log: container.log.clone(),
            record: machine.record.clone(),
        }
    }

    /// The process of a start has ended.
    fn ended(&self, id: &str, epoch: u64, code: i64) {
        let now = self.now();
        let mut state = self.lock();
        let is_last = state.is_shutting_down;
        let Some(container) = state.find(id).filter(|container| container.epoch == epoch) else {
            return;
        };
        container.process = None;
        container.exit_code = code;
        container.finished = Some(now);
        container.epoch += 1;
        let epoch = container.epoch;
        self.note(&container.name, format!("end {code}"));
        let restarts = !is_last && !container.ends_for_good && container.restarts(code);
        if restarts {
            container.lengthen_pause();
            container.state = State::Restarting;
            container.restart_count += 1;
            let (engine, id, pause) = (self.clone(), id.to_owned(), container.pause);
            self.spawn_process(async move {
                tokio::time::sleep(pause).await;
                engine.until_awake().await;
                let mut state = engine.lock();
                if state
                    .find(&id)
                    .is_some_and(|container| container.epoch == epoch)
                {
                    engine.run(&mut state, &id, "policy");
                }
            });
        } else {
            container.state = State::Exited;
            self.bell().ring();
        }
        let code = json!({ "exitCode": code.to_string() });
        self.tell_of(&mut state, id, "die", code);
    }

    /// Sends a signal of a user. A container between two starts has no process: it stays down.
    pub(super) fn send_signal(&self, state: &mut EngineState, id: &str, signal: i32) {
        let Some(container) = state.find(id) else {
            return;
        };
        container.note_signal(signal);
        if container.state == State::Restarting {
            if container.ends_for_good {
                container.epoch += 1;
                container.state = State::Exited;
                self.bell().ring();
            }
            return;
        }
        container.signal(signal);
        let signal = json!({ "signal": signal.to_string() });
        self.tell_of(state, id, "kill", signal);
    }

    /// Waits until a container does not run, or is gone.
    pub(super) async fn wait_for_end(&self, id: &str) {
        let has_ended = || {
            let mut state = self.lock();
            let runs = state
                .find(id)
                .is_some_and(|container| container.is_running());
            (!runs).then_some(())
        };
        self.bell().wait_for(has_ended).await;
    }

    /// Sends the stop signal, and SIGKILL after the grace time; answers when the process has ended.
    pub(super) async fn stop(&self, name: &str, grace: Option<Duration>, by: &str) -> Reply {
        let (id, grace) = {
            let mut state = self.lock();
            let Some(container) = state.find(name) else {
                return absent(name);
            };
            if !container.is_running() {
                return Reply::done(304);
            }
            self.note(&container.name, format!("stop by {by}"));
            let id = container.id.clone();
            (id, grace.unwrap_or_else(|| container.grace()))
        };
        self.end(&id, grace).await;
        self.tell_of(&mut self.lock(), &id, "stop", json!({}));
        Reply::done(204)
    }

    /// Ends a container, by its stop signal first.
    pub(super) async fn end(&self, id: &str, grace: Duration) {
        {
            let mut state = self.lock();
            let Some(container) = state.find(id) else {
                return;
            };
            let signal = container.stop_signal();
            self.send_signal(&mut state, id, signal);
        }
        let waited = tokio::time::timeout(grace, self.wait_for_end(id)).await;
        if waited.is_err() {
            self.send_signal(&mut self.lock(), id, KILL);
            self.wait_for_end(id).await;
        }
    }

    pub(super) async fn remove(&self, name: &str, force: bool, by: &str) -> Reply {
        let id = {
            let mut state = self.lock();
            let Some(container) = state.find(name) else {
                return absent(name);
            };
            let id = container.id.clone();
            if container.is_being_removed {
                let why = format!("removal of container {name} is already in progress");
                return Reply::failed(409, why);
            }
            if container.is_running() && !force {
                let kind = match container.state {
                    State::Restarting => "restarting",
                    _ => "running",
                };
                let why = format!(
                    "You cannot remove a {kind} container {id}. Stop the container before attempting removal or force remove"
                );
                return Reply::failed(409, why);
            }
            container.is_being_removed = true;
            self.note(&container.name, format!("remove by {by}"));
            if container.is_running() {
                self.send_signal(&mut state, &id, KILL);
            }
            id
        };
        self.wait_for_end(&id).await;
        tokio::time::sleep(REMOVAL).await;
        let mut state = self.lock();
        self.tell_of(&mut state, &id, "destroy", json!({}));
        state.containers.retain(|container| container.id != id);
        self.bell().ring();
        Reply::done(204)
    }

    /// Answers when a container does not run, with its exit code. The head of the answer comes at once.
    pub(super) fn wait(&self, name: &str) -> Reply {
        let id = match self.lock().find(name) {
            Some(container) => container.id.clone(),
            None => return absent(name),
        };
        let (lines, reply) = Lines::new();
        let engine = self.clone();
        self.spawn_request(async move {
            let ended = async {
                engine.wait_for_end(&id).await;
                let code = engine.lock().find(&id).map(|container| container.exit_code);
                lines.send(json!({ "StatusCode": code.unwrap_or(0) })).await;
            };
            until_closed(&lines, ended).await;
        });
        reply
    }
}

/// Works until the client is gone.
pub(super) async fn until_closed(lines: &Lines, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = work => {}
        () = lines.closed() => {}
    }
}

fn not_found(command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    format!(
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: {program:?}: executable file not found in $PATH: unknown"
    )
}
