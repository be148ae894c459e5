//! What a run needs of the machine that it runs on: time, chance, tasks, files, the terminal,
//! variables and signals.
//!
//! Owns: [`Machine`], which carries all of it as one value, its real implementations, and those in
//! memory ([`memory`]), for whole runs without a process. The rooms above take these things from
//! here alone, so that a run can be repeated from a seed. Must not know what a run does. May import:
//! `spec`. To add something of the machine: a field of [`Machine`], both implementations, and the
//! functions that it replaces in `clippy.toml`.

mod tasks;

pub use tasks::{Blocking, Spawner, Task, TaskGroup, run_blocking, spawn};
