//! The conditions of `Match`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::ConfigError;
use super::lex;
use super::tokens::Tokens;
use crate::transport::known_hosts::{list, list_cased};

/// Limit of a `Match exec` command. OpenSSH waits without limit; a run must not.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// The values that conditions are compared with.
pub(super) struct Subject<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) final_pass: bool,
    /// Whether commands may run.
    pub(super) exec: bool,
}

/// The result of a `Match` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matched {
    pub(super) holds: bool,
    /// Whether the line asks for a second pass (`final`).
    pub(super) wants_final: bool,
}

pub(super) fn evaluate(
    text: &str,
    subject: &Subject<'_>,
    reachable: bool,
) -> Result<Matched, ConfigError> {
    let mut rest = text;
    let mut out = Matched {
        holds: reachable,
        wants_final: false,
    };
    let mut conditions = 0;
    while let Some((word, more)) = lex::delimited(rest) {
        rest = more;
        if word.is_empty() || word.starts_with('#') {
            break;
        }
        let (negated, word) = word.strip_prefix('!').map_or((false, word), |w| (true, w));
        let word = word.to_ascii_lowercase();
        conditions += 1;
        let yes = match word.as_str() {
            "all" => {
                if conditions > 2 || !(rest.is_empty() || rest.starts_with('#')) {
                    return Err(ConfigError::AllWithOthers);
                }
                true
            }
            "final" | "canonical" => {
                out.wants_final |= word == "final";
                subject.final_pass
            }
            "host" | "originalhost" | "user" | "localuser" | "exec" => {
                let (argument, more) = lex::delimited(rest)
                    .ok_or_else(|| ConfigError::MissingArgument(word.clone()))?;
                rest = more;
                parse_condition(&word, argument, subject, out.holds)?
            }
            other => return Err(ConfigError::UnknownCondition(other.to_owned())),
        };
        out.holds &= yes != negated;
    }
    if conditions == 0 {
        return Err(ConfigError::MissingCondition);
    }
    Ok(out)
}

fn parse_condition(
    word: &str,
    argument: &str,
    subject: &Subject<'_>,
    holds_so_far: bool,
) -> Result<bool, ConfigError> {
    let tokens = subject.tokens;
    Ok(match word {
        "host" => list(argument, &tokens.host),
        "originalhost" => list(argument, &tokens.original),
        "user" => list_cased(argument, &tokens.user),
        "localuser" => list_cased(argument, &tokens.local_user),
        // Not run when the line cannot match any more, as in OpenSSH.
        _ => holds_so_far && subject.exec && exec(&tokens.percent(argument)?)?,
    })
}

fn exec(command: &str) -> Result<bool, ConfigError> {
    let shell = std::env::var("SHELL")
        .ok()
        .filter(|s| !s.is_empty())
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let fail = |e: std::io::Error| ConfigError::Exec(e.to_string());
    let mut child = Command::new(shell)
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fail)?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            return Ok(status.success());
        }
        if start.elapsed() > EXEC_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ConfigError::ExecDeadline(EXEC_LIMIT));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<bool, ConfigError> {
        let tokens = Tokens {
            host: "h.example".to_owned(),
            original: "H".to_owned(),
            user: "ops".to_owned(),
            local_user: "me".to_owned(),
            ..Tokens::default()
        };
        evaluate(
            text,
            &Subject {
                tokens: &tokens,
                final_pass: false,
                exec: true,
            },
            true,
        )
        .map(|m| m.holds)
    }

    #[test]
    fn conditions_hold_together() {
        for (text, want) in [
            ("all", true),
            ("!all", false),
            ("host *.example", true),
            ("Host=*.example", true),
            ("host *.EXAMPLE,!h.*", false),
            ("originalhost h user ops", true),
            ("user OPS", false),
            ("!user root localuser me", true),
            ("final", false),
            ("!final all", true),
            ("exec \"test %h = h.example\"", true),
            ("exec false", false),
            ("user nobody exec \"exit 0\"", false),
            ("host h.example # comment", true),
        ] {
            assert_eq!(check(text), Ok(want), "{text}");
        }
        for bad in ["", "# x", "host", "nonsense x", "all host x", "exec \"%z\""] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
