//! Applications of Marathon.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::leader::Program;
use super::{AppError, DefinitionError};
use crate::host::HostSession;
use crate::probe::http::{Http, Reply};

/// An application id, starting with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppId(String);

impl AppId {
    /// Validates an id, with or without its first slash.
    ///
    /// # Errors
    /// When Marathon would not accept it.
    pub fn new(text: &str) -> Result<Self, DefinitionError> {
        let id = format!("/{}", text.trim_matches('/'));
        let label = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        let fits = id[1..].split('/').all(|part| {
            label(part)
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.trim_matches('.') == part
        });
        if fits {
            Ok(Self(id))
        } else {
            Err(DefinitionError::AppId(text.to_owned()))
        }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An application as Marathon reports it; `raw` is the whole document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    pub id: String,
    /// Desired instances.
    pub instances: u64,
    /// Tasks that are starting.
    #[serde(default)]
    pub tasks_staged: u64,
    /// Tasks that run.
    #[serde(default)]
    pub tasks_running: u64,
    /// Tasks that pass their health checks.
    #[serde(default)]
    pub tasks_healthy: u64,
    /// Its version: the time of its definition.
    #[serde(default)]
    pub version: String,
    /// Deployments that change it now.
    #[serde(default)]
    pub deployments: Vec<Named>,
    /// Its tasks.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// Its last failure.
    #[serde(default)]
    pub last_task_failure: Option<TaskFailure>,
    /// Its health checks.
    #[serde(default)]
    pub health_checks: Vec<Value>,
    /// The whole document.
    #[serde(skip)]
    pub raw: Value,
}

/// An object with an id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    pub id: String,
}

/// A task.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub id: String,
    /// The host where it runs.
    #[serde(default)]
    pub host: String,
    /// Ports of the host.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Mesos' name of its state.
    #[serde(default)]
    pub state: String,
    /// The version of its definition.
    #[serde(default)]
    pub version: String,
}

/// The failure of a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    pub task_id: String,
    /// The host where it ran.
    #[serde(default)]
    pub host: String,
    /// Mesos' message.
    #[serde(default)]
    pub message: String,
    /// Mesos' name of its state.
    #[serde(default)]
    pub state: String,
    /// Time (RFC 3339, in the format of versions).
    #[serde(default)]
    pub timestamp: String,
}

/// A change that Marathon accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub deployment_id: String,
    /// The version that it creates.
    pub version: String,
}

/// Marathon, through one host of the cluster.
pub struct Marathon {
    program: Program,
    force: bool,
}

impl Marathon {
    /// Through this session; any master names the leader.
    #[must_use]
    pub fn new(session: Arc<dyn HostSession>, masters: Vec<IpAddr>) -> Self {
        Self {
            program: Program {
                name: "Marathon",
                port: 8080,
                question: "/v2/leader",
                session,
                masters,
            },
            force: false,
        }
    }

    /// Makes changes replace deployments in progress.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Finds the leader again for each operation: it may have changed.
    async fn leader(&self) -> Result<Http, AppError> {
        self.program.leader().await
    }

    fn forced(&self) -> &'static str {
        if self.force { "?force=true" } else { "" }
    }

    fn done(id: &AppId, reply: &Reply) -> Result<Change, AppError> {
        match reply.status {
            200 | 201 => Ok(reply.json("the answer to a change")?),
            _ => Err(AppError::refused(
                "Marathon",
                &format!("application {id}"),
                reply,
            )),
        }
    }

    /// Lists all applications.
    ///
    /// # Errors
    /// When no leader answers correctly.
    pub async fn list(&self) -> Result<Vec<App>, AppError> {
        #[derive(Deserialize)]
        struct Payload {
            apps: Vec<Value>,
        }
        let body: Payload = self.leader().await?.get_json("/v2/apps").await?;
        body.apps.into_iter().map(app).collect()
    }

    /// Reads one application with its tasks and its last failure.
    ///
    /// # Errors
    /// When it does not exist, or no leader answers correctly.
    pub async fn show(&self, id: &AppId) -> Result<App, AppError> {
        let path = format!("/v2/apps{id}");
        let reply = self.leader().await?.get(&path).await?;
        if reply.status != 200 {
            return Err(AppError::refused(
                "Marathon",
                &format!("application {id}"),
                &reply,
            ));
        }
        let mut body: Value = reply.json(&path)?;
        app(body["app"].take())
    }

    /// Why no offer was accepted for an application that waits for one; `None` when it waits for
    /// nothing.
    ///
    /// # Errors
    /// When no leader answers correctly.
    pub async fn waits_for(&self, id: &AppId) -> Result<Option<String>, AppError> {
        let body: Value = self.leader().await?.get_json("/v2/queue").await?;
        let entry = body["queue"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["app"]["id"].as_str() == Some(&id.0));
        Ok(entry.map(|entry| {
            let reasons = entry["processedOffersSummary"]["rejectSummaryLastOffers"]
                .as_array()
                .into_iter()
                .flatten();
            let declined: Vec<String> = reasons
                .filter_map(|r| {
                    Some((
                        r["reason"].as_str()?,
                        r["declined"].as_u64().filter(|n| *n > 0)?,
                        r["processed"].as_u64()?,
                    ))
                })
                .map(|(reason, declined, processed)| {
                    format!(
                        "{} ({declined} of {processed} offers)",
                        crate::probe::show(reason.as_bytes())
                    )
                })
                .collect();
            if declined.is_empty() {
                "no offers received".to_owned()
            } else {
                format!("no offer matches: {}", declined.join(", "))
            }
        }))
    }

    /// Creates or changes an application; keys that the definition does not contain stay.
    ///
    /// # Errors
    /// When Marathon refuses it or does not answer correctly.
    pub async fn put(&self, id: &AppId, definition: &Value) -> Result<Change, AppError> {
        let reply = self
            .leader()
            .await?
            .put(
                &format!("/v2/apps{id}{}", self.forced()),
                definition.to_string(),
            )
            .await?;
        Self::done(id, &reply)
    }

    /// Replaces all its tasks.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn restart(&self, id: &AppId) -> Result<Change, AppError> {
        let reply = self
            .leader()
            .await?
            .post(&format!("/v2/apps{id}/restart{}", self.forced()), "")
            .await?;
        Self::done(id, &reply)
    }

    /// Deletes it.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn delete(&self, id: &AppId) -> Result<Change, AppError> {
        let reply = self
            .leader()
            .await?
            .delete(&format!("/v2/apps{id}{}", self.forced()))
            .await?;
        Self::done(id, &reply)
    }

    /// Its versions, the newest last.
    ///
    /// # Errors
    /// When it does not exist, or no leader answers correctly.
    pub async fn versions(&self, id: &AppId) -> Result<Vec<String>, AppError> {
        #[derive(Deserialize)]
        struct Payload {
            versions: Vec<String>,
        }
        let path = format!("/v2/apps{id}/versions");
        let reply = self.leader().await?.get(&path).await?;
        if reply.status != 200 {
            return Err(AppError::refused(
                "Marathon",
                &format!("application {id}"),
                &reply,
            ));
        }
        let mut versions = reply.json::<Payload>(&path)?.versions;
        // Times in one format sort as text.
        versions.sort();
        Ok(versions)
    }

    /// Returns to an earlier version.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn rollback(&self, id: &AppId, version: &str) -> Result<Change, AppError> {
        self.put(id, &serde_json::json!({ "version": version }))
            .await
    }

    /// The deployments in progress.
    ///
    /// # Errors
    /// When no leader answers correctly.
    pub async fn deployments(&self) -> Result<Vec<Named>, AppError> {
        Ok(self.leader().await?.get_json("/v2/deployments").await?)
    }
}

fn app(raw: Value) -> Result<App, AppError> {
    let wrong = |error| {
        crate::probe::ProbeError::malformed(
            "an application",
            format!("unexpected JSON ({error})"),
            b"",
        )
    };
    let app: App = App::deserialize(&raw).map_err(wrong)?;
    Ok(App { raw, ..app })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_marathon_takes_and_no_other_path() {
        for (text, id) in [
            ("web", "/web"),
            ("/prod/web-1.2/", "/prod/web-1.2"),
            ("a", "/a"),
        ] {
            assert_eq!(AppId::new(text).unwrap().to_string(), id);
        }
        for bad in [
            "",
            "/",
            "Web",
            "a//b",
            "a b",
            "a?force=true",
            "..",
            "a/../b",
            "-a",
            "a-",
            ".a",
            "a_b",
            "a%2f",
        ] {
            assert!(AppId::new(bad).is_err(), "{bad:?}");
        }
    }
}
