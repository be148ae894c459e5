//! What a run starts from.

use crate::desired::{Desired, Recorded};
use crate::event::{HostResult, Outcome, RunResult};
use crate::plan::{self, Observed, Plan};

/// What `plan` shows and `up` starts from.
pub struct Planned {
    /// What is wanted.
    pub desired: Desired,
    /// What was seen.
    pub observed: Observed,
    /// The difference.
    pub plan: Plan,
    /// What was recorded on the hosts.
    pub(super) recorded: Recorded,
}

impl Planned {
    /// The result of a run that only planned.
    #[must_use]
    pub fn result(&self, exit_code: u8) -> RunResult {
        let end = |host: &plan::HostPlan| {
            (
                host.host.clone(),
                HostResult {
                    outcome: Outcome::Ok,
                    changed: 0,
                    failed_step: None,
                },
            )
        };
        RunResult {
            exit_code,
            changed: 0,
            hosts: self.plan.hosts.iter().map(end).collect(),
        }
    }
}
