//! Root on a host: how it is had, and how a command is put so that it has it.

use rand::distr::{Alphanumeric, SampleString};

use super::{PrivilegeMode, TransportError, handler::shown, quote};
use crate::spec::Secret;

/// The way that was found.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Logged in as root.
    Root,
    Sudo,
    SudoPassword(Secret),
    Doas,
}

/// A command and what goes before its standard input.
#[derive(Debug)]
pub(super) struct Wrapped {
    pub(super) command: String,
    pub(super) preface: String,
}

impl Way {
    /// Puts a command so that it runs as root.
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
                // Whether sudo reads the password is sudo's decision (NOPASSWD, another policy). The shell behind it reads up to a mark,
                // so that a password which sudo left unread never becomes input of the command. `-k`: no cached login, so that the
                // outcome is the same each time.
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

/// One question for all that must be known.
pub(super) const PROBE: &str = r#"u=$(id -u); echo "uid $u"; [ "$u" = 0 ] && exit 0
if command -v sudo >/dev/null 2>&1; then if m=$(sudo -n -- sh -c : 2>&1); then echo "sudo yes"; else echo "sudo no $m" | head -n 1; fi; fi
if command -v doas >/dev/null 2>&1; then if m=$(doas -n sh -c : 2>&1); then echo "doas yes"; else echo "doas no $m" | head -n 1; fi; fi
exit 0"#;

/// Exit status of [`at_once`] when root cannot be had: the one that no program of a script uses.
pub(super) const NO_WAY: u32 = 213;

/// The first privileged command of a session, as root in whatever way the host allows, so that the question costs no round trip of its own.
/// When there is no way nothing is run, and [`PROBE`] then says why.
pub(super) fn at_once(command: &str) -> String {
    let command = super::quote(command);
    format!(
        "if [ \"$(id -u)\" = 0 ]; then exec sh -c {command}; fi
if sudo -n -- sh -c : </dev/null >/dev/null 2>&1; then exec sudo -n -- sh -c {command}; fi
if doas -n sh -c : </dev/null >/dev/null 2>&1; then exec doas -n sh -c {command}; fi
exit {NO_WAY}"
    )
}

/// The answers to [`PROBE`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) root: bool,
    /// Absent, or what it said.
    pub(super) sudo: Option<Result<(), String>>,
    pub(super) doas: Option<Result<(), String>>,
}

impl Found {
    pub(super) fn parse(stdout: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(stdout);
        let mut found = Self::default();
        let mut asked = false;
        for line in text.lines() {
            let verdict = |rest: &str| {
                if rest == "yes" {
                    Ok(())
                } else {
                    Err(shown(rest.strip_prefix("no").unwrap_or(rest)))
                }
            };
            match line.split_once(' ') {
                Some(("uid", uid)) => {
                    asked = uid.parse::<u32>().is_ok();
                    found.root = uid == "0";
                }
                Some(("sudo", rest)) => found.sudo = Some(verdict(rest)),
                Some(("doas", rest)) => found.doas = Some(verdict(rest)),
                _ => {}
            }
        }
        asked.then_some(found)
    }

    /// The way to root, without a password; `Ok(None)` when a password must be asked for.
    pub(super) fn choose(
        &self,
        mode: PrivilegeMode,
        user: &str,
    ) -> Result<Option<Way>, TransportError> {
        let refused = |why: String, hints: Vec<String>| TransportError::Privilege {
            user: user.to_owned(),
            why,
            hints,
        };
        let sudoers = format!(
            "on the host: echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/toots && chmod 0440 /etc/sudoers.d/toots"
        );
        let password =
            "privilege = \"sudo-password\" asks for sudo's password once per run".to_owned();
        if self.root {
            return Ok(Some(Way::Root));
        }
        let said = |what: &str, verdict: &Option<Result<(), String>>| match verdict {
            None => format!("{what} is not installed"),
            Some(Ok(())) => format!("{what} works"),
            Some(Err(said)) => format!("{what} said {said:?}"),
        };
        let works = |verdict: &Option<Result<(), String>>| matches!(verdict, Some(Ok(())));
        match mode {
            PrivilegeMode::Auto | PrivilegeMode::Sudo if works(&self.sudo) => Ok(Some(Way::Sudo)),
            PrivilegeMode::Auto | PrivilegeMode::Doas if works(&self.doas) => Ok(Some(Way::Doas)),
            PrivilegeMode::SudoPassword if works(&self.sudo) => Ok(Some(Way::Sudo)),
            PrivilegeMode::SudoPassword if self.sudo.is_some() => Ok(None),
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
                Err(refused(said("doas -n", &self.doas), vec![rule]))
            }
            PrivilegeMode::Root => Err(refused(
                "the login is not root".to_owned(),
                vec!["set user = \"root\", or another privilege".to_owned()],
            )),
            PrivilegeMode::None => Err(refused(
                "privilege = \"none\" is set".to_owned(),
                vec!["privilege = \"auto\"".to_owned()],
            )),
        }
    }
}

/// Reads any bytes as an answer, and gives the text that a person would see; for fuzzing.
#[doc(hidden)]
#[must_use]
pub fn fuzz_privilege(stdout: &[u8]) -> Option<String> {
    let found = Found::parse(stdout)?;
    let told = |mode| {
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
        .map(told)
        .concat(),
    )
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

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
            Some(Err("sudo: a \\x1b[31mpassword\\r is required".to_owned()))
        );
        assert_eq!(got.doas, Some(Ok(())));
        assert_eq!(Found::parse(b"sudo yes"), None);
        assert_eq!(Found::parse(b"uid x"), None);
    }

    #[test]
    fn each_mode_takes_only_its_own_way() {
        let all = found("uid 1000\nsudo yes\ndoas yes");
        let none = found("uid 1000\nsudo no a password is required");
        let choose = |f: &Found, m| f.choose(m, "ops").map(|w| w.map(|w| w.wrap("id").command));
        assert_eq!(
            choose(&all, PrivilegeMode::Auto).unwrap().unwrap(),
            "sudo -n -- sh -c id"
        );
        assert_eq!(
            choose(&all, PrivilegeMode::Doas).unwrap().unwrap(),
            "doas -n sh -c id"
        );
        assert!(
            choose(&all, PrivilegeMode::Root).is_err()
                && choose(&all, PrivilegeMode::None).is_err()
        );
        assert_eq!(choose(&none, PrivilegeMode::SudoPassword), Ok(None));
        let refused = choose(&none, PrivilegeMode::Auto).unwrap_err();
        assert!(
            refused.to_string().contains("a password is required"),
            "{refused}"
        );
        assert!(refused.hints()[0].contains("ops ALL=(root) NOPASSWD: ALL"));
        assert_eq!(
            choose(&found("uid 0"), PrivilegeMode::Root)
                .unwrap()
                .unwrap(),
            "id"
        );
    }

    /// Runs the wrapped command behind a stand-in for sudo that reads so many lines.
    fn behind_sudo(reads: usize, input: &str) -> String {
        let wrapped =
            Way::SudoPassword(Secret::new("s3cret")).wrap("cat; printf %s \"${l-unset}\"");
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
    fn the_password_never_becomes_input_of_the_command() {
        for reads in [0, 1] {
            assert_eq!(
                behind_sudo(reads, "line 1\n\nline 3"),
                "line 1\n\nline 3unset",
                "sudo read {reads} lines"
            );
        }
    }
}
