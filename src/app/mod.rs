//! The workload of a cluster: applications of Marathon and jobs of Chronos, read from files, sent
//! to the leader and followed until they run.
//!
//! Owns: definitions with their macros, and the APIs of the two programs as far as deploying needs
//! them. Must not print. May import: `probe` (its HTTP over a session), `host`, `spec`.
//! Everything goes through a host of the cluster; the programs need not be reachable from outside.
//! To add an operation: a method in `marathon` or `chronos`, and its command in `cli::app`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod chronos;
mod definition;
mod deployment;
mod error;
mod leader;
mod macros;
mod marathon;
mod schema;
mod task_log;
mod weight;
mod yaml;

pub use chronos::{Chronos, Job};
pub use definition::{Definition, MAX_DEFINITION_BYTES, Program, changes, read};
pub use deployment::{Progress, follow, follow_removal};
pub use error::{AppError, DefinitionError, DefinitionErrors, NoTags};
pub use marathon::{App, AppId, Change, Marathon, Task, TaskFailure};
pub use schema::check;
pub use task_log::task_log;
pub use weight::weighted;
