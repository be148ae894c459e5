//! The state of a run, from its events alone: the only source of every format.

use std::collections::BTreeMap;
use std::time::Duration;

use super::text::{bytes, clean, first_faults, hint};
use super::transfer::{BundleSummary, RateMeter, TransferView};
use crate::event::{Event, Failure, Outcome, RunResult, ServiceRow, Totals, WebAddress};
use crate::spec::{HostName, Role};

/// The progress of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPhase {
    /// Failed or unreachable; takes no further part.
    Failed,
    /// A step is in progress.
    Running,
    /// Between steps, or before the first.
    Waiting,
    /// Nothing was tried.
    Skipped,
    /// All its steps are done.
    Done,
}

/// A step in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningStep {
    pub phase: String,
    pub step: String,
    /// Start time.
    pub since: Duration,
    /// Bytes of a pull or load, and their total where it is known.
    pub progress: Option<(u64, Option<u64>)>,
    /// The last line of a build.
    pub output: Option<String>,
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostView {
    pub name: HostName,
    pub roles: Vec<Role>,
    pub phase: HostPhase,
    /// Steps in progress, the oldest first.
    pub running: Vec<RunningStep>,
    /// Number of its steps, once known.
    pub planned: Option<usize>,
    /// Number of steps done.
    pub done: usize,
    /// Changes made.
    pub changed: usize,
    meter: RateMeter,
    /// The last phase and step, in words; the cause once it has failed.
    pub last: (String, String),
    /// Start of its first step.
    pub began: Option<Duration>,
    /// End of its last step.
    pub ended: Option<Duration>,
}

/// An open gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    pub service: String,
    /// What is missing.
    pub missing: String,
    /// Start time.
    pub since: Duration,
}

/// The cluster's table.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub services: Vec<ServiceRow>,
    /// Its web addresses.
    pub web: Vec<WebAddress>,
    pub totals: Totals,
}

/// The state of a run. Times count from the start of the run.
#[derive(Debug, Clone, Default)]
pub struct ViewState {
    pub command: String,
    /// The cluster's name; empty before the first event.
    pub cluster: String,
    /// Hosts in the order of their first event.
    pub hosts: Vec<HostView>,
    /// Phases in progress, with their start.
    pub phases: Vec<(String, Duration)>,
    /// Open gates.
    pub gates: Vec<GateView>,
    /// Failed hosts, in the order of failing; a host may appear more than once.
    pub failures: Vec<(HostName, Outcome, Failure)>,
    /// Gates that failed, with what each host answered.
    pub failed_gates: Vec<(String, Vec<String>)>,
    /// Number of warnings.
    pub warnings: usize,
    /// Number of changes of a plan that is only shown.
    pub planned: Option<usize>,
    pub summary: Option<Summary>,
    pub transfer: TransferView,
    pub bundle: Option<BundleSummary>,
    pub result: Option<RunResult>,
    index: BTreeMap<HostName, usize>,
}

impl ViewState {
    /// Applies one event that happened at this time. Events of unknown hosts, in any order, are
    /// accepted.
    pub fn apply(&mut self, event: &Event, at: Duration) {
        match event {
            Event::RunStarted {
                command,
                cluster,
                hosts,
            } => {
                self.command = clean(command);
                self.cluster = cluster.to_string();
                for (name, roles) in hosts {
                    self.host(name).roles.clone_from(roles);
                }
            }
            Event::PhaseStarted { phase } => {
                let phase = clean(&phase.to_string());
                self.phases.retain(|(p, _)| *p != phase);
                self.phases.push((phase, at));
                self.transfer.restart_rate();
            }
            Event::PhaseFinished { phase, .. } => {
                let phase = clean(&phase.to_string());
                self.phases.retain(|(p, _)| *p != phase);
            }
            Event::GateWaiting {
                service,
                missing,
                elapsed_ms,
            } => self.gate(service, missing, *elapsed_ms, at),
            Event::GatePassed { service, .. } => self.end_gate(service),
            Event::GateFailed {
                service,
                faults,
                hints,
            } => {
                self.end_gate(service);
                let faults = first_faults(faults).into_iter();
                let lines = faults.chain(hints.iter().map(hint)).collect();
                self.failed_gates.push((clean(service), lines));
            }
            Event::Warning { .. } => self.warnings += 1,
            Event::Summary {
                cluster,
                services,
                web,
                totals,
            } => {
                self.cluster = cluster.to_string();
                self.summary = Some(Summary {
                    services: services.clone(),
                    web: web.clone(),
                    totals: totals.clone(),
                });
            }
            Event::ImageResolved { .. }
            | Event::ImageFetched { .. }
            | Event::TransferProgress { .. }
            | Event::BundleWritten { .. } => self.apply_bundle(event, at),
            Event::Result(result) => self.finish(result, at),
            Event::Planned { changes, .. } => self.planned = Some(changes.len()),
            Event::HostPlanned { .. }
            | Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::StepFinished { .. }
            | Event::HostFailed { .. } => self.apply_host(event, at),
        }
    }

    fn apply_bundle(&mut self, event: &Event, at: Duration) {
        match event {
            Event::ImageResolved { .. } => self.transfer.images += 1,
            Event::ImageFetched { .. } => self.transfer.fetched += 1,
            Event::TransferProgress { bytes, total } => self.transfer.progress(*bytes, *total, at),
            Event::BundleWritten {
                file,
                images,
                platforms,
                bytes,
                fetched,
            } => {
                self.bundle = Some(BundleSummary {
                    file: clean(file),
                    images: *images,
                    platforms: platforms.iter().map(|platform| clean(platform)).collect(),
                    bytes: *bytes,
                    fetched: *fetched,
                });
            }
            _ => {}
        }
    }

    fn apply_host(&mut self, event: &Event, at: Duration) {
        match event {
            Event::HostPlanned { host, steps } => {
                let host = self.host(host);
                (host.planned, host.done) = (Some(*steps), 0);
                host.settle();
            }
            Event::StepStarted { host, phase, step } => {
                let host = self.host(host);
                let (phase, step) = (clean(&phase.to_string()), clean(step));
                host.meter.restart();
                host.began.get_or_insert(at);
                host.last = (phase.clone(), step.clone());
                host.running.push(RunningStep {
                    phase,
                    step,
                    since: at,
                    progress: None,
                    output: None,
                });
                host.settle();
            }
            Event::StepProgress {
                host,
                step,
                bytes,
                total,
                line,
            } => {
                let (host, step) = (self.host(host), clean(step));
                let mut running = host.running.iter_mut();
                if let Some(running) = running.rfind(|running| running.step == step) {
                    running.progress = line.is_none().then_some((*bytes, *total));
                    running.output = line.as_deref().map(clean);
                }
                match host.progress() {
                    Some((done, Some(_))) => host.meter.add(done, at),
                    _ => host.meter.restart(),
                }
            }
            Event::StepFinished {
                host,
                step,
                changed,
                ..
            } => {
                let host = self.host(host);
                let step = clean(step);
                if let Some(i) = host.running.iter().position(|r| r.step == step) {
                    let ended = host.running.remove(i);
                    host.last = (ended.phase, ended.step);
                } else {
                    host.last.1 = step;
                }
                host.meter.restart();
                host.done += 1;
                host.changed += usize::from(*changed);
                host.ended = Some(at);
                host.settle();
            }
            Event::HostFailed {
                host: name,
                outcome,
                failure,
            } => {
                let host = self.host(name);
                host.phase = HostPhase::Failed;
                host.running.clear();
                host.ended = Some(at);
                let cause = failure
                    .cause
                    .first()
                    .map_or_else(|| clean(&failure.step), |c| clean(c));
                host.last = (clean(&failure.phase.to_string()), cause);
                self.failures
                    .push((name.clone(), *outcome, failure.clone()));
            }
            _ => {}
        }
    }

    fn host(&mut self, name: &HostName) -> &mut HostView {
        let next = self.hosts.len();
        let at = *self.index.entry(name.clone()).or_insert(next);
        if at == next {
            self.hosts.push(HostView::new(name.clone()));
        }
        &mut self.hosts[at]
    }

    fn gate(&mut self, service: &str, missing: &str, elapsed_ms: u64, at: Duration) {
        let (service, missing) = (clean(service), clean(missing));
        match self.gates.iter_mut().find(|g| g.service == service) {
            Some(gate) => gate.missing = missing,
            None => self.gates.push(GateView {
                service,
                missing,
                since: at.saturating_sub(Duration::from_millis(elapsed_ms)),
            }),
        }
    }

    fn end_gate(&mut self, service: &str) {
        let service = clean(service);
        self.gates.retain(|g| g.service != service);
    }

    fn finish(&mut self, result: &RunResult, at: Duration) {
        for (name, end) in &result.hosts {
            let host = self.host(name);
            host.running.clear();
            host.changed = end.changed;
            if host.began.is_some() {
                host.ended.get_or_insert(at);
            }
            host.phase = match end.outcome {
                Outcome::Ok | Outcome::Changed => HostPhase::Done,
                Outcome::Failed | Outcome::Unreachable | Outcome::Untrusted | Outcome::Denied => {
                    HostPhase::Failed
                }
                Outcome::Skipped => HostPhase::Skipped,
            };
        }
        self.phases.clear();
        self.gates.clear();
        self.result = Some(result.clone());
    }

    /// The number of failed hosts and of finished hosts.
    #[must_use]
    pub fn ended(&self) -> (usize, usize) {
        let count_phase = |phase| self.hosts.iter().filter(|h| h.phase == phase).count();
        (count_phase(HostPhase::Failed), count_phase(HostPhase::Done))
    }
}

impl HostView {
    fn new(name: HostName) -> Self {
        Self {
            name,
            roles: Vec::new(),
            phase: HostPhase::Waiting,
            running: Vec::new(),
            planned: None,
            done: 0,
            changed: 0,
            meter: RateMeter::default(),
            last: Default::default(),
            began: None,
            ended: None,
        }
    }

    /// Bytes of its pulls and loads under way, and their total where all know it.
    #[must_use]
    pub fn progress(&self) -> Option<(u64, Option<u64>)> {
        let steps = self.running.iter().filter_map(|step| step.progress);
        steps.reduce(|(done, total), (more, others)| {
            let total = total.zip(others).map(|(a, b)| a.saturating_add(b));
            (done.saturating_add(more), total)
        })
    }

    /// `34.25 MB of 120.00 MB`, with `5.00 MB/s, 17 s left` after it where there is room.
    pub(super) fn transferred(&self, now: Duration, has_room: bool) -> Option<String> {
        let (done, total) = self.progress()?;
        let rate = self.meter.text(done, total, now).filter(|_| has_room);
        let parts = std::iter::once(bytes(done, total)).chain(rate);
        Some(parts.collect::<Vec<_>>().join(", "))
    }

    fn settle(&mut self) {
        self.phase = match self.phase {
            HostPhase::Failed => HostPhase::Failed,
            _ if !self.running.is_empty() => HostPhase::Running,
            _ if self.planned.is_some_and(|n| self.done >= n) => HostPhase::Done,
            _ => HostPhase::Waiting,
        };
    }
}
