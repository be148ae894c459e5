//! Login shells: how many there are, whatever they are and print, and what they run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use toots::docker::Engine;
use toots::host::SshHost;
use toots::transport::{BoxStream, Exec, HostSettings, Session, Target, TransportError};

use crate::lab::{Sshd, command, connector, ready, run, settings, stdout};
use crate::privilege::{Rule, sudo};
use crate::users::Account;

/// A server whose login shell counts its starts, runs a startup text and is this program.
pub(super) fn server(shell: &str, startup: &str, more: &str) -> Sshd {
    let sshd = Sshd::start_with(&["ed25519"], |dir| {
        let login = dir.join("login");
        let starts = dir.join("starts");
        let text = format!(
            "#!/bin/sh\necho x >> '{}'\n{startup}\nexec {shell} -c \"$SSH_ORIGINAL_COMMAND\"\n",
            starts.display()
        );
        fs::write(&login, text).unwrap();
        fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).unwrap();
        format!("ForceCommand {}\n{more}", login.display())
    });
    sshd.known_right("ed25519");
    sshd
}

fn starts(sshd: &Sshd) -> usize {
    fs::read_to_string(sshd.at("starts"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn input(line: &str, stdin: impl Into<Bytes>) -> Exec {
    Exec {
        stdin: stdin.into(),
        max_output: 6_000_000,
        ..command(line)
    }
}

async fn open(session: &Arc<dyn Session>, line: &str) -> BoxStream {
    let companion = Target::Companion {
        command: line.to_owned(),
        privileged: false,
    };
    session.open(companion).await.unwrap()
}

/// Answers each byte with its own line until the end of its input.
const ECHO: &str = "while b=$(dd bs=1 count=1 2>/dev/null) && [ -n \"$b\" ] && \
                    [ \"$b\" != \"$(printf '\\004')\" ]; do echo \"got $b\"; done; echo bye";

async fn exchange(companion: &mut BufReader<BoxStream>, byte: &str) -> String {
    companion.write_all(byte.as_bytes()).await.unwrap();
    let mut line = String::new();
    companion.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_shell_starts_once_and_carries_any_bytes() {
    if !ready() {
        return;
    }
    let every_byte: Vec<u8> = (0..=255).rev().collect();
    let mut shells = 0;
    for (shell, program) in [
        ("bash", "/bin/bash"),
        ("dash", "/bin/dash"),
        ("fish", "/usr/bin/fish"),
        ("tcsh", "/usr/bin/tcsh"),
        ("zsh", "/usr/bin/zsh"),
        ("busybox sh", "/bin/busybox"),
    ] {
        if !Path::new(program).exists() {
            println!("skipped: {program} is not installed");
            continue;
        }
        shells += 1;
        let noise = "echo Welcome; echo 'toots-x' >&2; printf 'no newline'";
        let sshd = server(shell, noise, "");
        let session = sshd.connect().await.unwrap();
        let out = session
            .exec(input("cat; cat >&2; exit 7", every_byte.clone()))
            .await
            .unwrap();
        assert_eq!((out.status, &out.stdout), (7, &every_byte), "{shell}");
        let quoted = "printf '%s|' 'a b' \"it's\" '\\n!x' \"$(printf 'c\nd')\"\nprintf '\\377' >&2";
        let out = session.exec(command(quoted)).await.unwrap();
        assert_eq!(out.stdout, b"a b|it's|\\n!x|c\nd|", "{shell}");
        assert_eq!(out.stderr, [0xff], "{shell}");
        for status in [0, 1, 2, 126, 127, 128, 200, 255] {
            let out = session.exec(command(&format!("exit {status}"))).await;
            assert_eq!(out.unwrap().status, status, "{shell}");
        }
        assert_eq!(stdout(&*session, "cat").await, "", "{shell}: no input");
        assert_eq!(stdout(&*session, "cd /; umask 077; pwd").await, "/\n");
        assert_ne!(stdout(&*session, "pwd").await, "/\n", "nothing stays");
        assert_eq!(starts(&sshd), 1, "{shell}");
        assert_eq!(session.cost().login_shells, 1, "{shell}");
    }
    assert!(shells > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_goes_through_both_ways() {
    if !ready() {
        return;
    }
    for shell in ["dash", "bash"] {
        let sshd = server(shell, "", "");
        let session = sshd.connect().await.unwrap();
        let big: Bytes = (0..5_000_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect::<Vec<_>>()
            .into();
        let out = session.exec(input("cat", big.clone())).await.unwrap();
        assert!(out.stdout == big, "{shell}");
        let both = "head -c 2500000 >&2; cat";
        let out = session.exec(input(both, big.clone())).await.unwrap();
        assert!([out.stderr, out.stdout].concat() == big, "{shell}");
        // Input that is not read does not become the next command.
        for unread in ["true", "head -c 10 >/dev/null", "exec <&-; echo x"] {
            let out = session.exec(input(unread, big.clone())).await.unwrap();
            assert_eq!(out.status, 0, "{shell}: {unread}");
        }
        assert_eq!(stdout(&*session, "echo next").await, "next\n");
        assert_eq!(starts(&sshd), 1, "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_login_shell_is_paid_once_and_noted() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "sleep 4", "");
    let session = sshd.connect().await.unwrap();
    assert_eq!(session.slow_login(), None);
    let commands = (0..8).map(|n| {
        let session = session.clone();
        async move { stdout(&*session, &format!("echo {n}")).await }
    });
    futures::future::join_all(commands).await;
    for _ in 0..5 {
        stdout(&*session, "true").await;
    }
    assert_eq!(starts(&sshd), 1);
    assert!(session.slow_login().is_some_and(|took| took.as_secs() >= 3));

    // One that outlasts the deadline is named.
    let sshd = server("bash", "sleep 30", "");
    let session = sshd.connect().await.unwrap();
    let hurried = Exec {
        deadline: Duration::from_millis(500),
        ..command("true")
    };
    let error = session.exec(hurried).await.unwrap_err();
    assert!(error.to_string().contains("login shell"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_commands_overtake_long_commands_in_a_second_shell() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "");
    let session = sshd.connect().await.unwrap();
    let start = Instant::now();
    let (long, short) = tokio::join!(stdout(&*session, "sleep 5; echo long"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let text = stdout(&*session, "echo short").await;
        (text, start.elapsed())
    });
    assert_eq!((long.as_str(), short.0.as_str()), ("long\n", "short\n"));
    assert!(short.1 < Duration::from_secs(4), "{:?}", short.1);
    let commands = (0..20).map(|n| {
        let session = session.clone();
        async move { stdout(&*session, &format!("sleep 0.1; echo {n}")).await }
    });
    futures::future::join_all(commands).await;
    assert_eq!(starts(&sshd), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_session_is_enough_for_commands_and_a_companion() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "MaxSessions 1");
    let session = sshd.connect().await.unwrap();
    let mut companion = BufReader::new(open(&session, ECHO).await);
    let busy = tokio::spawn({
        let session = session.clone();
        async move { stdout(&*session, "echo begin; sleep 3; printf end").await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    for byte in ["a", "b", "c"] {
        assert_eq!(
            exchange(&mut companion, byte).await,
            format!("got {byte}\n")
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "it waits for no command"
    );
    assert_eq!(busy.await.unwrap(), "begin\nend", "and is heard by none");

    let stream = Target::Command {
        command: "cat".to_owned(),
        privileged: false,
    };
    let error = session.open(stream).await.err().unwrap();
    assert!(
        matches!(error, TransportError::TooFewSessions { limit: 1, .. }),
        "{error}"
    );
    assert!(
        error.hints()[0].to_string().contains("MaxSessions"),
        "{:?}",
        error.hints()
    );
    assert_eq!(stdout(&*session, "echo on").await, "on\n");

    // The end of its input ends it, and another can follow.
    companion.shutdown().await.unwrap();
    let mut rest = String::new();
    companion.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye\n");
    drop(companion);
    let mut next = BufReader::new(open(&session, ECHO).await);
    assert_eq!(exchange(&mut next, "d").await, "got d\n");
    assert_eq!(starts(&sshd), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_second_shell_makes_room_for_a_stream() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "MaxSessions 2");
    let session = sshd.connect().await.unwrap();
    tokio::join!(stdout(&*session, "sleep 2"), stdout(&*session, "sleep 2"));
    assert_eq!(starts(&sshd), 2);
    let stream = Target::Command {
        command: "echo streamed".to_owned(),
        privileged: false,
    };
    let mut text = String::new();
    let mut stream = session.open(stream).await.unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "streamed\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_ends_with_the_connection() {
    if !ready() {
        return;
    }
    for shell in ["dash", "bash"] {
        let sshd = server(shell, "", "");
        let session = sshd.connect().await.unwrap();
        let gone = sshd.at("gone");
        let line = format!("cat >/dev/null; echo > '{}'", gone.display());
        let companion = open(&session, &line).await;
        // A command that outlives the connection does not keep it.
        let running = tokio::spawn({
            let session = session.clone();
            async move { session.exec(command("sleep 15")).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let start = Instant::now();
        session.close().await;
        while !gone.exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "{shell}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(running.await.unwrap().is_err());
        drop(companion);
    }
}

/// The lock's process ends the process that serves its connection when it hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_companion_descends_from_the_server() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "MaxSessions 1");
    let session = sshd.connect().await.unwrap();
    let climb = r#"p=$$
while [ "$p" -gt 1 ] && p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status"); do
  case $(cat "/proc/$p/comm") in sshd*) echo "$p"; sleep 0.5; kill "$p"; exit ;; esac
done
echo none"#;
    let mut line = String::new();
    let mut companion = BufReader::new(open(&session, climb).await);
    companion.read_line(&mut line).await.unwrap();
    assert!(line.trim().parse::<u32>().is_ok(), "{line:?}");
    let lost = session.exec(command("sleep 5")).await.unwrap_err();
    assert!(matches!(lost, TransportError::Lost(_)), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_command_is_ended_and_its_shell_goes_on() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "MaxSessions 1");
    let session = sshd.connect().await.unwrap();
    let mut companion = BufReader::new(open(&session, ECHO).await);
    let pid = sshd.at("pid");
    let hung = Exec {
        deadline: Duration::from_millis(700),
        ..command(&format!("echo $$ > '{}'; sleep 100; true", pid.display()))
    };
    let error = session.exec(hung).await.unwrap_err();
    assert!(matches!(error, TransportError::Deadline { .. }), "{error}");
    assert_eq!(stdout(&*session, "echo next").await, "next\n");
    let pid = fs::read_to_string(pid).unwrap();
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "the command is ended"
    );
    let endless = Exec {
        max_output: 1000,
        ..command("cat /dev/zero")
    };
    let error = session.exec(endless).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    assert_eq!(stdout(&*session, "echo next").await, "next\n");
    assert_eq!(exchange(&mut companion, "a").await, "got a\n");
    assert_eq!(starts(&sshd), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_killed_costs_its_command_only() {
    if !ready() {
        return;
    }
    let sshd = server("bash", "", "");
    let session = sshd.connect().await.unwrap();
    // The shell leads its session; the command has a process group of its own.
    let leader = stdout(&*session, "ps -o sid= -p $$").await;
    let leader: u32 = leader.trim().parse().unwrap();
    assert!(leader > 1 && leader != std::process::id());
    let running = tokio::spawn({
        let session = session.clone();
        async move { session.exec(command("sleep 20")).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    run("kill", &["-9", "--", &format!("-{leader}")]);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Command(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(stdout(&*session, "echo again").await, "again\n");
    assert_eq!(starts(&sshd), 2);

    // What a companion holds is gone with it, so that nothing may follow.
    let _companion = open(&session, ECHO).await;
    let leader = stdout(&*session, "ps -o sid= -p $$").await;
    let leader: u32 = leader.trim().parse().unwrap();
    assert!(leader > 1 && leader != std::process::id());
    let commands = futures::future::join_all((0..4).map(|_| session.exec(command("sleep 1"))));
    let (ended, ()) = tokio::join!(commands, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        run("kill", &["-9", "--", &format!("-{leader}")]);
    });
    assert!(ended.iter().all(Result::is_err), "{ended:?}");
    let lost = session.exec(command("true")).await.unwrap_err();
    assert!(matches!(lost, TransportError::Lost(_)), "{lost}");
    assert!(session.closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sudo_user_without_the_engines_socket_waits_for_no_idle_connection() {
    if !ready() || !sudo() {
        return;
    }
    if !Path::new("/var/run/docker.sock").exists() {
        println!("skipped: no Docker Engine runs here");
        return;
    }
    let Some(user) = Account::new("tootsshell", "x") else {
        return;
    };
    let _rule = Rule::new("tootsshell", "tootsshell ALL=(root) NOPASSWD: ALL");
    for (sessions, login_shells) in [(10, 4), (2, 3), (1, 1)] {
        let sshd = server("sh", "", &format!("MaxSessions {sessions}"));
        fs::write(sshd.at("starts"), "").unwrap();
        fs::set_permissions(sshd.at("starts"), fs::Permissions::from_mode(0o666)).unwrap();
        let host = HostSettings {
            user: Some(user.name.to_owned()),
            ..sshd.host()
        };
        let session = connector(settings()).connect(&host).await.unwrap();
        let engine = Engine::over(Arc::new(SshHost::over(session.clone())));
        for _ in 0..2 {
            let requests = futures::future::join_all((0..6).map(|_| engine.version()));
            let commands = futures::future::join_all((0..12).map(|n| {
                let exec = Exec {
                    privileged: true,
                    ..command(&format!("sleep 0.1; id -un; echo {n}"))
                };
                let session = session.clone();
                async move { session.exec(exec).await.unwrap().stdout }
            }));
            let (answers, outputs) = tokio::join!(requests, commands);
            for (n, output) in outputs.into_iter().enumerate() {
                assert_eq!(String::from_utf8_lossy(&output), format!("root\n{n}\n"));
            }
            for answer in answers {
                match answer {
                    Ok(_) => assert!(sessions > 1),
                    Err(error) => {
                        let cause = std::error::Error::source(&error).unwrap().to_string();
                        assert!(sessions == 1 && cause.contains("MaxSessions"), "{cause}");
                    }
                }
            }
        }
        assert!(
            starts(&sshd) <= login_shells,
            "{} with {sessions} sessions",
            starts(&sshd)
        );
    }
}
