//! Why a command ended early, and the one place that shows it, as text or as JSON.
//!
//! Owns: the exit code and the hints of each error. Failures of a run on hosts are events, not
//! errors. To add one: a variant with its text, exit code and hints, and a sample in the test
//! below.

use std::path::PathBuf;

use super::console::Console;
use super::{bundle, hints};
use crate::app::{AppError, DefinitionError, DefinitionErrors};
use crate::bundle::{ArchiveError, CreateError};
use crate::engine::{EndCause, LocalBuildError};
use crate::event::{Event, RunResult};
use crate::inventory::{EditError, InventoryErrors};
use crate::plan::SavedPlanError;
use crate::playbook::PlaybookError;
use crate::report;
use crate::spec::{ExitCode, HostName, IdError, Remedy, Role, shown};
use crate::transport::TransportError;

/// Why a command ended early. The text says what is wrong, then why.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    /// A bug of toots.
    #[error("internal error; the log of the run, if there is one, has the details")]
    Panicked,
    #[error(transparent)]
    Inventory(#[from] InventoryErrors),
    #[error(transparent)]
    Playbook(#[from] PlaybookError),
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {}: it already exists", .0.display())]
    Exists(PathBuf),
    #[error("{}: cannot read {what} {}: {source}", inventory.display(), path.display())]
    ReadReferenced {
        inventory: PathBuf,
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot read the registry password: environment variable {0} is not set")]
    RegistryVariable(String),
    #[error("--limit {pattern:?} is not a valid glob: {why}")]
    LimitPattern { pattern: String, why: String },
    #[error("--limit {pattern:?} matches no host")]
    LimitMatchesNone { pattern: String, known: Vec<String> },
    #[error("unknown host {name:?}")]
    UnknownHost { name: String, known: Vec<String> },
    #[error("{}: {source}", path.display())]
    SavedPlan {
        path: PathBuf,
        source: SavedPlanError,
    },
    #[error(transparent)]
    HostName(#[from] IdError),
    #[error("{address} is already in the inventory, as {name}")]
    AddressInUse {
        address: std::net::IpAddr,
        name: HostName,
        role: Role,
    },
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("{name} joined the cluster, but {file} could not be written: {why}")]
    InventoryNotUpdated {
        name: HostName,
        role: Role,
        file: String,
        why: String,
    },
    #[error("init needs --masters IP,IP,IP, or a terminal to ask on")]
    NothingToInit,
    #[error("the questions were not answered; nothing was written")]
    InitAborted,
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("cannot connect to any host: {0}")]
    NoHost(TransportError),
    #[error(
        "--listen must be a loopback address, got {0}: anyone who reaches it could enter the cluster"
    )]
    NotLoopback(std::net::IpAddr),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("{service:?} has no web interface")]
    NoWebInterface { service: String, known: Vec<String> },
    #[error("the address {url:?} of {service} is not a valid URL: {why}")]
    WebAddress {
        service: String,
        url: String,
        why: String,
    },
    #[error("cannot repair {component} on {host}: its data cannot be taken from other members")]
    NotRepairable {
        component: String,
        host: HostName,
        known: Vec<String>,
    },
    #[error(transparent)]
    AppId(#[from] DefinitionError),
    #[error(transparent)]
    Definitions(#[from] DefinitionErrors),
    #[error("cannot {}: {}", .0.action, .0.source)]
    App(Box<AppFailure>),
    #[error("declined; nothing was changed")]
    Declined,
    #[error("there is no terminal to ask on before {} is deleted; nothing was changed", .0.join(", "))]
    NotAsked(Vec<String>),
    #[error("interrupted")]
    Interrupted,
    #[error("{source}")]
    Bundle {
        source: CreateError,
        attempt: Box<BundleAttempt>,
    },
    #[error("{source}")]
    LocalBuild { source: LocalBuildError },
    #[error("DOCKER_HOST must be unix://PATH, where recipes are built, got {0:?}")]
    DockerHost(String),
    #[error("{}", .cause.as_str())]
    BundleEnded {
        cause: EndCause,
        attempt: Box<BundleAttempt>,
    },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A bundle that was to be created.
#[derive(Debug, Clone)]
pub(super) struct BundleAttempt {
    pub file: PathBuf,
    /// Those of the command line.
    pub platforms: Vec<String>,
    /// The registry of the inventory.
    pub own_registry: Option<String>,
}

impl BundleAttempt {
    pub(super) fn resume(&self) -> Remedy {
        Remedy::ResumeBundle {
            file: self.file.display().to_string(),
            platforms: self.platforms.clone(),
        }
    }
}

/// An operation on an application or a job that failed.
#[derive(Debug)]
pub(super) struct AppFailure {
    /// A verb phrase that continues "cannot …".
    pub action: String,
    pub source: AppError,
    /// Applications whose deployments were started before.
    pub started: Vec<String>,
    /// The application whose deployment continues.
    pub rollback: Option<String>,
}

impl AppFailure {
    fn hints(&self) -> Vec<Remedy> {
        let hint = match &self.source {
            AppError::NoLeader { .. } => Some(Remedy::SeeStatus),
            AppError::Question(_) => Some(Remedy::SeeEffect),
            AppError::Locked(_) => Some(Remedy::ReplaceDeployment),
            _ => None,
        };
        let started = (!self.started.is_empty())
            .then(|| format!("already started: {}", self.started.join(", ")).into());
        let rollback = self.rollback.as_ref();
        let rollback = rollback.map(|id| Remedy::RollBackApp { id: id.clone() });
        hint.into_iter().chain(started).chain(rollback).collect()
    }
}

impl CliError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Start(_)
            | Self::Panicked
            | Self::Write { .. }
            | Self::InventoryNotUpdated { .. }
            | Self::WebAddress { .. } => ExitCode::INTERNAL,
            Self::Inventory(_)
            | Self::Playbook(_)
            | Self::Read { .. }
            | Self::Exists(_)
            | Self::ReadReferenced { .. }
            | Self::RegistryVariable(_)
            | Self::LimitPattern { .. }
            | Self::LimitMatchesNone { .. }
            | Self::UnknownHost { .. }
            | Self::SavedPlan { .. }
            | Self::HostName(_)
            | Self::AddressInUse { .. }
            | Self::Edit(_)
            | Self::NothingToInit
            | Self::Transport(_)
            | Self::NotLoopback(_)
            | Self::Listen { .. }
            | Self::NoWebInterface { .. }
            | Self::NotRepairable { .. }
            | Self::AppId(_)
            | Self::Definitions(_)
            | Self::DockerHost(_)
            | Self::Archive(_) => ExitCode::USAGE,
            Self::Bundle { source, .. } => bundle::create_exit_code(source),
            Self::LocalBuild { source } => match source {
                LocalBuildError::Missing(_) => ExitCode::REFUSED,
                LocalBuildError::Failed(_) => ExitCode::PARTIAL,
            },
            Self::BundleEnded { cause, .. } => cause.exit_code(false),
            Self::NoHost(_) => ExitCode::UNREACHABLE,
            Self::NotAsked(_) => ExitCode::REFUSED,
            Self::App(failure) => match failure.source {
                AppError::NoLeader { .. } | AppError::Question(_) | AppError::Failed { .. } => {
                    ExitCode::GATE
                }
                AppError::Missing(_) | AppError::Locked(_) | AppError::Refused { .. } => {
                    ExitCode::REFUSED
                }
                AppError::Deadline { .. } => ExitCode::DEADLINE,
            },
            Self::InitAborted | Self::Declined | Self::Interrupted => ExitCode::INTERRUPTED,
        }
    }

    /// What to do.
    pub(super) fn hints(&self) -> Vec<Remedy> {
        match self {
            Self::LimitMatchesNone { known, .. } | Self::UnknownHost { known, .. } => {
                vec![format!("hosts of the inventory: {}", known.join(", ")).into()]
            }
            Self::NotRepairable { known, host, .. } if known.is_empty() => {
                vec![format!("{host} runs no component that can be repaired").into()]
            }
            Self::NotRepairable { known, .. } | Self::NoWebInterface { known, .. } => {
                vec![format!("available: {}", known.join(", ")).into()]
            }
            Self::AddressInUse {
                address,
                name,
                role,
            } => vec![Remedy::AddHost {
                role: *role,
                address: *address,
                name: name.clone(),
            }],
            Self::InventoryNotUpdated {
                name, role, file, ..
            } => vec![format!("add {name} to {role}s in {file}").into()],
            Self::Exists(_) => vec!["choose another file with --out, or remove this one".into()],
            Self::NothingToInit => vec![Remedy::ShowInitOptions],
            Self::NotAsked(_) => vec![Remedy::Agree],
            Self::Transport(error) | Self::NoHost(error) => error.hints().to_vec(),
            Self::App(failure) => failure.hints(),
            Self::Bundle { source, attempt } => bundle::create_hints(source, attempt),
            Self::LocalBuild { source } => source.hints(),
            Self::BundleEnded { attempt, .. } => vec![attempt.resume()],
            Self::Archive(error) => bundle::archive_hints(error),
            _ => Vec::new(),
        }
    }

    /// The text and its causes, escaped.
    fn text(&self) -> String {
        use std::error::Error as _;
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // A text that already contains its cause does not repeat it.
            if !text.contains(&words) {
                text.push_str(&format!(": {words}"));
            }
            cause = error.source();
        }
        shown(&text)
    }

    /// The error as the last event of a run.
    pub(super) fn result(&self) -> RunResult {
        RunResult {
            exit_code: self.exit_code().0,
            error: Some(self.text()),
            hints: self.hints(),
            ..RunResult::default()
        }
    }

    /// Shows the error: one JSON result on standard output, or text on standard error. An error
    /// with a place in a file starts with the place, as in compilers.
    pub(super) fn show(&self, console: &Console, json: bool, inventory: Option<&std::path::Path>) {
        let hints = hints::with_inventory(&self.hints(), inventory);
        let text = self.text();
        if json {
            show_json(console, self.exit_code(), text, hints);
            return;
        }
        let placed = matches!(
            self,
            Self::Inventory(_)
                | Self::Definitions(_)
                | Self::Playbook(PlaybookError::Inventory { .. })
        );
        let mut lines = vec![if placed {
            text
        } else {
            format!("error: {text}")
        }];
        lines.extend(
            hints
                .iter()
                .map(|hint| format!("  hint: {}", shown(&hint.to_string()))),
        );
        console.streams.write_message(&lines.join("\n"));
    }
}

/// Prints the only line of a command that ended before its first event.
pub(super) fn show_json(console: &Console, exit_code: ExitCode, error: String, hints: Vec<Remedy>) {
    let result = RunResult {
        exit_code: exit_code.0,
        error: Some(error),
        hints,
        ..RunResult::default()
    };
    let line = report::json_line(&Event::Result(result), console.machine().clock.now());
    console.print(&(line + "\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::RegistryError;
    use crate::testing::snapshot_messages;

    fn io() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::PermissionDenied)
    }

    fn app(source: AppError) -> CliError {
        CliError::App(Box::new(AppFailure {
            action: "deploy /web".into(),
            source,
            started: vec!["/db".into()],
            rollback: Some("/web".into()),
        }))
    }

    fn attempt() -> Box<BundleAttempt> {
        Box::new(BundleAttempt {
            file: "dc1.tar".into(),
            platforms: vec!["linux/arm64".into()],
            own_registry: Some("r.example.com".into()),
        })
    }

    fn unreachable() -> TransportError {
        TransportError::Unreachable {
            address: "10.0.0.1:22".into(),
            why: "connection refused".into(),
        }
    }

    #[test]
    fn messages() {
        let name = HostName::new("s4").unwrap();
        let known = vec!["m1".to_owned(), "m2".to_owned()];
        let hints = |error: &CliError| error.hints().iter().map(ToString::to_string).collect();
        snapshot_messages!("cli_error", CliError, hints: hints, {
            CliError::Start(_) => CliError::Start(io()),
            CliError::Panicked => CliError::Panicked,
            CliError::Inventory(_) => CliError::Inventory(InventoryErrors {
                file: "inventory.toml".into(),
                problems: vec![crate::inventory::Problem {
                    at: Some((3, 1)),
                    what: "unknown key \"slave\"".into(),
                    help: Some("did you mean slaves?".into()),
                }],
            }),
            CliError::Playbook(_) => CliError::Playbook(PlaybookError::Read {
                path: "playbooks/consul/consul.json".into(),
                source: io(),
            }),
            CliError::Read { .. } => CliError::Read { path: "Toots.conf".into(), source: io() },
            CliError::Write { .. } => CliError::Write { path: "plan.json".into(), source: io() },
            CliError::Exists(_) => CliError::Exists("inventory.toml".into()),
            CliError::ReadReferenced { .. } => CliError::ReadReferenced {
                inventory: "inventory.toml".into(),
                what: "registry.ca",
                path: "ca.pem".into(),
                source: io(),
            },
            CliError::RegistryVariable(_) => CliError::RegistryVariable("REGISTRY_TOKEN".into()),
            CliError::LimitPattern { .. } => CliError::LimitPattern {
                pattern: "[".into(),
                why: "unclosed character class".into(),
            },
            CliError::LimitMatchesNone { .. } => CliError::LimitMatchesNone {
                pattern: "x*".into(),
                known: known.clone(),
            },
            CliError::UnknownHost { .. } => CliError::UnknownHost {
                name: "x1".into(),
                known: known.clone(),
            },
            CliError::SavedPlan { .. } => CliError::SavedPlan {
                path: "plan.json".into(),
                source: SavedPlanError::Version(2),
            },
            CliError::HostName(_) => CliError::HostName(HostName::new("a b").unwrap_err()),
            CliError::AddressInUse { .. } => CliError::AddressInUse {
                address: [10, 0, 0, 7].into(),
                name: name.clone(),
                role: Role::Slave,
            },
            CliError::Edit(_) => CliError::Edit(EditError::NotAList("slaves")),
            CliError::InventoryNotUpdated { .. } => CliError::InventoryNotUpdated {
                name,
                role: Role::Slave,
                file: "inventory.toml".into(),
                why: "it changed during the run".into(),
            },
            CliError::NothingToInit => CliError::NothingToInit,
            CliError::InitAborted => CliError::InitAborted,
            CliError::Transport(_) => CliError::Transport(unreachable()),
            CliError::NoHost(_) => CliError::NoHost(unreachable()),
            CliError::NotLoopback(_) => CliError::NotLoopback([0, 0, 0, 0].into()),
            CliError::Listen { .. } => CliError::Listen {
                address: ([127, 0, 0, 1], 1080).into(),
                source: std::io::Error::from(std::io::ErrorKind::AddrInUse),
            },
            CliError::NoWebInterface { .. } => CliError::NoWebInterface {
                service: "zookeeper".into(),
                known: vec!["marathon".into(), "consul".into()],
            },
            CliError::WebAddress { .. } => CliError::WebAddress {
                service: "consul".into(),
                url: "http://".into(),
                why: "empty host".into(),
            },
            CliError::NotRepairable { .. } => CliError::NotRepairable {
                component: "marathon".into(),
                host: HostName::new("m1").unwrap(),
                known: vec!["zookeeper".into()],
            },
            CliError::AppId(_) => CliError::AppId(DefinitionError::AppId("A".into())),
            CliError::Definitions(_) => CliError::Definitions(DefinitionErrors(vec!["web.yaml:1:1: no id".into()])),
            CliError::App(_) => app(AppError::Locked("5b1c".into())),
            CliError::Declined => CliError::Declined,
            CliError::NotAsked(_) => CliError::NotAsked(vec!["/web".into()]),
            CliError::Interrupted => CliError::Interrupted,
            CliError::Bundle { .. } => CliError::Bundle {
                source: RegistryError::Denied {
                    image: "r.example.com/a:1".into(),
                    registry: "r.example.com".into(),
                    why: "authentication required".into(),
                }
                .into(),
                attempt: attempt(),
            },
            CliError::LocalBuild { .. } => CliError::LocalBuild {
                source: LocalBuildError::Missing(vec![crate::engine::MissingBuild {
                    recipe: "mesos".into(),
                    platform: "linux/arm64".into(),
                    why: "no Docker Engine answers at /var/run/docker.sock".into(),
                }]),
            },
            CliError::DockerHost(_) => CliError::DockerHost("tcp://10.0.0.1:2375".into()),
            CliError::BundleEnded { .. } => CliError::BundleEnded {
                cause: EndCause::Interrupted,
                attempt: attempt(),
            },
            CliError::Archive(_) => CliError::Archive(ArchiveError::Truncated {
                path: "dc1.tar".into(),
                why: "it ends at manifest.json".into(),
            }),
        });
    }

    #[test]
    fn a_cause_is_shown_once() {
        let with_cause = CliError::Playbook(PlaybookError::Read {
            path: "p".into(),
            source: io(),
        });
        assert_eq!(with_cause.text(), "cannot read p: permission denied");
        let own_text = CliError::Read {
            path: "p".into(),
            source: io(),
        };
        assert_eq!(own_text.text(), "cannot read p: permission denied");
    }
}
