//! Executes steps, one host at a time or many in parallel, with their events. When a connection is
//! lost during a step, the result of the step is unknown: the host is observed again, and what
//! still differs is executed next.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::apply::StepError;
use super::connect::{self, HostRun, Hosts, finished};
use super::gates::Gates;
use super::ledger::Ledger;
use super::planned::Planned;
use super::run_context::RunContext;
use super::{apply, ending, failure};
use crate::event::{Event, Failure, Outcome};
use crate::observe;
use crate::plan::{self, HostPlan, Step};

/// The phase that writes toots' own records: their format, and what was proven.
pub(super) const RECORD: &str = "record";

/// Pause between the end of a stream and the check whether its connection ended too.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(100);

/// What the steps of a run share.
pub(super) struct Work<'a> {
    pub cx: &'a RunContext,
    pub ledger: &'a Ledger,
    pub hosts: &'a Hosts,
    pub planned: &'a Planned,
}

/// Why the steps of a phase ended early on a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StepsError {
    /// A step failed, or the host no longer takes part.
    Failed,
    /// The guard refused to stop a container.
    Refused,
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

    /// Whether nothing is to be changed on the hosts in scope.
    pub fn idle(&self) -> bool {
        let hosts = self
            .planned
            .plan
            .hosts
            .iter()
            .filter(|host| self.cx.scope.contains(&host.host));
        hosts
            .flat_map(HostPlan::steps)
            .map(Step::changes)
            .sum::<usize>()
            == 0
    }

    /// The plans of the hosts in scope, with their hosts.
    pub fn in_scope(&self) -> impl Iterator<Item = (&'a HostRun, &'a HostPlan)> {
        let hosts = self.hosts;
        let plans = self
            .planned
            .plan
            .hosts
            .iter()
            .filter(|plan| self.cx.scope.contains(&plan.host));
        plans.filter_map(move |plan| hosts.get(&plan.host).map(|host| (host.as_ref(), plan)))
    }

    /// Runs the steps of a phase in order; the first failure takes the host out of the run. A panic
    /// is such a failure: other hosts, whose steps run beside these, finish theirs.
    pub async fn run_steps(
        &self,
        host: &HostRun,
        phase: &str,
        steps: &[Step],
    ) -> Result<(), StepsError> {
        // On the heap: the future of a whole run contains this one many times.
        let running = Box::pin(self.run_remaining(host, phase, steps));
        let Some(result) = ending::contained(self.cx, running).await else {
            let why = "internal error between two steps";
            let failure = failure::midway(phase, phase, why);
            self.ledger.fail(&host.info.name, Outcome::Failed, failure);
            return Err(StepsError::Failed);
        };
        result
    }

    async fn run_remaining(
        &self,
        host: &HostRun,
        phase: &str,
        steps: &[Step],
    ) -> Result<(), StepsError> {
        let name = &host.info.name;
        let mut steps = Cow::Borrowed(steps);
        'remaining: loop {
            for step in steps.iter() {
                if self.cx.cancel.is_cancelled() || !self.ledger.alive(name) {
                    return Err(StepsError::Failed);
                }
                let Err(error) = self.run_step(host, phase, step).await else {
                    continue;
                };
                let left = self.steps_after(error, host, phase, &steps, step).await?;
                steps = Cow::Owned(left);
                continue 'remaining;
            }
            return Ok(());
        }
    }

    /// What is left of a phase after a step that did not succeed. Only a lost connection leaves
    /// anything to do; any other error is the end.
    async fn steps_after(
        &self,
        error: StepError,
        host: &HostRun,
        phase: &str,
        steps: &[Step],
        cut: &Step,
    ) -> Result<Vec<Step>, StepsError> {
        let name = &host.info.name;
        let (failure, end) = match error {
            StepError::Failed(_) if host.session.closed() => {
                let observing = self.observe_after_loss(host, phase, steps, cut);
                let left = ending::contained(self.cx, observing).await;
                let left =
                    left.unwrap_or_else(|| Err((Outcome::Failed, panicked(phase, &cut.title()))));
                return left.map_err(|(outcome, failure)| {
                    self.ledger
                        .fail_midway(name, outcome, *failure, cut.changes());
                    StepsError::Failed
                });
            }
            StepError::Panicked(failure) => {
                let outcome = Outcome::Failed;
                self.ledger
                    .fail_midway(name, outcome, *failure, cut.changes());
                return Err(StepsError::Failed);
            }
            StepError::Failed(failure) => (failure, StepsError::Failed),
            StepError::Refused(failure) => (failure, StepsError::Refused),
        };
        self.ledger.fail(name, Outcome::Failed, *failure);
        Err(end)
    }

    /// Runs one step with its events.
    async fn run_step(&self, host: &HostRun, phase: &str, step: &Step) -> Result<(), StepError> {
        let name = &host.info.name;
        let title = step.title();
        let started = Instant::now();
        self.cx.events.send(Event::StepStarted {
            host: name.clone(),
            phase: phase.to_owned(),
            step: title.clone(),
        });
        tracing::info!(host = %name, phase, step = %title, "step started");
        self.ledger.step_began(name, phase, &title, step.changes());
        let result = ending::contained(self.cx, apply::run(self, host, phase, step))
            .await
            .unwrap_or_else(|| Err(StepError::Panicked(panicked(phase, &title))));
        self.ledger.step_ended(name, phase, &title);
        let Err(error) = result else {
            tracing::info!(host = %name, phase, step = %title, "step finished");
            self.done(host, step, started);
            return Ok(());
        };
        tracing::error!(host = %name, phase, step = %title, ?error, "step failed");
        tokio::time::sleep(CLOSE_DELAY).await;
        Err(error)
    }

    fn done(&self, host: &HostRun, step: &Step, started: Instant) {
        self.ledger
            .changed(&host.info.name, &step.title(), step.changes());
        self.cx
            .events
            .send(finished(&host.info.name, &step.title(), true, started));
    }

    /// Reconnects and determines what is left of a phase whose step was interrupted.
    async fn observe_after_loss(
        &self,
        host: &HostRun,
        phase: &str,
        steps: &[Step],
        cut: &Step,
    ) -> Result<Vec<Step>, (Outcome, Box<Failure>)> {
        let (name, title, started) = (&host.info.name, cut.title(), Instant::now());
        let say = |text: String| {
            self.cx
                .events
                .send(Event::warning(Some(name.clone()), text))
        };
        say(format!(
            "connection lost during \"{title}\", its result is unknown; reconnecting"
        ));
        let unknown = |mut failure: Failure| {
            failure.cause.insert(
                0,
                format!("connection lost during \"{title}\", its result is unknown"),
            );
            failure.hints.push(failure::RESUME.into());
            Box::new(failure)
        };
        host.line.renew(&*self.cx.dial).await.map_err(|error| {
            if error.is_lock_lost() {
                ending::lock_lost(self.cx, self.ledger, name);
            }
            (
                error.outcome(),
                unknown(failure::from_error(phase, &title, &error)),
            )
        })?;
        let request = connect::request(self.cx, &host.info);
        let seen = observe::read(&host.session, &host.engine, &request)
            .await
            .map_err(|error| {
                let failure = unknown(failure::from_error(phase, &title, &error));
                (Outcome::Unreachable, failure)
            })?;
        // The other hosts as observed before: whether an ensemble exists is known from all of them.
        let mut observed = self.planned.observed.clone();
        observed.insert(name.clone(), seen);
        let plan = plan::diff(&self.planned.desired, &observed);
        let left: Vec<Step> = match plan.host(name) {
            // Records are written from what was proven, not from the plan.
            _ if phase == RECORD => steps.to_vec(),
            None => Vec::new(),
            // Images are pulled in parallel, and each pull handles its own loss.
            Some(plan) if phase == "images" => {
                let is_missing =
                    |step: &&Step| plan.images.iter().any(|p| p.image() == step.image());
                steps.iter().filter(is_missing).cloned().collect()
            }
            Some(plan) => plan
                .phase(phase)
                .iter()
                .chain(set_aside(plan, cut))
                .cloned()
                .collect(),
        };
        if left.iter().any(|step| step.title() == title) {
            say(format!("reconnected: \"{title}\" was not done"));
        } else {
            say(format!(
                "reconnected: \"{title}\" was started or done, {} left",
                left.len()
            ));
            self.done(host, cut, started);
        }
        Ok(left)
    }
}

/// The removal of the old container that an interrupted replacement left.
fn set_aside<'a>(plan: &'a HostPlan, cut: &Step) -> Option<&'a Step> {
    let Step::Replace { spec, .. } = cut else {
        return None;
    };
    plan.cleanup.iter().find(|step| matches!(step, Step::Remove { container, .. } if *container == apply::backup_name(&spec.name())))
}

/// What is known of a step in which toots panicked.
fn panicked(phase: &str, step: &str) -> Box<Failure> {
    let why = "internal error in the middle of the step: its result is unknown";
    Box::new(failure::midway(phase, step, why))
}
