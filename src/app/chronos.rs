//! Chronos' jobs.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::AppError;
use super::leader::Program;
use crate::probe::http::{Http, Reply};
use crate::transport::Session;

/// Whether a text is a job's name, which also stands in paths.
///
/// # Errors
/// With what it may be.
pub(super) fn check(name: &str) -> Result<(), String> {
    let fits = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && !name.trim_matches('.').is_empty();
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is no name of a job: letters, digits, '_', '.' and '-'"
        ))
    }
}

/// A job as Chronos shows it; `raw` is all of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it runs (ISO 8601), unless it waits for other jobs.
    #[serde(default)]
    pub schedule: Option<String>,
    /// The jobs that it runs after.
    #[serde(default)]
    pub parents: Vec<String>,
    /// It does not run.
    #[serde(default)]
    pub disabled: bool,
    /// Runs that went well.
    #[serde(default)]
    pub success_count: u64,
    /// Runs that did not.
    #[serde(default)]
    pub error_count: u64,
    /// When the last one went well; empty when none did.
    #[serde(default)]
    pub last_success: String,
    /// When the last one did not.
    #[serde(default)]
    pub last_error: String,
    /// Everything.
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
    pub fn new(session: Arc<dyn Session>, masters: Vec<IpAddr>) -> Self {
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

    /// All jobs.
    ///
    /// # Errors
    /// When no leader answers rightly.
    pub async fn list(&self) -> Result<Vec<Job>, AppError> {
        let list: Vec<Value> = self.leader().await?.get_json("/v1/scheduler/jobs").await?;
        let wrong = |error| {
            crate::probe::ProbeError::malformed(
                "a job",
                format!("not the expected JSON ({error})"),
                b"",
            )
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

    /// One job.
    ///
    /// # Errors
    /// When there is none, or no leader answers rightly.
    pub async fn show(&self, name: &str) -> Result<Job, AppError> {
        self.list()
            .await?
            .into_iter()
            .find(|job| job.name == name)
            .ok_or_else(|| AppError::Missing(format!("job {name}")))
    }

    /// Makes a job or replaces it; one with `parents` runs after them.
    ///
    /// # Errors
    /// When Chronos refuses it or does not answer rightly.
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

    /// Runs it now, beside its schedule.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn run(&self, name: &str) -> Result<(), AppError> {
        check(name).map_err(AppError::Missing)?;
        Self::done(
            name,
            &self
                .leader()
                .await?
                .put(&format!("/v1/scheduler/job/{name}"), "")
                .await?,
        )
    }

    /// Removes it.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn delete(&self, name: &str) -> Result<(), AppError> {
        check(name).map_err(AppError::Missing)?;
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
