//! Access to the cluster from the operator's machine: a forwarded port, and a SOCKS5 proxy that
//! resolves the cluster's names.
//!
//! Owns: both servers, and the resolution of names. May import: `probe` (to query Consul),
//! `host`, `spec`. Nothing on a host listens for them and nothing changes there: every
//! connection is a channel of one SSH connection. To add a kind of name: `names`.

#![warn(clippy::disallowed_methods)]

mod forward;
mod gateway;
mod names;
mod socks;

pub use forward::forward;
pub use gateway::Gateway;
pub use names::Names;
pub use socks::socks;
