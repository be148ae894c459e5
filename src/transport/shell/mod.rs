//! The shells of a connection: one serves all its commands, so that startup files run once.
//!
//! Owns: which shell runs which command, and the protocol with it. Must not know what a command does.
//! The path of a command: `pool` (which shell) → `worker` (its channel) → `program` (what the host
//! runs) → `command` (how it ended). A stream, which needs a channel of its own, takes only `launch`:
//! the line that every login shell understands.

mod command;
mod launch;
mod pool;
mod program;
mod worker;

pub(super) use command::{CommandTask, Ending, limit_on_host};
pub(super) use launch::{Launch, Skip, not_started};
pub(super) use pool::{Attach, GROW_INTERVAL, QueuedCommand, ShellPool};
