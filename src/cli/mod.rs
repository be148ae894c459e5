//! The command line: the clap tree, one file per command, settings, exit codes and hints.
//!
//! Owns: everything between the process and the engine. May import: all rooms; only it may name clap and color-eyre.
//! To add a command: a variant in [`args`], a file here with its `run`.

pub mod args;

mod add;
mod app;
mod cluster;
mod context;
mod exit;
mod inventory;
mod job;
mod log;
mod menu;
mod output;
mod reach;
mod render;
mod run;
mod signals;
mod ssh;
mod tunnel;

pub use exit::Exit;
pub use run::main;
