//! The desired state of every host: a pure function of the inventory, the playbook and the hosts'
//! records.
//!
//! Owns: [`Desired`] and [`build`]. Must not read a host or draw a secret twice. May import:
//! `inventory`, `playbook`, `spec`. To add a value for templates: `values.rs`; a file on every
//! host: `host.rs`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod build;
mod component;
mod compose;
mod host;
mod images;
mod members;
mod names;
mod secret;
mod types;
mod values;

pub use crate::playbook::PlaybookError;
pub use build::{Draw, build, check_local_files, settings};
pub use images::{NewerDefault, RecipeDesired};
pub use types::{
    BundleContents, ComponentCommon, ComponentDesired, Desired, HostDesired, Recorded,
};
