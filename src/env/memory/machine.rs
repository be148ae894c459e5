use std::sync::Arc;

use jiff::Timestamp;

use super::{MemoryFiles, MemorySignals, MemoryTerminal};
use crate::env::{Blocking, Machine, Randomness, TaskGroup, Variables, WallClock};

/// A machine in memory, and what of it a test moves and reads. Its time is tokio's.
#[derive(Debug)]
pub struct MemoryMachine {
    pub tasks: TaskGroup,
    pub files: MemoryFiles,
    pub terminal: MemoryTerminal,
    pub signals: MemorySignals,
    pub random: Randomness,
    pub clock: WallClock,
    pub variables: Variables,
}

impl MemoryMachine {
    /// Numbers follow from the seed; the clock shows `now`. The working folder is `/work`.
    #[must_use]
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let variables = [("HOME", "/home/ops"), ("USER", "ops"), ("TERM", "xterm")];
        Self {
            tasks: TaskGroup::new(Blocking::InPlace),
            files: MemoryFiles::new("/work"),
            terminal: MemoryTerminal::default(),
            signals: MemorySignals::default(),
            random: Randomness::seeded(seed),
            clock: WallClock::on_tokio_time(now),
            variables: variables.into_iter().collect(),
        }
    }

    /// What a run gets of it.
    #[must_use]
    pub fn machine(&self) -> Machine {
        Machine {
            clock: self.clock.clone(),
            random: self.random.clone(),
            tasks: self.tasks.spawner(),
            files: Arc::new(self.files.clone()),
            terminal: Arc::new(self.terminal.clone()),
            signals: Arc::new(self.signals.clone()),
            variables: self.variables.clone(),
            host_name: "desk".into(),
            install_log: None,
        }
    }
}
