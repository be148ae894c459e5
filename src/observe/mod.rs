//! Observes a host in one round trip.
//!
//! Owns: [`HostStatus`] and how it is read: one POSIX shell script on the standard input of one
//! command, beside a few requests to the Engine. Must not judge what it observes. May import:
//! `transport`, `docker`, `spec`. To add a fact: a section in `script.sh`, a field in `types.rs`,
//! its parsing in `parse.rs`.
//!
//! The script starts at most 40 processes, however much there is to observe; a test counts them. So
//! files are read by one program for all of them, and their contents come in one archive.
//!
//! Whether a host reaches its peers is tried on the host, by the /dev/tcp of bash (`reach.bash`).
//! Streams through the session (`direct-tcpip`) would start no process, but sshd gives the same
//! answer for a refused connection, which proves that no firewall is in between, as for one without
//! a route, and often forbids such streams. Connections that exist already prove nothing either: a
//! new firewall rule leaves them alone.

#![warn(clippy::disallowed_methods)]

mod parse;
mod read;
#[cfg(test)]
mod script_tests;
mod sections;
mod types;

pub use parse::ParseError;
pub use read::{ObserveError, Request, read};
pub use types::{DockerStatus, Facts, FileStatus, HostStatus, Listener};
