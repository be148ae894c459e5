//! Everything of the machine that a run uses, as one value.

use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::util::SubscriberInitExt as _;

use super::{
    FileAccess, MachineFiles, ProcessSignals, ProcessTerminal, Randomness, Signals, Spawner,
    Terminal, Variables, WallClock,
};

/// The operator's machine.
#[derive(Clone)]
pub struct Machine {
    pub clock: WallClock,
    pub random: Randomness,
    pub tasks: Spawner,
    pub files: Arc<dyn FileAccess>,
    pub terminal: Arc<dyn Terminal>,
    pub signals: Arc<dyn Signals>,
    pub variables: Variables,
    /// Its own name, as shown to other runs.
    pub host_name: String,
    /// Sends the log of the run to a subscriber; `false` when the process has one already. `None`:
    /// there is no log, as for runs in memory, which share their process.
    pub install_log: Option<fn(tracing::Dispatch) -> bool>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    /// The one that runs this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the real machine's name")]
    pub fn of_process(tasks: Spawner) -> Self {
        let host_name = nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Self {
            clock: WallClock::system(),
            random: Randomness::system(),
            tasks,
            files: Arc::new(MachineFiles),
            terminal: Arc::new(ProcessTerminal),
            signals: Arc::new(ProcessSignals),
            variables: Variables::of_process(),
            host_name,
            install_log: Some(|log| log.try_init().is_ok()),
        }
    }

    /// The operator's home folder.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.variables.path("HOME")
    }

    /// The folder of toots' own notes on this machine, which may not exist yet.
    #[must_use]
    pub fn state_folder(&self) -> Option<PathBuf> {
        let state = self
            .variables
            .path("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(self.home()?.join(".local/state")))?;
        Some(state.join("toots"))
    }
}
