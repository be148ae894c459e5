//! From observed hosts and their records to a plan that may be executed. Changes nothing.

use std::collections::BTreeMap;

use super::checks::{report_findings, require_creators};
use super::digests::{find_unpinned, record_digests};
use super::ledger::EarlyExit;
use super::run::Run;
use super::{masters, repair};
use crate::bundle::Bundle;
use crate::desired::{BundleContents, Desired, PlaybookError, Recorded};
use crate::event::Event;
use crate::plan::{self, SavedPlan, SavedPlanError};
use crate::spec::ExitCode;

/// Plans, and refuses a plan that the masters or hosts contradict.
pub(super) async fn plan(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let _open = run.preflight.take();
    build_plan(run)?;
    confirm_masters(run).await?;
    report_findings(&run.work())?;
    require_creators(&run.work())?;
    if let Some(component) = &run.cx.mode.repair {
        run.planned.plan = repair::plan_rejoin(&run.work(), component).await?;
    }
    run.decide_changes();
    Ok(())
}

/// The desired state, from the records, and what it takes to reach it.
pub(super) fn build_plan(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    let (cx, recorded) = (run.cx, &mut run.planned.recorded);
    let desired = build_desired(&cx.build, cx.mode.bundle.as_deref(), recorded);
    let mut desired = desired.map_err(|why| {
        let text = format!("cannot build the desired state: {why}");
        run.ledger.stop(ExitCode::INTERNAL, text)
    })?;
    record_digests(&mut desired, recorded);
    let in_scope = |host: &_| cx.scope.contains(host);
    run.planned.plan = plan::diff_in_scope(&desired, &run.planned.observed, in_scope);
    run.planned.desired = desired;
    Ok(())
}

/// A bundle says what a registry would have said.
fn build_desired(
    build: &dyn Fn(&Recorded) -> Result<Desired, PlaybookError>,
    bundle: Option<&Bundle>,
    recorded: &mut Recorded,
) -> Result<Desired, PlaybookError> {
    let mut desired = build(recorded)?;
    let Some(bundle) = bundle else {
        return Ok(desired);
    };
    let contents = find_contents(bundle, &desired);
    let unpinned = find_unpinned(&desired);
    let pins = contents.digests.clone().into_iter();
    let pins: BTreeMap<_, _> = pins.filter(|(image, _)| unpinned.contains(image)).collect();
    if !pins.is_empty() {
        recorded.digests.extend(pins);
        desired = build(recorded)?;
    }
    desired.bundle = Some(contents);
    Ok(desired)
}

/// What a bundle has of the images that a cluster needs.
fn find_contents(bundle: &Bundle, desired: &Desired) -> BundleContents {
    let images = desired.images().map(|(image, _)| image);
    let found = images.filter_map(|image| Some((image, bundle.find(image)?)));
    let platforms = bundle.platforms().iter();
    BundleContents {
        file: bundle.path().to_owned(),
        platforms: platforms.map(ToString::to_string).collect(),
        digests: found
            .map(|(image, found)| (image.clone(), found.root.digest.to_string().into()))
            .collect(),
    }
}

/// Asks the running members about a plan that changes masters.
pub(super) async fn confirm_masters(run: &Run<'_>) -> Result<(), EarlyExit> {
    masters::confirm_masters(run.cx, &run.hosts, &run.planned)
        .await
        .map_err(|error| masters::refuse(&run.ledger, &error))
}

/// With a saved plan: whether it is still what would be done.
pub(super) fn require_saved_plan(run: &Run<'_>) -> Result<(), EarlyExit> {
    let (cx, plan) = (run.cx, &run.planned.plan);
    let Some(saved) = &cx.mode.saved else {
        return Ok(());
    };
    let now = SavedPlan::from_plan(cx.cluster.as_str(), &cx.mode.inventory_text, plan);
    saved.check(&now).map_err(|error| {
        let text = format!("{error}; nothing was changed");
        let stopped = run.ledger.stop(ExitCode::REFUSED, text);
        if let SavedPlanError::Hosts { differences } = &error {
            for text in differences {
                cx.events.send(Event::warning(None, text.clone()));
            }
        }
        stopped
    })
}
