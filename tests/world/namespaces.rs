//! Namespaces of this machine, in which real programs show what the world must do. They end with the
//! test: what is done there leaves nothing on the machine.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Their own mounts, network and processes, before a test's own script. A program that changes the
/// network may run only where the network is not the machine's: a dockerd without a bridge deletes
/// the docker0 that it finds. $1: the machine's network.
const BEGIN: &str = r#"set -e
[ "$(readlink /proc/self/ns/net)" != "$1" ] || { echo 'the network is shared' >&2; exit 1; }
shift
mount --make-rprivate /
mount -t tmpfs tmpfs /run
ip link set lo up
"#;

/// Keeps the namespaces until the test ends, however it does.
const KEEP: &str = "\necho ready\nexec cat";

/// How long a script may take.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Namespaces {
    /// Ends them when it is dropped.
    _root: Child,
    /// The first process inside.
    pid: String,
}

impl Namespaces {
    /// Makes namespaces and runs a script in them, with an empty /run. An error says why that is
    /// impossible here.
    pub async fn start(script: &str, args: &[&str]) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("namespaces need root".to_owned());
        }
        let network = std::fs::read_link("/proc/self/ns/net").map_err(|why| why.to_string())?;
        let mut root = Command::new("unshare")
            .args(["-m", "-n", "-p", "-f", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", &format!("{BEGIN}{script}{KEEP}"), "sh"])
            .arg(network)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| format!("unshare: {why}"))?;
        let output = root.stdout.take().expect("an output");
        let mut line = String::new();
        let mut lines = BufReader::new(output);
        let read = tokio::time::timeout(LIMIT, lines.read_line(&mut line)).await;
        if line != "ready\n" {
            drop(read);
            drop(root.start_kill());
            let mut why = String::new();
            let errors = root.stderr.as_mut().expect("an output");
            drop(errors.read_to_string(&mut why).await);
            let why = why.trim_end().replace('\n', "; ");
            return Err(format!("namespaces are impossible: {why}"));
        }
        let pid = child_of(root.id().unwrap_or_default());
        Ok(Self {
            pid: pid.ok_or("unshare has no child")?,
            _root: root,
        })
    }

    /// The words before a command that runs inside.
    pub fn enter(&self) -> Vec<String> {
        let words = ["nsenter", "-t", &self.pid, "-m", "-n", "-p", "--"];
        words.map(str::to_owned).into()
    }
}

/// The process that a process started.
fn child_of(pid: u32) -> Option<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(Path::new(&path)).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}
