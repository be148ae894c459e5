//! What is known of a run from its events alone: the one source of every form.

use std::collections::BTreeMap;
use std::time::Duration;

use super::text::clean;
use crate::event::{Event, Failure, Outcome, RunResult, ServiceRow, Totals, WebAddress};
use crate::spec::{HostName, Role};

/// How far a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPhase {
    /// Failed or unreachable; takes no further part.
    Failed,
    /// A step goes on.
    Running,
    /// Between steps, or before the first.
    Waiting,
    /// Nothing was tried.
    Skipped,
    /// All its steps are done.
    Done,
}

/// A step that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningStep {
    /// Its phase.
    pub phase: String,
    /// What it does.
    pub step: String,
    /// When it began.
    pub since: Duration,
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Its name.
    pub name: HostName,
    /// Its roles.
    pub roles: Vec<Role>,
    /// How far it is.
    pub phase: HostPhase,
    /// Steps that go on, the oldest first.
    pub running: Vec<RunningStep>,
    /// Steps before it, once known.
    pub planned: Option<usize>,
    /// Steps done of those.
    pub done: usize,
    /// Changes made.
    pub changed: usize,
    /// Bytes of the pull that goes on.
    pub progress: Option<(u64, Option<u64>)>,
    /// The phase and step of last, in words; the cause once it has failed.
    pub last: (String, String),
    /// When it began its first step.
    pub began: Option<Duration>,
    /// When its last step ended.
    pub ended: Option<Duration>,
}

/// A gate that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    /// Its service.
    pub service: String,
    /// What is missing.
    pub missing: String,
    /// When it began.
    pub since: Duration,
}

/// The cluster's table as it came.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Its services.
    pub services: Vec<ServiceRow>,
    /// Its web addresses.
    pub web: Vec<WebAddress>,
    /// Numbers.
    pub totals: Totals,
}

/// A run, as far as its events told. Times are counted from the run's begin.
#[derive(Debug, Clone, Default)]
pub struct ViewState {
    /// The command.
    pub command: String,
    /// The cluster's name; empty before the first event.
    pub cluster: String,
    /// Hosts in the order in which they were named.
    pub hosts: Vec<HostView>,
    /// Phases that go on, with their begin.
    pub phases: Vec<(String, Duration)>,
    /// Gates that are waited for.
    pub gates: Vec<GateView>,
    /// Failed hosts, in the order of failing; a host may be here more than once.
    pub failures: Vec<(HostName, Outcome, Failure)>,
    /// Gates that failed, with what each host answered.
    pub failed_gates: Vec<(String, Vec<String>)>,
    /// The table of the end.
    pub summary: Option<Summary>,
    /// The result.
    pub result: Option<RunResult>,
    index: BTreeMap<HostName, usize>,
}

impl ViewState {
    /// Takes one event that happened at this time. Events of unknown hosts, in any order, are taken as well.
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
                let phase = clean(phase);
                self.phases.retain(|(p, _)| *p != phase);
                self.phases.push((phase, at));
            }
            Event::PhaseFinished { phase, .. } => {
                let phase = clean(phase);
                self.phases.retain(|(p, _)| *p != phase);
            }
            Event::GateWaiting {
                service,
                missing,
                elapsed_ms,
            } => self.gate(service, missing, *elapsed_ms, at),
            Event::GatePassed { service, .. } => self.end_gate(service),
            Event::GateFailed { service, faults } => {
                self.end_gate(service);
                self.failed_gates
                    .push((clean(service), faults.iter().map(|f| clean(f)).collect()));
            }
            Event::Warning { .. } => {}
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
            Event::Result(result) => self.finish(result, at),
            Event::Planned { .. } => {}
            Event::HostPlanned { .. }
            | Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::StepFinished { .. }
            | Event::HostFailed { .. } => self.apply_host(event, at),
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
                let (phase, step) = (clean(phase), clean(step));
                host.began.get_or_insert(at);
                host.last = (phase.clone(), step.clone());
                host.running.push(RunningStep {
                    phase,
                    step,
                    since: at,
                });
                host.settle();
            }
            Event::StepProgress { host, bytes, total } => {
                self.host(host).progress = Some((*bytes, *total))
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
                // of several pulls the next event says which one goes on
                host.progress = None;
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
                host.progress = None;
                host.ended = Some(at);
                let cause = failure
                    .cause
                    .first()
                    .map_or_else(|| clean(&failure.step), |c| clean(c));
                host.last = (clean(&failure.phase), cause);
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
            host.progress = None;
            host.changed = end.changed;
            if host.began.is_some() {
                host.ended.get_or_insert(at);
            }
            host.phase = match end.outcome {
                Outcome::Ok | Outcome::Changed => HostPhase::Done,
                Outcome::Failed | Outcome::Unreachable => HostPhase::Failed,
                Outcome::Skipped => HostPhase::Skipped,
            };
        }
        self.phases.clear();
        self.gates.clear();
        self.result = Some(result.clone());
    }

    /// How many hosts are in each of: failed, done.
    #[must_use]
    pub fn ended(&self) -> (usize, usize) {
        let of = |phase| self.hosts.iter().filter(|h| h.phase == phase).count();
        (of(HostPhase::Failed), of(HostPhase::Done))
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
            progress: None,
            last: Default::default(),
            began: None,
            ended: None,
        }
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
