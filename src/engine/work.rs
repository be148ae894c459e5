//! What the steps of a run share, and one step under way. They know nothing of how steps are run.

use std::sync::Arc;

use super::failure;
use super::gates::Gates;
use super::host_run::{HostRun, Hosts};
use super::ledger::Ledger;
use super::planned::Planned;
use super::run_context::RunContext;
use crate::event::{Event, Failure};
use crate::plan::HostPlan;
use crate::spec::{Phase, Remedy};

/// What the steps of a run share.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub cx: &'a RunContext,
    pub ledger: &'a Ledger,
    pub hosts: &'a Hosts,
    pub planned: &'a Planned,
}

impl<'a> Work<'a> {
    /// The gates of the same run.
    pub fn gates(&self) -> Gates<'a> {
        Gates {
            cx: self.cx,
            ledger: self.ledger,
            hosts: self.hosts,
            desired: &self.planned.desired,
        }
    }

    /// The plans of the hosts that may be changed, connected or not.
    pub fn plans(&self) -> impl Iterator<Item = &'a HostPlan> + use<'a> {
        let cx = self.cx;
        let plans = self.planned.plan.hosts.iter();
        plans.filter(move |plan| cx.scope.contains(&plan.host))
    }

    /// Whether nothing is to be changed on the hosts in scope.
    pub fn is_idle(&self) -> bool {
        let mut steps = self.plans().flat_map(HostPlan::steps);
        steps.all(|step| step.changes() == 0)
    }

    /// The plans of the hosts in scope, with their hosts.
    pub fn in_scope(&self) -> impl Iterator<Item = (&'a HostRun, &'a HostPlan)> + use<'a> {
        let hosts = self.hosts;
        self.plans()
            .filter_map(move |plan| hosts.get(&plan.host).map(|host| (host.as_ref(), plan)))
    }

    /// The masters that still take part.
    pub fn usable_masters(&self) -> impl Iterator<Item = &'a HostRun> + use<'a> {
        let ledger = self.ledger;
        let masters = self.hosts.values().map(AsRef::as_ref);
        masters.filter(|host| host.info.is_master() && ledger.alive(&host.info.name))
    }
}

/// A step under way on a host.
#[derive(Clone, Copy)]
pub(super) struct StepRun<'a> {
    pub work: Work<'a>,
    pub host: &'a HostRun,
    pub phase: &'a Phase,
    /// The title of the step.
    pub title: &'a str,
}

impl StepRun<'_> {
    /// Its failure from an error.
    pub fn fail(&self, error: &(dyn std::error::Error + 'static)) -> Box<Failure> {
        Box::new(failure::from_error(self.phase, self.title, error))
    }

    /// Its failure from a text.
    pub fn fail_with(&self, cause: impl Into<String>, hints: Vec<Remedy>) -> Box<Failure> {
        Box::new(failure::from_text(self.phase, self.title, cause, hints))
    }

    /// Reports the bytes that it moved so far, and their total where it is known.
    pub fn progress(&self) -> impl Fn(u64, Option<u64>) + Send + Sync + use<> {
        let events = Arc::clone(&self.work.cx.events);
        let (name, step) = (self.host.info.name.clone(), self.title.to_owned());
        move |bytes, total| {
            events.send(Event::StepProgress {
                host: name.clone(),
                step: step.clone(),
                bytes,
                total,
                line: None,
            });
        }
    }

    /// Warns about its host.
    pub fn warn(&self, text: String) {
        let host = Some(self.host.info.name.clone());
        self.work.ledger.warn(host, text);
    }
}
