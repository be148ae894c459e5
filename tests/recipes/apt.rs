//! A package repository on loopback, and a recipe's script that installs from it as an ordinary
//! user.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use toots::playbook::Playbook;
use toots::spec::digest;

const HELPER: &str = "/usr/lib/apt/apt-helper";

/// What the operator sees of a failed build.
const SHOWN_LINES: usize = 20;

/// A key that signs.
pub struct Key {
    pub fingerprint: String,
    /// With which time it signs.
    time: Option<&'static str>,
}

/// A run of the script.
pub struct Run {
    pub success: bool,
    /// Both outputs.
    pub text: String,
    /// The calls of apt-get.
    pub calls: Vec<String>,
}

impl Run {
    /// Asserts that it failed, and that its last lines have these texts.
    pub fn refused(&self, texts: &[&str]) {
        let lines: Vec<&str> = self.text.lines().filter(|line| !line.is_empty()).collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        assert!(!self.success, "{}", self.text);
        for text in texts {
            assert!(shown.contains(text), "no {text:?} in:\n{shown}");
        }
    }

    pub fn updates(&self) -> usize {
        let is_update = |call: &&String| call.contains(" update ");
        self.calls.iter().filter(is_update).count()
    }
}

/// A distribution, a vendor's repository, and a root for apt.
pub struct Lab {
    folder: TempDir,
    pub address: String,
    is_over: Arc<AtomicBool>,
}

impl Lab {
    /// `None`, with a line that says so, where a tool is missing.
    pub fn new() -> Option<Self> {
        let exists = |program: &&str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program).exists())
        };
        for (program, package) in [
            ("gpg", "gnupg"),
            ("gpgconf", "gnupg"),
            ("apt-get", "apt"),
            ("dpkg-deb", "dpkg"),
        ] {
            if !exists(&program) {
                println!("skipped: {package} is not installed");
                return None;
            }
        }
        if !Path::new(HELPER).exists() {
            println!("skipped: {HELPER} is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for folder in ["gnupg", "script", "www/distribution", "www/vendor/pool"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        restrict(&root.join("gnupg"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        serve(listener, root.join("www"), Arc::clone(&is_over));
        let lab = Self {
            folder,
            address,
            is_over,
        };
        lab.set_up();
        Some(lab)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The distribution, apt's settings, and the recipe's files.
    fn set_up(&self) {
        let pool = self.path("www/distribution");
        for name in ["ca-certificates", "libcurl4", "libsasl2-modules"] {
            package(&pool, name, "1", "", &[]);
        }
        package(&pool, "libunwind8", "1", "", &[]);
        package(&pool, "libapr1", "1", "", &[]);
        let docker = "echo Docker version 26.1.3";
        package(&pool, "docker.io", "1", "", &[("docker", docker)]);
        self.list_distribution();

        fs::write(self.path("status"), "").unwrap();
        let settings = format!(
            "Dir \"{}\";\nDir::State::status \"{}\";\nDebug::NoLocking \"true\";\n\
             APT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\nAcquire::http::Proxy \"DIRECT\";\n\
             Acquire::Retries::Delay \"false\";\nAcquire::Languages \"none\";\n",
            self.path("apt").display(),
            self.path("status").display(),
        );
        fs::write(self.path("apt.conf"), settings).unwrap();
        let recipe = &Playbook::load(None).unwrap().recipes["mesos"];
        for (name, text) in &recipe.files {
            fs::write(self.path("script").join(name), text).unwrap();
        }
    }

    fn list_distribution(&self) {
        let pool = self.path("www/distribution");
        let list = packages(&pool, ".");
        fs::write(pool.join("Packages"), &list).unwrap();
        let release = release("distribution", &[("Packages", &list)]);
        fs::write(pool.join("Release"), release).unwrap();
    }

    /// Adds this version of a package to the distribution.
    pub fn distribute(&self, name: &str, version: &str, depends: &str) {
        let pool = self.path("www/distribution");
        package(&pool, name, version, depends, &[]);
        let file = pool.join(format!("{name}_{version}.deb"));
        fs::rename(pool.join(format!("{name}.deb")), file).unwrap();
        self.list_distribution();
    }

    /// Removes it.
    pub fn withdraw(&self, name: &str, version: &str) {
        let file = format!("www/distribution/{name}_{version}.deb");
        fs::remove_file(self.path(&file)).unwrap();
        self.list_distribution();
    }

    /// What a container of the builder has at its start.
    fn reset(&self) {
        for folder in ["unpacked", "apt"] {
            drop(fs::remove_dir_all(self.path(folder)));
        }
        for folder in [
            "unpacked",
            "apt/etc/apt/apt.conf.d",
            "apt/etc/apt/preferences.d",
            "apt/etc/apt/sources.list.d",
            "apt/var/lib/apt/lists/partial",
            "apt/var/cache/apt/archives/partial",
        ] {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        let source = format!("deb [trusted=yes] {}/distribution ./\n", self.address);
        fs::write(self.path("apt/etc/apt/sources.list"), source).unwrap();
        fs::write(self.path("calls"), "").unwrap();
    }

    fn gpg(&self, time: Option<&str>) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.path("gnupg"));
        gpg.args(["--batch", "--quiet", "--yes", "--passphrase", ""]);
        if let Some(time) = time {
            gpg.args(["--faked-system-time", time]);
        }
        gpg
    }

    pub fn key(&self, name: &str) -> Key {
        self.key_at(name, None, "never")
    }

    /// A key whose time is over: it was made at `time`.
    pub fn expired_key(&self) -> Key {
        self.key_at("expired", Some("20240101T000000!"), "2024-09-28")
    }

    fn key_at(&self, name: &str, time: Option<&'static str>, end: &str) -> Key {
        run(self
            .gpg(time)
            .args(["--pinentry-mode", "loopback", "--quick-generate-key", name])
            .args(["ed25519", "sign", end]));
        let list = run(self.gpg(time).args(["--with-colons", "--list-keys", name]));
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        Key {
            fingerprint: line.split(':').nth(9).unwrap().to_owned(),
            time,
        }
    }

    /// Revokes a key, with the certificate that every new key has.
    pub fn revoke(&self, key: &Key) {
        let path = format!("gnupg/openpgp-revocs.d/{}.rev", key.fingerprint);
        let text = fs::read_to_string(self.path(&path)).unwrap();
        // A colon keeps it from being imported by mistake.
        fs::write(self.path("revoked"), text.replace(":-----", "-----")).unwrap();
        run(self.gpg(None).arg("--import").arg(self.path("revoked")));
    }

    /// Serves these keys as one file.
    pub fn serve_keys(&self, keys: &[&Key]) {
        let mut gpg = self.gpg(None);
        gpg.args(["--armor", "--export"]);
        gpg.args(keys.iter().map(|key| &key.fingerprint));
        fs::write(self.path("www/key.asc"), run(&mut gpg)).unwrap();
    }

    /// Publishes the vendor's package, signed when there is a key.
    pub fn publish(&self, key: Option<&Key>) {
        self.publish_program(key, "echo Usage: mesos");
    }

    /// Publishes a package whose programs do this.
    pub fn publish_program(&self, key: Option<&Key>, program: &str) {
        let pool = self.path("www/vendor/pool");
        let programs = [("mesos-agent", program), ("mesos-master", program)];
        let version = "1.11.0-0.7.1.ubuntu2404";
        package(&pool, "aventer-mesos", version, "libapr1", &programs);
        let suite = self.path("www/vendor/dists/noble");
        let lists = suite.join("main/binary-amd64");
        fs::create_dir_all(&lists).unwrap();
        let list = packages(&pool, "pool");
        fs::write(lists.join("Packages"), &list).unwrap();
        let text = release("noble", &[("main/binary-amd64/Packages", &list)]);
        fs::write(suite.join("Release"), text).unwrap();
        if let Some(key) = key {
            run(self
                .gpg(key.time)
                .args(["--local-user", &key.fingerprint, "--clearsign", "--output"])
                .arg(suite.join("InRelease"))
                .arg(suite.join("Release")));
        }
    }

    /// The vendor's package.
    pub fn package_file(&self) -> PathBuf {
        self.path("www/vendor/pool/aventer-mesos.deb")
    }

    /// Runs the script with the recipe's arguments for this repository, and others.
    pub fn install(&self, key: &Key, others: &[(&str, &str)]) -> Run {
        self.reset();
        let recipe = &Playbook::load(None).unwrap().recipes["mesos"];
        let mut arguments: BTreeMap<&str, String> = recipe
            .arguments
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        arguments.insert("repository", format!("{}/vendor", self.address));
        arguments.insert("key", format!("{}/key.asc", self.address));
        arguments.insert("key_fingerprint", key.fingerprint.clone());
        arguments.extend(others.iter().map(|(name, value)| (*name, (*value).into())));
        let arguments = arguments
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        self.run("exec sh mesos.sh 2>&1", arguments.collect())
    }

    /// Runs packages.sh with these words.
    pub fn install_packages(&self, script: &str, wanted: &str, asked: Option<&str>) -> Run {
        self.reset();
        fs::write(self.path("script/packages.sh"), script).unwrap();
        let asked = asked.map(|asked| ("toots_packages", asked));
        let command = format!("exec sh packages.sh {wanted} 2>&1");
        self.run(&command, asked.into_iter().collect())
    }

    fn run(&self, command: &str, arguments: BTreeMap<&str, &str>) -> Run {
        let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes/bin");
        let unpacked = self.path("unpacked");
        let path = format!(
            "{programs}:{}:{}",
            unpacked.join("usr/bin").display(),
            std::env::var("PATH").unwrap()
        );
        let output = Command::new("sh")
            .arg("-c")
            .arg(command)
            .current_dir(self.path("script"))
            .env_remove("http_proxy")
            .env_remove("GNUPGHOME")
            .env("LC_ALL", "C")
            .env("PATH", path)
            .env("APT_CONFIG", self.path("apt.conf"))
            .env("unpacked", &unpacked)
            .env("calls", self.path("calls"))
            .envs(&arguments)
            .output()
            .unwrap();
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        Run {
            success: output.status.success(),
            text: String::from_utf8(output.stdout).unwrap(),
            calls: calls.lines().map(str::to_owned).collect(),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the server up.
        let _ = std::net::TcpStream::connect(self.address.trim_start_matches("http://"));
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.path("gnupg"))
            .args(["--kill", "gpg-agent"])
            .status();
    }
}

fn restrict(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Runs a command and returns what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Builds a package with these programs.
fn package(pool: &Path, name: &str, version: &str, depends: &str, programs: &[(&str, &str)]) {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    for folder in ["DEBIAN", "usr/bin"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    let depends = if depends.is_empty() {
        String::new()
    } else {
        format!("Depends: {depends}\n")
    };
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\n{depends}\
         Maintainer: Nobody <nobody@example.com>\nDescription: a package of a test\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    for (name, text) in programs {
        let path = tree.join("usr/bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .arg(tree)
        .arg(pool.join(format!("{name}.deb"))));
}

/// The list of the packages in a folder, which has this path in the repository.
fn packages(pool: &Path, path: &str) -> String {
    let files = fs::read_dir(pool)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "deb"));
    files
        .map(|file| {
            let content = fs::read(&file).unwrap();
            let control = run(Command::new("dpkg-deb").arg("--field").arg(&file));
            let name = file.file_name().unwrap().to_str().unwrap();
            format!(
                "{control}Filename: {path}/{name}\nSize: {}\nSHA256: {}\n\n",
                content.len(),
                digest(&content)
            )
        })
        .collect()
}

fn release(suite: &str, lists: &[(&str, &str)]) -> String {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC");
    let lists: String = lists
        .iter()
        .map(|(path, text)| format!(" {} {} {path}\n", digest(text.as_bytes()), text.len()))
        .collect();
    format!(
        "Origin: test\nSuite: {suite}\nCodename: {suite}\nDate: {date}\n\
         Architectures: amd64 all\nComponents: main\nSHA256:\n{lists}"
    )
}

/// Answers each request with a file, one request a connection.
fn serve(listener: TcpListener, folder: PathBuf, is_over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let (Ok(mut stream), folder) = (stream, folder.clone()) else {
                continue;
            };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                let first = lines.next()?.ok()?;
                lines
                    .find(|line| line.as_ref().is_ok_and(String::is_empty))?
                    .ok()?;
                let path = first.split(' ').nth(1)?.trim_start_matches('/');
                let (status, body) = match fs::read(folder.join(path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).ok()?;
                stream.write_all(&body).ok()
            });
        }
    });
}
