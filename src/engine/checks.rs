//! The conditions under which a run may begin or go on, and the exit code of one that came to its end.

use std::collections::BTreeSet;

use super::components::ComponentOutcomes;
use super::connect::Hosts;
use super::ending::EarlyExit;
use super::failure;
use super::ledger::Ledger;
use super::planned::Planned;
use super::run_context::RunContext;
use crate::plan::{self, Step};
use crate::spec::{ComponentName, ExitCode, HostName, Remedy, Role};

/// Without a majority of the masters nothing may be changed, and nothing could be proven.
pub(super) fn require_majority(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    stop: ExitCode,
) -> Result<(), EarlyExit> {
    let alive = hosts
        .values()
        .filter(|host| host.info.roles.contains(&Role::Master) && ledger.alive(&host.info.name))
        .count();
    let needed = cx.masters / 2 + 1;
    if alive >= needed {
        return Ok(());
    }
    let mut text = format!(
        "{alive} of {} masters are usable, {needed} are required",
        cx.masters
    );
    if !ledger.any_changed() {
        text.push_str("; nothing was changed on any host");
    }
    Err(ledger.stop(stop, text))
}

/// Reports what preflight finds on all hosts together.
pub(super) fn report_findings(
    cx: &RunContext,
    ledger: &Ledger,
    planned: &Planned,
) -> Result<(), EarlyExit> {
    for lost in plan::find_lost_data(&planned.desired, &planned.observed) {
        ledger.warn(None, lost.to_string());
    }
    for newer in &planned.desired.newer_defaults {
        ledger.warn(None, newer.to_string());
    }
    warn_of_pulls(cx, ledger, planned);
    let mut findings = plan::preflight(&planned.desired, &planned.observed, &cx.limits);
    findings.extend(plan::find_unbuildable(&planned.plan, &planned.observed));
    let builders = plan::find_full_builders(&planned.plan, &planned.observed, &cx.limits);
    findings.extend(builders);
    let mut is_refused = false;
    for finding in findings {
        if finding.fatal && cx.scope.contains(&finding.host) {
            is_refused = true;
            let hints = vec![finding.hint];
            let failure = failure::from_text("preflight", "check the host", finding.why, hints);
            ledger.refuse(&finding.host, failure);
        } else {
            ledger.warn(
                Some(finding.host),
                format!("{} ({})", finding.why, finding.hint),
            );
        }
    }
    if is_refused {
        return Err(EarlyExit(ExitCode::REFUSED));
    }
    Ok(())
}

/// Who loads images from a bundle may have no way to a registry.
fn warn_of_pulls(cx: &RunContext, ledger: &Ledger, planned: &Planned) {
    let Some(bundle) = &planned.desired.bundle else {
        return;
    };
    let hosts = planned.plan.hosts.iter();
    let in_scope = hosts.filter(|host| cx.scope.contains(&host.host));
    for step in in_scope.flat_map(|host| &host.images) {
        if let Step::Pull { image, .. } = step
            && !bundle.digests.contains_key(image)
        {
            let file = bundle.file.display();
            ledger.warn(None, format!("{file} does not have {image}; it is pulled"));
        }
    }
}

/// Whether the masters that take part can create an ensemble, where there is none yet.
pub(super) fn require_creators(
    cx: &RunContext,
    ledger: &Ledger,
    planned: &Planned,
) -> Result<(), EarlyExit> {
    let quorum = planned
        .desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .filter(|c| c.quorum);
    let unproven: BTreeSet<&ComponentName> = quorum
        .map(|c| &c.name)
        .filter(|name| !planned.recorded.proven.contains(*name))
        .collect();
    let is_master = |name: &&HostName| {
        cx.host(name)
            .is_some_and(|host| host.roles.contains(&Role::Master))
    };
    if !unproven.is_empty() && !cx.scope.iter().any(|name| is_master(&name)) {
        let names: Vec<&str> = unproven.iter().map(|name| name.as_str()).collect();
        let text = format!(
            "{} never came up on the masters; nothing was changed",
            names.join(", ")
        );
        let hints = vec![Remedy::BringUpMasters];
        return Err(ledger.stop_with(ExitCode::REFUSED, text, hints));
    }
    let masters = planned.observed.keys().filter(is_master).count();
    if !unproven.is_empty() && masters < cx.masters {
        let text = format!(
            "creating a cluster requires all masters, {masters} of {} are usable; nothing was changed on any host",
            cx.masters
        );
        return Err(ledger.stop(ExitCode::UNREACHABLE, text));
    }
    Ok(())
}

/// An ensemble is created by all of its masters at once: when one fails during the preparation, the
/// others must not create it without that one.
pub(super) fn require_all_for_creation(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    planned: &Planned,
) -> Result<(), EarlyExit> {
    let created = planned
        .desired
        .hosts
        .iter()
        .flat_map(|host| &host.components)
        .any(|c| c.quorum && !planned.recorded.proven.contains(&c.name));
    let usable = hosts
        .values()
        .filter(|host| host.info.roles.contains(&Role::Master) && ledger.alive(&host.info.name))
        .count();
    if !created || usable >= cx.masters {
        return Ok(());
    }
    let text = format!(
        "creating a cluster requires all masters, {usable} of {} are usable; no container was started",
        cx.masters
    );
    Err(ledger.stop(ExitCode::PARTIAL, text))
}

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
    if ended.refused && !ledger.any_changed() {
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
