//! The reporter of a run, and what is asked before it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use super::args::Output;
use crate::event::EventSink;
use crate::report::{self, Mode, Options, ReporterHandle};

/// The reporter that flag, terminal and environment call for.
pub(super) fn reporter(output: Option<Output>) -> (Arc<dyn EventSink>, ReporterHandle) {
    report::reporter(mode(output), options())
}

/// The form of output.
pub(super) fn mode(output: Option<Output>) -> Mode {
    let flag = output.map(|output| match output {
        Output::Live => Mode::Live,
        Output::Plain => Mode::Plain,
        Output::Json => Mode::Json,
    });
    Mode::choose(flag, std::io::stderr().is_terminal(), |name| {
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

/// Prints data; a reader that went away is no error.
pub(super) fn print(text: &str) {
    if let Err(error) = report::print(text) {
        eprintln!("toots: failed to write: {error}");
    }
}

/// Asks for a yes on the terminal. `None` when there is nobody to ask.
pub(super) fn yes(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    eprint!("{question} [y/N] ");
    drop(std::io::stderr().flush());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(matches!(line.trim(), "y" | "Y" | "yes"))
}
