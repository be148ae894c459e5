//! The conditions under which a run may begin or go on, and the exit code of one that came to its end.

use std::collections::BTreeSet;

use super::failure;
use super::ledger::{EarlyExit, Ledger};
use super::outcomes::ComponentOutcomes;
use super::run_context::RunContext;
use super::work::Work;
use crate::plan::{self, Finding, Step};
use crate::spec::{ComponentName, ExitCode, HostName, Phase, Remedy};

/// Without a majority of the masters nothing may be changed, and nothing could be proven.
pub(super) fn require_majority(work: &Work<'_>, code: ExitCode) -> Result<(), EarlyExit> {
    let usable = work.usable_masters().count();
    let masters = work.cx.masters;
    let needed = masters / 2 + 1;
    if usable >= needed {
        return Ok(());
    }
    let mut text = format!("{usable} of {masters} masters are usable, {needed} are required");
    if !work.ledger.any_changed() {
        text.push_str("; nothing was changed on any host");
    }
    Err(work.ledger.stop(code, text))
}

/// Reports what preflight finds on all hosts together.
pub(super) fn report_findings(work: &Work<'_>) -> Result<(), EarlyExit> {
    let Work {
        cx,
        ledger,
        planned,
        ..
    } = *work;
    for lost in plan::find_lost_data(&planned.desired, &planned.observed) {
        ledger.warn(None, lost.to_string());
    }
    for newer in &planned.desired.newer_defaults {
        ledger.warn(None, newer.to_string());
    }
    warn_of_pulls(work);
    let mut is_refused = false;
    for finding in find_all(work) {
        if finding.fatal && cx.scope.contains(&finding.host) {
            is_refused = true;
            let hints = vec![finding.hint];
            let failure =
                failure::from_text(&Phase::Preflight, "check the host", finding.why, hints);
            ledger.refuse(&finding.host, failure);
        } else {
            let text = format!("{} ({})", finding.why, finding.hint);
            ledger.warn(Some(finding.host), text);
        }
    }
    match is_refused {
        true => Err(EarlyExit(ExitCode::REFUSED)),
        false => Ok(()),
    }
}

fn find_all(work: &Work<'_>) -> Vec<Finding> {
    let (planned, limits) = (work.planned, &work.cx.limits);
    let mut findings = plan::preflight(&planned.desired, &planned.observed, limits);
    findings.extend(plan::find_unbuildable(&planned.plan, &planned.observed));
    let builders = plan::find_full_builders(&planned.plan, &planned.observed, limits);
    findings.extend(builders);
    findings
}

/// Who loads images from a bundle may have no way to a registry.
fn warn_of_pulls(work: &Work<'_>) {
    let Some(bundle) = &work.planned.desired.bundle else {
        return;
    };
    for step in work.plans().flat_map(|host| &host.images) {
        if let Step::Pull { image, .. } = step
            && !bundle.digests.contains_key(image)
        {
            let file = bundle.file.display();
            let text = format!("{file} does not have {image}; it is pulled");
            work.ledger.warn(None, text);
        }
    }
}

/// The members of quorums that never came up: this run creates their ensembles.
fn find_unproven<'a>(work: &Work<'a>) -> BTreeSet<&'a ComponentName> {
    let planned = work.planned;
    let hosts = planned.desired.hosts.iter();
    let components = hosts.flat_map(|host| &host.components);
    let quorum = components.filter(|c| c.quorum).map(|c| &c.name);
    quorum
        .filter(|name| !planned.recorded.proven.contains(*name))
        .collect()
}

/// Whether the masters that take part can create an ensemble, where there is none yet.
pub(super) fn require_creators(work: &Work<'_>) -> Result<(), EarlyExit> {
    let (cx, ledger) = (work.cx, work.ledger);
    let unproven = find_unproven(work);
    if unproven.is_empty() {
        return Ok(());
    }
    let is_master = |name: &&HostName| cx.is_master(name);
    if !cx.scope.iter().any(|name| is_master(&name)) {
        let names: Vec<&str> = unproven.iter().map(|name| name.as_str()).collect();
        let text = format!(
            "{} never came up on the masters; nothing was changed",
            names.join(", ")
        );
        let hints = vec![Remedy::BringUpMasters];
        return Err(ledger.stop_with(ExitCode::REFUSED, text, hints));
    }
    let usable = work.planned.observed.keys().filter(is_master).count();
    if usable < cx.masters {
        let text = format!(
            "creating a cluster requires all masters, {usable} of {} are usable; nothing was changed on any host",
            cx.masters
        );
        return Err(ledger.stop(ExitCode::UNREACHABLE, text));
    }
    Ok(())
}

/// An ensemble is created by all of its masters at once: when one fails during the preparation, the
/// others must not create it without that one.
pub(super) fn require_all_for_creation(work: &Work<'_>) -> Result<(), EarlyExit> {
    let (usable, masters) = (work.usable_masters().count(), work.cx.masters);
    if usable >= masters || find_unproven(work).is_empty() {
        return Ok(());
    }
    let text = format!(
        "creating a cluster requires all masters, {usable} of {masters} are usable; no container was started"
    );
    Err(work.ledger.stop(ExitCode::PARTIAL, text))
}

/// The exit code of a run that came to its end.
pub(super) fn choose_exit_code(
    cx: &RunContext,
    ledger: &Ledger,
    ended: &ComponentOutcomes,
) -> ExitCode {
    if ledger.any_lock_lost() && !ledger.any_changed() {
        return ExitCode::LOCKED;
    }
    if ledger.any_unreached(&cx.scope) && !ledger.any_changed() {
        return ExitCode::UNREACHABLE;
    }
    if ended.is_refused() && !ledger.any_changed() {
        return ExitCode::REFUSED;
    }
    if !ended.failed.is_empty() {
        return ExitCode::GATE;
    }
    if ledger.any_failed() || !ended.skipped.is_empty() {
        return ExitCode::PARTIAL;
    }
    ExitCode::DONE
}
