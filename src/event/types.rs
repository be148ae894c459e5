//! The events themselves. Their serialised form is the contract of `--output json` (DESIGN: one event a line, with a version field).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::{ClusterName, HostName, Role};

/// How a host's part of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything was as wanted.
    Ok,
    /// Something was changed and is as wanted now.
    Changed,
    /// A step failed.
    Failed,
    /// No trusted, authenticated connection.
    Unreachable,
    /// Nothing was tried.
    Skipped,
}

/// A failure as it is shown: all texts are already escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The phase in which it happened.
    pub phase: String,
    /// The step, a lower-case verb phrase.
    pub step: String,
    /// The chain of causes, outermost first.
    pub cause: Vec<String>,
    /// Last lines of the failing command or container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What was changed on this host before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// What to do next, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// One service of the final table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Service name.
    pub service: String,
    /// Whether it was proven.
    pub healthy: bool,
    /// The host that leads.
    pub leader: Option<String>,
    /// Who is in it, in words (`3 of 3, 2 synced`).
    pub members: String,
    /// What was proven, in words.
    pub proof: String,
    /// What is wrong, one line each, naming the host that answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// A web address of the final table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebAddress {
    /// Service name.
    pub service: String,
    /// `http://…`.
    pub url: String,
    /// Who can reach it.
    pub reach: String,
}

/// What a whole run did, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Hosts in the inventory.
    pub hosts: usize,
    /// Containers wanted.
    pub containers: usize,
    /// Wall time, milliseconds.
    pub elapsed_ms: u64,
    /// The component that took longest, and its milliseconds.
    pub longest: Option<(String, u64)>,
}

/// How one host ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Number of changes made.
    pub changed: usize,
    /// The failed step, if one failed.
    pub failed_step: Option<String>,
}

/// The final result object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// The process's exit code.
    pub exit_code: u8,
    /// Changes over all hosts.
    pub changed: usize,
    /// Each host's end.
    pub hosts: BTreeMap<HostName, HostResult>,
}

/// One thing that happened. Texts that came from hosts are escaped by whoever makes the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// `cluster up`, …
        command: String,
        /// The cluster.
        cluster: ClusterName,
        /// Hosts in scope with their roles.
        hosts: Vec<(HostName, Vec<Role>)>,
    },
    /// The cluster's phase as a whole changed (connect, observe, preflight, prepare, images, a component's name, prove).
    PhaseStarted {
        /// Its name.
        phase: String,
    },
    /// A phase ended.
    PhaseFinished {
        /// Its name.
        phase: String,
        /// Wall time, milliseconds.
        elapsed_ms: u64,
    },
    /// What `plan` found: host and change, in order.
    Planned {
        /// Every change by name.
        changes: Vec<(HostName, String)>,
    },
    /// A host has this many steps before it in this run.
    HostPlanned {
        /// Host.
        host: HostName,
        /// Number of steps.
        steps: usize,
    },
    /// A step on a host begins.
    StepStarted {
        /// Host.
        host: HostName,
        /// Phase.
        phase: String,
        /// Lower-case verb phrase.
        step: String,
    },
    /// Bytes while pulling.
    StepProgress {
        /// Host.
        host: HostName,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// A step on a host ended well.
    StepFinished {
        /// Host.
        host: HostName,
        /// The step.
        step: String,
        /// Whether the host was changed.
        changed: bool,
        /// Wall time, milliseconds.
        elapsed_ms: u64,
    },
    /// A step or a check on a host failed; the host takes no further part.
    HostFailed {
        /// Host.
        host: HostName,
        /// `Failed` or `Unreachable`.
        outcome: Outcome,
        /// Why.
        failure: Failure,
    },
    /// A gate is being waited for.
    GateWaiting {
        /// Service.
        service: String,
        /// What is still missing, in words.
        missing: String,
        /// Milliseconds since it began.
        elapsed_ms: u64,
    },
    /// A gate passed.
    GatePassed {
        /// Service.
        service: String,
        /// What was proven.
        proof: String,
        /// Milliseconds it took.
        elapsed_ms: u64,
    },
    /// A gate failed.
    GateFailed {
        /// Service.
        service: String,
        /// What each host answered.
        faults: Vec<String>,
    },
    /// Something worth knowing that is not a failure.
    Warning {
        /// The host concerned, if one.
        host: Option<HostName>,
        /// One sentence.
        text: String,
    },
    /// The cluster's table at the end.
    Summary {
        /// The cluster.
        cluster: ClusterName,
        /// Its services.
        services: Vec<ServiceRow>,
        /// Its web addresses.
        web: Vec<WebAddress>,
        /// Numbers.
        totals: Totals,
    },
    /// The last event of a run.
    Result(RunResult),
}

/// Where events go. Reporters implement it; the engine only sees this.
pub trait EventSink: Send + Sync {
    /// Takes one event; must not block for long.
    fn send(&self, event: Event);
}
