//! The repair of a member whose data differ from the majority's: it gives up its own and takes those
//! of the others.

use std::collections::BTreeMap;

use super::ledger::EarlyExit;
use super::work::{StepRun, Work};
use crate::desired::ComponentDesired;
use crate::event::{Event, Failure, escape};
use crate::host::{MoveAside, MovedFolder};
use crate::plan::{HostPlan, Plan, Step};
use crate::probe::{Proof, Verdict};
use crate::spec::{ComponentName, ExitCode, HostName};

/// The plan that repairs the member on the host in scope. Only a member whose data differ is
/// repaired, and only while all others are in sync: theirs are the data that it takes.
pub(super) async fn plan_rejoin(
    work: &Work<'_>,
    component: &ComponentName,
) -> Result<Plan, EarlyExit> {
    let refuse = |why: String| {
        let text = format!("cannot repair {component}: {why}; nothing was changed");
        work.ledger.stop(ExitCode::REFUSED, text)
    };
    let gates = work.gates();
    let holders = gates.holders(component);
    let mut in_scope = holders
        .iter()
        .filter(|(host, _)| work.cx.scope.contains(host));
    let Some((host, wanted)) = in_scope.next() else {
        return Err(refuse("the host does not run it".into()));
    };
    let verdict = gates.ask(component, Proof::Write, false).await;
    let others = holders.iter().map(|(other, _)| other);
    let others = others.filter(|other| *other != host);
    if let Some(why) = find_objection(host, others, &verdict.unwrap_or_default()) {
        return Err(refuse(why));
    }
    let plan = work.planned.plan.host(host);
    let plan = plan.map(|plan| rejoin_alone(plan, component, wanted));
    Ok(Plan {
        hosts: plan.into_iter().collect(),
    })
}

/// Why the member on this host must not give up its data.
fn find_objection<'a>(
    host: &HostName,
    others: impl Iterator<Item = &'a HostName>,
    verdict: &Verdict,
) -> Option<String> {
    if !verdict.different.contains(host) {
        let fault = verdict.faults.first();
        let seen = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
        return Some(format!(
            "the data of {host} are not known to differ from the majority's{seen}"
        ));
    }
    let mut unsynced = others.filter(|other| !verdict.synced.contains(other));
    let other = unsynced.next()?;
    let of_other = |fault: &&String| fault.starts_with(&format!("{other}: "));
    let fault = verdict.faults.iter().find(of_other);
    let fault = fault.map_or_else(|| format!("{other}: not in sync"), Clone::clone);
    Some(format!("every other member must be in sync ({fault})"))
}

/// The plan of a host that does nothing but rejoin.
fn rejoin_alone(plan: &HostPlan, component: &ComponentName, wanted: &ComponentDesired) -> HostPlan {
    let step = Step::Rejoin {
        container: wanted.container.name(),
        component: component.clone(),
        grace_s: wanted.container.stop_timeout_s,
        dirs: wanted.rejoin_dirs.clone(),
    };
    // With a marker that an earlier run left, the member would vote without its data.
    let steps = plan.components.get(component).into_iter().flatten();
    let markers = steps.filter(|step| matches!(step, Step::RemoveMarker { .. }));
    let steps = markers.cloned().chain([step]).collect();
    HostPlan {
        host: plan.host.clone(),
        roles: plan.roles.clone(),
        prepare: Vec::new(),
        images: Vec::new(),
        components: BTreeMap::from([(component.clone(), steps)]),
        cleanup: Vec::new(),
        records: Vec::new(),
    }
}

impl StepRun<'_> {
    /// Moves the folders of a stopped member aside and starts it.
    pub async fn rejoin(&self, container: &str, dirs: &[String]) -> Result<(), Box<Failure>> {
        let stamp = self.work.cx.clock.now().strftime("%Y%m%dT%H%M%SZ");
        let folders = MoveAside {
            dirs: dirs.to_vec(),
            suffix: format!(".before-repair-{stamp}"),
            deadline: self.work.cx.timeouts.exec,
        };
        let moved = self.perform(folders).await;
        let started = self.host.engine.start(container).await;
        let moved = moved.map_err(|mut failure| {
            failure.left = Some(match &started {
                Ok(()) => "rolled back: the member runs with its own data again".into(),
                Err(error) => format!("the member is stopped: {}", escape(&error.to_string())),
            });
            failure
        })?;
        for MovedFolder { path, kib } in moved {
            let kib = kib.map_or_else(|| "?".to_owned(), |kib| kib.to_string());
            let text = format!(
                "its former data are in {} ({kib} KiB); delete them when nobody needs them",
                escape(&path),
            );
            let host = Some(self.host.info.name.clone());
            self.work.cx.events.send(Event::warning(host, text));
        }
        match started {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail_with_log(container, &error).await),
        }
    }
}
