//! An sshd for each test: generated keys and configuration in a temporary directory, a free port on
//! loopback.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use toots::spec::HostName;
use toots::transport::{
    AskNobody, Connector, Exec, HostSettings, Session, SshOptions, TransportError,
};

/// Whether the needed programs are installed; prints what is missing.
pub fn ready() -> bool {
    let missing: Vec<_> = ["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen"]
        .into_iter()
        .filter(|p| !Path::new(p).exists())
        .collect();
    if !missing.is_empty() {
        println!("skipped: {} not installed", missing.join(", "));
        return false;
    }
    if !nix::unistd::Uid::effective().is_root() {
        println!(
            "skipped: sshd is started as root here, for its separate processes and other users"
        );
        return false;
    }
    let _ = fs::create_dir_all("/run/sshd");
    true
}

/// Runs a program to its end.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// A key pair at a path.
pub fn keygen(path: &Path, kind: &str, passphrase: &str) -> String {
    let bits = if kind == "rsa" { "2048" } else { "256" };
    run(
        "ssh-keygen",
        &[
            "-q",
            "-t",
            kind,
            "-b",
            bits,
            "-N",
            passphrase,
            "-C",
            "test",
            "-f",
            path.to_str().unwrap(),
        ],
    );
    public(path)
}

/// `type base64` of a key pair.
pub fn public(path: &Path) -> String {
    let text = fs::read_to_string(path.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A running sshd.
pub struct Sshd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Sshd {
    /// Starts a server with these kinds of host keys and additional configuration.
    pub fn start(kinds: &[&str], more: &str) -> Self {
        Self::start_with(kinds, |_| more.to_owned())
    }

    /// The same, with lines that need to know the directory.
    pub fn start_with(kinds: &[&str], more: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| dir.path().join(name);
        kinds
            .iter()
            .for_each(|kind| drop(keygen(&at(kind), kind, "")));
        let mut config = more(dir.path());
        for kind in kinds {
            config.push_str(&format!("\nHostKey {}", at(kind).display()));
        }
        if !at("id").exists() {
            keygen(&at("id"), "ed25519", "");
        }
        fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        let port = free_port();
        config.push_str(&format!(
            "\nPort {port}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nAuthorizedKeysFile {}\n",
            at("authorized_keys").display()
        ));
        fs::write(at("sshd_config"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", at("sshd_config").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self { dir, port, child };
        sshd.wait();
        sshd
    }

    fn wait(&self) {
        let start = Instant::now();
        while !self.log().contains("Server listening") {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "sshd did not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends the processes that serve connections a signal.
    pub fn signal_connections(&self, signal: &str) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        for child in children.split_whitespace() {
            run("kill", &[signal, child]);
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// The host key of a kind, as `type base64`.
    pub fn key(&self, kind: &str) -> String {
        public(&self.at(kind))
    }

    /// A known_hosts file with these lines.
    pub fn known(&self, lines: &str) -> PathBuf {
        let path = self.at("known_hosts");
        fs::write(&path, lines).unwrap();
        path
    }

    /// A known_hosts file with the correct record of a key.
    pub fn known_right(&self, kind: &str) -> PathBuf {
        self.known(&format!("[127.0.0.1]:{} {}\n", self.port, self.key(kind)))
    }

    /// Settings for this server: its user key, `known_hosts` in its directory.
    pub fn host(&self) -> HostSettings {
        HostSettings {
            dial: "127.0.0.1".to_owned(),
            port: Some(self.port),
            user: Some("root".to_owned()),
            identity_files: vec![self.at("id")],
            known_hosts_files: Some(vec![self.at("known_hosts")]),
            ..HostSettings::new(HostName::new("m1").unwrap())
        }
    }

    /// OpenSSH's own client: its exit status and its standard error.
    pub fn openssh(&self, name: &str, known: &Path, options: &[&str]) -> (Option<i32>, String) {
        let mut settings = vec![
            format!("UserKnownHostsFile={}", known.display()),
            format!("IdentityFile={}", self.at("id").display()),
        ];
        settings.extend(
            [
                "GlobalKnownHostsFile=/dev/null",
                "IdentitiesOnly=yes",
                "IdentityAgent=none",
                "BatchMode=yes",
                "ConnectTimeout=10",
            ]
            .map(str::to_owned),
        );
        settings.extend(options.iter().map(|o| (*o).to_owned()));
        let mut command = Command::new("ssh");
        if !options.iter().any(|o| o.starts_with("-F")) {
            command.args(["-F", "none"]);
        }
        for option in &settings {
            match option.strip_prefix("-F") {
                Some(file) => command.args(["-F", file]),
                None => command.args(["-o", option]),
            };
        }
        let out = command
            .args([
                "-T",
                "-l",
                "root",
                "-p",
                &self.port.to_string(),
                name,
                "true",
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    }

    pub async fn connect(&self) -> Result<Arc<dyn Session>, TransportError> {
        connector(settings()).connect(&self.host()).await
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<_> = log.lines().rev().take(12).collect();
            println!(
                "--- sshd said last:\n{}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}

/// Settings that do not depend on the machine.
pub fn settings() -> SshOptions {
    SshOptions {
        config_files: Some(Vec::new()),
        home: Some("/nonexistent".into()),
        agent_socket: Some("/nonexistent/agent".into()),
        ..SshOptions::default()
    }
}

pub fn connector(settings: SshOptions) -> Connector {
    Connector::new(settings, Arc::new(AskNobody))
}

/// A command with generous limits.
pub fn command(line: &str) -> Exec {
    Exec {
        command: line.to_owned(),
        stdin: Bytes::new(),
        privileged: false,
        deadline: Duration::from_secs(20),
        max_output: 1 << 20,
    }
}

/// Standard output of a command that must succeed.
pub async fn stdout(session: &dyn Session, line: &str) -> String {
    let out = session.exec(command(line)).await.unwrap();
    assert_eq!(out.status, 0, "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
