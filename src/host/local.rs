//! This machine as a host: what SSH would run there runs here, in the local shell. Compiled for tests
//! only.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::ssh::SshHost;
use crate::spec::HostName;
use crate::transport::{BoxStream, Cost, Exec, ExecOutput, Session, Target, TransportError};

/// This machine, with another search path where one is given.
pub(crate) fn local_host(path: Option<String>) -> SshHost {
    SshHost::over(Arc::new(LocalSession {
        host: HostName::new("m1").unwrap(),
        path,
        closed: AtomicBool::new(false),
    }))
}

/// Runs commands on this machine. Dropping a stream closes its standard input, as a closed channel
/// does.
struct LocalSession {
    host: HostName,
    path: Option<String>,
    closed: AtomicBool,
}

impl LocalSession {
    fn start(&self, command: &str) -> Child {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.path {
            shell.env("PATH", path);
        }
        shell.spawn().unwrap()
    }
}

#[async_trait]
impl Session for LocalSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        let mut child = self.start(&exec.command);
        let mut stdin = child.stdin.take().unwrap();
        // A command may end without reading it.
        let sent = tokio::spawn(async move { stdin.write_all(&exec.stdin).await });
        let output = child.wait_with_output().await.unwrap();
        drop(sent.await);
        Ok(ExecOutput {
            status: u32::try_from(output.status.code().unwrap()).unwrap(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        let (Target::Companion { command, .. } | Target::Command { command, .. }) = target else {
            return Err(TransportError::Settings("unexpected".into()));
        };
        let mut child = self.start(&command);
        let stream = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
        tokio::spawn(async move { child.wait().await });
        Ok(Box::new(stream))
    }

    fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}
