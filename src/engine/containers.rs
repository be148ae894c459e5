//! Creates, replaces, stops and removes the containers of one host.

use std::collections::BTreeMap;
use std::time::Duration;

use super::gates::Gates;
use super::work::StepRun;
use super::{compose, failure};
use crate::docker::DockerError;
use crate::event::Failure;
use crate::guard::{Door, StopError, StopReason};
use crate::probe::Poll;
use crate::spec::{ComponentName, ContainerSpec};

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

/// Seconds between SIGTERM and SIGKILL for a container whose specification is no longer known.
const REMOVAL_GRACE_S: u32 = 30;

/// How long a name may be taken by a container that is not listed yet.
const ADOPTION_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const ADOPTION_INTERVAL: Duration = Duration::from_millis(500);

/// The name of the old container during its replacement.
pub(super) fn backup_name(container: &str) -> String {
    format!("{container}{}", ContainerSpec::FORMER)
}

impl StepRun<'_> {
    /// The door through which a host's containers are stopped.
    fn door<'b>(&'b self, gates: &'b Gates<'_>) -> Door<'b> {
        Door {
            host: &self.host.info.name,
            address: self.host.info.address,
            engine: &self.host.engine,
            services: gates,
            clock: &self.work.cx.clock,
        }
    }

    fn not_stopped(&self, error: StopError) -> StepError {
        match error {
            StopError::Docker(error) => StepError::Failed(self.fail(&error)),
            refused => {
                let failure = failure::refused(self.phase, self.title, &refused);
                StepError::Refused(Box::new(failure))
            }
        }
    }

    /// Stops a member that starts again, or whose place another container takes.
    pub async fn stop(
        &self,
        container: &str,
        component: &ComponentName,
        grace_s: u32,
    ) -> Result<(), StepError> {
        let gates = self.work.gates();
        let stopped = self
            .door(&gates)
            .stop(container, component, grace_s, StopReason::Replace)
            .await;
        stopped.map_err(|error| self.not_stopped(error))
    }

    /// Signals a member.
    pub async fn signal(
        &self,
        container: &str,
        component: &ComponentName,
        signal: &str,
    ) -> Result<(), StepError> {
        let gates = self.work.gates();
        let signalled = self.door(&gates).signal(container, component, signal).await;
        signalled.map_err(|error| self.not_stopped(error))
    }

    /// Removes a container that is no longer desired. `replaced`: the host still runs the component.
    pub async fn remove(
        &self,
        container: &str,
        component: &ComponentName,
        replaced: bool,
    ) -> Result<(), StepError> {
        let reason = if replaced {
            StopReason::Replace
        } else {
            StopReason::NotAMember
        };
        let gates = self.work.gates();
        let removed = self
            .door(&gates)
            .remove(container, component, REMOVAL_GRACE_S, reason)
            .await;
        removed.map_err(|error| self.not_stopped(error))
    }

    /// Starts a container.
    pub async fn start(&self, container: &str) -> Result<(), Box<Failure>> {
        let started = self.host.engine.start(container).await;
        started.map_err(|error| self.fail(&error))
    }

    /// Creates and starts a container.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<(), Box<Failure>> {
        let host = self.host;
        let compose = host
            .compose
            .get_or_try_init(|| compose::ask(&*host.session, &host.engine))
            .await
            .map_err(|error| self.fail(&error))?;
        let image = compose.image(spec);
        let labels = compose::labels(compose, image.as_deref(), spec);
        // Its id, because the host may know the image by another name.
        let image = image.unwrap_or_else(|| spec.image_to_run());
        let created = self.create_or_adopt(spec, &image, &labels).await;
        created.map_err(|error| self.fail(&error))?;
        let Err(error) = host.engine.start(&spec.name()).await else {
            return Ok(());
        };
        let failure = self.fail_with_log(&spec.name(), &error).await;
        // A container that never ran holds nothing; without it the next run starts this step again.
        if let Err(error) = host.engine.remove(&spec.name()).await {
            tracing::warn!(%error, "failed to remove the container that did not start");
        }
        Err(failure)
    }

    /// Creates the container. A run that was killed may have sent the same request a moment ago, and
    /// the Engine carries it out: then the container of the same specification is taken as it is.
    async fn create_or_adopt(
        &self,
        spec: &ContainerSpec,
        image: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), DockerError> {
        let (engine, cluster) = (&self.host.engine, &self.work.cx.cluster);
        let mut poll = Poll::every(ADOPTION_INTERVAL, ADOPTION_LIMIT);
        loop {
            let error = match engine.create(spec, image, cluster, labels).await {
                Err(error) if error.is_conflict() => error,
                result => return result,
            };
            let containers = engine.containers().await?;
            let holder = containers.iter().find(|c| c.name == spec.name());
            match holder.map(|c| c.labels.get(ContainerSpec::LABEL_SPEC)) {
                Some(hash) if hash == Some(&spec.hash().0) => return Ok(()),
                // The Engine reserves the name before it lists the container.
                None if poll.pause().await => {}
                _ => return Err(error),
            }
        }
    }

    /// Renames the old container aside and removes it only when the new one runs: when the new one
    /// cannot be created or started, it is removed and the old one started again.
    pub async fn replace(&self, spec: &ContainerSpec) -> Result<(), StepError> {
        let name = spec.name();
        let old = backup_name(&name);
        let engine = &self.host.engine;
        let (component, grace_s) = (&spec.component, spec.stop_timeout_s);
        let gates = self.work.gates();
        let door = self.door(&gates);
        let reason = StopReason::Replace;
        let removed = door.remove(&old, component, grace_s, reason).await;
        removed.map_err(|error| self.not_stopped(error))?;
        self.stop(&name, component, grace_s).await?;
        let renamed = engine.rename(&name, &old).await;
        renamed.map_err(|error| self.fail(&error))?;
        if let Err(mut failure) = self.create(spec).await {
            failure.left = Some(self.roll_back(&old, &name).await);
            return Err(failure.into());
        }
        match engine.remove(&old).await {
            Err(error) if !error.is_not_found() => Err(self.fail(&error).into()),
            _ => Ok(()),
        }
    }

    /// Starts the former container again; returns what was left.
    async fn roll_back(&self, old: &str, name: &str) -> String {
        let engine = &self.host.engine;
        let back = async {
            engine.rename(old, name).await?;
            engine.start(name).await
        };
        match back.await {
            Ok(()) => "rolled back: the former container runs again".into(),
            Err(error) => format!(
                "rollback failed: the former container did not start: {}",
                crate::event::escape(&error.to_string())
            ),
        }
    }
}
