//! What every host must have: a pure function of the inventory, the playbook and what is recorded on the hosts.
//!
//! Owns: [`Desired`] and [`build`]. May import: `inventory`, `playbook`, `spec`.

mod build;
mod component;
mod compose;
mod host;
mod names;
mod secret;
mod types;
mod values;

pub use build::{Draw, build, settings};
pub use types::{ComponentDesired, Desired, HostDesired, Recorded};
