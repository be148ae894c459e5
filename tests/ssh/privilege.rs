//! root through real sudo and doas, and what others can see of a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use toots::transport::{Connector, Exec, HostSettings, PrivilegeMode, Target, TransportError};

use crate::lab::{Sshd, command, ready, settings};
use crate::login::Answer;
use crate::users::Account;

const PASSWORD: &str = "Sentinel'5\" $(x) `y` \\ %s";

/// A file in sudoers.d, removed when the test is over.
pub struct Rule(PathBuf);

impl Rule {
    pub fn new(name: &str, text: &str) -> Self {
        let path = Path::new("/etc/sudoers.d").join(name);
        fs::write(&path, format!("{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        Self(path)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub fn sudo() -> bool {
    let there = Path::new("/usr/bin/sudo").exists() && Path::new("/etc/sudoers.d").is_dir();
    if !there {
        println!("skipped: sudo is not installed");
    }
    there
}

/// A server, and a host whose login is an ordinary account with the server's key.
fn plain(sshd: &Sshd, user: &Account, privilege: PrivilegeMode) -> HostSettings {
    sshd.known_right("ed25519");
    HostSettings {
        user: Some(user.name.to_owned()),
        privilege,
        ..sshd.host()
    }
}

fn privileged(line: &str, stdin: &str) -> Exec {
    Exec {
        privileged: true,
        stdin: Bytes::from(stdin.to_owned()),
        ..command(line)
    }
}

async fn whoami(connector: &Connector, host: &HostSettings) -> Result<String, TransportError> {
    let session = connector.connect(host).await.unwrap();
    session.settle_privilege().await?;
    let out = session
        .exec(privileged("id -un; cat", "input\nsecond"))
        .await?;
    Ok(String::from_utf8(out.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_needs_nothing() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    for mode in [
        PrivilegeMode::Auto,
        PrivilegeMode::Root,
        PrivilegeMode::Sudo,
    ] {
        let host = HostSettings {
            privilege: mode,
            ..sshd.host()
        };
        assert_eq!(
            whoami(&crate::lab::connector(settings()), &host)
                .await
                .unwrap(),
            "root\ninput\nsecond"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_without_password_and_what_is_missing_for_it() {
    if !ready() || !sudo() {
        return;
    }
    let Some(user) = Account::new("tootsnp", "x") else {
        return;
    };
    let sshd = Sshd::start(&["ed25519"], "");
    let connector = crate::lab::connector(settings());
    let refused = whoami(&connector, &plain(&sshd, &user, PrivilegeMode::Auto))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, TransportError::Privilege { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("password is required"),
        "{refused}"
    );
    assert!(
        refused.hints()[0]
            .to_string()
            .contains("tootsnp ALL=(root) NOPASSWD: ALL"),
        "{:?}",
        refused.hints()
    );
    for mode in [
        PrivilegeMode::Root,
        PrivilegeMode::None,
        PrivilegeMode::Doas,
    ] {
        assert!(
            matches!(
                whoami(&connector, &plain(&sshd, &user, mode)).await,
                Err(TransportError::Privilege { .. })
            ),
            "{mode:?}"
        );
    }
    let rule = Rule::new("tootsnp", "tootsnp ALL=(root) NOPASSWD: ALL");
    for mode in [
        PrivilegeMode::Auto,
        PrivilegeMode::Sudo,
        PrivilegeMode::SudoPassword,
    ] {
        let host = plain(&sshd, &user, mode);
        assert_eq!(
            whoami(&connector, &host).await.unwrap(),
            "root\ninput\nsecond",
            "{mode:?}"
        );
    }
    drop(rule);
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_with_a_password_shows_it_to_nobody() {
    if !ready() || !sudo() {
        return;
    }
    let Some(user) = Account::new("tootssp", PASSWORD) else {
        return;
    };
    let _rule = Rule::new(
        "tootssp",
        "Defaults:tootssp passwd_tries=3\ntootssp ALL=(ALL) ALL",
    );
    let sshd = Sshd::start(&["ed25519"], "LogLevel DEBUG3");
    let ask = Answer::new(PASSWORD);
    let connector = Connector::new(settings(), ask.clone());
    let host = plain(&sshd, &user, PrivilegeMode::SudoPassword);
    let watching = std::sync::Arc::new(AtomicBool::new(true));
    let seen = std::thread::spawn({
        let watching = watching.clone();
        move || {
            let mut seen = Vec::new();
            while watching.load(Ordering::SeqCst) {
                seen.extend(processes_with("Sentinel"));
            }
            seen
        }
    });
    let session = connector.connect(&host).await.unwrap();
    session.settle_privilege().await.unwrap();
    for _ in 0..3 {
        let out = session
            .exec(privileged("id -un; cat; env; sleep 0.2", "input\nsecond"))
            .await
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.starts_with("root\ninput\nsecond"), "{text}");
        assert!(
            !text.contains("Sentinel")
                && !String::from_utf8_lossy(&out.stderr).contains("Sentinel")
        );
    }
    let mut stream = session
        .open(Target::Command {
            command: "id -un; cat".to_owned(),
            privileged: true,
        })
        .await
        .unwrap();
    stream.write_all(b"streamed").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "root\nstreamed");
    assert_eq!(ask.asked(), 1, "once per run");
    watching.store(false, Ordering::SeqCst);
    assert_eq!(seen.join().unwrap(), Vec::<String>::new());
    assert!(!sshd.log().contains("Sentinel"));
    assert!(!format!("{host:?}").contains("Sentinel"));

    let wrong = Answer::new("Sentinel wrong");
    let session = Connector::new(settings(), wrong.clone())
        .connect(&host)
        .await
        .unwrap();
    let error = tokio::time::timeout(Duration::from_secs(20), session.settle_privilege())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, TransportError::Privilege { .. }), "{error}");
    assert!(!format!("{error:?}").contains("Sentinel"), "{error:?}");
    assert!(
        error.to_string().contains("refused the password"),
        "{error}"
    );
    assert_eq!(wrong.asked(), 1);
    let before = session.cost().execs;
    assert!(matches!(
        session.exec(privileged("id", "")).await,
        Err(TransportError::Privilege { .. })
    ));
    assert_eq!(
        session.cost().execs,
        before,
        "a refusal is not asked for again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doas_is_as_good() {
    if !ready() {
        return;
    }
    if !Path::new("/usr/bin/doas").exists() {
        println!("skipped: doas is not installed");
        return;
    }
    let conf = Path::new("/etc/doas.conf");
    if conf.exists() {
        println!("skipped: this machine has a doas.conf of its own");
        return;
    }
    let Some(user) = Account::new("tootsda", "x") else {
        return;
    };
    let sshd = Sshd::start(&["ed25519"], "");
    let connector = crate::lab::connector(settings());
    let refused = whoami(&connector, &plain(&sshd, &user, PrivilegeMode::Doas))
        .await
        .unwrap_err();
    assert!(
        refused.hints()[0]
            .to_string()
            .contains("permit nopass tootsda"),
        "{:?}",
        refused.hints()
    );
    fs::write(conf, "permit nopass tootsda as root\n").unwrap();
    let rule = Rule(conf.to_owned());
    for mode in [PrivilegeMode::Auto, PrivilegeMode::Doas] {
        assert_eq!(
            whoami(&connector, &plain(&sshd, &user, mode))
                .await
                .unwrap(),
            "root\ninput\nsecond",
            "{mode:?}"
        );
    }
    drop(rule);
}

/// Processes whose arguments or environment contain a text.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(text) {
                found.push(format!(
                    "{}: {}",
                    entry.path().join(file).display(),
                    String::from_utf8_lossy(&bytes)
                ));
            }
        }
    }
    found
}
