//! Where a command was given: its surroundings, its output, and questions to the operator.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::args::{Output, SourceArgs};
use super::env::Env;
use super::error::CliError;
use super::hints::{self, CompletedEvents};
use crate::env::{FileAccess, Machine, StandardStream};
use crate::event::EventSink;
use crate::report::{self, Options, OutputMode, ReporterEnd, ReporterHandle, Streams};
use crate::spec::shown;

/// What every command gets.
pub(super) struct Console {
    pub env: Env,
    pub streams: Streams,
    /// The ends of the reporters so far: a command that fails drops its reporter.
    reporters: Mutex<Vec<ReporterEnd>>,
}

impl Console {
    pub fn new(env: Env) -> Self {
        Self {
            streams: Streams::new(Arc::clone(&env.machine.terminal)),
            env,
            reporters: Mutex::default(),
        }
    }

    pub fn machine(&self) -> &Machine {
        &self.env.machine
    }

    pub fn files(&self) -> &dyn FileAccess {
        &*self.env.machine.files
    }

    pub fn home(&self) -> Option<PathBuf> {
        self.env.machine.home()
    }

    pub fn is_terminal(&self, stream: StandardStream) -> bool {
        self.env.machine.terminal.is_terminal(stream)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.env.machine.variables.text(name)
    }

    /// Creates the reporter for the flag, the terminal and the environment. Commands in hints name
    /// the inventory of `source`, if there is one, and the result names the log.
    pub fn reporter(
        &self,
        output: Option<Output>,
        source: Option<&SourceArgs>,
        log: Option<&std::path::Path>,
    ) -> (Arc<dyn EventSink>, ReporterHandle) {
        let (events, handle) = report::reporter(
            self.mode(output),
            self.fixed_options(),
            self.streams.clone(),
            self.machine().clock.clone(),
        );
        let mut reporters = self
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reporters.push(handle.ended());
        let events = CompletedEvents {
            events,
            inventory: source.and_then(hints::named_inventory),
            has_inventory: source.is_some(),
            log: log.map(std::path::Path::to_owned),
        };
        (Arc::new(events), handle)
    }

    /// Waits until every reporter has shown its end and released the terminal.
    pub async fn reporters_ended(&self) {
        let reporters = {
            let mut reporters = self
                .reporters
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *reporters)
        };
        futures::future::join_all(reporters).await;
    }

    /// The output format.
    pub fn mode(&self, output: Option<Output>) -> OutputMode {
        let flag = output.map(|output| match output {
            Output::Live => OutputMode::Live,
            Output::Plain => OutputMode::Plain,
            Output::Json => OutputMode::Json,
        });
        let is_terminal = self.is_terminal(StandardStream::Error);
        OutputMode::choose(flag, is_terminal, |name| self.variable(name))
    }

    /// Colours and width.
    pub fn options(&self) -> Options {
        self.fixed_options().on(&*self.machine().terminal)
    }

    /// Without the width of the terminal, which may change.
    fn fixed_options(&self) -> Options {
        Options::choose(
            self.is_terminal(StandardStream::Output),
            self.is_terminal(StandardStream::Error),
            |name| self.variable(name),
        )
    }

    /// Prints data.
    pub fn print(&self, text: &str) {
        self.streams.write_data(text);
    }

    /// Shows a message on standard error. Control characters are escaped.
    pub fn message(&self, text: &str) {
        self.streams.write_message(&shown(text));
    }

    /// Asks before something is deleted, unless `--yes` was given.
    pub async fn confirm_deletion(&self, names: &[String], yes: bool) -> Result<(), CliError> {
        match yes || names.is_empty() {
            true => Ok(()),
            false => match self.ask(&format!("delete {}?", names.join(", "))).await {
                Some(true) => Ok(()),
                Some(false) => Err(CliError::Declined),
                None => Err(CliError::NotAsked(names.to_vec())),
            },
        }
    }

    /// As [`ask_yes`].
    pub async fn ask(&self, question: &str) -> Option<bool> {
        ask_yes(self.machine(), &self.streams, question).await
    }
}

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Asks for a yes on the terminal; `None` when nobody can be asked. Everything but a clear yes is a
/// no: an unreadable answer must not replace a container.
pub(super) async fn ask_yes(machine: &Machine, streams: &Streams, question: &str) -> Option<bool> {
    if !machine.terminal.is_terminal(StandardStream::Input) {
        return None;
    }
    streams.write_question(&shown(&format!("{question} [y/N]")));
    let answer = machine.terminal.read_line(MAX_ANSWER_BYTES).await;
    Some(answer.is_ok_and(|answer| is_yes(&answer)))
}

fn is_yes(answer: &[u8]) -> bool {
    let answer = std::str::from_utf8(answer).unwrap_or_default().trim();
    ["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for yes in [&b"y\n"[..], b"Y", b" yes \r\n", b"YES\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in [
            &b""[..],
            b"\n",
            b"n\n",
            b"yo\n",
            b"y\xff\n",
            b"\xff\n",
            b"yes!\n",
        ] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
