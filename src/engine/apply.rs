//! Executes one step on one host.

use super::containers::StepError;
use super::failure;
use super::loads::ImageLoad;
use super::work::StepRun;
use crate::event::Failure;
use crate::host::{Install, RemoveFile, RemoveUnit, StartUnit};
use crate::plan::Step;
use crate::spec::{Package, PackageManager};

/// Executes the step. A failure is returned with its log, not sent as an event.
pub(super) async fn run(at: &StepRun<'_>, step: &Step) -> Result<(), StepError> {
    let mut result = execute(at, step).await;
    if let Err(StepError::Failed(failure)) = &mut result {
        let observed = at.work.planned.observed.get(&at.host.info.name);
        let docker_root = observed.map(|status| status.facts.docker_root.as_str());
        failure::name_full_file_system(failure, step, docker_root);
    }
    result
}

async fn execute(at: &StepRun<'_>, step: &Step) -> Result<(), StepError> {
    let deadline = at.work.cx.timeouts.exec;
    let load = |image, digest| ImageLoad {
        at: *at,
        image,
        digest,
    };
    let done: Result<(), Box<Failure>> = match step {
        Step::Install { package, manager } => install(at, *package, manager).await,
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let dirs = dirs.iter().map(|(dir, _)| dir);
            let files = files.iter().map(|change| &change.file);
            at.write_files(dirs, files, hosts_entries.as_deref()).await
        }
        Step::Unit { unit, .. } => {
            let unit = unit.clone();
            at.perform(StartUnit { unit, deadline }).await
        }
        Step::RemoveMarker { path } => {
            let path = path.clone();
            at.perform(RemoveFile { path, deadline }).await
        }
        Step::RemoveUnit { unit } => {
            let unit = unit.clone();
            at.perform(RemoveUnit { unit, deadline }).await
        }
        Step::Pull { image, digest } => load(image, digest.as_deref()).pull_or_load().await,
        Step::Build {
            recipe,
            base_digest: base,
            packages,
            ..
        } => at.build(recipe, base.as_deref(), packages).await,
        Step::Load {
            image,
            digest,
            from,
        } => load(image, digest.as_deref()).run(from).await,
        Step::Create { spec } => at.create(spec).await,
        Step::Start { container, .. } => at.start(container).await,
        Step::Rejoin {
            container,
            component,
            grace_s,
            dirs,
        } => {
            at.stop(container, component, *grace_s).await?;
            at.rejoin(container, dirs).await
        }
        Step::Replace { spec, .. } => return at.replace(spec).await,
        Step::Signal {
            container,
            component,
            signal,
            ..
        } => return at.signal(container, component, signal).await,
        Step::Remove {
            container,
            component,
            replaced,
            ..
        } => return at.remove(container, component, *replaced).await,
    };
    Ok(done?)
}

async fn install(at: &StepRun<'_>, package: Package, manager: &str) -> Result<(), Box<Failure>> {
    let Some(manager) = PackageManager::from_program(manager) else {
        let hints = vec![format!("install {} manually", package.as_str()).into()];
        return Err(at.fail_with("no supported package manager found", hints));
    };
    let deadline = at.work.cx.timeouts.install;
    at.perform(Install {
        package,
        manager,
        deadline,
    })
    .await
}
