//! `cluster up`, and the commands that do a part of it. [`UP`] is what a run does, in order.

use super::cleanup::clean_up;
use super::components::bring_up;
use super::connect::connect;
use super::consent::Agreed;
use super::images::pull;
use super::ledger::EarlyExit;
use super::observing::observe;
use super::pin::pin;
use super::planned::Planned;
use super::planning::{plan, require_saved_plan};
use super::preflight::{check_hosts, preflight};
use super::prepare::prepare;
use super::proofs::record;
use super::run::Run;
use super::run_context::RunContext;
use super::session::in_session;
use super::summary::prove;
use super::try_pulls::try_pulls;
use super::{checks, ending, locks};
use crate::event::RunResult;
use crate::spec::ExitCode;

/// What `up` does. A run that has nothing to change goes from `Plan` to `Components`.
const UP: [Stage; 13] = [
    Stage::Connect,
    Stage::Observe,
    Stage::Preflight,
    Stage::Plan,
    Stage::TryPulls,
    Stage::Lock,
    Stage::Prepare,
    Stage::Pin,
    Stage::Pull,
    Stage::Components,
    Stage::Record,
    Stage::CleanUp,
    Stage::Prove,
];

/// What `plan` does.
const PLAN: [Stage; 4] = [
    Stage::Connect,
    Stage::Observe,
    Stage::Preflight,
    Stage::Plan,
];

/// What is judged anew under the locks: what was read before may have been another run's work in
/// progress.
const JUDGE: [Stage; 3] = [Stage::Observe, Stage::Preflight, Stage::Plan];

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connect,
    Observe,
    Preflight,
    Plan,
    TryPulls,
    Lock,
    Prepare,
    Pin,
    Pull,
    Components,
    Record,
    CleanUp,
    Prove,
}

impl Stage {
    async fn run(self, run: &mut Run<'_>) -> Result<(), EarlyExit> {
        match self {
            Self::Connect => connect(run).await,
            Self::Observe => observe(run).await,
            Self::Preflight => preflight(run).await,
            Self::Plan => plan(run).await,
            Self::TryPulls => try_pulls(run).await,
            Self::Lock => lock(run).await,
            Self::Prepare => prepare(run).await,
            Self::Pin => pin(run).await,
            Self::Pull => pull(run).await,
            Self::Components => bring_up(run).await,
            Self::Record => record(run).await,
            Self::CleanUp => clean_up(run).await,
            Self::Prove => prove(run).await,
        }
    }

    /// Whether a run that has nothing to change leaves it out.
    fn is_for_changes(self) -> bool {
        match self {
            Self::TryPulls | Self::Lock | Self::Prepare | Self::Pin | Self::Pull => true,
            Self::CleanUp => true,
            Self::Connect | Self::Observe | Self::Preflight | Self::Plan => false,
            Self::Components | Self::Record | Self::Prove => false,
        }
    }

    /// Whether it may be dropped at any moment: it changes nothing, or leaves nothing half done. The
    /// steps of the other stages are finished.
    fn is_droppable(self) -> bool {
        match self {
            Self::Connect | Self::Observe | Self::Preflight | Self::Plan => true,
            Self::TryPulls | Self::Lock | Self::Pull => true,
            Self::Prepare | Self::Pin | Self::Components => false,
            Self::Record | Self::CleanUp | Self::Prove => false,
        }
    }

    /// What must hold after it, so that the next stage may begin.
    fn check(self, run: &Run<'_>) -> Result<(), EarlyExit> {
        let work = &run.work();
        match self {
            Self::Connect | Self::Observe => checks::require_majority(work, ExitCode::UNREACHABLE),
            Self::Plan => require_saved_plan(run),
            Self::Prepare | Self::Pin => {
                checks::require_all_for_creation(work)?;
                checks::require_majority(work, ExitCode::PARTIAL)
            }
            Self::Pull => checks::require_majority(work, ExitCode::PARTIAL),
            Self::Preflight | Self::TryPulls | Self::Lock => Ok(()),
            Self::Components | Self::Record | Self::CleanUp | Self::Prove => Ok(()),
        }
    }
}

/// Runs these stages in order, as far as the run goes.
async fn run_stages(run: &mut Run<'_>, stages: &[Stage]) -> Result<(), EarlyExit> {
    for stage in stages {
        if stage.is_for_changes() && !run.has_changes() {
            continue;
        }
        tracing::debug!(?stage, "stage started");
        // On the heap: the future of a whole run contains each of them.
        let (cx, ledger) = (run.cx, run.ledger.clone());
        let running = Box::pin(stage.run(run));
        if stage.is_droppable() {
            ending::droppable(cx, &ledger, running).await??;
        } else {
            running.await?;
        }
        if *stage != Stage::Prove {
            ending::check_cancelled(cx, &ledger)?;
        }
        stage.check(run)?;
    }
    Ok(())
}

/// Asks for consent, takes the locks, and judges everything anew. When the plan interrupts more than
/// was agreed to, the locks are given back for the question.
async fn lock(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let mut agreed = Agreed::default();
    loop {
        agreed.ask(run).await?;
        locks::take(run).await?;
        run_stages(run, &JUDGE).await?;
        if agreed.covers_plan(run) {
            return Ok(());
        }
        locks::give_back(run).await;
        let text = "another run changed the cluster in the meantime: the plan is a different one";
        run.warn(text);
    }
}

/// Brings up the cluster. Everything is sent as events; the last one is the returned result.
pub async fn up(cx: &RunContext) -> RunResult {
    let mut run = Run::begin(cx);
    let ended = in_session(&mut run, async |run| run_stages(run, &UP).await).await;
    let ended = ended.map(|()| run.exit_code);
    run.finish(ended)
}

/// Connects, observes, checks and plans. Changes nothing.
///
/// # Errors
/// The result of a run that ended before its plan; the events have already been sent.
pub async fn observe_and_plan(cx: &RunContext) -> Result<Planned, RunResult> {
    let mut run = Run::begin(cx);
    match in_session(&mut run, async |run| run_stages(run, &PLAN).await).await {
        Ok(()) => Ok(Planned {
            outcomes: run.ledger.result(ExitCode::DONE).hosts,
            ..run.planned
        }),
        Err(early) => Err(run.finish(Err(early))),
    }
}

/// Connects, observes and checks all hosts, and reports every finding. Changes nothing.
pub async fn check(cx: &RunContext) -> RunResult {
    let mut run = Run::begin(cx);
    let ended = in_session(&mut run, async |run| {
        let ledger = run.ledger.clone();
        let checking = async {
            connect(run).await?;
            observe(run).await?;
            check_hosts(run).await
        };
        ending::droppable(cx, &ledger, checking).await?
    })
    .await;
    run.finish(ended)
}
