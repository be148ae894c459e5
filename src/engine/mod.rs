//! Executes a plan: connects, observes, runs the phases with their gates, and reports everything as
//! events.
//!
//! Owns: [`up`], [`check`], [`status`] and the failure policy. May import: `bundle`, `plan`, `probe`,
//! `guard`, `event` and the rooms below them. Must not know that terminals exist. To add a kind of
//! change: a variant of `plan::Step` and its arm in `apply.rs`.

#![warn(clippy::disallowed_methods)]

mod apply;
mod build;
mod checks;
mod components;
mod compose;
mod connect;
mod consent;
mod direct_loads;
mod ending;
mod failure;
#[cfg(test)]
mod fake_engine;
#[cfg(test)]
mod fake_images;
#[cfg(test)]
mod faulty_session;
mod gates;
mod images;
mod ledger;
mod load_sources;
mod loads;
mod local_images;
mod masters;
mod planned;
mod planning;
mod prepare;
mod proofs;
mod recipes;
mod reconnect;
mod repair;
#[cfg(test)]
mod replacement_tests;
mod run_context;
mod status;
mod summary;
#[cfg(test)]
mod test_run;
mod up;
mod work;

pub use ending::{Cancel, EndCause};
pub use local_images::{LocalBuildError, LocalBuilds, MissingBuild};
pub use planned::Planned;
pub use run_context::{
    Confirm, Consent, HostInfo, RegistryLogin, RunContext, RunOptions, RunTimeouts,
};
pub use status::{ComponentState, StatusView, status};
pub use up::{check, observe_and_plan, up};
