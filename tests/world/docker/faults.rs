//! What befalls an Engine and its machine. Containers, images and files outlive all of it.

use std::time::Duration;

use futures::future::join_all;

use super::Engine;
use super::build::BuildManner;
use super::container::{KILL, State};
use super::engine::{Pace, Pacer};
use super::events::Events;
use crate::random::Random;

/// Exit code that an Engine writes for a process whose end it did not see.
const UNKNOWN: i64 = 255;

/// For how long an Engine that starts waits for processes of its former life.
const LONGEST_END: Duration = Duration::from_secs(60);

impl Engine {
    /// The machine loses its power: every process ends at once, and nobody notes how.
    pub fn power_cut(&self) {
        self.note("engine", "power cut");
        self.end_service();
        self.change_condition(|condition| {
            condition.exists = false;
            condition.is_paused = false;
        });
        self.abort_requests();
        self.abort_processes();
        let mut state = self.lock();
        state.is_shutting_down = false;
        state.events = Events::default();
        for container in &mut state.containers {
            container.process = None;
            container.epoch += 1;
        }
    }

    /// The Engine's process is killed, and its containers run on until it starts again.
    pub fn crash(&self) {
        self.note("engine", "crash");
        self.end_service();
        self.change_condition(|condition| {
            condition.exists = false;
            condition.is_paused = false;
        });
        self.abort_requests();
        let mut state = self.lock();
        state.events = Events::default();
    }

    /// The Engine ends in order, with all containers, each by its stop signal. This is no stop by a
    /// user: policies apply at the next start.
    pub async fn shut_down(&self) {
        self.note("engine", "shut down");
        self.end_service();
        let running: Vec<(String, Duration)> = {
            let mut state = self.lock();
            state.is_shutting_down = true;
            let running = state
                .containers
                .iter()
                .filter(|container| container.is_running());
            running
                .map(|container| (container.id.clone(), container.grace()))
                .collect()
        };
        join_all(
            running
                .iter()
                .map(|(id, grace)| self.end_with_engine(id, *grace)),
        )
        .await;
        self.change_condition(|condition| condition.exists = false);
        self.abort_requests();
        self.abort_processes();
        let mut state = self.lock();
        state.is_shutting_down = false;
        state.events = Events::default();
    }

    async fn end_with_engine(&self, id: &str, grace: Duration) {
        {
            let mut state = self.lock();
            let Some(container) = state.find(id) else {
                return;
            };
            if container.state == State::Restarting {
                container.epoch += 1;
                container.state = State::Exited;
                self.bell().ring();
                return;
            }
            let signal = container.stop_signal();
            container.signal(signal);
        }
        let ended = tokio::time::timeout(grace, self.wait_for_end(id)).await;
        if ended.is_err() {
            if let Some(container) = self.lock().find(id) {
                container.signal(KILL);
            }
            self.wait_for_end(id).await;
        }
    }

    /// The Engine starts: what ran without it is ended, what policies ask for is started, then it
    /// takes connections.
    pub async fn boot(&self) {
        if self.condition().exists {
            return;
        }
        self.note("engine", "boot");
        self.change_condition(|condition| condition.exists = true);
        let alive: Vec<(String, Duration)> = {
            let state = self.lock();
            let alive = state
                .containers
                .iter()
                .filter(|container| container.process.is_some());
            alive
                .map(|container| (container.id.clone(), container.grace()))
                .collect()
        };
        // `live-restore` is off. Recorded of Engine 20.10: it ends them as a user would, so that
        // `unless-stopped` does not start them again.
        let ends = join_all(alive.iter().map(|(id, grace)| self.end(id, *grace)));
        // It waits for none of them for ever.
        let _ = tokio::time::timeout(LONGEST_END, ends).await;
        let now = self.now();
        let mut state = self.lock();
        let mut wanted = Vec::new();
        for container in &mut state.containers {
            // An Engine keeps in memory alone that a removal is under way.
            container.is_being_removed = false;
            if container.state == State::Running {
                container.exit_code = UNKNOWN;
                container.finished = Some(now);
            }
            if container.is_running() {
                container.state = State::Exited;
                container.epoch += 1;
            }
            // One that was never started stays as it is.
            if container.started.is_some() && container.restarts(container.exit_code) {
                container.reset();
                wanted.push(container.id.clone());
            }
        }
        for id in wanted {
            self.run(&mut state, &id, "policy");
        }
        drop(state);
        self.change_condition(|condition| condition.serves = true);
    }

    /// The Engine ends in order and starts again after a time.
    pub async fn restart(&self, down: Duration) {
        self.shut_down().await;
        tokio::time::sleep(down).await;
        self.boot().await;
    }

    /// Stops the Engine's process: connections are taken, but nothing is answered or noticed. The
    /// processes of containers go on.
    pub fn pause(&self) {
        self.change_condition(|condition| condition.is_paused = true);
    }

    pub fn go_on(&self) {
        self.change_condition(|condition| condition.is_paused = false);
    }

    pub fn set_disk_full(&self, is_full: bool) {
        self.lock().is_disk_full = is_full;
    }

    /// The machine is installed anew: nothing is left of what was here.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.containers.clear();
        state.images.images.clear();
    }

    /// Somebody removed a container while it did not run.
    pub fn lose_container(&self, name: &str) {
        self.lock().containers.retain(|c| c.name != name);
    }

    /// Delays what requests do, as a function of their words says.
    pub fn delay(&self, delay: impl Fn(&str) -> Duration + Send + 'static) {
        let pace = move |words: &str| Pace {
            before: delay(words),
            after: Duration::ZERO,
        };
        self.set_pacer(Box::new(pace));
    }

    /// Delays each request.
    pub fn set_pace(&self, pace: Pace) {
        self.set_pacer(Box::new(move |_| pace));
    }

    /// Delays each request by times of a seed, below a limit before its effect and after it.
    pub fn set_random_pace(&self, seed: u64, limit: Duration) {
        let mut random = Random::new(seed);
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut time = move || Duration::from_millis(random.below(limit));
        self.set_pacer(Box::new(move |_| Pace {
            before: time(),
            after: time(),
        }));
    }

    /// Delays requests as a function says.
    pub fn set_pacer(&self, pacer: Pacer) {
        self.lock().pacer = Some(pacer);
    }

    pub fn set_build(&self, manner: BuildManner) {
        self.lock().build = manner;
    }

    /// Somebody else than toots stops a container.
    pub async fn stop_by_hand(&self, name: &str) {
        let _ = self.stop(name, None, "somebody").await;
    }

    /// A container's process is killed, and its policy applies; returns whether it had one.
    pub fn end_process(&self, name: &str) -> bool {
        let mut state = self.lock();
        let found = state.find(name);
        let Some(container) = found.filter(|container| container.process.is_some()) else {
            return false;
        };
        container.signal(KILL);
        true
    }

    /// The kernel kills a container's process for its memory; returns whether it had one.
    pub fn oom_kill(&self, name: &str) -> bool {
        let mut state = self.lock();
        let Some(container) = state
            .find(name)
            .filter(|container| container.process.is_some())
        else {
            return false;
        };
        container.is_oom_killed = true;
        container.signal(KILL);
        true
    }
}
