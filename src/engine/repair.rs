//! The repair of a member whose data differ from the majority's: it gives up its own and takes those
//! of the others.

use std::collections::BTreeMap;

use super::apply::{perform, with_log};
use super::connect::{HostRun, Hosts};
use super::ending::EarlyExit;
use super::failure;
use super::gates::Gates;
use super::ledger::Ledger;
use super::planned::Planned;
use super::run_context::RunContext;
use super::work::Work;
use crate::event::{Event, Failure};
use crate::host::{MoveAside, MovedFolder};
use crate::plan::{HostPlan, Plan, Step};
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, ExitCode, HostName, Remedy};

/// What to do about members that hold other data than the majority.
pub(super) fn hints(verdict: &Verdict) -> Vec<Remedy> {
    let command = |host: &HostName| Remedy::RepairMember {
        host: host.clone(),
        component: verdict.service.clone(),
    };
    verdict.different.iter().map(command).collect()
}

/// Replaces the plan by the repair of the member on the host in scope. Only a member whose data
/// differ is repaired, and only while all others are in sync: theirs are the data that it takes.
pub(super) async fn plan_rejoin(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    planned: Planned,
    component: &ComponentName,
) -> Result<Planned, EarlyExit> {
    let gates = Gates {
        cx,
        ledger,
        hosts,
        desired: &planned.desired,
    };
    let refuse = |why: String| {
        let text = format!("cannot repair {component}: {why}; nothing was changed");
        ledger.stop(ExitCode::REFUSED, text)
    };
    let holders = gates.holders(component);
    let in_scope = |(host, _): &&(HostName, _)| cx.scope.contains(host);
    let Some((host, wanted)) = holders.iter().find(in_scope) else {
        return Err(refuse("the host does not run it".into()));
    };
    let verdict = gates.ask(component, Proof::Write, false).await;
    let verdict = verdict.unwrap_or_default();
    if !verdict.different.contains(host) {
        let fault = verdict.faults.first();
        let seen = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
        return Err(refuse(format!(
            "the data of {host} are not known to differ from the majority's{seen}"
        )));
    }
    let others = holders.iter().filter(|(other, _)| other != host);
    let mut unsynced = others.filter(|(other, _)| !verdict.synced.contains(other));
    if let Some((other, _)) = unsynced.next() {
        let of_other = |fault: &&String| fault.starts_with(&format!("{other}: "));
        let fault = verdict.faults.iter().find(of_other);
        let fault = fault.map_or_else(|| format!("{other}: not in sync"), Clone::clone);
        return Err(refuse(format!(
            "every other member must be in sync ({fault})"
        )));
    }
    let step = Step::Rejoin {
        container: wanted.container.name(),
        component: component.clone(),
        grace_s: wanted.container.stop_timeout_s,
        dirs: wanted.rejoin_dirs.clone(),
    };
    // With a marker that an earlier run left, the member would vote without its data.
    let rejoin = |plan: &HostPlan| {
        let steps = plan.components.get(component).into_iter().flatten();
        let markers = steps.filter(|step| matches!(step, Step::RemoveMarker { .. }));
        markers.cloned().chain([step.clone()]).collect()
    };
    let of_host = |plan: &HostPlan| HostPlan {
        host: plan.host.clone(),
        roles: plan.roles.clone(),
        prepare: Vec::new(),
        images: Vec::new(),
        components: BTreeMap::from([(component.clone(), rejoin(plan))]),
        cleanup: Vec::new(),
        records: Vec::new(),
    };
    let plan = Plan {
        hosts: planned.plan.host(host).map(of_host).into_iter().collect(),
    };
    Ok(Planned { plan, ..planned })
}

/// Moves the folders of a stopped member aside and starts it.
pub(super) async fn rejoin(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    title: &str,
    container: &str,
    dirs: &[String],
) -> Result<(), Box<Failure>> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let folders = MoveAside {
        dirs: dirs.to_vec(),
        suffix: format!(".before-repair-{stamp}"),
        deadline: work.cx.timeouts.exec,
    };
    let moved = perform(host, phase, title, folders).await;
    let started = host.engine.start(container).await;
    let moved = moved.map_err(|mut failure| {
        failure.left = Some(match &started {
            Ok(()) => "rolled back: the member runs with its own data again".into(),
            Err(error) => format!(
                "the member is stopped: {}",
                crate::event::escape(&error.to_string())
            ),
        });
        failure
    })?;
    for MovedFolder { path, kib } in moved {
        let kib = kib.map_or_else(|| "?".to_owned(), |kib| kib.to_string());
        work.cx.events.send(Event::warning(
            Some(host.info.name.clone()),
            format!(
                "its former data are in {} ({kib} KiB); delete them when nobody needs them",
                crate::event::escape(&path),
            ),
        ));
    }
    if let Err(error) = started {
        let failure = failure::from_error(phase, title, &error);
        return Err(Box::new(with_log(host, container, failure).await));
    }
    Ok(())
}
