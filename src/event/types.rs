//! The events. Their serialised form is the contract of `--output json`: one event per line, with a
//! version field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{ClusterName, HostName, Phase, Remedy, Role};

/// Version of the serialised form; incremented when a field changes its meaning or is removed, not
/// when one is added.
pub const VERSION: u8 = 1;

/// The outcome of a host in a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing had to be changed.
    Ok,
    /// Something was changed.
    Changed,
    /// A step failed.
    Failed,
    /// No connection.
    Unreachable,
    /// Its host key is not trusted; no credential was sent.
    Untrusted,
    /// It refused the login or the privilege.
    Denied,
    /// Nothing was tried.
    Skipped,
}

impl Outcome {
    /// The word in reports and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the host could not take part from the start: not reached, trusted or logged in to.
    #[must_use]
    pub fn is_unreached(self) -> bool {
        matches!(self, Self::Unreachable | Self::Untrusted | Self::Denied)
    }

    /// Whether the host was expected to take part and did not get to its end.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self == Self::Failed || self.is_unreached()
    }
}

/// A failure, ready to be shown: all texts are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The phase in which it happened.
    #[schemars(with = "String")]
    pub phase: Phase,
    /// The step, a lower-case verb phrase.
    pub step: String,
    /// The chain of causes, outermost first.
    pub cause: Vec<String>,
    /// Last lines of the failing command or container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What was changed on this host before, and what may be half done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// What to do next, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub hints: Vec<Remedy>,
}

/// One service of the final table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRow {
    /// Service name.
    pub service: String,
    /// Whether it was proven.
    pub healthy: bool,
    /// The leading host.
    pub leader: Option<String>,
    /// Members in words (`3 of 3, 2 synced`).
    pub members: String,
    /// What was proven, in words.
    pub proof: String,
    /// Faults, one line each, with the host that answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What to do about them, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub hints: Vec<Remedy>,
}

/// A web address of the final table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebAddress {
    /// Service name.
    pub service: String,
    /// `http://…`.
    pub url: String,
    /// Who can reach it.
    pub reach: String,
}

/// The numbers of a whole run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Hosts in the inventory.
    pub hosts: usize,
    /// Number of desired containers.
    pub containers: usize,
    /// Wall time, milliseconds.
    pub elapsed_ms: u64,
    /// The slowest component, and its time in milliseconds.
    pub longest: Option<(String, u64)>,
}

/// The result of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostResult {
    pub outcome: Outcome,
    /// Number of changes made, with those of a step whose result is unknown.
    pub changed: usize,
    /// The failed step, if one failed.
    pub failed_step: Option<String>,
}

/// The last object of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// The process's exit code.
    pub exit_code: u8,
    /// Changes over all hosts.
    pub changed: usize,
    /// The result of each host.
    pub hosts: BTreeMap<HostName, HostResult>,
    /// Why the command did not get to its end; the first reason of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The file with the log of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What to do about the error, one or more lines.
    #[serde(
        rename = "hint",
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "lines"
    )]
    #[schemars(with = "Option<String>")]
    pub hints: Vec<Remedy>,
}

/// Remedies as one text, a line each.
mod lines {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::spec::Remedy;

    pub(super) fn serialize<S: Serializer>(remedies: &[Remedy], to: S) -> Result<S::Ok, S::Error> {
        let lines: Vec<String> = remedies.iter().map(ToString::to_string).collect();
        to.serialize_str(&lines.join("\n"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Remedy>, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.lines().map(Remedy::from).collect())
    }
}

/// An event. Text from hosts is escaped by whoever creates the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// A run started.
    RunStarted {
        /// The command, such as `cluster up`.
        command: String,
        cluster: ClusterName,
        /// Hosts in scope with their roles; none when the command contacts no host.
        hosts: Vec<(HostName, Vec<Role>)>,
    },
    /// A phase started: connect, observe, preflight, prepare, images, a component's name, prove; of
    /// a bundle: `build IMAGE` and `save IMAGE` for recipes, resolve, prepare, download, finish.
    PhaseStarted {
        #[schemars(with = "String")]
        phase: Phase,
    },
    /// A phase ended.
    PhaseFinished {
        #[schemars(with = "String")]
        phase: Phase,
        /// Wall time, milliseconds.
        elapsed_ms: u64,
    },
    /// The plan: hosts and changes, in order.
    Planned {
        /// Every change by name.
        changes: Vec<(HostName, String)>,
        /// Hosts and paths of toots' own records to be written; not changes by themselves.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        records: Vec<(HostName, String)>,
    },
    /// The number of steps of a host in this run.
    HostPlanned {
        host: HostName,
        /// Number of steps.
        steps: usize,
    },
    /// A step on a host started.
    StepStarted {
        host: HostName,
        #[schemars(with = "String")]
        phase: Phase,
        /// A lower-case verb phrase.
        step: String,
    },
    /// Progress of a pull, a build or a load.
    StepProgress {
        host: HostName,
        /// The step: a host may have several under way.
        step: String,
        /// Bytes so far.
        bytes: u64,
        /// Total bytes, when known.
        total: Option<u64>,
        /// The last line of a build.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<String>,
    },
    /// A step on a host succeeded.
    StepFinished {
        host: HostName,
        step: String,
        /// Whether the host was changed.
        changed: bool,
        /// Wall time, milliseconds.
        elapsed_ms: u64,
    },
    /// A step or a check on a host failed; the host takes no further part. Each check that fails on
    /// a host is an event of its own.
    HostFailed {
        host: HostName,
        /// `failed`, `unreachable`, `untrusted` or `denied`.
        outcome: Outcome,
        failure: Failure,
    },
    /// A gate has not passed yet.
    GateWaiting {
        service: String,
        /// What is missing, in words.
        missing: String,
        /// Milliseconds since the gate started.
        elapsed_ms: u64,
    },
    GatePassed {
        service: String,
        /// What was proven.
        proof: String,
        /// Milliseconds it took.
        elapsed_ms: u64,
    },
    GateFailed {
        service: String,
        /// What each host answered.
        faults: Vec<String>,
        /// What to do about it, one line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(with = "Vec<String>")]
        hints: Vec<Remedy>,
    },
    /// A warning.
    Warning {
        /// The host concerned, if any.
        host: Option<HostName>,
        /// One sentence.
        text: String,
        /// What to do about it, one line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(with = "Vec<String>")]
        hints: Vec<Remedy>,
    },
    /// The registry of an image named its parts.
    ImageResolved {
        image: String,
        /// The digest of its index or manifest.
        digest: String,
        /// `linux/amd64`, …
        platforms: Vec<String>,
        /// Bytes of its parts; images share some.
        bytes: u64,
    },
    /// All parts of an image are there.
    ImageFetched {
        image: String,
        /// Bytes of its parts.
        bytes: u64,
    },
    /// Progress of a transfer that belongs to no single host.
    TransferProgress {
        /// Bytes that are there.
        bytes: u64,
        total: u64,
    },
    /// A bundle is complete.
    BundleWritten {
        file: String,
        /// Number of images.
        images: usize,
        platforms: Vec<String>,
        /// Length of the file.
        bytes: u64,
        /// Bytes that registries sent in this run; the others were there.
        fetched: u64,
    },
    /// The cluster's table at the end.
    Summary {
        cluster: ClusterName,
        services: Vec<ServiceRow>,
        /// Its web addresses.
        web: Vec<WebAddress>,
        totals: Totals,
    },
    /// The last event of a run.
    Result(RunResult),
}

impl Event {
    /// A warning without a remedy.
    pub fn warning(host: Option<HostName>, text: impl Into<String>) -> Self {
        Self::Warning {
            host,
            text: text.into(),
            hints: Vec::new(),
        }
    }
}

/// Receives events. Reporters implement it; the engine only knows this trait.
pub trait EventSink: Send + Sync {
    /// Receives one event; must not block for long.
    fn send(&self, event: Event);
}
