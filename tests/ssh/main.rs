//! The transport against the distribution's own OpenSSH on loopback, whose `ssh` is asked about the same files wherever a verdict is
//! compared.

// helpers outside of #[test] functions are test code too
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod basics;
mod config;
mod fake;
mod host_keys;
mod hostile;
mod lab;
mod limits;
mod login;
mod privilege;
mod terminal;
mod users;
