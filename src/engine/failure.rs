//! Turns errors of the rooms below into failures as they are shown.

use crate::event::{Failure, escape};
use crate::transport::TransportError;

/// The chain of causes, outermost first, escaped and without repetition.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = escape(&error.to_string());
        if out.last() != Some(&text) {
            out.push(text);
        }
        next = error.source();
    }
    out
}

/// A failure from an error.
pub(super) fn of(phase: &str, step: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure {
        phase: phase.to_owned(),
        step: step.to_owned(),
        cause: chain(error),
        log: Vec::new(),
        left: None,
        hints: Vec::new(),
    }
}

/// A failure from words.
pub(super) fn words(
    phase: &str,
    step: &str,
    cause: impl Into<String>,
    hints: Vec<String>,
) -> Failure {
    Failure {
        phase: phase.to_owned(),
        step: step.to_owned(),
        cause: vec![cause.into()],
        log: Vec::new(),
        left: None,
        hints,
    }
}

/// A failure to connect, with the transport's own hints.
pub(super) fn transport(phase: &str, step: &str, error: &TransportError) -> Failure {
    Failure {
        hints: error.hints().to_vec(),
        ..of(phase, step, error)
    }
}

/// The last twenty lines of an output, escaped.
pub(super) fn tail(output: &[u8]) -> Vec<String> {
    let text = escape(&String::from_utf8_lossy(output));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}
