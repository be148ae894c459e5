//! Ways into the cluster from the operator's machine: a forwarded port, and a SOCKS5 proxy that knows the cluster's names.
//!
//! Owns: both servers, and what a name means. May import: `probe` (to ask Consul), `transport`, `spec`. Nothing on a host listens for
//! them and nothing is changed there: every connection is a channel of one SSH connection. To teach it a name: `names`.

mod forward;
mod names;
mod socks;
mod way;

pub use forward::forward;
pub use names::Names;
pub use socks::socks;
pub use way::Way;
