//! The operations on a host and their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::observation::Observation;
use super::parse::ParseError;
use super::place::PlaceError;
use crate::spec::{DirSpec, FileSpec, Package, PackageManager};
use crate::transport::TransportError;

/// Observes the machine; changes nothing. The Engine is asked beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observe {
    /// Managed paths outside /etc/toots.
    pub paths: Vec<String>,
    /// Data directories.
    pub data_dirs: Vec<String>,
    /// Addresses and ports that must be reachable.
    pub reach: Vec<(String, u16)>,
    /// Limit, when it is not the usual one.
    pub deadline: Option<Duration>,
}

/// Writes directories, files and toots' block in /etc/hosts in one round trip: each old or new, never
/// half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub dirs: Vec<DirSpec>,
    pub files: Vec<FileSpec>,
    /// Address and name of each line of the block, when it is written.
    pub hosts_entries: Option<Vec<(String, String)>>,
    pub deadline: Duration,
}

/// Installs a package of the distribution, and waits until what it brings works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    pub package: Package,
    pub manager: PackageManager,
    pub deadline: Duration,
}

/// Enables a unit of systemd and starts it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartUnit {
    pub unit: String,
    pub deadline: Duration,
}

/// Stops a unit of systemd and removes its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveUnit {
    pub unit: String,
    pub deadline: Duration,
}

/// Removes a file; one that is missing is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveFile {
    pub path: String,
    pub deadline: Duration,
}

/// Gives folders other names: all of them, or none when one cannot be renamed. Those that are missing
/// are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveAside {
    pub dirs: Vec<String>,
    /// Follows the former name.
    pub suffix: String,
    pub deadline: Duration,
}

/// A folder with its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedFolder {
    pub path: String,
    /// Its size, when the host told it.
    pub kib: Option<u64>,
}

/// Asks the host's docker-compose how it hashes each service of toots' compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeHashes;

/// Reads a file in which a service records its state, and the host's time, so that only the host's
/// clock counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadState {
    pub path: String,
    pub deadline: Duration,
}

/// What a service recorded, and when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    pub record: Vec<u8>,
    /// The host's clock.
    pub now: jiff::Timestamp,
}

/// Reads the addresses of the host's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddresses {
    pub deadline: Duration,
}

/// Reads the last lines that a task printed into its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLog {
    /// The work directory of the host's agent.
    pub work_dir: String,
    pub task: String,
}

/// An operation with the type of its answer.
pub trait TypedOperation: Into<Operation> + Send {
    type Answer;

    /// The answer, when it is that of this operation.
    fn from_answer(answer: HostAnswer) -> Option<Self::Answer>;
}

/// The table of the operations: each with the type of its answer.
macro_rules! operations {
    ($($operation:ident => $answer:ty),+ $(,)?) => {
        /// Something that is done to a host.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Operation {
            $($operation($operation)),+
        }

        /// The answer to the operation of the same name.
        #[derive(Debug, Clone)]
        pub enum HostAnswer {
            $($operation($answer)),+
        }

        impl Operation {
            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$operation(_) => stringify!($operation)),+
                }
            }
        }

        $(
            impl From<$operation> for Operation {
                fn from(operation: $operation) -> Self {
                    Self::$operation(operation)
                }
            }

            impl TypedOperation for $operation {
                type Answer = $answer;

                fn from_answer(answer: HostAnswer) -> Option<$answer> {
                    match answer {
                        HostAnswer::$operation(answer) => Some(answer),
                        #[allow(unreachable_patterns)] // Only with one operation.
                        _ => None,
                    }
                }
            }
        )+
    };
}

operations! {
    Observe => Box<Observation>,
    Place => (),
    Install => (),
    StartUnit => (),
    RemoveUnit => (),
    RemoveFile => (),
    MoveAside => Vec<MovedFolder>,
    // Service → hash; empty without docker-compose.
    ComposeHashes => BTreeMap<String, String>,
    ReadState => ServiceState,
    HostAddresses => BTreeSet<IpAddr>,
    // As printed, not escaped.
    TaskLog => String,
}

/// Why an operation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// It could not be run, or its end is unknown.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host could not carry it out.
    #[error("command exited with status {status}")]
    Failed {
        status: u32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
    /// Nothing was sent: these files cannot be written.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The host's answer is not that of the observation.
    #[error("unexpected answer: {0}")]
    Observation(ParseError),
    /// The host's answer is not that of the operation.
    #[error("unexpected answer to {operation}")]
    Answer {
        operation: &'static str,
        /// What it printed.
        output: Vec<u8>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("operation_error", OperationError, hints: |_| Vec::new(), {
            OperationError::Transport(_) => OperationError::Transport(TransportError::Lost("closed by the host".into())),
            OperationError::Failed { .. } => OperationError::Failed { status: 1, stdout: Vec::new(), stderr: b"no space left".to_vec() },
            OperationError::Place(_) => OperationError::Place(PlaceError::Path("/etc/a b".into())),
            OperationError::Observation(_) => OperationError::Observation(ParseError::Truncated),
            OperationError::Answer { .. } => OperationError::Answer { operation: "ReadState", output: b"nonsense".to_vec() },
        });
    }

    #[test]
    fn an_answer_belongs_to_its_operation() {
        let log = HostAnswer::TaskLog("x".into());
        assert_eq!(TaskLog::from_answer(log.clone()).as_deref(), Some("x"));
        assert!(ComposeHashes::from_answer(log).is_none());
        assert_eq!(Operation::from(ComposeHashes).name(), "ComposeHashes");
    }
}
