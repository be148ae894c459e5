//! The line that a login shell gets, and the mark behind which a command's own output starts.
//!
//! Owns: what makes a command independent of the login shell (bash, fish, tcsh, …) and of what its
//! startup files print. Must not know what the command does.
//!
//! The line is the same for every command and is quoted the same way in every shell. It starts
//! `sh`, which prints the mark and reads the command from standard input. Quoting the command into
//! the line instead fails where `\`, `'`, `!` or a newline inside quotes mean something else, as in
//! fish and tcsh.

use rand::distr::{Alphanumeric, SampleString as _};

use crate::transport::TransportError;
use crate::transport::handler::shown;

/// Output of startup files that is skipped, in bytes per stream.
const MAX_NOISE_BYTES: usize = 64 * 1024;

/// A command, ready for any login shell.
pub(in crate::transport) struct Launch {
    /// The line for the login shell.
    pub(in crate::transport) line: String,
    /// The bytes to send first on standard input.
    pub(in crate::transport) preface: String,
    /// The mark in the output.
    pub(in crate::transport) mark: String,
}

impl Launch {
    /// Prepares a command line for `sh`.
    pub(in crate::transport) fn new(command: &str) -> Self {
        let mark = format!("toots-{}", Alphanumeric.sample_string(&mut rand::rng(), 16));
        Self {
            line: format!(
                "exec sh -c 'echo {mark}; echo {mark} >&2; IFS= read -r l && eval \"$l\"'"
            ),
            preface: one_line(command) + "\n",
            mark,
        }
    }
}

/// A command as one line: `read` takes no more.
pub(in crate::transport) fn one_line(command: &str) -> String {
    if !command.contains('\n') {
        return command.to_owned();
    }
    let escaped = command
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\'', "\\0047");
    format!("eval \"$(printf %b '{escaped}')\"")
}

/// Skips one stream's output up to the mark.
#[derive(Debug)]
pub(in crate::transport) struct Skip {
    mark: Vec<u8>,
    before: Vec<u8>,
    found: bool,
}

impl Skip {
    pub(in crate::transport) fn new(mark: &str) -> Self {
        Self {
            mark: format!("{mark}\n").into_bytes(),
            before: Vec::new(),
            found: false,
        }
    }

    /// The part of the data behind the mark.
    pub(in crate::transport) fn feed(&mut self, data: &[u8]) -> Result<Vec<u8>, TransportError> {
        if self.found {
            return Ok(data.to_vec());
        }
        self.before.extend_from_slice(data);
        let at = self
            .before
            .windows(self.mark.len())
            .position(|window| window == self.mark);
        if let Some(at) = at {
            self.found = true;
            return Ok(std::mem::take(&mut self.before).split_off(at + self.mark.len()));
        }
        if self.before.len() > MAX_NOISE_BYTES + self.mark.len() {
            return Err(TransportError::Command(format!(
                "the login shell printed more than {MAX_NOISE_BYTES} bytes before the command: \
                 {:?}; see its startup files",
                excerpt(&self.before)
            )));
        }
        Ok(Vec::new())
    }

    /// Whether the command was started.
    pub(in crate::transport) fn found(&self) -> bool {
        self.found
    }

    /// What was printed without a mark.
    pub(in crate::transport) fn rest(&self) -> &[u8] {
        &self.before
    }
}

/// Why there is no mark: the login shell printed something else, or nothing.
pub(in crate::transport) fn not_started(stdout: &Skip, stderr: &Skip) -> TransportError {
    let printed = [stdout.rest(), stderr.rest()]
        .into_iter()
        .map(excerpt)
        .find(|text| !text.is_empty());
    TransportError::Command(match printed {
        Some(text) => format!("the login shell did not run it and printed {text:?}"),
        None => "the login shell did not run it".to_owned(),
    })
}

fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    shown(text.trim().lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn run(shell: &str, command: &str, stdin: &str) -> (String, String) {
        let launch = Launch::new(command);
        let mut child = Command::new(shell)
            .args(["-c", &launch.line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = format!("{}{stdin}", launch.preface);
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let behind = |bytes: &[u8]| {
            let rest = Skip::new(&launch.mark).feed(bytes).unwrap();
            String::from_utf8(rest).unwrap()
        };
        (behind(&output.stdout), behind(&output.stderr))
    }

    #[test]
    fn commands_mean_the_same_in_every_login_shell() {
        let command = "printf '%s|' 'a b' \"it's\" '\\n!x' \"$(printf 'c\nd')\"\ncat; echo e >&2";
        let mut shells = 0;
        for shell in ["sh", "bash", "dash", "fish", "tcsh", "zsh", "busybox"] {
            let installed = Command::new(shell)
                .args(["-c", "true"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if shell == "busybox" || installed.is_err() {
                continue;
            }
            shells += 1;
            let (stdout, stderr) = run(shell, command, "input\n");
            assert_eq!(stdout, "a b|it's|\\n!x|c\nd|input\n", "{shell}");
            assert_eq!(stderr, "e\n", "{shell}");
        }
        assert!(shells > 0);
    }

    #[test]
    fn output_before_the_mark_is_skipped_and_bounded() {
        let mut skip = Skip::new("toots-x");
        assert_eq!(skip.feed(b"Welcome\ntoo").unwrap(), b"");
        assert_eq!(skip.feed(b"ts-x\nown").unwrap(), b"own");
        assert_eq!(skip.feed(b" toots-x\n").unwrap(), b" toots-x\n");
        let endless = Skip::new("toots-x").feed(&vec![b'y'; 2 * MAX_NOISE_BYTES]);
        assert!(endless.unwrap_err().to_string().contains("startup files"));
    }

    #[test]
    fn a_shell_that_runs_nothing_is_quoted() {
        let (mut stdout, stderr) = (Skip::new("toots-x"), Skip::new("toots-x"));
        stdout
            .feed(b"This account is currently not available.\n")
            .unwrap();
        assert_eq!(
            not_started(&stdout, &stderr).to_string(),
            "command failed: the login shell did not run it and printed \
             \"This account is currently not available.\""
        );
    }
}
