//! What a run takes from the machine that it runs on: time, random numbers, tasks, files, standard
//! streams, variables and signals.
//!
//! Owns: [`Machine`], which carries all of it as one value, its real parts beside their traits, and a
//! machine in [`memory`], for whole runs without a process. The rooms above take these things from
//! here alone, so that a run can be repeated from a seed. Must not know what a run does. May import:
//! `spec`. To add something: a field of [`Machine`], both implementations, and what it replaces in
//! `clippy.toml`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod clock;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the files of the real machine, which are reached here alone"
)]
mod files;
mod machine;
pub mod memory;
mod random;
mod signals;
mod tasks;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the standard streams of the real process, which are reached here alone"
)]
mod terminal;
mod variables;

pub use clock::WallClock;
pub use files::{
    FileAccess, FileInfo, FileKind, FileReader, MachineFiles, ReadAt, TemporaryFile, folder_of,
};
pub use machine::Machine;
pub use random::Randomness;
pub use signals::{ProcessSignals, Signal, SignalStream, Signals};
pub use tasks::{Blocking, ContainedWork, SpawnedTask, Spawner, TaskGroup, run_blocking, spawn};
pub use terminal::{ProcessTerminal, StandardStream, Terminal};
pub use variables::Variables;
