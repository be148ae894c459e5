//! The process's standard output and standard error. Nothing else writes to them.
//!
//! A terminal or a reader may go away at any moment (`toots … | head -1`, a closed window). That
//! never ends a run: messages are dropped, and lost data is remembered, so that the process does
//! not exit with 0.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether data was lost. Global, because the process has one exit code for all threads.
static DATA_LOST: AtomicBool = AtomicBool::new(false);

/// Writes data to standard output. A reader that went away is not an error; any other failure, such
/// as a full disk, is reported and remembered for [`data_was_lost`].
pub fn write_data(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        record_loss(&error);
    }
}

/// Writes a message and a newline to standard error in one write, so that two processes on one pipe
/// do not mix within a line. A failure cannot be reported anywhere.
pub fn write_message(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(format!("{text}\n").as_bytes());
}

/// Writes a question to standard error; the answer follows on the same line.
pub fn write_question(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(format!("{text} ").as_bytes());
}

/// Whether data was lost.
#[must_use]
pub fn data_was_lost() -> bool {
    DATA_LOST.load(Ordering::Relaxed)
}

/// Remembers that writing data failed, unless the reader went away.
pub(super) fn record_loss(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe && !DATA_LOST.swap(true, Ordering::Relaxed) {
        write_message(&format!("error: cannot write to standard output: {error}"));
    }
}
