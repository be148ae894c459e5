//! A run's standard output and standard error. Nothing else writes to them.
//!
//! A terminal or a reader may go away at any moment (`toots … | head -1`, a closed window). That
//! never ends a run: messages are dropped, and lost data is remembered, so that the process does
//! not exit with 0.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::env::{StandardStream, Terminal};

/// The standard streams of a run. Its clones are the same ones.
#[derive(Clone)]
pub struct Streams {
    terminal: Arc<dyn Terminal>,
    data_was_lost: Arc<AtomicBool>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    #[must_use]
    pub fn new(terminal: Arc<dyn Terminal>) -> Self {
        Self {
            terminal,
            data_was_lost: Arc::default(),
        }
    }

    /// Writes data to standard output. A reader that went away is not an error; any other failure,
    /// such as a full disk, is reported and remembered for [`Streams::data_was_lost`].
    pub fn write_data(&self, text: &str) {
        if let Err(error) = self.terminal.write_output(text.as_bytes()) {
            self.record_loss(&error);
        }
    }

    /// Writes a message and a newline to standard error in one write, so that two processes on one
    /// pipe do not mix within a line. A failure cannot be reported anywhere.
    pub fn write_message(&self, text: &str) {
        let _ = self.terminal.write_error(format!("{text}\n").as_bytes());
    }

    /// Writes a question to standard error; the answer follows on the same line.
    pub fn write_question(&self, text: &str) {
        let _ = self.terminal.write_error(format!("{text} ").as_bytes());
    }

    /// Whether data was lost.
    #[must_use]
    pub fn data_was_lost(&self) -> bool {
        self.data_was_lost.load(Ordering::Relaxed)
    }

    /// As [`Streams::write_data`]; `false` when the rest of the data need not be written.
    pub(super) fn try_write_data(&self, text: &str) -> bool {
        let written = self.terminal.write_output(text.as_bytes());
        if let Err(error) = &written {
            self.record_loss(error);
        }
        written.is_ok()
    }

    /// Columns and rows of the terminal behind standard error.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = self.terminal.size(StandardStream::Error);
        size.unwrap_or((80, 24))
    }

    /// Columns of the terminal behind standard output.
    pub(super) fn output_columns(&self) -> Option<usize> {
        output_columns(&*self.terminal)
    }

    /// Remembers that writing data failed, unless the reader went away.
    fn record_loss(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::BrokenPipe
            && !self.data_was_lost.swap(true, Ordering::Relaxed)
        {
            self.write_message(&format!("error: cannot write to standard output: {error}"));
        }
    }
}

pub(super) fn output_columns(terminal: &dyn Terminal) -> Option<usize> {
    let (columns, _) = terminal.size(StandardStream::Output)?;
    (columns > 0).then_some(columns)
}

/// Standard error as a writer. It never fails: a terminal that went away does not stop a run.
impl Write for Streams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.terminal.write_error(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
