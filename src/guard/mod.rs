//! Whether a member may be stopped now, and the lock of a host.
//!
//! Owns: [`may_stop`] and [`order`], pure functions of what the probes answered, [`Door`], through
//! which every running container is stopped, and [`Lock`]. Must not change anything else on a host.
//! May import: `probe`, `docker`, `host`, `spec`. To guard another service: report its members
//! in `probe/`; the arithmetic is the same.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod door;
mod lock;
mod quorum;

pub use door::{Door, QuorumServices, StopError, StopReason};
pub use lock::{Lock, LockError, Owner};
pub use quorum::{Refusal, Standing, may_stop, order};
