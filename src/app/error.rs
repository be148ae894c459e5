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
        // Behind Chronos' first line stands where in its code it was said.
        let first = body["message"]
            .as_str()
            .and_then(|text| text.lines().next());
        let message = crate::probe::show(first.map_or(&reply.body, str::as_bytes));
        match reply.status {
            404 => Self::Missing(what.to_owned()),
            // Chronos has no other way to say it.
            400 if program == "Chronos" && message.contains("not found") => {
                Self::Missing(what.to_owned())
            }
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
                let details = body["details"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|detail| {
                        let errors: Vec<&str> = detail["errors"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(|e| e.as_str())
                            .collect();
                        format!(
                            "{} {}",
                            detail["path"].as_str().unwrap_or_default(),
                            errors.join(", ")
                        )
                    });
                let why: Vec<String> = std::iter::once(message)
                    .chain(details.map(|text| crate::probe::show(text.as_bytes())))
                    .collect();
                Self::Refused {
                    program,
                    status,
                    why: why.join("; "),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Bodies as Marathon 1.11.24 and Chronos 3.0.2 were recorded to send them.
    #[test]
    fn refusals_say_what_the_program_said() {
        let said = |program, status, body: &'static str| {
            let reply = Reply {
                status,
                headers: hyper::HeaderMap::new(),
                body: Bytes::from_static(body.as_bytes()),
            };
            AppError::refused(program, "application /a", &reply).to_string()
        };
        let invalid = r#"{"message":"Invalid JSON","details":[{"path":"/instances","errors":["error.expected.jsnumber"]},{"path":"/cpus","errors":["error.expected.jsnumber"]}]}"#;
        assert_eq!(
            said("Marathon", 422, invalid),
            "Marathon refuses it (422): Invalid JSON; /instances error.expected.jsnumber; /cpus error.expected.jsnumber"
        );
        let locked = r#"{"message":"App is locked by one or more deployments.","deployments":[{"id":"5b1c"}]}"#;
        assert_eq!(
            said("Marathon", 409, locked),
            "another deployment of it is under way (5b1c)"
        );
        assert_eq!(
            said(
                "Marathon",
                404,
                r#"{"message":"App '/a' does not exist","details":[]}"#
            ),
            "there is no application /a"
        );
        let missing = "{\"message\":\"java.lang.IllegalArgumentException: requirement failed: Job 'nope' not found\\n\\tat scala.Predef$\"}";
        assert_eq!(said("Chronos", 400, missing), "there is no application /a");
        assert_eq!(
            said("Chronos", 400, r#"{"message":"bad schedule\n\tat x"}"#),
            "Chronos refuses it (400): bad schedule"
        );
        assert_eq!(
            said("Chronos", 500, "<html>\u{1b}[2J</html>"),
            "Chronos refuses it (500): <html>\\x1b[2J</html>"
        );
    }
}
