//! The command line: the clap tree, one file per command, settings, exit codes and hints. [`run`]
//! lives one command line to its end; what it can reach is its [`Env`].
//!
//! Owns: everything between the process and the engine. Must not decide what happens to a host. May
//! import: all rooms; only it may name clap and color-eyre. To add a command: a variant in
//! [`args`], and a file here that runs it.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

pub mod args;

mod add;
mod app;
mod bundle;
mod check;
mod cluster;
mod console;
mod context;
mod env;
mod error;
mod hints;
mod inventory;
mod job;
mod log;
mod menu;
mod plan_views;
mod reach;
mod render;
mod repair;
mod run;
mod signals;
mod ssh;
mod start;
mod tunnel;

pub use env::Env;
pub use run::{main, run};
