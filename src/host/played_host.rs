//! A host played by folders and programs of a test, and the shells in which it runs scripts. Compiled
//! for tests only.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A shell of this machine in which the scripts must run.
pub(super) struct ScriptShell {
    pub(super) words: &'static [&'static str],
    /// Its own programs, in place of the machine's.
    programs: Option<tempfile::TempDir>,
}

impl fmt::Display for ScriptShell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

pub(super) fn succeeds(command: &[&str]) -> bool {
    let status = Command::new(command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The shells of this machine, of those on which the scripts must run.
pub(super) fn shells() -> Vec<ScriptShell> {
    const SHELLS: [&[&str]; 4] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
    let mut found = Vec::new();
    for words in SHELLS {
        if succeeds(&[words, &["-c", ":"]].concat()) {
            let programs = (words[0] == "busybox").then(busybox_programs);
            found.push(ScriptShell { words, programs });
        } else {
            println!("skipped: {} is not installed", words.join(" "));
        }
    }
    found
}

/// A folder with every program of busybox.
fn busybox_programs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output();
    let busybox = String::from_utf8(busybox.unwrap().stdout).unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for name in list.lines().chain(["busybox"]) {
        symlink(busybox.trim(), folder.path().join(name)).unwrap();
    }
    folder
}

/// Runs a program with this standard input; one that ends early does not read it.
pub(super) fn run_with_input(program: &mut Command, input: &[u8]) -> Output {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Beside its output: either may fill its pipe.
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// The folders of a host that scripts name, and those of a test in their place.
const FOLDERS: [&str; 5] = [
    "/etc/toots",
    "/etc/systemd/system",
    "/etc/hosts",
    "/run/systemd/system",
    "/var/lib/toots",
];

/// A host played by folders and programs of the test.
pub(super) struct PlayedHost(pub(super) tempfile::TempDir);

impl PlayedHost {
    pub(super) fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for folder in ["bin", "etc/systemd/system", "state"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        host
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Adds a program; `$state` is a folder for what it does.
    pub(super) fn program(&self, name: &str, script: &str) {
        let state = self.path("state");
        let units = self.path("etc/systemd/system");
        let script = format!(
            "#!/bin/sh\nstate='{}' units='{}'\n{script}\n",
            state.display(),
            units.display()
        );
        crate::testing::write_program(&self.path(&format!("bin/{name}")), &script);
    }

    /// The script for this host.
    pub(super) fn localized(&self, script: &str) -> String {
        FOLDERS.iter().fold(script.to_owned(), |script, folder| {
            let own = self.0.path().display();
            script.replace(folder, &format!("{own}{folder}"))
        })
    }

    pub(super) fn path_variable(&self, shell: Option<&ScriptShell>) -> String {
        let others = match shell.and_then(|shell| shell.programs.as_ref()) {
            Some(programs) => programs.path().display().to_string(),
            None => std::env::var("PATH").unwrap(),
        };
        format!("{}:{others}", self.path("bin").display())
    }

    /// Runs a script as its operation does: on standard input, or with input of its own.
    pub(super) fn run(
        &self,
        shell: &ScriptShell,
        script: &str,
        arguments: &[&str],
        input: Option<&[u8]>,
    ) -> Output {
        let mut command = Command::new(shell.words[0]);
        command.args(&shell.words[1..]);
        match input {
            None => command.args(["-s", "--"]),
            Some(_) => command.args(["-c", script, "toots"]),
        };
        command
            .args(arguments)
            .env("PATH", self.path_variable(Some(shell)));
        run_with_input(&mut command, input.unwrap_or(script.as_bytes()))
    }

    /// Everything in its folders: mode and content by path.
    pub(super) fn contents(&self) -> BTreeMap<String, (u32, String)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let meta = entry.metadata().unwrap();
                let content = if meta.is_dir() {
                    folders.push(path.clone());
                    String::new()
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                let name = path.strip_prefix(self.0.path()).unwrap();
                // The paths of this host in place of another one's.
                let content = content.replace(&self.0.path().display().to_string(), "");
                found.insert(name.display().to_string(), (meta.mode() & 0o7777, content));
            }
        }
        found
    }
}
