//! Removes containers and units that are no longer desired.

use super::ledger::EarlyExit;
use super::run::Run;
use super::steps::run_steps;
use crate::spec::Phase;

/// One host after the other: the guard judges one removal at a time.
pub(super) async fn clean_up(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let work = run.work();
    for (host, plan) in work.in_scope() {
        // A failure is in the ledger.
        drop(run_steps(&work, host, Phase::Cleanup, &plan.cleanup).await);
    }
    Ok(())
}
