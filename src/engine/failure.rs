//! Turns errors of lower rooms into failures for events.

use crate::event::{Failure, Outcome, escape};
use crate::host::TransportError;
use crate::plan::Step;
use crate::spec::{Phase, Remedy};

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
pub(super) fn from_error(
    phase: &Phase,
    step: &str,
    error: &(dyn std::error::Error + 'static),
) -> Failure {
    Failure {
        phase: phase.clone(),
        step: step.to_owned(),
        cause: chain(error),
        log: Vec::new(),
        left: None,
        hints: Vec::new(),
    }
}

/// A failure from a text.
pub(super) fn from_text(
    phase: &Phase,
    step: &str,
    cause: impl Into<String>,
    hints: Vec<Remedy>,
) -> Failure {
    Failure {
        phase: phase.clone(),
        step: step.to_owned(),
        cause: vec![cause.into()],
        log: Vec::new(),
        left: None,
        hints,
    }
}

/// What to do about a step whose result is unknown.
pub(super) const RESUME: &str =
    "run again to resume: toots observes the host first and does what is left";

/// The end of a step whose result is unknown.
pub(super) fn midway(phase: &Phase, step: &str, why: impl Into<String>) -> Failure {
    from_text(phase, step, why, vec![RESUME.into()])
}

/// The guard refused to stop a container.
pub(super) fn refused(
    phase: &Phase,
    step: &str,
    error: &(impl std::error::Error + 'static),
) -> Failure {
    Failure {
        hints: vec![Remedy::BringMemberBack],
        ..from_error(phase, step, error)
    }
}

/// A failure to connect, with the transport's own hints.
pub(super) fn transport(phase: &Phase, step: &str, error: &TransportError) -> Failure {
    Failure {
        hints: error.hints().to_vec(),
        ..from_error(phase, step, error)
    }
}

/// Makes freeing space the remedy of a step that found a file system full, and names the file system.
/// The Engine's own words may name a path inside a layer, so that its data root is named instead;
/// other programs name the file that they could not write, if any.
pub(super) fn name_full_file_system(failure: &mut Failure, step: &Step, docker_root: Option<&str>) {
    let Some(line) = full_file_system(failure) else {
        return;
    };
    let path = match step {
        Step::Pull { .. }
        | Step::Build { .. }
        | Step::Load { .. }
        | Step::Create { .. }
        | Step::Replace { .. }
        | Step::Start { .. } => docker_root.unwrap_or("/var/lib/docker"),
        _ => {
            let mut words = line.split(|c: char| c.is_whitespace() || "'\"‘’`".contains(c));
            let path = words.find(|word| word.len() > 1 && word.starts_with('/'));
            let staged = matches!(step, Step::Place { .. });
            let unnamed = if staged { "/etc/toots" } else { "/" };
            path.map_or(unnamed, |path| path.trim_end_matches(':'))
        }
    };
    let path = path.to_owned();
    failure.hints = vec![Remedy::FreeSpace { path }];
}

/// Whether a step found a file system full.
pub(super) fn is_file_system_full(failure: &Failure) -> bool {
    full_file_system(failure).is_some()
}

fn full_file_system(failure: &Failure) -> Option<&String> {
    let mut lines = failure.cause.iter().chain(&failure.log);
    lines.find(|line| line.to_ascii_lowercase().contains("no space left"))
}

/// The outcome of a host to which the connection failed like this.
pub(super) fn outcome_of(error: &TransportError) -> Outcome {
    match error {
        TransportError::Untrusted { .. } => Outcome::Untrusted,
        TransportError::Authentication { .. } | TransportError::Privilege { .. } => Outcome::Denied,
        _ => Outcome::Unreachable,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ImageRef;

    #[test]
    fn a_full_file_system_is_named() {
        let place = Step::Place {
            dirs: Vec::new(),
            files: Vec::new(),
            hosts_entries: None,
        };
        let pull = Step::Pull {
            image: ImageRef("zookeeper:3.9".into()),
            digest: None,
        };
        let full = "no space left on device";
        let engine = format!("failed to register layer: write /usr/lib/x: {full}");
        for (step, root, text, path) in [
            (&pull, Some("/srv/docker"), engine.as_str(), "/srv/docker"),
            (&pull, None, full, "/var/lib/docker"),
            (
                &place,
                Some("/srv/docker"),
                "cp: error writing '/opt/toots/a.toots-new': No space left on device",
                "/opt/toots/a.toots-new",
            ),
            (
                &place,
                None,
                "mkdir: /opt/b: No space left on device",
                "/opt/b",
            ),
            (
                &place,
                None,
                "tar: 0: Cannot write: No space left on device",
                "/etc/toots",
            ),
        ] {
            let mut failure = from_text(
                &Phase::Prepare,
                "a step",
                "command exited with status 1",
                Vec::new(),
            );
            failure.log = vec![text.to_owned()];
            name_full_file_system(&mut failure, step, root);
            let path = path.to_owned();
            assert_eq!(failure.hints, [Remedy::FreeSpace { path }], "{text}");
        }
        let mut other = from_text(&Phase::Prepare, "a step", "denied", vec![Remedy::SeeStatus]);
        name_full_file_system(&mut other, &pull, None);
        assert_eq!(other.hints, [Remedy::SeeStatus]);
    }
}
