//! Commands that end before they contact a host: their messages as text and as JSON, and their exit
//! codes.

#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INVENTORY: &str = r#"masters = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]"#;

/// Runs toots in a folder of its own; exit code, standard output and standard error.
fn toots(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Command lines with a mistake; none of them may contact a host.
const MISTAKES: [&[&str]; 26] = [
    &["cluster", "up", "--no-such-option"],
    &["cluster", "up", "-i", "absent.toml"],
    &["cluster", "up", "-i", "wrong.toml"],
    &["cluster", "up", "--limit", "x*"],
    &["cluster", "up", "--limit", "["],
    &["cluster", "up", "--plan", "absent.json"],
    &["cluster", "up", "--plan", "inventory.toml"],
    &["cluster", "up", "--timeout", "0s"],
    &["cluster", "check", "-i", "absent.toml"],
    &["cluster", "check", "--limit", "m1"],
    &["cluster", "check", "--user", "ops"],
    &["cluster", "check", "--hosts", "m1"],
    &["cluster", "check", "--hosts", "127.0.0.1,10.0.0.2"],
    &["cluster", "check", "--hosts", "10.0.0.2", "--user", "a b"],
    &["cluster", "plan", "--playbooks", "absent"],
    &["cluster", "status", "-i", "absent.toml"],
    &["cluster", "add-slave", "10.0.0.1", "--name", "s9"],
    &["cluster", "add-slave", "10.0.0.9", "--name", "a b"],
    &["app", "list", "-i", "absent.toml"],
    &["job", "list", "-i", "absent.toml"],
    &["bundle", "create", "dc1.tar", "-i", "absent.toml"],
    &["bundle", "create", "dc1.tar", "--platform", "amd64"],
    &["bundle", "create", "inventory.toml"],
    &["bundle", "create", "absent/dc1.tar"],
    &["bundle", "inspect", "absent.tar"],
    &["bundle", "inspect", "inventory.toml"],
];

#[test]
fn usage_errors_are_text_or_json() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("inventory.toml"), INVENTORY).unwrap();
    std::fs::write(
        dir.path().join("wrong.toml"),
        format!("{INVENTORY}\nslave = []\n"),
    )
    .unwrap();
    let mut transcript = String::new();
    for mistake in MISTAKES {
        transcript.push_str(&format!("$ toots {}\n", mistake.join(" ")));
        let (code, out, err) = toots(dir.path(), mistake);
        assert_eq!((code, out.as_str()), (2, ""), "{mistake:?}: {err}");
        transcript.push_str(&err);
        let (code, out, err) = toots(dir.path(), &[mistake, &["--output", "json"]].concat());
        assert_eq!((code, err.as_str()), (2, ""), "{mistake:?}: {out}");
        assert_eq!(out.lines().count(), 1, "{mistake:?}: {out}");
        let result: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&result["type"], &result["exit_code"]),
            (&"result".into(), &2.into())
        );
        assert!(
            result["error"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        transcript.push_str(&out);
        transcript.push('\n');
    }
    insta::with_settings!({omit_expression => true}, {
        insta::assert_snapshot!("cli_mistakes", transcript);
    });
}

const MASTERS: [&str; 3] = ["init", "--masters", "10.0.0.1,10.0.0.2,10.0.0.3"];

#[test]
fn init_prints_where_there_is_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = toots(dir.path(), &[&MASTERS[..], &["--user", "ops"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("\n[ssh]\n") && out.contains("\nuser = \"ops\"\n"),
        "{out}"
    );
    assert!(!dir.path().join("inventory.toml").exists());
    let (code, _, err) = toots(dir.path(), &["init"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn init_writes_a_new_file_and_names_the_next_commands() {
    let dir = tempfile::tempdir().unwrap();
    let init = |out: &str| toots(dir.path(), &[&MASTERS[..], &["--out", out]].concat());
    assert_eq!(
        init("prod.toml"),
        (
            0,
            String::new(),
            "wrote prod.toml; next:
  toots inventory check -i prod.toml
  toots ssh trust -i prod.toml
  toots cluster check -i prod.toml
  toots cluster plan -i prod.toml
  toots cluster up -i prod.toml
"
            .to_owned()
        )
    );
    let written = std::fs::read(dir.path().join("prod.toml")).unwrap();
    let (code, _, err) = init("prod.toml");
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: cannot write prod.toml: it already exists\n  \
         hint: choose another file with --out, or remove this one\n"
    );
    assert_eq!(
        std::fs::read(dir.path().join("prod.toml")).unwrap(),
        written
    );
    let (code, _, err) = init("absent/prod.toml");
    assert_eq!(code, 1);
    assert!(
        err.contains("cannot write absent/prod.toml: No such file"),
        "{err}"
    );
    let (code, _, err) = init("inventory.toml");
    assert_eq!(code, 0);
    assert!(err.contains("\n  toots cluster up\n"), "{err}");
    let (code, out, err) = toots(dir.path(), &["inventory", "check"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn five_thousand_hosts_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let slave = |n: usize| format!("\"10.1.{}.{}\"", n / 250, n % 250);
    let slaves: Vec<String> = (250..5247).map(slave).collect();
    let text = format!("{INVENTORY}\nslaves = [{}]\n", slaves.join(", "));
    std::fs::write(dir.path().join("inventory.toml"), text).unwrap();
    let (code, out, err) = toots(dir.path(), &["inventory", "check"]);
    assert!(code == 0 && out.contains("5000 hosts"), "{out}{err}");
    // Of the largest child so far: no other test starts one of this size.
    let children = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let kib = children.unwrap().max_rss();
    assert!(kib < 100 * 1024, "{kib} KiB");
}

/// Above this, a run that was interrupted while it waited has not listened.
const MAX_END: Duration = Duration::from_secs(2);

/// Commands that wait for a host, in every form of their output.
const WAITING: [&[&str]; 31] = [
    &["cluster", "up", "--output", "live"],
    &["cluster", "up", "--output", "plain"],
    &["cluster", "up", "--output", "json"],
    &["cluster", "check", "--output", "live"],
    &["cluster", "check", "--output", "plain"],
    &["cluster", "check", "--output", "json"],
    &["cluster", "plan"],
    &["cluster", "status"],
    &["cluster", "status", "--output", "json"],
    &["cluster", "status", "--watch"],
    &["cluster", "repair", "m1", "--component", "zookeeper"],
    &["cluster", "add-slave", "10.0.0.9"],
    &["cluster", "add-edge", "10.0.0.9"],
    &["ssh", "trust"],
    &["ssh", "trust", "m1", "--yes"],
    &["app", "deploy", "app.json"],
    &["app", "list"],
    &["app", "list", "--output", "json"],
    &["app", "show", "web"],
    &["app", "scale", "web", "2", "--wait"],
    &["app", "restart", "web"],
    &["app", "rollback", "web"],
    &["app", "weight", "web", "50"],
    &["app", "delete", "web", "--yes"],
    &["job", "deploy", "job.json"],
    &["job", "list"],
    &["job", "show", "tidy"],
    &["job", "run", "tidy"],
    &["job", "delete", "tidy", "--yes"],
    &["open", "marathon", "--no-browser"],
    &["tunnel", "--listen", "127.0.0.1:0"],
];

/// An inventory of three hosts on a port of this machine.
fn on_port(dir: &Path, port: u16) {
    let hosts: Vec<String> = (1..=3)
        .map(|n| format!("[hosts.m{n}]\naddress = \"10.0.0.{n}\"\nssh = \"127.0.0.1\"\n"))
        .collect();
    let text = format!(
        "masters = [\"m1\", \"m2\", \"m3\"]\n[ssh]\nport = {port}\nconfig_file = \"/dev/null\"\n{}",
        hosts.concat()
    );
    std::fs::write(dir.join("inventory.toml"), text).unwrap();
}

fn start(dir: &Path, words: &[&str]) -> Child {
    start_with(dir, words, Stdio::null())
}

fn start_with(dir: &Path, words: &[&str], input: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Interrupts a run, which must say so and end. Returns how long that took.
fn interrupt(mut run: Child, words: &[&str]) -> Duration {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(run.id()).unwrap());
    let sent = Instant::now();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    while run.try_wait().unwrap().is_none() {
        if sent.elapsed() > MAX_END {
            run.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = sent.elapsed();
    let result = run.wait_with_output().unwrap();
    let output = [result.stdout, result.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    assert_eq!(result.status.code(), Some(130), "{words:?}: {output}");
    assert!(output.contains("interrupt"), "{words:?}: {output}");
    took
}

#[test]
fn interrupt_is_acknowledged_by_every_command() {
    // Accepts and never greets.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let dir = tempfile::tempdir().unwrap();
    on_port(dir.path(), silent.local_addr().unwrap().port());
    std::fs::write(
        dir.path().join("app.json"),
        r#"{"id": "/web", "cmd": "true"}"#,
    )
    .unwrap();
    let job = r#"{"name": "tidy", "command": "true", "schedule": "R/2030-01-01T00:00:00Z/P1D"}"#;
    std::fs::write(dir.path().join("job.json"), job).unwrap();
    let mut slowest = Duration::ZERO;
    for words in WAITING {
        let run = start(dir.path(), words);
        // The connection is made before the signal is sent.
        let began = Instant::now();
        let mut greeted = Vec::new();
        while greeted.is_empty() || began.elapsed() < Duration::from_millis(500) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{words:?} does not connect"
            );
            greeted.extend(silent.accept().ok());
            std::thread::sleep(Duration::from_millis(10));
        }
        slowest = slowest.max(interrupt(run, words));
    }
    println!("the slowest ended after {slowest:?}");
}

#[test]
fn interrupt_is_acknowledged_between_two_views() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    on_port(dir.path(), closed.local_addr().unwrap().port());
    drop(closed);
    let words = ["cluster", "status", "--watch"];
    let mut run = start(dir.path(), &words);
    // The first view is complete; the next one is due.
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("m3") {
        let n = run.stdout.as_mut().unwrap().read(&mut buffer).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..n]);
    }
    interrupt(run, &words);
}

/// Whether a process catches SIGINT, as the kernel sees it.
fn listens_to_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught & (1 << (nix::libc::SIGINT - 1)) != 0
}

#[test]
fn interrupt_is_acknowledged_while_standard_input_is_awaited() {
    let dir = tempfile::tempdir().unwrap();
    on_port(dir.path(), 1);
    for words in [["app", "deploy", "-"], ["job", "deploy", "-"]] {
        let (input, keep_open) = std::io::pipe().unwrap();
        let run = start_with(dir.path(), &words, input.into());
        let started = Instant::now();
        while !listens_to_interrupts(run.id()) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{words:?} does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        interrupt(run, &words);
        drop(keep_open);
    }
}
