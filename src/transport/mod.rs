//! Sessions to hosts: one authenticated SSH connection per host and run; commands and byte streams
//! are channels on it.
//!
//! Owns: ssh_config, host keys, authentication, jump hosts, privilege. Must not know what a command
//! does. May import: `inventory`, `spec` and `event::escape`. Only this room may name russh, and no
//! type of russh leaves it. To add another transport: implement [`Session`].
//!
//! Two promises: where `ssh host` works, toots works; and no credential is sent to an unverified
//! host. The path of a connection: `endpoint` (settings, from `config`) → `connect` (limits, jump
//! hosts, retries) → `dial` (TCP) → `handler` (host key, with `known_hosts`) → `auth` → `ssh` (the
//! session: `shell`, `stream`, `privilege`).

mod agent;
mod ask;
mod auth;
mod backlog;
mod budget;
mod channel_limiter;
mod config;
mod connect;
mod dial;
mod endpoint;
mod explain;
mod handler;
mod identity;
mod known_hosts;
mod link;
mod offer;
mod privilege;
mod script;
mod server_banner;
mod session;
mod settings;
mod shell;
mod ssh;
mod stream;
mod trust;
mod turns;

pub use ask::{Ask, AskNobody};
#[doc(hidden)]
pub use config::fuzz_ssh_config;
pub use connect::Connector;
pub use explain::Explained;
#[doc(hidden)]
pub use known_hosts::parse_for_fuzzing as fuzz_known_hosts;
#[doc(hidden)]
pub use privilege::fuzz_privilege;
pub use script::{assign_variables, perl_in_line, script_in_line, script_on_input, words};
pub use session::{BoxStream, Cost, Exec, ExecOutput, Session, Stream, Target, TransportError};
pub use settings::{HostSettings, PrivilegeMode, SshOptions, SshTimeouts};
pub use trust::ShownKey;
