//! A session over SSH.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use super::ask::Asked;
use super::handler::shown;
use super::link::Link;
use super::privilege::{Elevation, Found, NOT_ROOT_STATUS, PROBE, wrap_first_command};
use super::shell::{
    Attach, CommandTask, GROW_INTERVAL, Launch, QueuedCommand, ShellPool, limit_on_host,
};
use super::stream::{self, Kind};
use super::{BoxStream, Cost, Exec, ExecOutput, PrivilegeMode, Session, Target, TransportError};
use crate::spec::HostName;

/// What a companion may have said before it is read.
const MAX_COMPANION_BYTES: usize = 16 * 1024;
/// The transport's own commands answer with a few lines.
const MAX_PROBE_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Counters {
    execs: AtomicU32,
    streams: AtomicU32,
}

/// One authenticated connection.
pub(super) struct SshSession {
    name: HostName,
    user: String,
    link: Arc<Link>,
    shells: Arc<ShellPool>,
    counters: Counters,
    mode: PrivilegeMode,
    /// A refusal is cached too: repeated sudo attempts would lock the account.
    way: OnceCell<Result<Elevation, TransportError>>,
    asked: Arc<Asked>,
    probe_limit: std::time::Duration,
}

impl SshSession {
    pub(super) fn new(
        name: HostName,
        user: String,
        link: Arc<Link>,
        mode: PrivilegeMode,
        asked: Arc<Asked>,
        probe_limit: std::time::Duration,
    ) -> Self {
        Self {
            name,
            user,
            shells: Arc::new(ShellPool::new(link.clone())),
            link,
            counters: Counters::default(),
            mode,
            way: OnceCell::new(),
            asked,
            probe_limit,
        }
    }

    /// Runs a command that is ready to be sent.
    async fn run(
        &self,
        job: CommandTask,
        limit: std::time::Duration,
        what: &str,
    ) -> Result<ExecOutput, TransportError> {
        self.counters.execs.fetch_add(1, Ordering::Relaxed);
        let (answer, mut wait) = oneshot::channel();
        self.shells.submit(QueuedCommand { task: job, answer });
        let answered = async {
            loop {
                match timeout(GROW_INTERVAL, &mut wait).await {
                    Ok(answer) => return answer,
                    Err(_) => self.shells.grow(),
                }
            }
        };
        match timeout(limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TransportError::Lost(self.link.lost())),
            Err(_) if self.link.closed() => Err(TransportError::Lost(self.link.lost())),
            Err(_) if self.shells.is_starting() => Err(TransportError::Deadline {
                what: "start the login shell".to_owned(),
                limit,
            }),
            Err(_) => Err(TransportError::Deadline {
                what: what.to_owned(),
                limit,
            }),
        }
    }

    /// The way to root, determined once.
    async fn way(&self) -> Result<&Elevation, TransportError> {
        let settled = self.way.get_or_try_init(|| async {
            match self.find_way().await {
                Err(e @ TransportError::Privilege { .. }) => Ok(Err(e)),
                other => other.map(Ok),
            }
        });
        settled.await?.as_ref().map_err(Clone::clone)
    }

    async fn find_way(&self) -> Result<Elevation, TransportError> {
        let job = CommandTask {
            command: PROBE.to_owned(),
            stdin: Bytes::new(),
            max_output: MAX_PROBE_BYTES,
        };
        let answer = self
            .run(job, self.probe_limit, "ask how to become root")
            .await?;
        let Some(found) = Found::parse(&answer.stdout) else {
            let said = shown(&String::from_utf8_lossy(&answer.stderr));
            return Err(TransportError::Command(format!(
                "unexpected answer to `id -u`; the login shell printed {said:?}"
            )));
        };
        match found.choose(self.mode, &self.user)? {
            Some(way) => Ok(way),
            None => self.sudo_password().await,
        }
    }

    /// Prompts for the password once per run and proves it with exactly one attempt.
    async fn sudo_password(&self) -> Result<Elevation, TransportError> {
        let refused = |why: String| TransportError::Privilege {
            user: self.user.clone(),
            why,
            hints: vec![
                format!(
                    "allow sudo without password: {} ALL=(root) NOPASSWD: ALL",
                    self.user
                )
                .into(),
            ],
        };
        let question = format!("sudo password of {} (first for {}): ", self.user, self.name);
        let Some(password) = self
            .asked
            .once(&format!("sudo {}", self.user), &question)
            .await
        else {
            return Err(refused(
                "sudo needs a password and there is no terminal to ask".to_owned(),
            ));
        };
        // End of file after the password: sudo has nothing to try a second time with.
        let stdin = Bytes::from(format!("{}\n", password.expose()));
        let job = CommandTask {
            command: "sudo -S -k -p '' -- sh -c :".to_owned(),
            stdin,
            max_output: MAX_PROBE_BYTES,
        };
        let answer = self
            .run(job, self.probe_limit, "try sudo with a password")
            .await?;
        if answer.status == 0 {
            return Ok(Elevation::SudoPassword(password));
        }
        Err(refused(format!(
            "sudo refused the password: {:?}",
            shown(&String::from_utf8_lossy(&answer.stderr))
        )))
    }

    async fn wrap(
        &self,
        command: String,
        privileged: bool,
    ) -> Result<(String, String), TransportError> {
        if !privileged {
            return Ok((command, String::new()));
        }
        let way = self.way().await?;
        let wrapped = way.wrap(&command);
        // Without `exec`, a shell of the login user could be ended and leave the command behind.
        let command = match way {
            Elevation::Root => wrapped.command,
            _ => format!("exec {}", wrapped.command),
        };
        Ok((command, wrapped.preface))
    }

    /// Starts a command beside the others.
    async fn companion(
        &self,
        command: String,
        privileged: bool,
    ) -> Result<BoxStream, TransportError> {
        let (command, preface) = self.wrap(command, privileged).await?;
        let (near, pipe) = tokio::io::duplex(MAX_COMPANION_BYTES);
        let (started, wait) = oneshot::channel();
        self.shells.attach(Attach {
            command,
            preface,
            pipe,
            started,
        });
        self.opened(wait, "a companion").await?;
        Ok(Box::new(near))
    }

    async fn command_stream(
        &self,
        command: String,
        privileged: bool,
    ) -> Result<BoxStream, TransportError> {
        let (command, preface) = self.wrap(command, privileged).await?;
        let (near, far) = stream::pair();
        let (opened, wait) = oneshot::channel();
        let link = self.link.clone();
        self.shells.first_opened().await;
        let shells = self.shells.clone();
        tokio::spawn(async move {
            let mut opened = opened;
            let session = tokio::select! {
                session = link.session_beside_shell("a stream") => session,
                () = opened.closed() => return,
            };
            match session {
                Ok((channel, _permit)) => {
                    shells.count_login_shell();
                    let launch = Launch::new(&command);
                    if channel.exec(true, launch.line.as_str()).await.is_err() {
                        let _ = opened.send(Err(TransportError::Lost(link.lost())));
                        return;
                    }
                    let _ = opened.send(Ok(()));
                    let kind = Kind::Command {
                        preface: (launch.preface + &preface).into(),
                        mark: launch.mark,
                    };
                    far.run(channel, kind, || link.lost()).await;
                }
                Err(e) => drop(opened.send(Err(e))),
            }
        });
        self.opened(wait, "a stream").await?;
        Ok(Box::new(near))
    }

    async fn socket_stream(&self, target: Target) -> Result<BoxStream, TransportError> {
        let (near, far) = stream::pair();
        let (opened, wait) = oneshot::channel();
        let link = self.link.clone();
        let what = match &target {
            Target::Tcp { address, port } => format!("{address}:{port}"),
            Target::Unix { path } => path.clone(),
            Target::Command { .. } | Target::Companion { .. } => "a stream".to_owned(),
        };
        let name = what.clone();
        tokio::spawn(async move {
            let channel = match &target {
                Target::Tcp { address, port } => {
                    link.handle
                        .channel_open_direct_tcpip(
                            address.clone(),
                            u32::from(*port),
                            "127.0.0.1",
                            0,
                        )
                        .await
                }
                Target::Unix { path } => {
                    link.handle
                        .channel_open_direct_streamlocal(path.clone())
                        .await
                }
                Target::Command { .. } | Target::Companion { .. } => {
                    Err(russh::Error::WrongChannel)
                }
            };
            match channel {
                Ok(channel) => {
                    let _ = opened.send(Ok(()));
                    far.run(channel, Kind::Socket, || link.lost()).await;
                }
                Err(e) => drop(opened.send(Err(link.refused(&name, &e)))),
            }
        });
        self.opened(wait, &what).await?;
        Ok(Box::new(near))
    }

    async fn opened(
        &self,
        wait: oneshot::Receiver<Result<(), TransportError>>,
        what: &str,
    ) -> Result<(), TransportError> {
        match timeout(self.probe_limit, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TransportError::Lost(self.link.lost())),
            Err(_) => Err(TransportError::Deadline {
                what: format!("open {what}"),
                limit: self.probe_limit,
            }),
        }
    }
}

#[async_trait]
impl Session for SshSession {
    fn host(&self) -> &HostName {
        &self.name
    }

    async fn exec(&self, mut exec: Exec) -> Result<ExecOutput, TransportError> {
        exec.command = limit_on_host(&exec.command, exec.deadline);
        if exec.privileged && self.mode == PrivilegeMode::Auto && self.way.get().is_none() {
            let job = CommandTask {
                command: wrap_first_command(&exec.command),
                stdin: exec.stdin.clone(),
                max_output: exec.max_output,
            };
            let output = self.run(job, exec.deadline, "run a command").await?;
            if output.status != NOT_ROOT_STATUS {
                return Ok(output);
            }
        }
        let (command, preface) = self.wrap(exec.command, exec.privileged).await?;
        let stdin = if preface.is_empty() {
            exec.stdin
        } else {
            let mut input = BytesMut::from(preface.as_bytes());
            input.extend_from_slice(&exec.stdin);
            input.freeze()
        };
        self.run(
            CommandTask {
                command,
                stdin,
                max_output: exec.max_output,
            },
            exec.deadline,
            "run a command",
        )
        .await
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        self.counters.streams.fetch_add(1, Ordering::Relaxed);
        match target {
            Target::Command {
                command,
                privileged,
            } => self.command_stream(command, privileged).await,
            Target::Companion {
                command,
                privileged,
            } => self.companion(command, privileged).await,
            target => self.socket_stream(target).await,
        }
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.way().await.map(|_| ())
    }

    fn slow_login(&self) -> Option<std::time::Duration> {
        self.shells.slow_login()
    }

    fn closed(&self) -> bool {
        self.link.closed()
    }

    fn cost(&self) -> Cost {
        Cost {
            connections: 1,
            login_shells: self.shells.started(),
            execs: self.counters.execs.load(Ordering::Relaxed),
            streams: self.counters.streams.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        self.link.disconnect().await;
    }
}

impl Drop for SshSession {
    fn drop(&mut self) {
        self.shells.close();
    }
}
