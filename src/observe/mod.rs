//! Observes a host in one round trip.
//!
//! Owns: [`HostStatus`] and how it is read: one operation on the machine beside a few requests to the
//! Engine. Must not judge what it observes. May import: `host`, `docker`, `spec`. To add a fact: a
//! section in `host/scripts/observe.sh`, a field in `host/observation.rs`, its parsing in
//! `host/parse.rs`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod read;
mod types;

pub use crate::host::{Facts, FileStatus, Listener};
pub use read::{ObserveError, Request, read};
pub use types::{DockerStatus, HostStatus};
