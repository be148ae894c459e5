//! The operator's consent to the steps that interrupt running containers. The question is never asked
//! while the locks are held.

use std::collections::BTreeSet;

use super::ledger::EarlyExit;
use super::run::Run;
use super::run_context::Consent;
use crate::plan::Step;
use crate::spec::ExitCode;

/// The steps to which the operator agreed, as the question names them.
#[derive(Default)]
pub(super) struct Agreed(BTreeSet<String>);

impl Agreed {
    /// Whether the operator agreed to everything that the plan interrupts.
    pub fn covers_plan(&self, run: &Run<'_>) -> bool {
        run.cx.mode.confirm.is_none() || find_interruptions(run).is_subset(&self.0)
    }

    /// Asks, unless the operator agreed to all of it before.
    pub async fn ask(&mut self, run: &Run<'_>) -> Result<(), EarlyExit> {
        let Some(confirm) = &run.cx.mode.confirm else {
            return Ok(());
        };
        let interruptions = find_interruptions(run);
        if interruptions.is_subset(&self.0) {
            return Ok(());
        }
        let text = match confirm(interruptions.iter().cloned().collect()).await {
            Consent::Given => {
                self.0 = interruptions;
                return Ok(());
            }
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
        Err(run.ledger.stop(ExitCode::REFUSED, text))
    }
}

/// The steps that interrupt running containers.
fn find_interruptions(run: &Run<'_>) -> BTreeSet<String> {
    let steps = run.work().plans().flat_map(|host| {
        let steps = host
            .steps()
            .filter(|step| step.interrupts() || matches!(step, Step::Remove { .. }));
        steps.map(move |step| format!("{}: {}", host.host, step.title()))
    });
    steps.collect()
}
