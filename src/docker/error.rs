//! Errors of an Engine.

use std::path::PathBuf;
use std::time::Duration;

/// Why a request to the Engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The Engine answered with an error.
    #[error("{what}: Docker Engine answered {status}: {message}")]
    Refused {
        /// The request.
        what: String,
        /// HTTP status.
        status: u16,
        /// The Engine's own words.
        message: String,
    },
    /// No answer in time.
    #[error("{what}: Docker Engine did not answer within {limit:?}")]
    Deadline {
        /// The request.
        what: String,
        limit: Duration,
    },
    /// The connection to the Engine failed.
    #[error("{what}: no connection to the Docker Engine")]
    Disconnected {
        /// The request.
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A temporary file of this machine cannot be used.
    #[error("{what}: cannot use a temporary file in {} on this machine: {why}", dir.display())]
    TemporaryFile {
        /// The request.
        what: String,
        dir: PathBuf,
        why: String,
    },
}

impl DockerError {
    /// The container or image does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// A container of that name exists already.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// A full file system is told in other words than those of a host's.
    pub(super) fn temporary_file(what: &str, dir: PathBuf, error: &std::io::Error) -> Self {
        let is_full = error.kind() == std::io::ErrorKind::StorageFull;
        Self::TemporaryFile {
            what: what.to_owned(),
            dir,
            why: match is_full {
                true => "the file system is full".into(),
                false => error.to_string(),
            },
        }
    }

    pub(super) fn from_bollard(what: &str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let what = what.to_owned();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                what,
                status: status_code,
                message,
            },
            Error::DockerStreamError { error } => Self::Refused {
                what,
                status: 500,
                message: error,
            },
            Error::IOError { err } => match err.downcast::<crate::host::TransportError>() {
                Ok(transport) => Self::Disconnected {
                    what,
                    source: Box::new(transport),
                },
                Err(err) => Self::Disconnected {
                    what,
                    source: Box::new(err),
                },
            },
            other => Self::Disconnected {
                what,
                source: Box::new(other),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("docker_error", DockerError, hints: |_| Vec::new(), {
            DockerError::Refused { .. } => DockerError::Refused { what: "pull haproxy:3.2".into(), status: 401, message: "unauthorized".into() },
            DockerError::Deadline { .. } => DockerError::Deadline { what: "list containers".into(), limit: Duration::from_secs(30) },
            DockerError::Disconnected { .. } => DockerError::Disconnected { what: "list containers".into(), source: "connection closed".into() },
            DockerError::TemporaryFile { .. } => DockerError::TemporaryFile { what: "save haproxy:3.2".into(), dir: "/tmp".into(), why: "the file system is full".into() },
        });
    }
}
