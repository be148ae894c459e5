//! What every host must have: a pure function of the inventory, the playbook and what is recorded on the hosts.
//!
//! Owns: [`Desired`] and `build`. May import: `inventory`, `playbook`, `spec`.

mod types;

pub use types::{ComponentDesired, Desired, HostDesired, Recorded};
