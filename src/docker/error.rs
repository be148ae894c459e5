//! What can go wrong with an Engine.

use std::time::Duration;

/// Why a call of the Engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The Engine answered with an error.
    #[error("{what}: the docker engine answers {status}: {message}")]
    Refused {
        /// The call.
        what: String,
        /// HTTP status.
        status: u16,
        /// The Engine's own words.
        message: String,
    },
    /// No answer in time.
    #[error("{what}: the docker engine did not answer within {limit:?}")]
    Deadline {
        /// The call.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The stream to the Engine failed.
    #[error("{what}: the docker engine cannot be talked to")]
    Talk {
        /// The call.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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
            Error::IOError { err } => match err.downcast::<crate::transport::TransportError>() {
                Ok(transport) => Self::Talk {
                    what,
                    source: Box::new(transport),
                },
                Err(err) => Self::Talk {
                    what,
                    source: Box::new(err),
                },
            },
            other => Self::Talk {
                what,
                source: Box::new(other),
            },
        }
    }
}
