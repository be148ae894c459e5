//! The log of a run: a private file whose path is shown when the run fails.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::console::Console;
use crate::env::{FileAccess, WallClock};

/// Number of old logs that are kept.
const MAX_OLD_LOGS: usize = 50;

/// Time stamps of the machine's own clock.
struct LogTime(WallClock);

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.6}", self.0.now())
    }
}

/// Starts the log. `None` when no file can be written: that does not stop a run.
pub(super) fn begin(console: &Console, run_id: &str) -> Option<PathBuf> {
    let install = console.machine().install_log?;
    let dir = folder(console)?;
    prune(console.files(), &dir);
    let clock = console.machine().clock.clone();
    let stamp = clock.now().strftime("%Y%m%dT%H%M%S").to_string();
    let path = dir.join(format!("{stamp}-{run_id}.log"));
    let file = console.files().create_private(&path).ok()?;
    let log = tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_timer(LogTime(clock))
        .log_internal_errors(false)
        .with_ansi(false)
        .with_env_filter(filter(console, "toots=debug,warn"))
        .finish();
    install(Dispatch::new(log)).then_some(path)
}

fn filter(console: &Console, usual: &str) -> EnvFilter {
    let wanted = console.machine().variables.text("TOOTS_LOG");
    let wanted = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    wanted.unwrap_or_else(|| EnvFilter::new(usual))
}

/// The folder of toots' own notes on this machine. `None` when it cannot be made.
pub(super) fn folder(console: &Console) -> Option<PathBuf> {
    let dir = console.machine().state_folder()?;
    console.files().create_folders(&dir, Some(0o700)).ok()?;
    Some(dir)
}

/// Shows warnings on standard error, for commands that serve until they are interrupted.
pub(super) fn to_terminal(console: &Console) {
    let Some(install) = console.machine().install_log else {
        return;
    };
    let streams = console.streams.clone();
    // Text from hosts is escaped where it becomes text.
    let log = tracing_subscriber::fmt()
        .with_writer(move || streams.clone())
        .with_timer(LogTime(console.machine().clock.clone()))
        // An internal error about a terminal that went away would panic.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_env_filter(filter(console, "toots=warn"))
        .finish();
    install(Dispatch::new(log));
}

fn prune(files: &dyn FileAccess, dir: &Path) {
    let Ok(paths) = files.list(dir) else {
        return;
    };
    let is_log = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "log");
    // The names start with the time, so their order is the order of the runs.
    let logs: Vec<PathBuf> = paths.into_iter().filter(is_log).collect();
    for old in logs.iter().take(logs.len().saturating_sub(MAX_OLD_LOGS)) {
        // Another toots may prune at the same time.
        drop(files.remove(old));
    }
}
