//! The one-round-trip reading of a host.
//!
//! Owns: [`HostStatus`] and how it is read. May import: `transport`, `docker`, `spec`.

mod types;

pub use types::{DockerStatus, Facts, FileStatus, HostStatus, Listener};
