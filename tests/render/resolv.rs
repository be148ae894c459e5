//! The script that puts dnsmasq first in resolv.conf, on files of the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        Self { folder }
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/dnsmasq/resolv.sh"))
            .args(words);
        let at = |name: &str| self.folder.path().join(name);
        command
            .env("RESOLV_CONF", self.conf())
            .env("RESOLV_STATE", at("state"))
            .env("RESOLVED_CONF", at("resolved.conf"));
        command.env(
            "PATH",
            format!(
                "{}:{}",
                self.folder.path().display(),
                std::env::var("PATH").unwrap()
            ),
        );
        command
    }

    /// Replaces a program of this machine.
    fn tool(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let (path, new) = (
            self.folder.path().join(name),
            self.folder.path().join("new"),
        );
        std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Asserts the servers that dnsmasq queries.
    fn servers(&self, wanted: &str) {
        until(
            || {
                std::fs::read_to_string(self.folder.path().join("state/servers"))
                    .unwrap_or_default()
            },
            |text| text == wanted,
        );
    }

    /// Runs the script as the unit does: active while the guard exists, restored when it is
    /// dropped.
    fn keep(&self) -> Kept<'_> {
        Kept {
            host: self,
            child: self.command(&["keep", "10.0.0.21"]).spawn().unwrap(),
        }
    }

    fn until(&self, what: impl Fn(&str) -> bool) {
        until(
            || std::fs::read_to_string(self.conf()).unwrap_or_default(),
            what,
        );
    }
}

#[track_caller]
fn until(read: impl Fn() -> String, what: impl Fn(&str) -> bool) {
    let began = Instant::now();
    while !what(&read()) {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", read());
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Kept<'a> {
    host: &'a Host,
    child: Child,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        assert!(self.host.command(&["restore"]).status().unwrap().success());
    }
}

fn ours(text: &str) -> bool {
    text.starts_with("# toots:")
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let host = Host::new();
    let former = "# a comment\nsearch example.org\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions timeout:3 rotate\n\n";
    std::fs::write(host.conf(), former).unwrap();
    {
        let _kept = host.keep();
        host.until(ours);
        let now = std::fs::read_to_string(host.conf()).unwrap();
        let lines: Vec<&str> = now.lines().skip(1).collect();
        let wanted = [
            "nameserver 10.0.0.21",
            "nameserver 10.0.0.2",
            "nameserver 10.0.0.3",
            "search example.org",
            "options rotate timeout:1 attempts:1",
        ];
        assert_eq!(
            lines, wanted,
            "ours first, the former ones behind it, three in all"
        );
        host.servers("nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n");
    }
    assert_eq!(std::fs::read_to_string(host.conf()).unwrap(), former);
    // Once more, because a unit is stopped and started again; and a second restore changes nothing.
    drop(host.keep());
    assert!(host.command(&["restore"]).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(host.conf()).unwrap(), former);
}

#[test]
fn a_link_comes_back_as_a_link() {
    let host = Host::new();
    let stub = host.folder.path().join("stub-resolv.conf");
    std::fs::write(&stub, "nameserver 127.0.0.53\noptions edns0 trust-ad\n").unwrap();
    std::os::unix::fs::symlink("stub-resolv.conf", host.conf()).unwrap();
    {
        let _kept = host.keep();
        host.until(ours);
        assert!(!host.conf().is_symlink());
        assert!(
            std::fs::read_to_string(host.conf())
                .unwrap()
                .contains("\nnameserver 127.0.0.53\n")
        );
        assert_eq!(
            std::fs::read_to_string(&stub).unwrap(),
            "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
            "what it leads to is not written"
        );
    }
    assert_eq!(
        std::fs::read_link(host.conf()).unwrap(),
        Path::new("stub-resolv.conf")
    );
}

/// Its stub would query dnsmasq, which would query the stub.
#[test]
fn systemd_resolved_is_not_asked_in_a_circle() {
    let host = Host::new();
    std::fs::write(
        host.conf(),
        "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
    )
    .unwrap();
    // It counts the servers of our resolv.conf among its own.
    let network = |server: &str, global: &str| {
        host.tool(
            "resolvectl",
            &format!("echo 'Global: {global}'; echo 'Link 2 (eth0): {server}#dns.example.org'"),
        );
        std::fs::write(
            host.folder.path().join("resolved.conf"),
            "nameserver 10.0.0.21\nnameserver 10.0.0.2\nnameserver 10.0.0.2\n",
        )
        .unwrap();
    };
    network("10.0.0.2", "10.0.0.3");
    let _kept = host.keep();
    host.until(|text| {
        ours(text)
            && text.contains(
                "\nnameserver 10.0.0.21\nnameserver 10.0.0.3\nnameserver 10.0.0.2\noptions",
            )
    });
    host.servers("nameserver 10.0.0.3\nnameserver 10.0.0.2\n");
    // The network now has another server.
    network("10.0.0.9", "10.0.0.21 10.0.0.3 10.0.0.2");
    host.servers("nameserver 10.0.0.3\nnameserver 10.0.0.9\n");
    host.until(|text| {
        text.contains("\nnameserver 10.0.0.21\nnameserver 10.0.0.3\nnameserver 10.0.0.9\noptions")
    });
}

/// Then its list for others is used.
#[test]
fn systemd_resolved_without_its_tool() {
    let host = Host::new();
    std::fs::write(host.conf(), "nameserver 127.0.0.53\n").unwrap();
    host.tool("resolvectl", "exit 127");
    let listed =
        |text: &str| std::fs::write(host.folder.path().join("resolved.conf"), text).unwrap();
    listed("nameserver 10.0.0.2\n");
    let _kept = host.keep();
    host.servers("nameserver 10.0.0.2\n");
    listed("nameserver 10.0.0.21\nnameserver 10.0.0.2\nnameserver 10.0.0.2\nnameserver 10.0.0.9\n");
    host.servers("nameserver 10.0.0.2\nnameserver 10.0.0.9\n");
}

#[test]
fn what_others_write_is_kept_in_mind() {
    let host = Host::new();
    std::fs::write(host.conf(), "nameserver 10.0.0.2\n").unwrap();
    {
        let _kept = host.keep();
        host.until(ours);
        std::fs::write(host.conf(), "nameserver 10.0.0.9\n").unwrap();
        host.until(|text| {
            ours(text) && text.contains("nameserver 10.0.0.21\nnameserver 10.0.0.9\n")
        });
    }
    assert_eq!(
        std::fs::read_to_string(host.conf()).unwrap(),
        "nameserver 10.0.0.9\n"
    );
    // Written while the script was not active: not ours to change.
    std::fs::write(host.conf(), "nameserver 10.0.0.8\n").unwrap();
    assert!(host.command(&["restore"]).status().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(host.conf()).unwrap(),
        "nameserver 10.0.0.8\n"
    );
}
