//! Root on a host: how toots becomes root, and how a command is wrapped for it.

use rand::distr::{Alphanumeric, SampleString};

use super::handler::shown;
use super::{PrivilegeMode, TransportError};
use crate::spec::Secret;
use crate::spec::{Remedy, quote};

/// The chosen way to root.
#[derive(Debug, Clone)]
pub(super) enum Elevation {
    /// The login is root.
    Root,
    Sudo,
    SudoPassword(Secret),
    Doas,
}

/// A command and the bytes that precede its standard input.
#[derive(Debug)]
pub(super) struct Wrapped {
    pub(super) command: String,
    pub(super) preface: String,
}

impl Elevation {
    /// Wraps a command so that it runs as root.
    pub(super) fn wrap(&self, command: &str) -> Wrapped {
        let plain = |command: String| Wrapped {
            command,
            preface: String::new(),
        };
        match self {
            Self::Root => plain(command.to_owned()),
            Self::Sudo => plain(format!("sudo -n -- sh -c {}", quote(command))),
            Self::Doas => plain(format!("doas -n sh -c {}", quote(command))),
            Self::SudoPassword(password) => {
                // Whether sudo reads the password is sudo's decision (NOPASSWD, another policy).
                // The shell behind it reads up to a marker, so that a password which sudo left
                // unread never becomes input of the command. `-k`: no cached login, so the result
                // is the same each time.
                let mark = format!("toots-{}", Alphanumeric.sample_string(&mut rand::rng(), 16));
                let inner = format!(
                    "while IFS= read -r l && [ \"$l\" != {mark} ]; do :; done; unset l\n{command}"
                );
                Wrapped {
                    command: format!("sudo -S -k -p '' -- sh -c {}", quote(&inner)),
                    preface: format!("{}\n{mark}\n", password.expose()),
                }
            }
        }
    }
}

/// One command that asks for everything at once.
pub(super) const PROBE: &str = r#"u=$(id -u); echo "uid $u"; [ "$u" = 0 ] && exit 0
if command -v sudo >/dev/null 2>&1; then if m=$(sudo -n -- sh -c : 2>&1); then echo "sudo yes"; else echo "sudo no $m" | head -n 1; fi; fi
if command -v doas >/dev/null 2>&1; then if m=$(doas -n sh -c : 2>&1); then echo "doas yes"; else echo "doas no $m" | head -n 1; fi; fi
exit 0"#;

/// Exit status of [`wrap_first_command`] when there is no way to root: a status that no script of toots uses.
pub(super) const NOT_ROOT_STATUS: u32 = 213;

/// Wraps the first privileged command of a session: it becomes root in whatever way the host
/// allows, which saves a round trip. When there is no way, nothing is run and [`PROBE`] then tells
/// why.
pub(super) fn wrap_first_command(command: &str) -> String {
    let command = crate::spec::quote(command);
    format!(
        "if [ \"$(id -u)\" = 0 ]; then exec sh -c {command}; fi
if sudo -n -- sh -c : </dev/null >/dev/null 2>&1; then exec sudo -n -- sh -c {command}; fi
if doas -n sh -c : </dev/null >/dev/null 2>&1; then exec doas -n sh -c {command}; fi
exit {NOT_ROOT_STATUS}"
    )
}

/// The answers to [`PROBE`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) root: bool,
    pub(super) sudo: Tool,
    pub(super) doas: Tool,
}

/// Whether a program makes this login root without a password.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Tool {
    #[default]
    Absent,
    Works,
    /// Its own words.
    Refuses(String),
}

impl Found {
    pub(super) fn parse(stdout: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(stdout);
        let mut found = Self::default();
        let mut asked = false;
        for line in text.lines() {
            let verdict = |rest: &str| {
                if rest == "yes" {
                    Tool::Works
                } else {
                    Tool::Refuses(shown(rest.strip_prefix("no").unwrap_or(rest)))
                }
            };
            match line.split_once(' ') {
                Some(("uid", uid)) => {
                    asked = uid.parse::<u32>().is_ok();
                    found.root = uid == "0";
                }
                Some(("sudo", rest)) => found.sudo = verdict(rest),
                Some(("doas", rest)) => found.doas = verdict(rest),
                _ => {}
            }
        }
        asked.then_some(found)
    }

    /// Chooses the way to root without a password; `Ok(None)` when a password is needed.
    pub(super) fn choose(
        &self,
        mode: PrivilegeMode,
        user: &str,
    ) -> Result<Option<Elevation>, TransportError> {
        let refused = |why: String, hints: Vec<Remedy>| TransportError::Privilege {
            user: user.to_owned(),
            why,
            hints,
        };
        let sudoers = Remedy::Advice(format!(
            "on the host: echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/toots && chmod 0440 /etc/sudoers.d/toots"
        ));
        let password = Remedy::AskSudoPassword;
        if self.root {
            return Ok(Some(Elevation::Root));
        }
        let said = |what: &str, tool: &Tool| match tool {
            Tool::Absent => format!("{what} is not installed"),
            Tool::Works => format!("{what} works"),
            Tool::Refuses(words) => format!("{what} answered {words:?}"),
        };
        let works = |tool: &Tool| *tool == Tool::Works;
        match mode {
            PrivilegeMode::Auto | PrivilegeMode::Sudo if works(&self.sudo) => {
                Ok(Some(Elevation::Sudo))
            }
            PrivilegeMode::Auto | PrivilegeMode::Doas if works(&self.doas) => {
                Ok(Some(Elevation::Doas))
            }
            PrivilegeMode::SudoPassword if works(&self.sudo) => Ok(Some(Elevation::Sudo)),
            PrivilegeMode::SudoPassword if self.sudo != Tool::Absent => Ok(None),
            PrivilegeMode::SudoPassword | PrivilegeMode::Sudo => {
                Err(refused(said("sudo", &self.sudo), vec![sudoers, password]))
            }
            PrivilegeMode::Auto => {
                let why = format!(
                    "{} is not root; {}; {}",
                    user,
                    said("sudo -n", &self.sudo),
                    said("doas -n", &self.doas)
                );
                Err(refused(why, vec![sudoers, password]))
            }
            PrivilegeMode::Doas => {
                let rule = format!("on the host, in /etc/doas.conf: permit nopass {user} as root");
                Err(refused(said("doas -n", &self.doas), vec![rule.into()]))
            }
            PrivilegeMode::Root => Err(refused(
                "the login is not root".to_owned(),
                vec!["set user = \"root\", or another privilege".into()],
            )),
            PrivilegeMode::None => Err(refused(
                "privilege = \"none\" is set".to_owned(),
                vec!["privilege = \"auto\"".into()],
            )),
        }
    }
}

/// Parses any bytes as an answer and returns the text shown to a person; for fuzzing.
#[doc(hidden)]
#[must_use]
pub fn fuzz_privilege(stdout: &[u8]) -> Option<String> {
    let found = Found::parse(stdout)?;
    let refusal = |mode| {
        found
            .choose(mode, "ops")
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    Some(
        [
            PrivilegeMode::Auto,
            PrivilegeMode::Sudo,
            PrivilegeMode::Doas,
            PrivilegeMode::SudoPassword,
        ]
        .map(refusal)
        .concat(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn found(text: &str) -> Found {
        Found::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn answers_are_read_and_hostile_ones_shown_harmlessly() {
        assert_eq!(
            found("uid 0\n"),
            Found {
                root: true,
                ..Found::default()
            }
        );
        let got =
            found("motd\nuid 1000\nsudo no sudo: a \x1b[31mpassword\r is required\ndoas yes\n");
        assert_eq!(
            got.sudo,
            Tool::Refuses("sudo: a \\x1b[31mpassword\\r is required".to_owned())
        );
        assert_eq!(got.doas, Tool::Works);
        assert_eq!(Found::parse(b"sudo yes"), None);
        assert_eq!(Found::parse(b"uid x"), None);
    }

    #[test]
    fn each_mode_takes_only_its_own_way() {
        let both = found("uid 1000\nsudo yes\ndoas yes");
        let none = found("uid 1000\nsudo no a password is required");
        let choose = |f: &Found, m| f.choose(m, "ops").map(|w| w.map(|w| w.wrap("id").command));
        assert_eq!(
            choose(&both, PrivilegeMode::Auto).unwrap().unwrap(),
            "sudo -n -- sh -c id"
        );
        assert_eq!(
            choose(&both, PrivilegeMode::Doas).unwrap().unwrap(),
            "doas -n sh -c id"
        );
        assert!(
            choose(&both, PrivilegeMode::Root).is_err()
                && choose(&both, PrivilegeMode::None).is_err()
        );
        assert_eq!(choose(&none, PrivilegeMode::SudoPassword), Ok(None));
        let refused = choose(&none, PrivilegeMode::Auto).unwrap_err();
        assert!(
            refused.to_string().contains("a password is required"),
            "{refused}"
        );
        assert!(
            refused.hints()[0]
                .to_string()
                .contains("ops ALL=(root) NOPASSWD: ALL")
        );
        assert_eq!(
            choose(&found("uid 0"), PrivilegeMode::Root)
                .unwrap()
                .unwrap(),
            "id"
        );
    }

    /// Runs the wrapped command behind a stand-in for sudo that reads this many lines.
    fn behind_sudo(reads: usize, input: &str) -> String {
        let wrapped =
            Elevation::SudoPassword(Secret::new("s3cret")).wrap("cat; printf %s \"${l-unset}\"");
        assert!(!wrapped.command.contains("s3cret"));
        let script = wrapped.command.replace(
            "sudo -S -k -p '' --",
            &format!("for i in $(seq {reads}); do read -r x; done; "),
        );
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{}{input}", wrapped.preface).as_bytes())
            .unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn password_never_becomes_command_input() {
        for reads in [0, 1] {
            assert_eq!(
                behind_sudo(reads, "line 1\n\nline 3"),
                "line 1\n\nline 3unset",
                "sudo read {reads} lines"
            );
        }
    }
}
