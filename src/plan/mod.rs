//! The difference between what is wanted and what was seen, as plain data.
//!
//! Owns: [`diff`], [`Plan`], the preflight checks and the reading-back of what earlier runs recorded. All of it is pure: the same
//! inputs give the same plan, so `plan` prints what `up` runs and tests snapshot it. May import: `desired`, `observe`, `docker`, `spec`.
//! To add a kind of change: a variant of [`Step`], its line in `diff`, its execution in `engine/`.

mod diff;
mod explain;
mod preflight;
mod recorded;
mod saved;
mod types;

pub use diff::diff;
pub use preflight::{Limits, Refusal, preflight};
pub use recorded::{IdentityError, recorded};
pub use saved::{SavedPlan, SavedPlanError};
pub use types::{FileChange, HostPlan, Observed, Package, Plan, Step};
