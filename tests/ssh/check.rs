//! `toots cluster check` against sshd, in every form of its output. The three hosts are one machine,
//! which is refused: they share a machine id.

use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::lab::{Sshd, ready};
use super::prompts::inventory;
use super::pty::{Terminal, WIDTHS};

const ABSENT: &str = "network interface \"absent0\" does not exist";
const SHARED: &str = "machine id is the same as on m";

/// An inventory of three masters with an interface that no machine has.
fn refused_hosts(sshd: &Sshd) -> String {
    let key = sshd.at("id").display().to_string();
    let nic = "[network]\nnic = \"absent0\"";
    inventory(
        sshd,
        &format!("user = \"root\"\nidentity_files = [{key:?}]\n{nic}"),
    )
}

fn check(sshd: &Sshd, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(["cluster", "check"])
        .args(words)
        .env("XDG_STATE_HOME", sshd.dir.path())
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn findings_are_grouped_at_the_end() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let inventory = refused_hosts(&sshd);
    let run = check(&sshd, &["--output", "plain", "-i", &inventory]);
    let (end, lines) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(4), "{end}{lines}");
    let title = "dc1: cluster check failed: 3 of 3 hosts failed, nothing was changed";
    assert!(end.starts_with(title), "{end}");
    let shared = format!("  ✗ m1, m2, m3 failed in preflight: check the host\n      {ABSENT}\n");
    assert!(end.contains(&shared), "{end}");
    assert_eq!(end.matches(ABSENT).count(), 1, "{end}");
    assert_eq!(end.matches(SHARED).count(), 2, "{end}");
    assert!(lines.contains("dc1: cluster check, 3 hosts"), "{lines}");
    assert!(lines.contains("\nlog: "), "{lines}");
}

#[test]
fn json_ends_with_the_result() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let inventory = refused_hosts(&sshd);
    let run = check(&sshd, &["--output", "json", "-i", &inventory]);
    let events: Vec<Value> = text(&run.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is = |event: &&Value, kind: &str| event["type"] == kind;
    let results = events.iter().filter(|event| is(event, "result"));
    assert_eq!(results.count(), 1, "{events:?}");
    let result = events.last().unwrap();
    assert_eq!(run.status.code(), Some(4), "{result}");
    assert_eq!(
        (&result["exit_code"], &result["changed"]),
        (&4.into(), &0.into())
    );
    for host in ["m1", "m2", "m3"] {
        assert_eq!(result["hosts"][host]["outcome"], "failed", "{result}");
    }
    let found = |why: &str| {
        let failures = events.iter().filter(|event| is(event, "host-failed"));
        let causes = failures.map(|event| event["failure"]["cause"][0].as_str().unwrap());
        causes.filter(|cause| cause.starts_with(why)).count()
    };
    assert_eq!((found(ABSENT), found(SHARED)), (3, 2), "{events:?}");
}

#[test]
fn terminal_shows_the_findings_and_the_end() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let inventory = refused_hosts(&sshd);
    for width in WIDTHS {
        let words = format!("cluster check --output live -i '{inventory}'");
        let mut terminal = Terminal::start(sshd.dir.path(), width, &words);
        terminal.wait_for("code 4");
        terminal.finish("no secret was typed");
    }
}

#[test]
fn a_host_that_is_not_trusted_is_missed() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let inventory = refused_hosts(&sshd);
    sshd.known("");
    let run = check(&sshd, &["--output", "plain", "-i", &inventory]);
    let end = text(&run.stdout);
    assert_eq!(run.status.code(), Some(3), "{end}");
    let hint = format!("hint: toots ssh trust m1 -i {inventory}\n");
    assert!(
        end.contains("✗ m1 untrusted") && end.contains(&hint),
        "{end}"
    );
}

/// An address of this machine that is not the loopback one, which no inventory accepts.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: it only chooses the interface.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

/// What is suggested then must not need an inventory.
#[test]
fn a_machine_without_an_inventory_gets_hints_that_work() {
    if !ready() {
        return;
    }
    let Some(address) = own_address() else {
        println!("skipped: this machine has no address but the loopback one");
        return;
    };
    let sshd = Sshd::start(&["ed25519"], &format!("ListenAddress {address}"));
    let (host, port) = (address.to_string(), sshd.port.to_string());
    let run = check(
        &sshd,
        &[
            "--output", "plain", "--hosts", &host, "--port", &port, "--user", "root",
        ],
    );
    let (end, lines) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(3), "{end}{lines}");
    assert!(end.contains(&format!("✗ {host} untrusted")), "{end}");
    let hint = "hint: --accept-new-host-keys records keys of unknown hosts";
    assert!(end.contains(hint), "{end}");
    assert!(!end.contains("toots ssh trust"), "{end}");
    assert!(lines.contains("dc1: warning: unchecked: ports"), "{lines}");
}
