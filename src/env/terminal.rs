//! Standard input, output and error, and questions to the operator.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use async_trait::async_trait;
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use super::tasks::run_blocking;
use crate::spec::Secret;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    Input,
    Output,
    Error,
}

/// The standard streams, and who sits before them.
#[async_trait]
pub trait Terminal: Send + Sync {
    fn is_terminal(&self, stream: StandardStream) -> bool;

    /// Columns and rows, where the stream is a terminal.
    fn size(&self, stream: StandardStream) -> Option<(usize, usize)>;

    /// Writes all of it at once to standard output.
    ///
    /// # Errors
    /// When the reader went away, or the file system is full.
    fn write_output(&self, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of it at once to standard error.
    ///
    /// # Errors
    /// When the reader went away, or the file system is full.
    fn write_error(&self, bytes: &[u8]) -> io::Result<()>;

    /// One line of standard input with its end, at most so many bytes; empty at the end of the
    /// input.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn read_line(&self, limit: u64) -> io::Result<Vec<u8>>;

    /// Standard input to its end, at most so many bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn read_input(&self, limit: u64) -> io::Result<Vec<u8>>;

    /// Asks on the terminal, never on standard input, for what must not be shown while it is typed.
    /// `None` when nobody can be asked.
    async fn ask_secret(&self, question: &str) -> Option<Secret>;
}

/// Those of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessTerminal;

#[async_trait]
impl Terminal for ProcessTerminal {
    fn is_terminal(&self, stream: StandardStream) -> bool {
        match stream {
            StandardStream::Input => io::stdin().is_terminal(),
            StandardStream::Output => io::stdout().is_terminal(),
            StandardStream::Error => io::stderr().is_terminal(),
        }
    }

    fn size(&self, stream: StandardStream) -> Option<(usize, usize)> {
        let terminal = match stream {
            StandardStream::Input => return None,
            StandardStream::Output => console::Term::stdout(),
            StandardStream::Error => console::Term::stderr(),
        };
        let (rows, columns) = terminal.size_checked()?;
        Some((columns.into(), rows.into()))
    }

    fn write_output(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    }

    fn write_error(&self, bytes: &[u8]) -> io::Result<()> {
        let mut error = io::stderr().lock();
        error.write_all(bytes).and_then(|()| error.flush())
    }

    // On threads of their own, so that a signal is heard while input is awaited.

    async fn read_line(&self, limit: u64) -> io::Result<Vec<u8>> {
        let read = move || {
            let mut line = Vec::new();
            let mut input = io::stdin().lock().take(limit);
            input.read_until(b'\n', &mut line).map(|_| line)
        };
        run_blocking(read).await.unwrap_or_else(stopped)
    }

    async fn read_input(&self, limit: u64) -> io::Result<Vec<u8>> {
        let read = move || {
            let mut bytes = Vec::new();
            let mut input = io::stdin().lock().take(limit);
            input.read_to_end(&mut bytes).map(|_| bytes)
        };
        run_blocking(read).await.unwrap_or_else(stopped)
    }

    async fn ask_secret(&self, question: &str) -> Option<Secret> {
        let question = question.to_owned();
        // Before the question is shown: the library shows it first, and a secret typed at once would
        // stand on the screen. The answer's thread cannot be stopped: when the run ends first, this
        // gives the echo back.
        let _echo = EchoOff::new();
        let answer = run_blocking(move || rpassword::prompt_password(question));
        match answer.await? {
            Ok(answer) => Some(Secret::new(answer)),
            // Ctrl-C: the library sent the signal that ends the run. Without an answer the run would
            // go on until it is heard.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                std::future::pending().await
            }
            Err(_) => None,
        }
    }
}

fn stopped<T>() -> io::Result<T> {
    Err(io::Error::other("the input was not read to its end"))
}

/// While it exists, the terminal does not show what is typed. Its former settings come back on every
/// way out.
struct EchoOff(Option<(std::fs::File, Termios)>);

impl EchoOff {
    fn new() -> Self {
        let terminal = std::fs::File::open("/dev/tty").ok();
        Self(terminal.and_then(|tty| {
            let former = termios::tcgetattr(&tty).ok()?;
            let mut hidden = former.clone();
            hidden.local_flags.remove(LocalFlags::ECHO);
            termios::tcsetattr(&tty, SetArg::TCSANOW, &hidden).ok()?;
            Some((tty, former))
        }))
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        if let Some((tty, former)) = &self.0 {
            // A terminal that is gone needs no echo.
            let _ = termios::tcsetattr(tty, SetArg::TCSANOW, former);
        }
    }
}
