//! Sessions to hosts: one authenticated SSH connection per host and run, with commands and byte streams as channels on it.
//!
//! Owns: ssh_config, host keys, authentication, jump hosts, privilege. May import: `inventory`, `spec` and `event::escape`; only it may
//! name russh, and no type of russh leaves it. To add a way of reaching hosts: implement [`Session`].
//!
//! Two promises are kept here: where `ssh host` works, toots works; and no credential is sent to a host that is not proven. The way of a
//! connection: `endpoint` (what is wanted, by `config`) → `connect` (limits, jump hosts, retries) → `dial` (TCP) → `handler` (host key, by
//! `known_hosts`) → `auth` → `ssh` (the session: `exec`, `stream`, `privilege`).

mod agent;
mod ask;
mod auth;
mod budget;
mod config;
mod connect;
mod dial;
mod endpoint;
mod exec;
mod explain;
#[doc(hidden)]
pub mod fake;
mod gate;
mod greeting;
mod handler;
mod identity;
mod known_hosts;
mod offer;
mod privilege;
mod quote;
mod session;
mod settings;
mod ssh;
mod stream;
mod trust;

pub use ask::{Ask, AskNobody, AskTerminal};
#[doc(hidden)]
pub use config::fuzz_ssh_config;
pub use connect::Connector;
pub use explain::Explained;
#[doc(hidden)]
pub use known_hosts::parse_for_fuzzing as fuzz_known_hosts;
#[doc(hidden)]
pub use privilege::fuzz_privilege;
pub use quote::quote;
pub use session::{
    BoxStream, Cost, Dial, Exec, ExecOutput, Session, Stream, Target, TransportError,
};
pub use settings::{HostSettings, PrivilegeMode, SshSettings, Timeouts};
pub use trust::ShownKey;
