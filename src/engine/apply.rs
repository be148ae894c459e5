//! Executes one step on one host.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::connect::HostRun;
use super::gates::Gates;
use super::loads::ImageLoad;
use super::run_context::RunContext;
use super::work::Work;
use super::{compose, failure, images, recipes, repair};
use crate::docker::DockerError;
use crate::event::Failure;
use crate::guard::{Door, StopError, StopReason};
use crate::host::{
    Install, OperationError, Place, RemoveFile, RemoveUnit, StartUnit, TypedOperation,
};
use crate::plan::Step;
use crate::spec::{ClusterName, ContainerSpec, DirSpec, FileSpec, Package, PackageManager};

/// Why a step did not succeed, ready to be reported.
#[derive(Debug)]
pub(super) enum StepError {
    Failed(Box<Failure>),
    /// The guard refused to stop a container.
    Refused(Box<Failure>),
    /// toots panicked in the middle of the step.
    Panicked(Box<Failure>),
}

impl From<Box<Failure>> for StepError {
    fn from(failure: Box<Failure>) -> Self {
        Self::Failed(failure)
    }
}

/// Executes the step. A failure is returned with its log, not sent as an event.
pub(super) async fn run(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    step: &Step,
) -> Result<(), StepError> {
    let result = execute(work, host, phase, step).await;
    result.map_err(|error| match error {
        StepError::Failed(mut failure) => {
            let observed = work.planned.observed.get(&host.info.name);
            let docker_root = observed.map(|status| status.facts.docker_root.as_str());
            failure::name_full_file_system(&mut failure, step, docker_root);
            StepError::Failed(failure)
        }
        other => other,
    })
}

async fn execute(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    step: &Step,
) -> Result<(), StepError> {
    let cx = work.cx;
    let title = step.title();
    let stopped = |result: Result<(), StopError>| result.map_err(|e| not_stopped(phase, &title, e));
    let image_load = |image, digest| ImageLoad {
        work,
        host,
        phase,
        title: &title,
        image,
        digest,
    };
    match step {
        Step::Install { package, manager } => {
            Ok(install(cx, host, phase, &title, *package, manager).await?)
        }
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let dirs: Vec<_> = dirs.iter().map(|(dir, _)| dir).collect();
            let files: Vec<_> = files.iter().map(|change| &change.file).collect();
            let entries = hosts_entries.as_deref();
            Ok(write_files(cx, host, (phase, &title), &dirs, &files, entries).await?)
        }
        Step::Pull { image, digest } => {
            let digest = digest.as_deref();
            Ok(images::pull_or_load(&image_load(image, digest)).await?)
        }
        Step::Build {
            recipe,
            base_digest,
            packages,
            ..
        } => {
            let base = base_digest.as_deref();
            Ok(recipes::build(work, host, phase, recipe, base, packages).await?)
        }
        Step::Load {
            image,
            digest,
            from,
        } => Ok(image_load(image, digest.as_deref()).run(from).await?),
        Step::Create { spec } => Ok(create(work, host, phase, &title, spec).await?),
        Step::Replace { spec, .. } => replace(work, host, phase, &title, spec).await,
        Step::Start { container, .. } => {
            let started = host.engine.start(container).await;
            Ok(started.map_err(|e| Box::new(failure::from_error(phase, &title, &e)))?)
        }
        Step::Rejoin {
            container,
            component,
            grace_s,
            dirs,
        } => {
            let gates = work.gates();
            let door = door(&gates, host);
            stopped(
                door.stop(container, component, *grace_s, StopReason::Replace)
                    .await,
            )?;
            Ok(repair::rejoin(work, host, phase, &title, container, dirs).await?)
        }
        Step::Signal {
            container,
            component,
            signal,
            ..
        } => {
            let gates = work.gates();
            let door = door(&gates, host);
            stopped(door.signal(container, component, signal).await)
        }
        Step::Unit { unit, .. } => {
            let unit = unit.clone();
            let deadline = cx.timeouts.exec;
            Ok(perform(host, phase, &title, StartUnit { unit, deadline }).await?)
        }
        Step::RemoveMarker { path } => {
            let path = path.clone();
            let deadline = cx.timeouts.exec;
            Ok(perform(host, phase, &title, RemoveFile { path, deadline }).await?)
        }
        Step::RemoveUnit { unit } => {
            let unit = unit.clone();
            let deadline = cx.timeouts.exec;
            Ok(perform(host, phase, &title, RemoveUnit { unit, deadline }).await?)
        }
        Step::Remove {
            container,
            component,
            replaced,
            ..
        } => {
            let reason = if *replaced {
                StopReason::Replace
            } else {
                StopReason::NotAMember
            };
            let gates = work.gates();
            let door = door(&gates, host);
            stopped(
                door.remove(container, component, REMOVAL_GRACE_S, reason)
                    .await,
            )
        }
    }
}

/// Seconds between SIGTERM and SIGKILL for a container whose specification is no longer known.
const REMOVAL_GRACE_S: u32 = 30;

/// The door through which a host's containers are stopped.
fn door<'a>(gates: &'a Gates<'_>, host: &'a HostRun) -> Door<'a> {
    Door {
        host: &host.info.name,
        address: host.info.address,
        engine: &host.engine,
        services: gates,
    }
}

fn not_stopped(phase: &str, title: &str, error: StopError) -> StepError {
    match error {
        StopError::Docker(error) => {
            StepError::Failed(Box::new(failure::from_error(phase, title, &error)))
        }
        refused => StepError::Refused(Box::new(failure::refused(phase, title, &refused))),
    }
}

/// Writes files and directories in one round trip, for a step of a phase.
pub(super) async fn write_files(
    cx: &RunContext,
    host: &HostRun,
    (phase, title): (&str, &str),
    dirs: &[&DirSpec],
    files: &[&FileSpec],
    hosts_entries: Option<&[(String, String)]>,
) -> Result<(), Box<Failure>> {
    let place = Place {
        dirs: dirs.iter().copied().cloned().collect(),
        files: files.iter().copied().cloned().collect(),
        hosts_entries: hosts_entries.map(<[_]>::to_vec),
        deadline: cx.timeouts.exec,
    };
    let _turn = host.placing.lock().await;
    perform(host, phase, title, place).await
}

/// Runs an operation for a step. A failure contains the last lines that it printed.
pub(super) async fn perform<O: TypedOperation>(
    host: &HostRun,
    phase: &str,
    title: &str,
    operation: O,
) -> Result<O::Answer, Box<Failure>> {
    let result = host.session.perform(operation).await;
    result.map_err(|error| {
        Box::new(match error {
            OperationError::Transport(error) => failure::transport(phase, title, &error),
            OperationError::Failed {
                ref stdout,
                ref stderr,
                ..
            } => {
                let printed = if stderr.is_empty() { stdout } else { stderr };
                let log = failure::tail(printed);
                let failure = failure::from_error(phase, title, &error);
                Failure { log, ..failure }
            }
            other => failure::from_error(phase, title, &other),
        })
    })
}

async fn create(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    title: &str,
    spec: &ContainerSpec,
) -> Result<(), Box<Failure>> {
    let fail = |error: DockerError| Box::new(failure::from_error(phase, title, &error));
    let compose = host.compose.get_or_init(|| compose::ask(host)).await;
    let image = compose.image(spec);
    let labels = compose::labels(compose, image.as_deref(), spec);
    // Its id, because the host may know the image by another name.
    let image = image.unwrap_or_else(|| spec.image_to_run());
    let created = create_or_adopt(host, spec, &image, &work.cx.cluster, &labels).await;
    created.map_err(fail)?;
    if let Err(error) = host.engine.start(&spec.name()).await {
        let failure = with_log(
            host,
            &spec.name(),
            failure::from_error(phase, title, &error),
        )
        .await;
        // A container that never ran holds nothing; without it the next run starts this step again.
        if let Err(error) = host.engine.remove(&spec.name()).await {
            tracing::warn!(%error, "failed to remove the container that did not start");
        }
        return Err(Box::new(failure));
    }
    Ok(())
}

/// How long a name may be taken by a container that is not listed yet.
const ADOPTION_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const ADOPTION_INTERVAL: Duration = Duration::from_millis(500);

/// Creates the container. A run that was killed may have sent the same request a moment ago, and the
/// Engine carries it out: then the container of the same specification is taken as it is.
async fn create_or_adopt(
    host: &HostRun,
    spec: &ContainerSpec,
    image: &str,
    cluster: &ClusterName,
    labels: &BTreeMap<String, String>,
) -> Result<(), DockerError> {
    let started = Instant::now();
    loop {
        let error = match host.engine.create(spec, image, cluster, labels).await {
            Err(error) if error.is_conflict() => error,
            result => return result,
        };
        let containers = host.engine.containers().await?;
        let holder = containers.iter().find(|c| c.name == spec.name());
        match holder.map(|c| c.labels.get(ContainerSpec::LABEL_SPEC)) {
            Some(hash) if hash == Some(&spec.hash().0) => return Ok(()),
            // The Engine reserves the name before it lists the container.
            None if started.elapsed() < ADOPTION_LIMIT => {
                tokio::time::sleep(ADOPTION_INTERVAL).await;
            }
            _ => return Err(error),
        }
    }
}

/// The name of the old container during its replacement.
pub(super) fn backup_name(container: &str) -> String {
    format!("{container}.old")
}

/// Renames the old container aside and removes it only when the new one runs: when the new one
/// cannot be created or started, it is removed and the old one started again.
async fn replace(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    title: &str,
    spec: &ContainerSpec,
) -> Result<(), StepError> {
    let name = spec.name();
    let old = backup_name(&name);
    let engine = &host.engine;
    let fail = |error: DockerError| Box::new(failure::from_error(phase, title, &error));
    let stopped = |result: Result<(), StopError>| result.map_err(|e| not_stopped(phase, title, e));
    let gates = work.gates();
    let door = door(&gates, host);
    let (component, grace_s) = (&spec.component, spec.stop_timeout_s);
    stopped(
        door.remove(&old, component, grace_s, StopReason::Replace)
            .await,
    )?;
    stopped(
        door.stop(&name, component, grace_s, StopReason::Replace)
            .await,
    )?;
    engine.rename(&name, &old).await.map_err(fail)?;
    if let Err(mut failure) = create(work, host, phase, title, spec).await {
        let back = async {
            engine.rename(&old, &name).await?;
            engine.start(&name).await
        };
        failure.left = Some(match back.await {
            Ok(()) => "rolled back: the former container runs again".into(),
            Err(error) => format!(
                "rollback failed: the former container did not start: {}",
                crate::event::escape(&error.to_string())
            ),
        });
        return Err(failure.into());
    }
    match engine.remove(&old).await {
        Err(error) if !error.is_not_found() => Err(fail(error).into()),
        _ => Ok(()),
    }
}

/// Adds the container's last log lines.
pub(super) async fn with_log(host: &HostRun, container: &str, mut failure: Failure) -> Failure {
    if let Ok(log) = host.engine.logs_tail(container, 20).await {
        failure.log = failure::tail(log.as_bytes());
    }
    failure
}

async fn install(
    cx: &RunContext,
    host: &HostRun,
    phase: &str,
    title: &str,
    package: Package,
    manager: &str,
) -> Result<(), Box<Failure>> {
    let Some(manager) = PackageManager::from_program(manager) else {
        let hints = vec![format!("install {} manually", package.as_str()).into()];
        return Err(Box::new(failure::from_text(
            phase,
            title,
            "no supported package manager found",
            hints,
        )));
    };
    let install = Install {
        package,
        manager,
        deadline: cx.timeouts.install,
    };
    perform(host, phase, title, install).await
}
