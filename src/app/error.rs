//! Why something was not done with an application or a job.

use crate::probe::ProbeError;
use crate::probe::http::Reply;

/// Text that fits "failed to …: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// No instance of the program names a leader.
    #[error("{program} has no leader that can be asked: {why}")]
    NoLeader {
        /// Marathon or Chronos.
        program: &'static str,
        /// What the last one answered.
        why: String,
    },
    /// The leader did not answer, or not rightly. What was asked for may have been done.
    #[error("{0}")]
    Question(#[from] ProbeError),
    /// There is none of that name.
    #[error("there is no {0}")]
    Missing(String),
    /// Another deployment of the application is under way.
    #[error("another deployment of it is under way ({0})")]
    Locked(String),
    /// The program refused it.
    #[error("{program} refuses it ({status}): {why}")]
    Refused {
        /// Marathon or Chronos.
        program: &'static str,
        /// HTTP status.
        status: u16,
        /// Its own words, and the keys that it names.
        why: String,
    },
    /// It was accepted and does not come to run.
    #[error("{why}")]
    Failed {
        /// In words.
        why: String,
        /// The failure of a task that it died of.
        task: Option<Box<super::TaskFailure>>,
    },
    /// The limit passed.
    #[error("after {limit:?} {why}")]
    Deadline {
        /// The limit.
        limit: std::time::Duration,
        /// How it stands.
        why: String,
    },
}

impl AppError {
    /// From an answer that is not the wanted one.
    pub(super) fn refused(program: &'static str, what: &str, reply: &Reply) -> Self {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = body["message"].as_str().map_or_else(|| crate::probe::show(&reply.body), |text| crate::probe::show(text.as_bytes()));
        match reply.status {
            404 => Self::Missing(what.to_owned()),
            // Chronos has no other way to say it.
            400 if program == "Chronos" && message.contains("not found") => Self::Missing(what.to_owned()),
            409 if body["deployments"].is_array() => {
                let ids: Vec<String> = body["deployments"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|d| d["id"].as_str())
                    .map(|id| crate::probe::show(id.as_bytes()))
                    .collect();
                Self::Locked(ids.join(", "))
            }
            status => {
                let details = body["details"].as_array().into_iter().flatten().map(|detail| {
                    let errors: Vec<&str> = detail["errors"].as_array().into_iter().flatten().filter_map(|e| e.as_str()).collect();
                    format!("{} {}", detail["path"].as_str().unwrap_or_default(), errors.join(", "))
                });
                let why: Vec<String> = std::iter::once(message).chain(details.map(|text| crate::probe::show(text.as_bytes()))).collect();
                Self::Refused { program, status, why: why.join("; ") }
            }
        }
    }
}
