//! The reporter of a run, messages, and questions to the operator.

use std::io::{IsTerminal as _, Read as _};
use std::sync::Arc;

use super::args::{Output, SourceArgs};
use super::error::CliError;
use super::hints::{self, CompletedEvents};
use crate::event::EventSink;
use crate::report::{self, Options, OutputMode, ReporterHandle};
use crate::spec::shown;

/// Creates the reporter for the flag, the terminal and the environment. Commands in hints name the
/// inventory of `source`, if there is one, and the result names the log.
pub(super) fn reporter(
    output: Option<Output>,
    source: Option<&SourceArgs>,
    log: Option<&std::path::Path>,
) -> (Arc<dyn EventSink>, ReporterHandle) {
    let (events, handle) = report::reporter(mode(output), options());
    let events = CompletedEvents {
        events,
        inventory: source.and_then(hints::named_inventory),
        has_inventory: source.is_some(),
        log: log.map(std::path::Path::to_owned),
    };
    (Arc::new(events), handle)
}

/// The output format.
pub(super) fn mode(output: Option<Output>) -> OutputMode {
    let flag = output.map(|output| match output {
        Output::Live => OutputMode::Live,
        Output::Plain => OutputMode::Plain,
        Output::Json => OutputMode::Json,
    });
    OutputMode::choose(flag, std::io::stderr().is_terminal(), |name| {
        std::env::var(name).ok()
    })
}

/// Colours and width.
pub(super) fn options() -> Options {
    Options::choose(
        std::io::stdout().is_terminal(),
        std::io::stderr().is_terminal(),
        |name| std::env::var(name).ok(),
    )
}

/// Prints data.
pub(super) fn print(text: &str) {
    report::write_data(text);
}

/// Shows a message on standard error. Control characters are escaped.
pub(super) fn message(text: &str) {
    report::write_message(&shown(text));
}

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Asks before something is deleted, unless `--yes` was given.
pub(super) async fn confirm_deletion(names: &[String], yes: bool) -> Result<(), CliError> {
    match yes || names.is_empty() {
        true => Ok(()),
        false => match self::yes(&format!("delete {}?", names.join(", "))).await {
            Some(true) => Ok(()),
            Some(false) => Err(CliError::Declined),
            None => Err(CliError::NotAsked(names.to_vec())),
        },
    }
}

/// Asks for a yes on the terminal; `None` when nobody can be asked. Everything but a clear yes is a
/// no: an unreadable answer must not replace a container.
pub(super) async fn yes(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    report::write_question(&shown(&format!("{question} [y/N]")));
    // On a thread of its own, so that a signal is heard while the question is open.
    let answer = tokio::task::spawn_blocking(read_answer).await;
    Some(answer.is_ok_and(|answer| is_yes(&answer)))
}

/// One line of standard input; empty when it cannot be read.
fn read_answer() -> Vec<u8> {
    use std::io::BufRead as _;
    let mut line = Vec::new();
    let read = std::io::stdin()
        .lock()
        .take(MAX_ANSWER_BYTES)
        .read_until(b'\n', &mut line);
    match read {
        Ok(_) => line,
        Err(_) => Vec::new(),
    }
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
