//! A real Engine for sequences: a dockerd in namespaces of this machine, with its own data and its own
//! image, which end with the test. It needs root and the program, and nothing of the lab.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::docker::{self, Payload};
use crate::namespaces::Namespaces;
use crate::sequences::Client;

/// Starts the Engine. $1: its folder, which is seen from outside. Its containers' cgroups are the
/// machine's: those of a test that was killed are removed by the next one. The machine's own
/// configuration may name another socket.
const PREPARE: &str = r#"
mkdir "$1/data"
mount -t tmpfs tmpfs "$1/data"
find /sys/fs/cgroup -depth -type d -path '*/toots-world/*' -exec rmdir {} + 2> /dev/null || true
echo '{}' > "$1/daemon.json"
{ PATH=$PATH:/usr/sbin:/sbin dockerd --host "unix://$1/docker.sock" --group 0 --config-file "$1/daemon.json" \
  --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid --cgroup-parent /toots-world \
  --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
  : > "$1/ended"; } > "$1/log" 2>&1 < /dev/null &"#;

/// How long an Engine may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_INTERVAL: Duration = Duration::from_millis(100);

/// The programs of the image. What a shell of Debian does was recorded.
const PROGRAMS: [&str; 2] = ["/bin/sh", "/bin/sleep"];

pub struct OwnEngine {
    _namespaces: Namespaces,
    folder: TempDir,
}

impl OwnEngine {
    /// Starts an Engine that has this image. An error says why there can be none here.
    pub async fn start(image: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let path = folder.path().to_str().ok_or("a folder without a name")?;
        let engine = Self {
            _namespaces: Namespaces::start(PREPARE, &[path]).await?,
            folder,
        };
        engine.wait_for_start().await?;
        engine.import(image).await?;
        Ok(engine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn wait_for_start(&self) -> Result<(), String> {
        let began = Instant::now();
        while UnixStream::connect(self.path("docker.sock")).await.is_err() {
            if self.path("ended").exists() || began.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
                let why = log.trim_end().lines().next_back().unwrap_or("no answer");
                return Err(format!("no dockerd runs in namespaces: {why}"));
            }
            tokio::time::sleep(START_INTERVAL).await;
        }
        Ok(())
    }

    /// Gives it an image with the machine's own shell: no registry is needed.
    async fn import(&self, image: &str) -> Result<(), String> {
        let (repository, tag) = image.split_once(':').unwrap_or((image, "latest"));
        let uri = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        let files = Payload::Tar(shell_files().await?);
        let (status, body) = self.send("POST", &uri, files).await;
        let answer = String::from_utf8_lossy(&body);
        assert!(status == 200 && !answer.contains("error"), "{answer}");
        Ok(())
    }

    pub async fn version(&self) -> String {
        let (status, body) = self.send("GET", "/version", Payload::None).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let version: Value = serde_json::from_slice(&body).expect("JSON");
        version["Version"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client for OwnEngine {
    const PAUSE: Duration = Duration::from_millis(60);

    async fn send(&self, method: &str, uri: &str, payload: Payload) -> (u16, Vec<u8>) {
        let stream = UnixStream::connect(self.path("docker.sock")).await;
        let sent = docker::request(stream.expect("an Engine"), method, uri, payload);
        sent.await.expect("an answer")
    }
}

/// An archive of the programs, and of the libraries that they load.
async fn shell_files() -> Result<Vec<u8>, String> {
    let listed = Command::new("ldd").args(PROGRAMS).output().await;
    // A program that loads none is an error to it.
    let listed = listed.map_err(|why| format!("ldd: {why}"))?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let words = listed.split_whitespace();
    let libraries = words.filter(|word| word.starts_with('/') && !word.ends_with(':'));
    let paths: BTreeSet<&str> = libraries.chain(PROGRAMS).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for path in paths {
        let bytes = std::fs::read(path).map_err(|why| format!("{path}: {why}"))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        let inside = Path::new(path).strip_prefix("/").expect("a path");
        let appended = tar.append_data(&mut header, inside, bytes.as_slice());
        appended.map_err(|why| why.to_string())?;
    }
    tar.into_inner().map_err(|why| why.to_string())
}
