//! Executes a plan: connects, observes, runs the phases with their gates, and reports everything as
//! events.
//!
//! Owns: [`up`], [`check`], [`status`] and the failure policy. May import: `bundle`, `plan`, `probe`,
//! `guard`, `event` and the rooms below them. Must not know that terminals exist. `up.rs` lists the
//! stages of a run. To add a kind of change: a variant of `plan::Step` and its arm in `apply.rs`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod apply;
mod build;
mod cancel;
mod checks;
mod cleanup;
mod components;
mod compose;
mod connect;
mod consent;
mod containers;
mod digests;
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
mod host_run;
mod images;
mod ledger;
mod load_image;
mod load_sources;
mod loads;
mod local_images;
mod locks;
mod masters;
mod observing;
mod outcomes;
mod perform;
mod phases;
mod pin;
mod planned;
mod planning;
mod preflight;
mod prepare;
mod proofs;
mod pull;
mod recipes;
mod reconnect;
mod repair;
#[cfg(test)]
mod replacement_tests;
mod rollout;
mod run;
mod run_context;
mod saved_images;
mod session;
mod status;
mod steps;
mod summary;
#[cfg(test)]
mod test_run;
mod try_pulls;
mod up;
mod work;

pub use cancel::{Cancel, EndCause};
pub use local_images::{LocalBuildError, LocalBuilds, MissingBuild};
pub use planned::Planned;
pub use run_context::{
    Confirm, Consent, HostInfo, RegistryLogin, RunContext, RunOptions, RunTimeouts,
};
pub use status::status;
pub use up::{check, observe_and_plan, up};
