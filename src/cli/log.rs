//! The log of a run: a private file whose path is shown when the run fails.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// Number of old logs that are kept.
const MAX_OLD_LOGS: usize = 50;

/// Starts the log. `None` when no file can be written: that does not stop a run.
pub(super) fn begin(run_id: &str) -> Option<PathBuf> {
    let dir = folder()?;
    prune(&dir);
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S").to_string();
    let path = dir.join(format!("{stamp}-{run_id}.log"));
    let file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .ok()?;
    let filter =
        EnvFilter::try_from_env("TOOTS_LOG").unwrap_or_else(|_| EnvFilter::new("toots=debug,warn"));
    tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .log_internal_errors(false)
        .with_ansi(false)
        .with_env_filter(filter)
        .try_init()
        .ok()?;
    Some(path)
}

/// The folder of toots' own notes on this machine. `None` when it cannot be made.
pub(super) fn folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"))
        })?;
    let dir = state.join("toots");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .ok()?;
    Some(dir)
}

/// Shows warnings on standard error, for commands that serve until they are interrupted.
pub(super) fn to_terminal() {
    let filter =
        EnvFilter::try_from_env("TOOTS_LOG").unwrap_or_else(|_| EnvFilter::new("toots=warn"));
    // Text from hosts is escaped where it becomes text.
    drop(
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            // An internal error about a terminal that went away would panic.
            .log_internal_errors(false)
            .with_ansi(false)
            .with_env_filter(filter)
            .try_init(),
    );
}

fn prune(dir: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    let mut logs: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "log"))
        .collect();
    // The names start with the time, so their order is the order of the runs.
    logs.sort();
    for old in logs.iter().take(logs.len().saturating_sub(MAX_OLD_LOGS)) {
        // Another toots may prune at the same time.
        drop(std::fs::remove_file(old));
    }
}
