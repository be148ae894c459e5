//! Jobs of Chronos.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::leader::Program;
use super::{AppError, DefinitionError};
use crate::host::HostSession;
use crate::probe::http::{Http, Reply};

/// Checks a job's name, which also appears in paths.
///
/// # Errors
/// When Chronos would not accept it.
pub(super) fn check_name(name: &str) -> Result<(), DefinitionError> {
    let fits = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && !name.trim_matches('.').is_empty();
    if fits {
        Ok(())
    } else {
        Err(DefinitionError::JobName(name.to_owned()))
    }
}

/// A job as Chronos reports it; `raw` is the whole document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub name: String,
    /// Its schedule (ISO 8601), unless it waits for other jobs.
    #[serde(default)]
    pub schedule: Option<String>,
    /// The jobs after which it runs.
    #[serde(default)]
    pub parents: Vec<String>,
    /// Whether it is disabled.
    #[serde(default)]
    pub disabled: bool,
    /// Successful runs.
    #[serde(default)]
    pub success_count: u64,
    /// Failed runs.
    #[serde(default)]
    pub error_count: u64,
    /// Time of the last successful run; empty when there was none.
    #[serde(default)]
    pub last_success: String,
    /// Time of the last failed run.
    #[serde(default)]
    pub last_error: String,
    /// The whole document.
    #[serde(skip)]
    pub raw: Value,
}

/// Chronos, through one host of the cluster.
pub struct Chronos {
    program: Program,
}

impl Chronos {
    /// Through this session; any master names the leader.
    #[must_use]
    pub fn new(session: Arc<dyn HostSession>, masters: Vec<IpAddr>) -> Self {
        Self {
            program: Program {
                name: "Chronos",
                port: 4400,
                question: "/v1/scheduler/leader",
                session,
                masters,
            },
        }
    }

    async fn leader(&self) -> Result<Http, AppError> {
        self.program.leader().await
    }

    fn done(name: &str, reply: &Reply) -> Result<(), AppError> {
        match reply.status {
            200..=204 => Ok(()),
            _ => Err(AppError::refused("Chronos", &format!("job {name}"), reply)),
        }
    }

    /// Lists all jobs.
    ///
    /// # Errors
    /// When no leader answers correctly.
    pub async fn list(&self) -> Result<Vec<Job>, AppError> {
        let list: Vec<Value> = self.leader().await?.get_json("/v1/scheduler/jobs").await?;
        let wrong = |error| {
            crate::probe::ProbeError::malformed("a job", format!("unexpected JSON ({error})"), b"")
        };
        list.into_iter()
            .map(|raw| {
                Ok(Job {
                    raw: raw.clone(),
                    ..Job::deserialize(&raw).map_err(wrong)?
                })
            })
            .collect()
    }

    /// Reads one job.
    ///
    /// # Errors
    /// When it does not exist, or no leader answers correctly.
    pub async fn show(&self, name: &str) -> Result<Job, AppError> {
        self.list()
            .await?
            .into_iter()
            .find(|job| job.name == name)
            .ok_or_else(|| AppError::Missing(format!("job {name}")))
    }

    /// Creates or replaces a job; one with `parents` runs after them.
    ///
    /// # Errors
    /// When Chronos refuses it or does not answer correctly.
    pub async fn put(&self, name: &str, definition: &Value) -> Result<(), AppError> {
        let dependent = definition["parents"]
            .as_array()
            .is_some_and(|parents| !parents.is_empty());
        let path = if dependent {
            "/v1/scheduler/dependency"
        } else {
            "/v1/scheduler/iso8601"
        };
        Self::done(
            name,
            &self
                .leader()
                .await?
                .post(path, definition.to_string())
                .await?,
        )
    }

    /// Runs a job now, in addition to its schedule.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn run(&self, name: &str) -> Result<(), AppError> {
        check_name(name).map_err(|error| AppError::Missing(error.to_string()))?;
        Self::done(
            name,
            &self
                .leader()
                .await?
                .put(&format!("/v1/scheduler/job/{name}"), "")
                .await?,
        )
    }

    /// Deletes a job.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn delete(&self, name: &str) -> Result<(), AppError> {
        check_name(name).map_err(|error| AppError::Missing(error.to_string()))?;
        Self::done(
            name,
            &self
                .leader()
                .await?
                .delete(&format!("/v1/scheduler/job/{name}"))
                .await?,
        )
    }
}
