//! inventory.toml → a validated [`Inventory`]; import of an old Toots.conf; edits that keep
//! comments and order.
//!
//! Owns: the schema, its checks and their messages. Must not know components: their names are
//! checked by `desired`. May import: `env`, `spec`; only it may name toml_edit. To add a key: a field in
//! `types.rs`, its line in `schema.rs`, its entry in inventory.toml.example.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod candidates;
mod check;
mod draft;
mod edit;
mod error;
mod import;
mod load;
mod open;
mod reader;
mod schema;
mod types;

pub use candidates::candidates;
pub use draft::{Draft, draft};
pub use edit::{EditError, add_host, remove_host};
pub use error::{InventoryErrors, Problem};
pub use import::import;
pub use load::{load, parse};
pub use types::{
    BaseFolders, ConsulSettings, DockerSettings, Host, Inventory, Network, Nfs, OpenVpn,
    PasswordSource, Registry, SshSettings, Timeouts,
};
