//! Why an operation on an application or a job failed.

use crate::probe::ProbeError;
use crate::probe::http::Reply;

/// A name that a program does not accept, or a definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Not a valid application id.
    #[error(
        "application id must consist of lower-case letters, digits, '-' and '.', with '/' between \
         parts, got {0:?}"
    )]
    AppId(String),
    /// Not a valid job name.
    #[error("job name must consist of letters, digits, '_', '.' and '-', got {0:?}")]
    JobName(String),
    /// The document is not a table.
    #[error("must be a table of keys")]
    NotATable,
    /// A group of applications.
    #[error("groups are not supported: list their applications instead")]
    Group,
    /// The key that names it is missing.
    #[error("{0:?} is missing")]
    Unnamed(&'static str),
    /// The file is larger than any definition.
    #[error("file must be at most {0} MiB")]
    TooLarge(u64),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// Everything that is wrong with the files of a command, one `file:line:column: text` each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct DefinitionErrors(pub Vec<String>);

/// No balancer serves the application: no label carries tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no tags in the environment (SERVICE_TAGS), so no load balancer serves it")]
pub struct NoTags;

/// Why an operation failed. Text that fits "cannot …: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// No instance of the program names a leader.
    #[error("{program} has no reachable leader: {why}")]
    NoLeader {
        /// Marathon or Chronos.
        program: &'static str,
        /// What the last one answered.
        why: String,
    },
    /// The leader did not answer, or not correctly. The request may have been executed.
    #[error("{0}")]
    Question(#[from] ProbeError),
    /// It does not exist.
    #[error("{0} does not exist")]
    Missing(String),
    /// Another deployment of the application is in progress.
    #[error("another deployment is in progress ({0})")]
    Locked(String),
    /// The program refused the request.
    #[error("{program} refused the request ({status}): {why}")]
    Refused {
        /// Marathon or Chronos.
        program: &'static str,
        /// HTTP status.
        status: u16,
        /// Its own words, and the keys that it names.
        why: String,
    },
    /// It was accepted and failed.
    #[error("{why}")]
    Failed {
        why: String,
        /// The task failure that caused it.
        task: Option<Box<super::TaskFailure>>,
    },
    /// The limit expired.
    #[error("after {limit:?} {why}")]
    Deadline {
        limit: std::time::Duration,
        /// The state at that time.
        why: String,
    },
}

impl AppError {
    /// Turns an unexpected answer into an error.
    pub(super) fn refused(program: &'static str, what: &str, reply: &Reply) -> Self {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        // After the first line, Chronos adds the place in its code.
        let first = body["message"]
            .as_str()
            .and_then(|text| text.lines().next());
        let message = crate::probe::show(first.map_or(&reply.body, str::as_bytes));
        match reply.status {
            404 => Self::Missing(what.to_owned()),
            // Chronos has no status of its own for this.
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

    /// Bodies as recorded from Marathon 1.11.24 and Chronos 3.0.2.
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
            "Marathon refused the request (422): Invalid JSON; /instances error.expected.jsnumber; /cpus error.expected.jsnumber"
        );
        let locked = r#"{"message":"App is locked by one or more deployments.","deployments":[{"id":"5b1c"}]}"#;
        assert_eq!(
            said("Marathon", 409, locked),
            "another deployment is in progress (5b1c)"
        );
        assert_eq!(
            said(
                "Marathon",
                404,
                r#"{"message":"App '/a' does not exist","details":[]}"#
            ),
            "application /a does not exist"
        );
        let missing = "{\"message\":\"java.lang.IllegalArgumentException: requirement failed: Job 'nope' not found\\n\\tat scala.Predef$\"}";
        assert_eq!(
            said("Chronos", 400, missing),
            "application /a does not exist"
        );
        assert_eq!(
            said("Chronos", 400, r#"{"message":"bad schedule\n\tat x"}"#),
            "Chronos refused the request (400): bad schedule"
        );
        assert_eq!(
            said("Chronos", 500, "<html>\u{1b}[2J</html>"),
            "Chronos refused the request (500): <html>\\x1b[2J</html>"
        );
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("app_error", AppError, hints: |_| Vec::new(), {
            AppError::NoLeader { .. } => AppError::NoLeader { program: "Marathon", why: "m1: connection refused".into() },
            AppError::Question(_) => AppError::Question(ProbeError::Down),
            AppError::Missing(_) => AppError::Missing("application /web".into()),
            AppError::Locked(_) => AppError::Locked("5b1c".into()),
            AppError::Refused { .. } => AppError::Refused { program: "Marathon", status: 422, why: "Invalid JSON".into() },
            AppError::Failed { .. } => AppError::Failed { why: "a task failed".into(), task: None },
            AppError::Deadline { .. } => AppError::Deadline { limit: std::time::Duration::from_secs(300), why: "1 of 2 tasks run".into() },
        });
    }

    #[test]
    fn definition_messages() {
        crate::testing::snapshot_messages!("definition_error", DefinitionError, hints: |_| Vec::new(), {
            DefinitionError::AppId(_) => DefinitionError::AppId("Web App".into()),
            DefinitionError::JobName(_) => DefinitionError::JobName("a b".into()),
            DefinitionError::NotATable => DefinitionError::NotATable,
            DefinitionError::Group => DefinitionError::Group,
            DefinitionError::Unnamed(_) => DefinitionError::Unnamed("id"),
            DefinitionError::TooLarge(_) => DefinitionError::TooLarge(4),
            DefinitionError::Unreadable(_) => DefinitionError::Unreadable("permission denied".into()),
        });
    }
}
