//! Works through steps, one host at a time or many together, with their events. When a connection is lost in the middle of a step, nobody
//! knows what became of it: the host is looked at again, and what still differs is what is done next.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::connect::{self, HostRun, Hosts, finished};
use super::context::Context;
use super::ledger::Ledger;
use super::planned::Planned;
use super::{apply, failure};
use crate::event::{Event, Failure, Outcome};
use crate::observe;
use crate::plan::{self, HostPlan, Step};

/// The phase that writes down what was proven.
pub(super) const RECORD: &str = "record";

/// Between the end of a stream and that of its connection.
const SETTLE: Duration = Duration::from_millis(100);

/// What the steps of a run share.
pub(super) struct Work<'a> {
    pub cx: &'a Context,
    pub ledger: &'a Ledger,
    pub planned: &'a Planned,
}

impl Work<'_> {
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

    /// Host plans that may be carried out, with their hosts.
    pub fn in_scope<'b>(
        &'b self,
        hosts: &'b Hosts,
    ) -> impl Iterator<Item = (&'b HostRun, &'b HostPlan)> {
        let plans = self
            .planned
            .plan
            .hosts
            .iter()
            .filter(|plan| self.cx.scope.contains(&plan.host));
        plans.filter_map(|plan| hosts.get(&plan.host).map(|host| (host.as_ref(), plan)))
    }

    /// Runs steps of a phase one after another; the first failure takes the host out of the run. Returns whether all were done.
    pub async fn all(&self, host: &HostRun, phase: &str, steps: &[Step]) -> bool {
        let name = &host.info.name;
        let mut steps = Cow::Borrowed(steps);
        'anew: loop {
            for step in steps.iter() {
                if self.cx.cancel.is_cancelled() || !self.ledger.alive(name) {
                    return false;
                }
                let Err((outcome, failure)) = self.one(host, phase, step).await else {
                    continue;
                };
                match outcome {
                    Outcome::Unreachable => match self.look(host, phase, &steps, step).await {
                        Ok(rest) => {
                            steps = Cow::Owned(rest);
                            continue 'anew;
                        }
                        Err(failure) => self.ledger.fail(name, outcome, *failure),
                    },
                    outcome => self.ledger.fail(name, outcome, *failure),
                }
                return false;
            }
            return true;
        }
    }

    /// Runs one step with its events.
    async fn one(
        &self,
        host: &HostRun,
        phase: &str,
        step: &Step,
    ) -> Result<(), (Outcome, Box<Failure>)> {
        let name = &host.info.name;
        let title = step.title();
        let started = Instant::now();
        self.cx.events.send(Event::StepStarted {
            host: name.clone(),
            phase: phase.to_owned(),
            step: title.clone(),
        });
        tracing::info!(host = %name, phase, step = %title, "step begins");
        let Err(failure) = apply::run(self.cx, host, phase, step).await else {
            tracing::info!(host = %name, phase, step = %title, "step done");
            self.done(host, step, started);
            return Ok(());
        };
        tracing::error!(host = %name, phase, step = %title, ?failure, "step failed");
        tokio::time::sleep(SETTLE).await;
        Err((
            if host.session.closed() {
                Outcome::Unreachable
            } else {
                Outcome::Failed
            },
            failure,
        ))
    }

    fn done(&self, host: &HostRun, step: &Step, started: Instant) {
        self.ledger
            .changed(&host.info.name, &step.title(), step.changes());
        self.cx
            .events
            .send(finished(&host.info.name, &step.title(), true, started));
    }

    /// Connects again and finds out what is left of a phase whose step was cut off.
    async fn look(
        &self,
        host: &HostRun,
        phase: &str,
        steps: &[Step],
        cut: &Step,
    ) -> Result<Vec<Step>, Box<Failure>> {
        let (name, title, started) = (&host.info.name, cut.title(), Instant::now());
        let say = |text: String| {
            self.cx.events.send(Event::Warning {
                host: Some(name.clone()),
                text,
            })
        };
        say(format!(
            "the connection was lost during \"{title}\": its result is unknown; connecting again to look"
        ));
        let unknown = |mut failure: Failure| {
            failure.cause.insert(
                0,
                format!("the connection was lost during \"{title}\", and its result is unknown"),
            );
            failure
                .hints
                .push("run again: toots looks at the host first and does what is left".into());
            Box::new(failure)
        };
        host.line
            .renew(&*self.cx.dial)
            .await
            .map_err(|error| unknown(failure::of(phase, &title, &error)))?;
        let request = connect::request(self.cx, &host.info);
        let seen = observe::read(&host.session, &host.engine, &request)
            .await
            .map_err(|error| unknown(failure::of(phase, &title, &error)))?;
        // The other hosts as they were seen: whether an ensemble exists is known from all of them.
        let mut observed = self.planned.observed.clone();
        observed.insert(name.clone(), seen);
        let plan = plan::diff(&self.planned.desired, &observed);
        let known = |step: &&Step| steps.iter().any(|known| known.title() == step.title());
        let left: Vec<Step> = match plan.host(name) {
            // Records are written from what was proven, not from a difference.
            _ if phase == RECORD => steps.to_vec(),
            None => Vec::new(),
            // Images are pulled side by side, and each pull looks after itself.
            Some(plan) if phase == "images" => plan.images.iter().filter(known).cloned().collect(),
            Some(plan) => plan
                .phase(phase)
                .iter()
                .chain(set_aside(plan, cut))
                .cloned()
                .collect(),
        };
        if left.iter().any(|step| step.title() == title) {
            say(format!("connected again: \"{title}\" was not done"));
        } else {
            say(format!(
                "connected again: \"{title}\" was begun or done, {} left",
                left.len()
            ));
            self.done(host, cut, started);
        }
        Ok(left)
    }
}

/// The removal of the former container that a replacement which was cut off has left.
fn set_aside<'a>(plan: &'a HostPlan, cut: &Step) -> Option<&'a Step> {
    let Step::Replace { spec, .. } = cut else {
        return None;
    };
    plan.cleanup.iter().find(|step| matches!(step, Step::Remove { container, .. } if *container == apply::aside(&spec.name())))
}
