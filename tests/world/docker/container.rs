//! A container as its Engine keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::process::{Log, Program, Signal};

/// The pause before the first restart; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A program that ran for so long starts with the first pause again.
const LONG_RUN: Duration = Duration::from_secs(10);
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    /// Waits for its next start; counts as running, too.
    Restarting,
    Exited,
}

/// The process of a container that runs.
pub struct Running {
    pub pid: u32,
    pub signals: mpsc::UnboundedSender<Signal>,
    pub kill: Option<oneshot::Sender<()>>,
}

pub struct Container {
    pub id: String,
    pub name: String,
    /// The creation request.
    pub body: Value,
    pub image: String,
    /// The image's part of the configuration.
    pub settings: Value,
    pub program: Arc<dyn Program>,
    /// The program's name, as its image says.
    pub contains: String,
    pub state: State,
    pub exit_code: i64,
    pub error: String,
    pub is_oom_killed: bool,
    pub restart_count: i64,
    pub pause: Duration,
    pub created: Timestamp,
    pub started: Option<(Instant, Timestamp)>,
    pub finished: Option<Timestamp>,
    /// A stop or a signal of a user: `unless-stopped` restarts it no more until it is started again.
    pub is_stopped_by_user: bool,
    /// No policy restarts it after its next end.
    pub ends_for_good: bool,
    pub is_being_removed: bool,
    pub log: Log,
    pub process: Option<Running>,
    /// Counts starts and ends, so that what belongs to an earlier one changes nothing.
    pub epoch: u64,
}

impl Container {
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Restarting)
    }

    pub fn host_config(&self, key: &str) -> &Value {
        &self.body["HostConfig"][key]
    }

    /// A setting of the request, else of the image.
    fn setting(&self, key: &str) -> &Value {
        match &self.body[key] {
            Value::Null => &self.settings[key],
            own => own,
        }
    }

    fn words(value: &Value) -> Vec<String> {
        match value {
            Value::String(word) => vec![word.clone()],
            value => serde_json::from_value(value.clone()).unwrap_or_default(),
        }
    }

    pub fn entrypoint(&self) -> Vec<String> {
        Self::words(self.setting("Entrypoint"))
    }

    /// The arguments. Those of the image belong to its own entrypoint.
    pub fn arguments(&self) -> Vec<String> {
        let own = Self::words(&self.body["Cmd"]);
        match own.is_empty() && Self::words(&self.body["Entrypoint"]).is_empty() {
            true => Self::words(&self.settings["Cmd"]),
            false => own,
        }
    }

    pub fn command(&self) -> Vec<String> {
        let mut command = self.entrypoint();
        command.extend(self.arguments());
        command
    }

    pub fn env(&self) -> Vec<(String, String)> {
        let both = [&self.settings["Env"], &self.body["Env"]];
        let pairs = both.into_iter().flat_map(Self::words);
        pairs
            .filter_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect()
    }

    pub fn labels(&self) -> Value {
        let both = [&self.settings["Labels"], &self.body["Labels"]];
        let pairs = both.into_iter().filter_map(Value::as_object).flatten();
        let pairs = pairs.map(|(key, value)| (key.clone(), value.clone()));
        Value::Object(pairs.collect())
    }

    /// Path in the container → path on the machine, of each bind mount.
    pub fn mounts(&self) -> BTreeMap<String, String> {
        let binds = self.host_config("Binds").as_array();
        let binds = binds.into_iter().flatten().filter_map(Value::as_str);
        let paths = binds.filter_map(|bind| {
            let mut parts = bind.split(':');
            let (source, target) = (parts.next()?, parts.next()?);
            Some((target.to_owned(), source.to_owned()))
        });
        paths.collect()
    }

    pub fn stop_signal(&self) -> i32 {
        let name = self.setting("StopSignal").as_str().unwrap_or_default();
        signal_number(name).unwrap_or(TERM)
    }

    fn has_stop_signal(&self) -> bool {
        self.setting("StopSignal")
            .as_str()
            .is_some_and(|name| !name.is_empty())
    }

    pub fn grace(&self) -> Duration {
        let grace = self.body["StopTimeout"].as_u64();
        grace.map_or(DEFAULT_GRACE, Duration::from_secs)
    }

    /// What a signal of a user means for later restarts. Only the stop signal ends it for good under
    /// every policy, or any signal when it has no stop signal of its own.
    pub fn note_signal(&mut self, signal: i32) {
        self.is_stopped_by_user = true;
        if signal == KILL || !self.has_stop_signal() || signal == self.stop_signal() {
            self.ends_for_good = true;
        }
    }

    /// Gives its process a signal; SIGKILL ends it whatever it does.
    pub fn signal(&mut self, signal: i32) {
        let Some(process) = &mut self.process else {
            return;
        };
        let other = match signal {
            KILL => {
                if let Some(kill) = process.kill.take() {
                    // A process that has ended meanwhile needs no killing.
                    kill.send(()).ok();
                }
                return;
            }
            TERM => Signal::Term,
            1 => Signal::Hup,
            other => Signal::Other(other),
        };
        // A process that has ended meanwhile gets no signal.
        process.signals.send(other).ok();
    }

    /// Whether its policy restarts it after an end with this code.
    pub fn restarts(&self, code: i64) -> bool {
        let policy = &self.host_config("RestartPolicy");
        let limit = policy["MaximumRetryCount"].as_i64().unwrap_or(0);
        match policy["Name"].as_str().unwrap_or_default() {
            "always" => true,
            "unless-stopped" => !self.is_stopped_by_user,
            "on-failure" => code != 0 && (limit == 0 || self.restart_count < limit),
            _ => false,
        }
    }

    /// The pause before its next restart.
    pub fn lengthen_pause(&mut self) {
        let ran = self.started.map(|(at, _)| at.elapsed());
        if ran.is_some_and(|ran| ran >= LONG_RUN) {
            self.pause = Duration::ZERO;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }

    /// As a start by a user finds it.
    pub fn reset(&mut self) {
        self.is_stopped_by_user = false;
        self.ends_for_good = false;
        self.restart_count = 0;
        self.pause = Duration::ZERO;
        self.is_oom_killed = false;
        self.error.clear();
    }
}

pub const KILL: i32 = 9;
pub const TERM: i32 = 15;

/// The number of a signal, by its name or number.
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let number = match name.to_ascii_uppercase().trim_start_matches("SIG") {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => KILL,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => TERM,
        "WINCH" => 28,
        _ => return None,
    };
    Some(number)
}
