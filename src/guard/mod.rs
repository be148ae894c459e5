//! May this member stop now? Pure arithmetic over what probes saw, and the lock of a host.
//!
//! Owns: [`may_stop`], [`order`], [`Lock`]. May import: `probe`, `transport`, `spec`.

mod lock;
mod quorum;

pub use lock::{Lock, LockError, Owner};
pub use quorum::{Refusal, may_stop, order};
