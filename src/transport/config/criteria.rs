//! The conditions of `Match`.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{lex, tokens::Tokens};
use crate::transport::known_hosts::{list, list_cased};

/// A command of `Match exec` answers a yes-or-no question; OpenSSH waits for ever, which no run of ours may.
const EXEC: Duration = Duration::from_secs(10);

/// What conditions are compared with.
pub(super) struct Subject<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) final_pass: bool,
    /// May commands be run?
    pub(super) exec: bool,
}

/// The outcome of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matched {
    pub(super) holds: bool,
    /// A second pass is asked for.
    pub(super) wants_final: bool,
}

pub(super) fn holds(text: &str, subject: &Subject<'_>, reachable: bool) -> Result<Matched, String> {
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
                    return Err(
                        "\"all\" must stand alone or after \"final\" or \"canonical\"".to_owned(),
                    );
                }
                true
            }
            "final" | "canonical" => {
                out.wants_final |= word == "final";
                subject.final_pass
            }
            "host" | "originalhost" | "user" | "localuser" | "exec" => {
                let (argument, more) =
                    lex::delimited(rest).ok_or_else(|| format!("{word:?} lacks its argument"))?;
                rest = more;
                one(&word, argument, subject, out.holds)?
            }
            other => return Err(format!("the condition {other:?} is not known")),
        };
        out.holds &= yes != negated;
    }
    if conditions == 0 {
        return Err("a condition is missing".to_owned());
    }
    Ok(out)
}

fn one(
    word: &str,
    argument: &str,
    subject: &Subject<'_>,
    holds_so_far: bool,
) -> Result<bool, String> {
    let tokens = subject.tokens;
    Ok(match word {
        "host" => list(argument, &tokens.host),
        "originalhost" => list(argument, &tokens.original),
        "user" => list_cased(argument, &tokens.user),
        "localuser" => list_cased(argument, &tokens.local_user),
        // not run when the line cannot hold any more, as in OpenSSH
        _ => holds_so_far && subject.exec && exec(&tokens.percent(argument)?)?,
    })
}

fn exec(command: &str) -> Result<bool, String> {
    let shell = std::env::var("SHELL")
        .ok()
        .filter(|s| !s.is_empty())
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let fail = |e: std::io::Error| format!("the command of \"exec\" cannot be run ({e})");
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
        if start.elapsed() > EXEC {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!(
                "the command of \"exec\" did not end within {EXEC:?}"
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<bool, String> {
        let tokens = Tokens {
            host: "h.example".to_owned(),
            original: "H".to_owned(),
            user: "ops".to_owned(),
            local_user: "me".to_owned(),
            ..Tokens::default()
        };
        holds(
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
