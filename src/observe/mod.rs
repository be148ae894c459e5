//! The one-round-trip reading of a host.
//!
//! Owns: [`HostStatus`] and how it is read: one POSIX shell script on standard input of one command, beside a few requests to the Engine.
//! May import: `transport`, `docker`, `spec`.
//! To add a fact: a `put` line in `script.sh`, a field in `types.rs`, its reading in `parse.rs`.

mod parse;
mod read;
mod types;

pub use read::{ObserveError, Request, read};
pub use types::{DockerStatus, Facts, FileStatus, HostStatus, Listener};
