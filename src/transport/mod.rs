//! Sessions to hosts: one authenticated SSH connection per host and run, with commands and byte streams as channels on it.
//!
//! Owns: ssh_config, host keys, authentication, jump hosts, privilege. May import: `inventory`, `spec`; only it may name russh.
//! To add a way of reaching hosts: implement [`Session`].

mod quote;
mod session;

pub use quote::quote;
pub use session::{BoxStream, Cost, Exec, ExecOutput, Session, Target, TransportError};
