//! The session over SSH.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use russh::{Channel, ChannelOpenFailure, Disconnect, client::Handle, client::Msg};
use tokio::{
    sync::{OnceCell, oneshot},
    time::timeout,
};

use super::{
    BoxStream, Cost, Exec, ExecOutput, PrivilegeMode, Session, Target, TransportError,
    ask::Asked,
    exec::{self, Job},
    gate::{Gate, Permit},
    handler::{Guard, Watch, shown},
    privilege::{Found, NO_WAY, PROBE, Way, at_once},
    stream::{self, Kind},
};
use crate::spec::HostName;

/// Commands of the transport's own answer with a few lines.
const PROBE_OUTPUT: usize = 64 * 1024;

/// How often, and after what time, a channel is asked for again that was refused although fewer are open than once were.
const TRIES: u32 = 25;
const FREED: std::time::Duration = std::time::Duration::from_millis(20);

/// What channels need; tasks that own a channel hold it too.
pub(super) struct Link {
    handle: Handle<Guard>,
    watch: Watch,
    gate: Gate,
    /// Keeps the connection to the jump host open.
    _through: Option<Arc<Link>>,
}

impl Link {
    pub(super) fn new(
        handle: Handle<Guard>,
        watch: Watch,
        session_channels: usize,
        through: Option<Arc<Link>>,
    ) -> Self {
        Self {
            handle,
            watch,
            gate: Gate::new(session_channels),
            _through: through,
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// A TCP stream from this host to the next hop.
    pub(super) async fn hop(&self, host: &str, port: u16) -> Result<Channel<Msg>, TransportError> {
        let what = format!("a way to {host}:{port}");
        self.handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)
            .await
            .map_err(|e| self.refused(&what, &e))
    }

    /// A session channel, with its place. Waits for a place, and waits again when the server allows fewer than we do.
    async fn session(&self, what: &str) -> Result<(Channel<Msg>, Permit), TransportError> {
        let mut tries = 0;
        loop {
            let mut permit = self.gate.enter().await;
            match self.handle.channel_open_session().await {
                Ok(channel) => {
                    permit.opened();
                    return Ok((channel, permit));
                }
                Err(russh::Error::ChannelOpenFailure(_)) if self.gate.refused() => {
                    tracing::debug!(
                        limit = self.gate.limit(),
                        "the host allows fewer session channels"
                    );
                }
                // the host frees a place a moment after it has said that a command ended
                Err(russh::Error::ChannelOpenFailure(_)) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(FREED * tries).await;
                }
                Err(e) => return Err(self.refused(what, &e)),
            }
        }
    }

    fn lost(&self) -> String {
        self.watch
            .ended()
            .unwrap_or_else(|| "the connection ended".to_owned())
    }

    fn refused(&self, what: &str, error: &russh::Error) -> TransportError {
        match error {
            russh::Error::ChannelOpenFailure(reason) => {
                let why = match reason {
                    ChannelOpenFailure::AdministrativelyProhibited => {
                        "the host forbids it (AllowTcpForwarding, AllowStreamLocalForwarding)"
                    }
                    ChannelOpenFailure::ConnectFailed => {
                        "the host could not: nothing listens there, or it forbids it"
                    }
                    ChannelOpenFailure::ResourceShortage => "the host is short of resources",
                    _ => "the host does not know this kind of channel",
                };
                TransportError::Refused {
                    what: what.to_owned(),
                    why: why.to_owned(),
                }
            }
            _ if self.closed() => TransportError::Lost(self.lost()),
            other => TransportError::Refused {
                what: what.to_owned(),
                why: shown(&other.to_string()),
            },
        }
    }
}

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
    counters: Counters,
    mode: PrivilegeMode,
    /// A refusal is remembered too: asking sudo again and again would lock the account.
    way: OnceCell<Result<Way, TransportError>>,
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
        job: Job,
        limit: std::time::Duration,
        what: &str,
    ) -> Result<ExecOutput, TransportError> {
        self.counters.execs.fetch_add(1, Ordering::Relaxed);
        let (keep, cancel) = oneshot::channel();
        let (answer, wait) = oneshot::channel();
        let link = self.link.clone();
        let name = what.to_owned();
        // The task outlives a caller that gives up: a channel whose opening is under way must be closed once it is there.
        tokio::spawn(async move {
            let result = match link.session(&name).await {
                Ok((channel, _permit)) => exec::run(channel, job, cancel, || link.lost()).await,
                Err(e) => Err(e),
            };
            let _ = answer.send(result);
        });
        let result = timeout(limit, wait).await;
        drop(keep);
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(TransportError::Lost(self.link.lost())),
            Err(_) if self.link.closed() => Err(TransportError::Lost(self.link.lost())),
            Err(_) => Err(TransportError::Deadline {
                what: what.to_owned(),
                limit,
            }),
        }
    }

    /// How root is had, found out once.
    async fn way(&self) -> Result<&Way, TransportError> {
        let settled = self.way.get_or_try_init(|| async {
            match self.find_way().await {
                Err(e @ TransportError::Privilege { .. }) => Ok(Err(e)),
                other => other.map(Ok),
            }
        });
        settled.await?.as_ref().map_err(Clone::clone)
    }

    async fn find_way(&self) -> Result<Way, TransportError> {
        let job = Job {
            command: PROBE.to_owned(),
            stdin: Bytes::new(),
            max_output: PROBE_OUTPUT,
        };
        let answer = self
            .run(job, self.probe_limit, "ask how to become root")
            .await?;
        let Some(found) = Found::parse(&answer.stdout) else {
            let said = shown(&String::from_utf8_lossy(&answer.stderr));
            return Err(TransportError::Command(format!(
                "unexpected answer to `id -u`; the login shell said {said:?}"
            )));
        };
        match found.choose(self.mode, &self.user)? {
            Some(way) => Ok(way),
            None => self.sudo_password().await,
        }
    }

    /// Asks for the password once per run and proves it with exactly one attempt.
    async fn sudo_password(&self) -> Result<Way, TransportError> {
        let refused = |why: String| TransportError::Privilege {
            user: self.user.clone(),
            why,
            hints: vec![format!(
                "allow sudo without password: {} ALL=(root) NOPASSWD: ALL",
                self.user
            )],
        };
        let question = format!("sudo password of {} (first for {}): ", self.user, self.name);
        let Some(password) = self
            .asked
            .once(&format!("sudo {}", self.user), &question)
            .await
        else {
            return Err(refused(
                "sudo wants a password and nobody can be asked".to_owned(),
            ));
        };
        // end of file after the password: sudo has nothing to try a second time with
        let stdin = Bytes::from(format!("{}\n", password.expose()));
        let job = Job {
            command: "sudo -S -k -p '' -- sh -c :".to_owned(),
            stdin,
            max_output: PROBE_OUTPUT,
        };
        let answer = self
            .run(job, self.probe_limit, "try sudo with a password")
            .await?;
        if answer.status == 0 {
            return Ok(Way::SudoPassword(password));
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
        let wrapped = self.way().await?.wrap(&command);
        Ok((wrapped.command, wrapped.preface))
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
        tokio::spawn(async move {
            match link.session("a stream").await {
                Ok((channel, _permit)) => {
                    if channel.exec(true, command).await.is_err() {
                        let _ = opened.send(Err(TransportError::Lost(link.lost())));
                        return;
                    }
                    let _ = opened.send(Ok(()));
                    far.run(channel, Kind::Command(preface.into()), || link.lost())
                        .await;
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
            Target::Command { .. } => "a stream".to_owned(),
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
                Target::Command { .. } => Err(russh::Error::WrongChannel),
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

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        if exec.privileged && self.mode == PrivilegeMode::Auto && self.way.get().is_none() {
            let job = Job {
                command: at_once(&exec.command),
                stdin: exec.stdin.clone(),
                max_output: exec.max_output,
            };
            let output = self.run(job, exec.deadline, "run a command").await?;
            if output.status != NO_WAY {
                return Ok(output);
            }
        }
        let (command, preface) = self.wrap(exec.command, exec.privileged).await?;
        let stdin = if preface.is_empty() {
            exec.stdin
        } else {
            let mut all = BytesMut::from(preface.as_bytes());
            all.extend_from_slice(&exec.stdin);
            all.freeze()
        };
        self.run(
            Job {
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
            target => self.socket_stream(target).await,
        }
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.way().await.map(|_| ())
    }

    fn closed(&self) -> bool {
        self.link.closed()
    }

    fn cost(&self) -> Cost {
        Cost {
            connections: 1,
            execs: self.counters.execs.load(Ordering::Relaxed),
            streams: self.counters.streams.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        let _ = self
            .link
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await;
    }
}
