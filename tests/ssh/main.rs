//! The transport against the distribution's own OpenSSH on loopback. Wherever a verdict is
//! compared, `ssh` runs on the same files.

// Helpers outside #[test] functions are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod basics;
mod check;
mod config;
mod fake;
mod host_keys;
mod hostile;
mod lab;
mod limits;
mod login;
mod operations;
mod privilege;
mod prompts;
#[path = "../pty/mod.rs"]
mod pty;
mod shells;
mod terminal;
mod users;
