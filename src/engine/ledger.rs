//! What became of each host: the one place that counts changes and decides the exit code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, EventSink, Failure, HostResult, Outcome, RunResult};
use crate::spec::HostName;

/// The contract's exit codes (DESIGN §6).
pub(super) mod code {
    pub const DONE: u8 = 0;
    pub const INTERNAL: u8 = 1;
    pub const UNREACHED: u8 = 3;
    pub const REFUSED: u8 = 4;
    pub const PARTLY: u8 = 5;
    pub const GATE: u8 = 6;
    pub const LOCKED: u8 = 7;
    pub const DEADLINE: u8 = 8;
    pub const INTERRUPTED: u8 = 130;
}

#[derive(Default)]
struct Track {
    changed: usize,
    done: Vec<String>,
    failed: Option<(Outcome, String)>,
    touched: bool,
}

/// Every host's state in this run.
pub(super) struct Ledger {
    hosts: Mutex<BTreeMap<HostName, Track>>,
    events: Arc<dyn EventSink>,
}

impl Ledger {
    pub fn new(hosts: impl Iterator<Item = HostName>, events: Arc<dyn EventSink>) -> Self {
        Self {
            hosts: Mutex::new(hosts.map(|host| (host, Track::default())).collect()),
            events,
        }
    }

    fn with<T>(&self, host: &HostName, f: impl FnOnce(&mut Track) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        f(hosts.entry(host.clone()).or_default())
    }

    /// The host took part (it was looked at).
    pub fn touch(&self, host: &HostName) {
        self.with(host, |track| track.touched = true);
    }

    /// A step changed this many things.
    pub fn changed(&self, host: &HostName, step: &str, count: usize) {
        self.with(host, |track| {
            track.changed += count;
            track.done.push(step.to_owned());
        });
    }

    /// The host failed: said once, with what was changed on it before.
    pub fn fail(&self, host: &HostName, outcome: Outcome, mut failure: Failure) {
        let first = self.with(host, |track| {
            failure
                .left
                .get_or_insert_with(|| match track.done.as_slice() {
                    [] => "nothing was changed on it".to_owned(),
                    done => format!("changed before: {}; nothing after that", done.join(", ")),
                });
            let first = track.failed.is_none();
            if first {
                track.failed = Some((outcome, failure.step.clone()));
            }
            first
        });
        if first {
            tracing::error!(%host, ?outcome, ?failure, "host failed");
            self.events.send(Event::HostFailed {
                host: host.clone(),
                outcome,
                failure,
            });
        }
    }

    /// Whether the host still takes part.
    pub fn alive(&self, host: &HostName) -> bool {
        self.with(host, |track| track.failed.is_none())
    }

    /// Whether any host failed.
    pub fn any_failed(&self) -> bool {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .any(|track| track.failed.is_some())
    }

    /// Whether anything was changed anywhere.
    pub fn any_changed(&self) -> bool {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .any(|track| track.changed > 0)
    }

    /// The final result.
    pub fn result(&self, exit_code: u8) -> RunResult {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let results: BTreeMap<HostName, HostResult> = hosts
            .iter()
            .map(|(host, track)| {
                let outcome = match &track.failed {
                    Some((outcome, _)) => *outcome,
                    None if !track.touched => Outcome::Skipped,
                    None if track.changed > 0 => Outcome::Changed,
                    None => Outcome::Ok,
                };
                let failed_step = track.failed.as_ref().map(|(_, step)| step.clone());
                (
                    host.clone(),
                    HostResult {
                        outcome,
                        changed: track.changed,
                        failed_step,
                    },
                )
            })
            .collect();
        RunResult {
            exit_code,
            changed: results.values().map(|r| r.changed).sum(),
            hosts: results,
        }
    }
}
