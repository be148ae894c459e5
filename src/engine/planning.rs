//! From connected hosts to a plan, or to findings alone: observes, reads the records, checks, plans.
//! Changes nothing but the record of pinned images.

use std::collections::BTreeMap;

use super::checks::{report_findings, require_creators, require_majority};
use super::connect::{self, Hosts};
use super::ending::EarlyExit;
use super::ledger::Ledger;
use super::planned::Planned;
use super::run_context::RunContext;
use super::work::Work;
use super::{failure, loads, masters, prepare, repair};
use crate::desired::Recorded;
use crate::event::{Event, Outcome};
use crate::observe::DockerStatus;
use crate::plan::{self, MastersError, Observed, SavedPlan, Step};
use crate::spec::{ExitCode, Package};

/// Observes the connected hosts and plans.
pub(super) async fn check_and_plan(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
) -> Result<Planned, EarlyExit> {
    require_majority(cx, ledger, hosts, ExitCode::UNREACHABLE)?;
    let observed = connect::observe(cx, ledger, hosts).await;
    require_majority(cx, ledger, hosts, ExitCode::UNREACHABLE)?;
    let recorded = read_records(cx, ledger, hosts, &observed).await?;
    let planned = build_plan(cx, ledger, observed, recorded)?;
    confirm_masters(cx, ledger, hosts, &planned).await?;
    report_findings(cx, ledger, &planned)?;
    require_creators(cx, ledger, &planned)?;
    match &cx.mode.repair {
        Some(component) => repair::plan_rejoin(cx, ledger, hosts, planned, component).await,
        None => Ok(planned),
    }
}

/// Observes the connected hosts and checks them as [`check_and_plan`] does, but goes on where that
/// ends, so that every finding is reported: below a majority of the masters, after a host that
/// cannot be observed, after a record that contradicts the inventory.
pub(super) async fn check_hosts(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
) -> Result<ExitCode, EarlyExit> {
    let observed = connect::observe(cx, ledger, hosts).await;
    let is_one_missed = ledger.any_failed();
    warn_without_roles(cx, ledger);
    let records = read_records(cx, ledger, hosts, &observed).await;
    let are_records_good = records.is_ok();
    // What a host lacks is found without records too.
    let planned = build_plan(cx, ledger, observed, records.unwrap_or_default())?;
    let are_masters_good =
        are_records_good && confirm_masters(cx, ledger, hosts, &planned).await.is_ok();
    let are_hosts_good = report_findings(cx, ledger, &planned).is_ok();
    Ok(match (is_one_missed, are_masters_good && are_hosts_good) {
        (true, _) => ExitCode::UNREACHABLE,
        (false, false) => ExitCode::REFUSED,
        (false, true) => ExitCode::DONE,
    })
}

/// Machines may be checked before anybody knows what they will be.
fn warn_without_roles(cx: &RunContext, ledger: &Ledger) {
    if cx.hosts.iter().any(|host| host.roles.is_empty()) {
        let text = "unchecked: ports, images and connections between masters, because these hosts \
                    have no roles (three, five or seven are checked as masters)";
        ledger.warn(None, text.to_owned());
    }
}

/// Begins preflight: reads the hosts' records, and refuses hosts and masters that contradict them.
async fn read_records(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    observed: &Observed,
) -> Result<Recorded, EarlyExit> {
    cx.events.send(Event::PhaseStarted {
        phase: "preflight".into(),
    });
    let mut recorded = plan::recorded(&cx.cluster, observed, &cx.offline).map_err(|errors| {
        for error in errors {
            let failure = failure::from_text(
                "preflight",
                "check the identity",
                error.why,
                vec![error.hint],
            );
            ledger.refuse(&error.host, failure);
        }
        EarlyExit(ExitCode::REFUSED)
    })?;
    masters::complete_records(cx, hosts, observed, &mut recorded)
        .await
        .map_err(|error| refuse_masters(ledger, &error))?;
    Ok(recorded)
}

async fn confirm_masters(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    planned: &Planned,
) -> Result<(), EarlyExit> {
    masters::confirm_masters(cx, hosts, planned)
        .await
        .map_err(|error| refuse_masters(ledger, &error))
}

fn refuse_masters(ledger: &Ledger, error: &MastersError) -> EarlyExit {
    let text = format!("{error}; nothing was changed");
    ledger.stop_with(ExitCode::REFUSED, text, vec![error.hint()])
}

pub(super) fn build_plan(
    cx: &RunContext,
    ledger: &Ledger,
    observed: Observed,
    mut recorded: Recorded,
) -> Result<Planned, EarlyExit> {
    let build = |recorded: &Recorded| {
        (cx.build)(recorded).map_err(|why| {
            let text = format!("cannot build the desired state: {why}");
            ledger.stop(ExitCode::INTERNAL, text)
        })
    };
    let mut desired = build(&recorded)?;
    if let Some(bundle) = &cx.mode.bundle {
        let contents = loads::find_contents(bundle, &desired);
        // A bundle says what a registry would have said.
        let unpinned = prepare::unpinned(&desired);
        let pins = contents.digests.clone().into_iter();
        let pins: Vec<_> = pins.filter(|(image, _)| unpinned.contains(image)).collect();
        if !pins.is_empty() {
            recorded.digests.extend(pins);
            desired = build(&recorded)?;
        }
        desired.bundle = Some(contents);
    }
    prepare::record_digests(&mut desired, &recorded);
    let plan = plan::diff_in_scope(&desired, &observed, |host| cx.scope.contains(host));
    Ok(Planned {
        desired,
        observed,
        plan,
        recorded,
        outcomes: BTreeMap::new(),
    })
}

/// With a saved plan: checks that it is still what would be done.
pub(super) fn check_saved_plan(
    cx: &RunContext,
    ledger: &Ledger,
    planned: &Planned,
) -> Result<(), EarlyExit> {
    let Some(saved) = &cx.mode.saved else {
        return Ok(());
    };
    let now = SavedPlan::from_plan(cx.cluster.as_str(), &cx.mode.inventory_text, &planned.plan);
    saved.check(&now).map_err(|error| {
        let stopped = ledger.stop(
            ExitCode::REFUSED,
            format!("cannot {error}; nothing was changed"),
        );
        if let plan::SavedPlanError::Hosts { differences } = &error {
            for text in differences {
                cx.events.send(Event::warning(None, text.clone()));
            }
        }
        stopped
    })
}

/// Pins unpinned images, now that the hosts know the registry, and plans the rest again.
pub(super) async fn pin_images(
    cx: &RunContext,
    ledger: &Ledger,
    hosts: &Hosts,
    mut planned: Planned,
) -> Result<Planned, EarlyExit> {
    let mut wanted = prepare::unpinned(&planned.desired);
    wanted.append(&mut prepare::unpinned_bases(&planned.plan));
    let installed = planned.plan.hosts.iter().any(|host| {
        host.prepare.iter().any(|step| {
            matches!(
                step,
                Step::Install {
                    package: Package::Docker,
                    ..
                }
            )
        })
    });
    if (wanted.is_empty() && !installed) || cx.mode.repair.is_some() {
        return Ok(planned);
    }
    let observed = connect::observe(cx, ledger, hosts).await;
    if !wanted.is_empty() && prepare::any_engine(&observed) {
        let (found, missing) = prepare::resolve(cx, ledger, hosts, wanted).await;
        for (image, why) in missing {
            let text = format!("cannot pin {image} to a digest, using its tag: {why}");
            cx.events.send(Event::warning(None, text));
        }
        planned.recorded.digests.extend(found);
    }
    let silent: Vec<_> = observed
        .iter()
        .filter(|(_, status)| !matches!(status.docker, DockerStatus::Up { .. }))
        .map(|(host, _)| host.clone())
        .collect();
    for host in silent
        .into_iter()
        .filter(|host| cx.scope.contains(host) && ledger.alive(host))
    {
        let failure = failure::from_text(
            "prepare",
            "ask the docker engine",
            "no answer after the installation",
            Vec::new(),
        );
        ledger.fail(&host, Outcome::Failed, failure);
    }
    let planned = build_plan(cx, ledger, observed, planned.recorded)?;
    // The record of digests belongs to the preparation; the rest of the preparation is already
    // done.
    prepare::prepare_hosts(&Work {
        cx,
        ledger,
        hosts,
        planned: &planned,
    })
    .await;
    Ok(planned)
}
