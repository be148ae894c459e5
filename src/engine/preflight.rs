//! Begins preflight: reads the hosts' records, and refuses hosts and masters that contradict them.
//! Also `cluster check`, which goes on where a run ends.

use super::checks::report_findings;
use super::ledger::EarlyExit;
use super::phases::OpenPhase;
use super::planning::{build_plan, confirm_masters};
use super::run::Run;
use super::{failure, masters};
use crate::desired::Recorded;
use crate::plan;
use crate::spec::{ExitCode, Phase};

/// Reads the hosts' records, and refuses hosts and masters that contradict them.
pub(super) async fn preflight(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let open = OpenPhase::start(&run.cx.events, Phase::Preflight);
    run.planned.recorded = read_records(run).await?;
    run.preflight = Some(open);
    Ok(())
}

async fn read_records(run: &Run<'_>) -> Result<Recorded, EarlyExit> {
    let (cx, observed) = (run.cx, &run.planned.observed);
    let recorded = plan::recorded(&cx.cluster, observed, &cx.offline);
    let mut recorded = recorded.map_err(|errors| {
        for error in errors {
            let (step, hints) = ("check the identity", vec![error.hint]);
            let failure = failure::from_text(&Phase::Preflight, step, error.why, hints);
            run.ledger.refuse(&error.host, failure);
        }
        EarlyExit(ExitCode::REFUSED)
    })?;
    masters::complete_records(cx, &run.hosts, observed, &mut recorded)
        .await
        .map_err(|error| masters::refuse(&run.ledger, &error))?;
    Ok(recorded)
}

/// Checks the observed hosts as the stages of `up` do, but goes on where those end, so that every
/// finding is reported: below a majority of the masters, after a host that cannot be observed, after
/// a record that contradicts the inventory.
pub(super) async fn check_hosts(run: &mut Run<'_>) -> Result<ExitCode, EarlyExit> {
    let is_one_missed = run.ledger.any_failed();
    warn_without_roles(run);
    let are_records_good = preflight(run).await.is_ok();
    let _open = run.preflight.take();
    // What a host lacks is found without records too.
    build_plan(run)?;
    let are_masters_good = are_records_good && confirm_masters(run).await.is_ok();
    let are_hosts_good = report_findings(&run.work()).is_ok();
    Ok(match (is_one_missed, are_masters_good && are_hosts_good) {
        (true, _) => ExitCode::UNREACHABLE,
        (false, false) => ExitCode::REFUSED,
        (false, true) => ExitCode::DONE,
    })
}

/// Machines may be checked before anybody knows what they will be.
fn warn_without_roles(run: &Run<'_>) {
    if run.cx.hosts.iter().any(|host| host.roles.is_empty()) {
        let text = "unchecked: ports, images and connections between masters, because these hosts \
                    have no roles (three, five or seven are checked as masters)";
        run.ledger.warn(None, text.to_owned());
    }
}
