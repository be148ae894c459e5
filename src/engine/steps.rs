//! Executes steps, one host at a time or many in parallel, with their events. When a connection is
//! lost during a step, the result of the step is unknown: the host is observed again, and what
//! still differs is executed next.

use std::borrow::Cow;

use tokio::time::Instant;

use super::containers::{StepError, backup_name};
use super::host_run::{CLOSE_DELAY, HostRun};
use super::phases::finished;
use super::work::{StepRun, Work};
use super::{apply, ending, failure, observing};
use crate::event::{Event, Failure, Outcome};
use crate::observe::{self, HostStatus};
use crate::plan::{self, HostPlan, Step};
use crate::spec::Phase;

/// Why the steps of a phase ended early on a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StepsError {
    /// A step failed, or the host no longer takes part.
    Failed,
    /// The guard refused to stop a container.
    Refused,
}

/// The failure of a host that is given up.
type GivenUp = (Outcome, Box<Failure>);

/// Runs the steps of a phase in order; the first failure takes the host out of the run. A panic is
/// such a failure: other hosts, whose steps run beside these, finish theirs.
pub(super) async fn run_steps(
    work: &Work<'_>,
    host: &HostRun,
    phase: impl Into<Phase>,
    steps: &[Step],
) -> Result<(), StepsError> {
    let phase: &Phase = &phase.into();
    let steps_run = PhaseRun {
        work: *work,
        host,
        phase,
    };
    // On the heap: the future of a whole run contains this one many times.
    let running = Box::pin(steps_run.run(steps));
    let Some(result) = ending::contained(work.cx, running).await else {
        let why = "internal error between two steps";
        let failure = failure::midway(phase, &phase.to_string(), why);
        work.ledger.fail(&host.info.name, Outcome::Failed, failure);
        return Err(StepsError::Failed);
    };
    result
}

/// The steps of one phase on one host.
struct PhaseRun<'a> {
    work: Work<'a>,
    host: &'a HostRun,
    phase: &'a Phase,
}

impl PhaseRun<'_> {
    async fn run(&self, steps: &[Step]) -> Result<(), StepsError> {
        let mut steps = Cow::Borrowed(steps);
        'remaining: loop {
            for step in steps.iter() {
                let is_cancelled = self.work.cx.cancel.is_cancelled();
                if is_cancelled || !self.work.ledger.alive(&self.host.info.name) {
                    return Err(StepsError::Failed);
                }
                let Err(error) = self.run_step(step).await else {
                    continue;
                };
                let left = self.steps_after(error, &steps, step).await?;
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
        steps: &[Step],
        cut: &Step,
    ) -> Result<Vec<Step>, StepsError> {
        let (name, ledger) = (&self.host.info.name, self.work.ledger);
        let give_up = |(outcome, failure): GivenUp| {
            ledger.fail_midway(name, outcome, *failure, cut.changes());
            StepsError::Failed
        };
        let (failure, end) = match error {
            StepError::Failed(_) if self.host.session.closed() => {
                let resuming = self.resume(steps, cut);
                let left = ending::contained(self.work.cx, resuming).await;
                let left = left.unwrap_or_else(|| Err((Outcome::Failed, self.panicked(cut))));
                return left.map_err(give_up);
            }
            StepError::Panicked(failure) => return Err(give_up((Outcome::Failed, failure))),
            StepError::Failed(failure) => (failure, StepsError::Failed),
            StepError::Refused(failure) => (failure, StepsError::Refused),
        };
        ledger.fail(name, Outcome::Failed, *failure);
        Err(end)
    }

    /// Runs one step with its events.
    async fn run_step(&self, step: &Step) -> Result<(), StepError> {
        let Self { work, host, phase } = *self;
        let name = &host.info.name;
        let title = &step.title();
        let started = Instant::now();
        work.cx.events.send(Event::StepStarted {
            host: name.clone(),
            phase: phase.clone(),
            step: title.clone(),
        });
        tracing::info!(host = %name, %phase, step = %title, "step started");
        work.ledger.step_began(name, phase, title, step.changes());
        let at = StepRun {
            work,
            host,
            phase,
            title,
        };
        let result = ending::contained(work.cx, apply::run(&at, step)).await;
        let result = result.unwrap_or_else(|| Err(StepError::Panicked(self.panicked(step))));
        work.ledger.step_ended(name, phase, title);
        let Err(error) = result else {
            tracing::info!(host = %name, %phase, step = %title, "step finished");
            self.report_done(step, started);
            return Ok(());
        };
        tracing::error!(host = %name, %phase, step = %title, ?error, "step failed");
        tokio::time::sleep(CLOSE_DELAY).await;
        Err(error)
    }

    fn report_done(&self, step: &Step, started: Instant) {
        let (name, title) = (&self.host.info.name, step.title());
        self.work.ledger.changed(name, &title, step.changes());
        let event = finished(name, &title, true, started);
        self.work.cx.events.send(event);
    }

    /// Reconnects and determines what is left of a phase whose step was interrupted.
    async fn resume(&self, steps: &[Step], cut: &Step) -> Result<Vec<Step>, GivenUp> {
        let (title, started) = (cut.title(), Instant::now());
        let unknown = format!("connection lost during \"{title}\", its result is unknown");
        self.warn(format!("{unknown}; reconnecting"));
        let seen = self.observe_again(&title).await;
        let seen = seen.map_err(|(outcome, mut failure)| {
            failure.cause.insert(0, unknown);
            failure.hints.push(failure::RESUME.into());
            (outcome, failure)
        })?;
        let left = self.find_left(seen, steps, cut);
        if left.iter().any(|step| step.title() == title) {
            self.warn(format!("reconnected: \"{title}\" was not done"));
        } else {
            self.warn(format!(
                "reconnected: \"{title}\" was started or done, {} left",
                left.len()
            ));
            self.report_done(cut, started);
        }
        Ok(left)
    }

    fn warn(&self, text: String) {
        let host = Some(self.host.info.name.clone());
        self.work.cx.events.send(Event::warning(host, text));
    }

    /// Observes the host on a new connection.
    async fn observe_again(&self, title: &str) -> Result<HostStatus, GivenUp> {
        let (cx, host) = (self.work.cx, self.host);
        let fail = |error: &(dyn std::error::Error + 'static)| {
            Box::new(failure::from_error(self.phase, title, error))
        };
        host.line.renew(&*cx.dial).await.map_err(|error| {
            if error.is_lock_lost() {
                ending::lock_lost(cx, self.work.ledger, &host.info.name);
            }
            (error.outcome(), fail(&error))
        })?;
        let request = observing::request(cx, &host.info);
        let seen = observe::read(&host.session, &host.engine, &request).await;
        seen.map_err(|error| (Outcome::Unreachable, fail(&error)))
    }

    /// What is left of a phase on a host that was observed again.
    fn find_left(&self, seen: HostStatus, steps: &[Step], cut: &Step) -> Vec<Step> {
        // Records are written from what was proven, not from the plan.
        if *self.phase == Phase::Record {
            return steps.to_vec();
        }
        let planned = self.work.planned;
        // The other hosts as observed before: whether an ensemble exists is known from all of them.
        let mut observed = planned.observed.clone();
        observed.insert(self.host.info.name.clone(), seen);
        let plan = plan::diff(&planned.desired, &observed);
        let Some(plan) = plan.host(&self.host.info.name) else {
            return Vec::new();
        };
        // Images are pulled in parallel, and each pull handles its own loss.
        if *self.phase == Phase::Images {
            let is_missing = |step: &&Step| plan.images.iter().any(|p| p.image() == step.image());
            return steps.iter().filter(is_missing).cloned().collect();
        }
        let left = plan.phase(self.phase).iter().chain(set_aside(plan, cut));
        left.cloned().collect()
    }

    /// What is known of a step in which toots panicked.
    fn panicked(&self, step: &Step) -> Box<Failure> {
        let why = "internal error in the middle of the step: its result is unknown";
        Box::new(failure::midway(self.phase, &step.title(), why))
    }
}

/// The removal of the old container that an interrupted replacement left.
fn set_aside<'a>(plan: &'a HostPlan, cut: &Step) -> Option<&'a Step> {
    let Step::Replace { spec, .. } = cut else {
        return None;
    };
    let backup = backup_name(&spec.name());
    let mut steps = plan.cleanup.iter();
    steps.find(|step| matches!(step, Step::Remove { container, .. } if *container == backup))
}
