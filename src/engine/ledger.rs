//! The outcome of each host: the only place that counts changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, EventSink, Failure, HostResult, Outcome, RunResult};
use crate::spec::{ExitCode, HostName, Phase, Remedy};

#[derive(Default)]
struct Track {
    changed: usize,
    done: Vec<String>,
    failed: Option<(Outcome, String)>,
    touched: bool,
    /// The steps under way: pulls run in parallel.
    under_way: Vec<StepUnderWay>,
}

/// Early exit with this code.
pub(super) struct EarlyExit(pub ExitCode);

/// A step that began and has not ended.
#[derive(Clone)]
pub(super) struct StepUnderWay {
    pub phase: Phase,
    pub title: String,
    /// The number of its changes.
    pub changes: usize,
}

/// The state of every host in this run.
pub(super) struct Ledger {
    hosts: Mutex<BTreeMap<HostName, Track>>,
    lost_locks: Mutex<BTreeSet<HostName>>,
    warned: Mutex<BTreeSet<(Option<HostName>, String)>>,
    /// Why the run did not get to its end, and what to do.
    error: Mutex<Option<(String, Vec<Remedy>)>>,
    events: Arc<dyn EventSink>,
}

impl Ledger {
    pub fn new(hosts: impl Iterator<Item = HostName>, events: Arc<dyn EventSink>) -> Self {
        Self {
            hosts: Mutex::new(hosts.map(|host| (host, Track::default())).collect()),
            lost_locks: Mutex::default(),
            warned: Mutex::default(),
            error: Mutex::default(),
            events,
        }
    }

    fn with<T>(&self, host: &HostName, f: impl FnOnce(&mut Track) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        f(hosts.entry(host.clone()).or_default())
    }

    /// Sends a warning once, however often it is found: everything is judged again under the locks.
    pub fn warn(&self, host: Option<HostName>, text: String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert((host.clone(), text.clone())) {
            self.events.send(Event::warning(host, text));
        }
    }

    /// Ends the run for this reason, which is shown and becomes the result's error.
    pub fn stop(&self, code: ExitCode, text: String) -> EarlyExit {
        self.stop_with(code, text, Vec::new())
    }

    /// As [`Self::stop`], with what to do about it.
    pub fn stop_with(&self, code: ExitCode, text: String, hints: Vec<Remedy>) -> EarlyExit {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *error = Some((text.clone(), hints.clone()));
        drop(error);
        self.events.send(Event::Warning {
            host: None,
            text,
            hints,
        });
        EarlyExit(code)
    }

    /// Takes the first of several errors into the result; one that ends the run comes before it.
    pub fn note_error(&self, text: impl FnOnce() -> String, hints: &[Remedy]) {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.get_or_insert_with(|| (text(), hints.to_vec()));
    }

    /// Records that a host's lock is lost for good; returns all such hosts.
    pub fn lock_lost(&self, host: &HostName) -> BTreeSet<HostName> {
        let mut lost = self
            .lost_locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lost.insert(host.clone());
        lost.clone()
    }

    /// Whether a host's lock is lost for good.
    pub fn any_lock_lost(&self) -> bool {
        let lost = self.lost_locks.lock();
        !lost.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Records that the host took part.
    pub fn mark_touched(&self, host: &HostName) {
        self.with(host, |track| track.touched = true);
    }

    /// Records that a step with so many changes began.
    pub fn step_began(&self, host: &HostName, phase: &Phase, title: &str, changes: usize) {
        let step = StepUnderWay {
            phase: phase.clone(),
            title: title.to_owned(),
            changes,
        };
        self.with(host, |track| track.under_way.push(step));
    }

    /// Records that a step ended, in whatever way.
    pub fn step_ended(&self, host: &HostName, phase: &Phase, title: &str) {
        let is_other = |step: &StepUnderWay| step.phase != *phase || step.title != title;
        self.with(host, |track| track.under_way.retain(is_other));
    }

    /// Every step under way, with its host.
    pub fn steps_under_way(&self) -> Vec<(HostName, StepUnderWay)> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = hosts.iter().flat_map(|(host, track)| {
            let step = |step: &StepUnderWay| (host.clone(), step.clone());
            track.under_way.iter().map(step)
        });
        steps.collect()
    }

    /// Records a step and the number of its changes.
    pub fn changed(&self, host: &HostName, step: &str, count: usize) {
        self.with(host, |track| {
            track.changed += count;
            track.done.push(step.to_owned());
        });
    }

    /// Records and reports the failure of a host that takes part: a later one is a consequence.
    pub fn fail(&self, host: &HostName, outcome: Outcome, failure: Failure) {
        if let (true, failure) = self.record(host, outcome, failure) {
            self.report(host, outcome, failure);
        }
    }

    /// As [`Self::fail`], for a failure in the middle of a step with so many changes. They count as
    /// changes: half of them may be done, and nobody may claim that nothing was changed.
    pub fn fail_midway(
        &self,
        host: &HostName,
        outcome: Outcome,
        mut failure: Failure,
        changes: usize,
    ) {
        self.with(host, |track| {
            let half_done = format!("\"{}\" may be half done", failure.step);
            failure.left = Some(match track.done.as_slice() {
                [] => half_done,
                done => format!(
                    "changed before the failure: {}; {half_done}",
                    done.join(", ")
                ),
            });
            track.changed += changes;
        });
        self.fail(host, outcome, failure);
    }

    /// Records and reports one reason to refuse a host. All of them are reported: they are found
    /// together, and without the first one the host would be refused for the next.
    pub fn refuse(&self, host: &HostName, failure: Failure) {
        let (_, failure) = self.record(host, Outcome::Failed, failure);
        self.report(host, Outcome::Failed, failure);
    }

    /// Returns whether the failure is the host's first, and the failure with what was changed on the
    /// host before.
    fn record(&self, host: &HostName, outcome: Outcome, mut failure: Failure) -> (bool, Failure) {
        self.with(host, |track| {
            failure
                .left
                .get_or_insert_with(|| match track.done.as_slice() {
                    [] => "nothing was changed".to_owned(),
                    done => format!("changed before the failure: {}", done.join(", ")),
                });
            let is_first = track.failed.is_none();
            if is_first {
                track.failed = Some((outcome, failure.step.clone()));
            }
            (is_first, failure)
        })
    }

    fn report(&self, host: &HostName, outcome: Outcome, failure: Failure) {
        let text = || format!("{host}: {}", failure.cause.join(": "));
        self.note_error(text, &failure.hints);
        tracing::error!(%host, ?outcome, ?failure, "host failed");
        self.events.send(Event::HostFailed {
            host: host.clone(),
            outcome,
            failure,
        });
    }

    /// Whether the host still takes part.
    pub fn alive(&self, host: &HostName) -> bool {
        self.with(host, |track| track.failed.is_none())
    }

    /// Whether the host was given up: not reached, or lost in the middle, itself or its lock.
    pub fn is_given_up(&self, host: &HostName) -> bool {
        let lost = self.lost_locks.lock();
        let is_lost = lost.unwrap_or_else(PoisonError::into_inner).contains(host);
        is_lost
            || self.with(host, |track| {
                let failed = track.failed.as_ref();
                failed.is_some_and(|(outcome, _)| outcome.is_unreached())
            })
    }

    /// Whether any host failed.
    pub fn any_failed(&self) -> bool {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .any(|track| track.failed.is_some())
    }

    /// Whether one of these hosts could not be reached, trusted or logged in to.
    pub fn any_unreached(&self, scope: &BTreeSet<HostName>) -> bool {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|(host, track)| {
                scope.contains(host)
                    && track
                        .failed
                        .as_ref()
                        .is_some_and(|(outcome, _)| outcome.is_unreached())
            })
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
    pub fn result(&self, exit_code: ExitCode) -> RunResult {
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
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let (error, hints) = match error.clone().filter(|_| exit_code != ExitCode::DONE) {
            Some((error, hints)) => (Some(error), hints),
            None => (None, Vec::new()),
        };
        RunResult {
            exit_code: exit_code.0,
            changed: results.values().map(|r| r.changed).sum(),
            hosts: results,
            error,
            hints,
            ..RunResult::default()
        }
    }
}
