//! The operator's consent and the locks: the question comes first, and under the locks everything is
//! judged anew.

use std::collections::BTreeSet;

use super::connect::Hosts;
use super::ending::{EarlyExit, droppable};
use super::ledger::Ledger;
use super::planned::Planned;
use super::planning::{check_and_plan, check_saved_plan};
use super::prepare::{self, NotLocked};
use super::run_context::{Consent, RunContext};
use crate::event::Event;
use crate::plan::{Plan, Step};
use crate::spec::ExitCode;

/// Asks for consent, takes the locks, and judges everything anew: what was read before the locks
/// may have been another run's work in progress. The question is never asked while the locks are
/// held; when the plan interrupts more than was agreed to, they are given back first.
pub(super) async fn lock_and_plan(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    mut planned: Planned,
) -> Result<Planned, EarlyExit> {
    let mut agreed = BTreeSet::new();
    loop {
        let interruptions = find_interruptions(cx, &planned.plan);
        if !interruptions.is_subset(&agreed) {
            ask_consent(cx, ledger, &interruptions).await?;
            agreed = interruptions;
        }
        let locked = droppable(cx, ledger, prepare::lock(cx, ledger, hosts)).await?;
        locked.map_err(|why| match why {
            NotLocked::Held => EarlyExit(ExitCode::LOCKED),
            NotLocked::Failed => EarlyExit(ExitCode::REFUSED),
        })?;
        planned = droppable(cx, ledger, check_and_plan(cx, ledger, hosts)).await??;
        check_saved_plan(cx, ledger, &planned)?;
        if cx.mode.confirm.is_none() || find_interruptions(cx, &planned.plan).is_subset(&agreed) {
            return Ok(planned);
        }
        prepare::unlock(hosts).await;
        let text = "another run changed the cluster in the meantime: the plan is a different one";
        cx.events.send(Event::warning(None, text));
    }
}

/// The steps that interrupt running containers, as the question names them.
fn find_interruptions(cx: &RunContext, plan: &Plan) -> BTreeSet<String> {
    let hosts = plan
        .hosts
        .iter()
        .filter(|host| cx.scope.contains(&host.host));
    let steps = hosts.flat_map(|host| {
        let steps = host
            .steps()
            .filter(|step| step.interrupts() || matches!(step, Step::Remove { .. }));
        steps.map(move |step| format!("{}: {}", host.host, step.title()))
    });
    steps.collect()
}

/// Running containers are interrupted only with the operator's consent.
async fn ask_consent(
    cx: &RunContext,
    ledger: &Ledger,
    interruptions: &BTreeSet<String>,
) -> Result<(), EarlyExit> {
    let Some(confirm) = &cx.mode.confirm else {
        return Ok(());
    };
    if interruptions.is_empty() {
        return Ok(());
    }
    let question = confirm(interruptions.iter().cloned().collect());
    let text = match droppable(cx, ledger, question).await? {
        Consent::Given => return Ok(()),
        Consent::Declined => "declined: nothing was changed on any host".to_owned(),
        Consent::NotAsked => {
            let list: Vec<&str> = interruptions.iter().map(String::as_str).collect();
            format!(
                "running containers would be interrupted, and there is no terminal to ask on; \
                 nothing was changed. To agree, run again with --yes: {}",
                list.join("; ")
            )
        }
    };
    Err(ledger.stop(ExitCode::REFUSED, text))
}
