//! The difference between the desired and the observed state, as plain data.
//!
//! Owns: [`diff`], [`Plan`], the preflight checks, the reading of earlier runs' records and the
//! comparison of the inventory's masters with the recorded ones. All of it is pure: the same inputs
//! give the same plan, so `plan` prints what `up` runs and tests snapshot it. Must not reach a host.
//! May import: `desired`, `observe`, `docker`, `spec`. To add a kind of change: a variant of
//! [`Step`], its line in `diff`, its execution in `engine/`. To add a check: a method in
//! `preflight.rs`, and a fact in `observe/` when it needs a new one.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod diff;
mod disks;
mod explain;
mod images;
mod lost_data;
mod masters;
mod membership;
mod preflight;
mod reason;
mod recorded;
mod requirements;
mod saved;
mod types;

pub use diff::{diff, diff_in_scope};
pub use disks::find_full_builders;
pub use images::{can_build, find_packages, find_unbuildable, is_elsewhere, is_present};
pub use lost_data::{LostData, find_lost_data};
pub use masters::{
    MastersError, MemberLists, changes_unrecorded_masters, check_masters, needs_member_lists,
};
pub use preflight::{Finding, Limits, preflight};
pub use reason::{Reason, Rights};
pub use recorded::{IdentityError, recorded};
pub use saved::{SavedPlan, SavedPlanError};
pub use types::{FileChange, HostPlan, LoadSource, Observed, Plan, Step};
