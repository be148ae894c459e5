//! The start of a run: desired state, observed state, and the plan.

use std::collections::BTreeMap;

use crate::desired::{Desired, Recorded};
use crate::event::{HostResult, RunResult};
use crate::plan::{Observed, Plan};
use crate::spec::{ClusterName, ExitCode, HostName};

/// What `plan` shows and `up` starts from.
#[derive(Clone)]
pub struct Planned {
    /// The desired state.
    pub desired: Desired,
    /// The observed state.
    pub observed: Observed,
    /// The difference of the two.
    pub plan: Plan,
    /// The hosts' records.
    pub(super) recorded: Recorded,
    /// The outcome of every host in the run, those that were not observed included.
    pub(super) outcomes: BTreeMap<HostName, HostResult>,
}

impl Planned {
    /// Before anything was observed.
    pub(super) fn nothing(cluster: ClusterName) -> Self {
        Self {
            desired: Desired::nothing(cluster),
            observed: Observed::new(),
            plan: Plan { hosts: Vec::new() },
            recorded: Recorded::default(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Whether a host of the run could not be observed.
    #[must_use]
    pub fn missed_a_host(&self) -> bool {
        self.outcomes.values().any(|host| host.outcome.is_failure())
    }

    /// The result of a run that only planned.
    #[must_use]
    pub fn result(&self, exit_code: ExitCode) -> RunResult {
        RunResult {
            exit_code: exit_code.0,
            hosts: self.outcomes.clone(),
            ..RunResult::default()
        }
    }
}
