//! The results of a run's components.

use std::collections::BTreeMap;
use std::fmt;

use crate::probe::Verdict;
use crate::spec::{ComponentName, HostName};

/// The results of all components.
#[derive(Default)]
pub(super) struct ComponentOutcomes {
    /// Verdicts of the gates that passed.
    pub verdicts: BTreeMap<ComponentName, Verdict>,
    /// Gates that failed, with the faults.
    pub failed: BTreeMap<ComponentName, Vec<String>>,
    /// Components that were not brought up to their end, and why.
    pub skipped: BTreeMap<ComponentName, SkipReason>,
    /// How long each took, milliseconds.
    pub took: BTreeMap<ComponentName, u64>,
}

/// What became of one component.
pub(super) enum ComponentEnd {
    Passed(Option<Box<Verdict>>),
    Failed(Vec<String>),
    /// Its gate was not asked, and why.
    Skipped(SkipReason),
}

/// Why a component was not brought up to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SkipReason {
    /// The guard refused to stop a member.
    Refused,
    /// The member on this host was not replaced.
    NotReplaced(HostName),
    NoHostReached,
    /// These come before it.
    NotProven(Vec<ComponentName>),
    Panicked,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the guard refused to stop a member"),
            Self::NotReplaced(host) => write!(
                f,
                "the replacement on {host} failed; no other member was changed"
            ),
            Self::NoHostReached => f.write_str("none of its hosts was reached"),
            Self::NotProven(before) => {
                let names: Vec<&str> = before.iter().map(ComponentName::as_str).collect();
                write!(f, "not proven before it: {}", names.join(", "))
            }
            Self::Panicked => f.write_str("internal error"),
        }
    }
}

impl ComponentOutcomes {
    /// Whether the guard refused to stop a member.
    pub fn is_refused(&self) -> bool {
        let mut reasons = self.skipped.values();
        reasons.any(|reason| *reason == SkipReason::Refused)
    }

    /// Adds the end of a component that took so many milliseconds.
    pub fn record(&mut self, name: ComponentName, end: ComponentEnd, took: u64) {
        self.took.insert(name.clone(), took);
        match end {
            ComponentEnd::Passed(verdict) => {
                self.verdicts
                    .extend(verdict.map(|verdict| (name, *verdict)));
            }
            ComponentEnd::Failed(faults) => {
                self.failed.insert(name, faults);
            }
            ComponentEnd::Skipped(why) => {
                self.skipped.insert(name, why);
            }
        }
    }
}
