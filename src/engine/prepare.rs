//! Prepares all hosts in parallel: records, Docker Engine, files and units that belong to no component.

use futures::future::join_all;

use super::ledger::EarlyExit;
use super::phases::in_phase;
use super::run::Run;
use super::steps::run_steps;
use super::work::Work;
use crate::event::Event;
use crate::spec::Phase;

/// Says how many steps each host has, and prepares all hosts.
pub(super) async fn prepare(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let work = run.work();
    for plan in work.plans() {
        work.cx.events.send(Event::HostPlanned {
            host: plan.host.clone(),
            steps: plan.steps().count() + plan.records.len(),
        });
    }
    prepare_hosts(&work).await;
    Ok(())
}

/// Prepares all hosts. Failures are in the ledger.
pub(super) async fn prepare_hosts(work: &Work<'_>) {
    let hosts = work.in_scope().map(|(host, plan)| async move {
        if run_steps(work, host, Phase::Record, &plan.records)
            .await
            .is_ok()
        {
            drop(run_steps(work, host, Phase::Prepare, &plan.prepare).await);
        }
    });
    in_phase(work.cx, Phase::Prepare, join_all(hosts)).await;
}
