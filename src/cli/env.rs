//! Everything outside of toots that a command reaches.
//!
//! It leaves out what no run in memory has a use for, and what stays with the real machine:
//! - SSH, known_hosts and ssh_config are the real dialler's own; another one needs none of them;
//! - the Engine of this machine, registries over HTTPS and the file that `bundle create` writes:
//!   that command contacts no host;
//! - the sockets of `tunnel` and `open`, and the browser: other programs here connect to them.

use std::sync::Arc;

use crate::env::{Machine, Spawner};
use crate::host::{Dialler, SshDialler};

/// The one argument of a command besides its command line. What it gives is all that a run can
/// tell the real world from another one by.
#[derive(Clone)]
pub struct Env {
    pub machine: Machine,
    pub dialler: Arc<dyn Dialler>,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

impl Env {
    /// This machine, and hosts over SSH.
    #[must_use]
    pub fn of_process(tasks: Spawner) -> Self {
        Self {
            machine: Machine::of_process(tasks),
            dialler: Arc::new(SshDialler),
        }
    }
}
