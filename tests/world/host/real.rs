//! A real host for sequences: this machine in namespaces of its own, with its own `/etc`, `/run` and
//! `/srv`, which end with the test. What is done there leaves nothing on the machine.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use toots::host::{BoxStream, Cost, HostSession, SshHost, TransportError};
use toots::spec::HostName;
use toots::transport::{Exec, ExecOutput, Session, Target};

use super::sequences::{ComparedHost, ROOTS, without_time};
use crate::namespaces::Namespaces;

/// Gives the namespaces folders and an address of their own. $1: whether /etc/hosts is a mount.
const PREPARE: &str = r#"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t tmpfs tmpfs /srv
if [ "$1" = true ]; then
  : > /mnt/hosts
  mount --bind /mnt/hosts /etc/hosts
fi
ip addr add 10.9.8.7/24 dev lo"#;

/// Removes what a former sequence left.
const RESET: &str =
    "rm -rf \"$@\" && echo '127.0.0.1 localhost' > /etc/hosts && chmod 644 /etc/hosts";

/// Prints kind, mode, owner, path and content of everything.
const LIST: &str = r"find /etc/hosts $* \( -type f -printf '%y %m %U:%G %p ' \
  -exec base64 -w 0 {} \; -printf '\n' -o -type d -printf '%y %m %U:%G %p\n' \) 2>/dev/null";

pub struct RealHost {
    namespaces: Namespaces,
    sessions: [Arc<dyn HostSession>; 2],
}

impl RealHost {
    /// An error says why namespaces cannot be made.
    pub async fn start(hosts_is_mount: bool) -> Result<Self, String> {
        let namespaces = Namespaces::start(PREPARE, &[&hosts_is_mount.to_string()]).await?;
        let session = || -> Arc<dyn HostSession> {
            Arc::new(SshHost::over(Arc::new(NamespaceSession {
                host: HostName::new("m1").unwrap(),
                inside: namespaces.enter(),
            })))
        };
        Ok(Self {
            sessions: [session(), session()],
            namespaces,
        })
    }

    async fn run(&self, script: &str) -> Vec<u8> {
        let inside = self.namespaces.enter();
        let output = Command::new(&inside[0])
            .args(&inside[1..])
            .args(["sh", "-c", script, "sh"])
            .args(ROOTS)
            .output()
            .await;
        output.expect("a command").stdout
    }

    pub async fn reset(&self) {
        self.run(RESET).await;
    }
}

impl ComparedHost for RealHost {
    fn session(&self, second: bool) -> &Arc<dyn HostSession> {
        &self.sessions[usize::from(second)]
    }

    async fn files(&self) -> Vec<String> {
        use base64::Engine as _;
        let text = String::from_utf8(self.run(LIST).await).expect("text");
        let line = |line: &str| {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            match words[..] {
                [kind, mode, owner, path, content] => {
                    let content = base64::engine::general_purpose::STANDARD.decode(content);
                    let content = String::from_utf8(content.expect("base64")).expect("text");
                    let content = without_time(&content);
                    format!("{path} {kind} {mode} {owner} {content:?}")
                }
                [kind, mode, owner, path] => format!("{path} {kind} {mode} {owner}"),
                _ => panic!("{line:?}"),
            }
        };
        let mut lines: Vec<String> = text.lines().map(line).collect();
        lines.sort();
        lines
    }
}

/// Runs commands in the namespaces. Dropping a stream closes the command's input.
struct NamespaceSession {
    host: HostName,
    inside: Vec<String>,
}

impl NamespaceSession {
    fn start(&self, command: &str) -> Child {
        Command::new(&self.inside[0])
            .args(&self.inside[1..])
            .args(["sh", "-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a command")
    }
}

/// A command's input, which ends when it is shut down; that of tokio ends when it is dropped.
struct CommandInput(Option<ChildStdin>);

impl AsyncWrite for CommandInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(input) => Pin::new(input).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Session for NamespaceSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        let mut child = self.start(&exec.command);
        let mut stdin = child.stdin.take().expect("an input");
        // A command may end without reading it.
        let sent = tokio::spawn(async move { stdin.write_all(&exec.stdin).await });
        let output = child.wait_with_output().await.expect("an output");
        drop(sent.await);
        let status = output.status.code().expect("an exit status");
        Ok(ExecOutput {
            status: u32::try_from(status).expect("an exit status"),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        let Target::Companion { command, .. } = target else {
            return Err(TransportError::Settings("unexpected".into()));
        };
        let mut child = self.start(&command);
        let output = child.stdout.take().expect("an output");
        let stream = tokio::io::join(output, CommandInput(child.stdin.take()));
        let mut errors = child.stderr.take().expect("an output");
        tokio::spawn(async move {
            drop(errors.read_to_end(&mut Vec::new()).await);
            child.wait().await
        });
        Ok(Box::new(stream))
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {}
}
