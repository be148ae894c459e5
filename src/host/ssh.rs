//! Operations over SSH: each is rendered to its script and runs on a session of `transport`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::operation::{
    HostAnswer, Install, MoveAside, MovedFolder, Observe, Operation, OperationError, Place,
    ServiceState,
};
use super::session::{HoldLock, HostSession, LockAnswer, StreamTarget};
use super::{parse, place};
use crate::spec::{HostName, Package, Secret, shown};
use crate::transport::{
    BoxStream, Cost, Exec, ExecOutput, Session, Target, TransportError, assign_variables,
    perl_in_line, script_in_line, script_on_input, words,
};

/// A script as sent to hosts.
macro_rules! script {
    ($file:literal) => {
        include_str!(concat!("scripts/", $file))
    };
}

pub(super) const ADDRESSES: &str = script!("addresses.sh");
pub(super) const COMPOSE_HASHES: &str = script!("compose_hashes.sh");
pub(super) const DIAL_ENGINE: &str = script!("dial_engine.sh");
pub(super) const GIVE_IMAGE: &str = script!("give_image.pl");
pub(super) const HOLD_LOCK: &str = script!("hold_lock.sh");
pub(super) const INSTALL: &str = script!("install.sh");
pub(super) const MOVE_ASIDE: &str = script!("move_aside.sh");
const OBSERVE: &str = script!("observe.sh");
pub(super) const PLACE: &str = script!("place.sh");
const REACH: &str = script!("reach.bash");
pub(super) const READ_STATE: &str = script!("read_state.sh");
pub(super) const REMOVE_FILE: &str = script!("remove_file.sh");
pub(super) const REMOVE_UNIT: &str = script!("remove_unit.sh");
pub(super) const START_UNIT: &str = script!("start_unit.sh");
pub(super) const TAKE_IMAGE: &str = script!("take_image.pl");
pub(super) const TASK_LOG: &str = script!("task_log.sh");

/// The Engine's socket.
const ENGINE_SOCKET: &str = "/var/run/docker.sock";

const OBSERVE_LIMIT: Duration = Duration::from_secs(60);
/// docker-compose takes a second to start.
const COMPOSE_LIMIT: Duration = Duration::from_secs(60);
const TASK_LOG_LIMIT: Duration = Duration::from_secs(20);
/// Limit until the host says whether it holds the lock.
const LOCK_LIMIT: Duration = Duration::from_secs(15);

const KIB: usize = 1 << 10;
const MAX_OBSERVATION_BYTES: usize = 8 << 20;
/// The longest first line of the process that holds the lock.
const MAX_LOCK_LINE_BYTES: usize = 1024;

/// Where a host keeps its lock.
struct LockPlace {
    /// A folder that only root can write: in `/run/lock`, which everyone can write, another user
    /// could place a link.
    folder: String,
    /// Name of the host's process that serves the connection.
    server: String,
}

impl Default for LockPlace {
    fn default() -> Self {
        Self {
            folder: "/run/toots".into(),
            server: "sshd".into(),
        }
    }
}

/// A host behind an SSH session.
pub struct SshHost {
    session: Arc<dyn Session>,
    lock: LockPlace,
}

impl SshHost {
    /// The host at the far end of a session.
    #[must_use]
    pub fn over(session: Arc<dyn Session>) -> Self {
        Self {
            session,
            lock: LockPlace::default(),
        }
    }

    /// The same with another folder for its lock, and another process that serves the connection: for
    /// tests on this machine.
    #[cfg(test)]
    pub(crate) fn with_lock_at(mut self, folder: &str, server: &str) -> Self {
        self.lock = LockPlace {
            folder: folder.into(),
            server: server.into(),
        };
        self
    }

    /// Runs a script that must exit with 0; returns what it printed.
    async fn checked(&self, script: ScriptRun) -> Result<Vec<u8>, OperationError> {
        let output = self.session.exec(script.into_exec()).await?;
        succeeded(output)
    }

    async fn observe(&self, request: &Observe) -> Result<HostAnswer, OperationError> {
        let nonce = format!("{:016x}", rand::random::<u64>());
        let script = ScriptRun {
            privileged: true,
            deadline: request.deadline.unwrap_or(OBSERVE_LIMIT),
            max_output: MAX_OBSERVATION_BYTES,
            ..ScriptRun::on_input(observation(&nonce, request), &[])
        };
        let before = now_ms();
        let output = self.checked(script).await?;
        let observation =
            parse::reading(&output, &nonce, before).map_err(OperationError::Observation)?;
        Ok(HostAnswer::Observe(Box::new(observation)))
    }

    async fn open_with_token(
        &self,
        command: String,
        token: &Secret,
    ) -> Result<BoxStream, TransportError> {
        let target = Target::Command {
            command,
            privileged: true,
        };
        let mut stream = self.session.open(target).await?;
        let line = format!("{}\n", token.expose());
        let sent = async {
            stream.write_all(line.as_bytes()).await?;
            stream.flush().await
        };
        sent.await
            .map_err(|error| TransportError::Command(shown(&error.to_string())))?;
        Ok(stream)
    }
}

/// A script with everything that decides how it runs.
struct ScriptRun {
    command: String,
    stdin: Bytes,
    privileged: bool,
    deadline: Duration,
    max_output: usize,
}

impl ScriptRun {
    /// On the command's standard input, as root.
    fn on_input(script: impl Into<Bytes>, arguments: &[&str]) -> Self {
        Self {
            command: script_on_input(arguments),
            stdin: script.into(),
            privileged: true,
            deadline: OBSERVE_LIMIT,
            max_output: 64 * KIB,
        }
    }

    /// As root, within a limit.
    fn within(deadline: Duration, script: &'static str, arguments: &[&str]) -> Self {
        Self {
            deadline,
            ..Self::on_input(script, arguments)
        }
    }

    fn into_exec(self) -> Exec {
        Exec {
            command: self.command,
            stdin: self.stdin,
            privileged: self.privileged,
            deadline: self.deadline,
            max_output: self.max_output,
        }
    }
}

/// The output of a script that exited with 0.
fn succeeded(output: ExecOutput) -> Result<Vec<u8>, OperationError> {
    if output.status == 0 {
        return Ok(output.stdout);
    }
    Err(OperationError::Failed {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
    })
}

/// The script with its parameters, all of them on standard input: the nonce stays secret.
pub(super) fn observation(nonce: &str, request: &Observe) -> String {
    let list = |items: &[String]| words(&items.iter().map(String::as_str).collect::<Vec<_>>());
    let reach: Vec<String> = request
        .reach
        .iter()
        .map(|(address, port)| format!("{address}/{port}"))
        .collect();
    let variables = assign_variables(&[
        ("nonce", nonce),
        ("paths", &list(&request.paths)),
        ("data", &list(&request.data_dirs)),
        ("reach", &list(&reach)),
        ("reach_script", REACH),
    ]);
    variables + OBSERVE
}

fn placement(request: &Place) -> Result<ScriptRun, OperationError> {
    Ok(ScriptRun {
        command: script_in_line(PLACE, &[]),
        stdin: Bytes::from(place::pack(request)?),
        privileged: true,
        deadline: request.deadline,
        max_output: 64 * KIB,
    })
}

fn installation(request: &Install) -> ScriptRun {
    let package = match request.package {
        Package::Docker => "docker",
        Package::NfsClient => "nfs-client",
    };
    let arguments = [package, request.manager.program()];
    ScriptRun {
        max_output: KIB * KIB,
        ..ScriptRun::within(request.deadline, INSTALL, &arguments)
    }
}

/// A script about a unit or a file, whose failure prints much.
fn change(deadline: Duration, script: &'static str, argument: &str) -> ScriptRun {
    ScriptRun {
        max_output: 256 * KIB,
        ..ScriptRun::within(deadline, script, &[argument])
    }
}

fn renaming(request: &MoveAside) -> ScriptRun {
    let mut arguments = vec![request.suffix.as_str()];
    arguments.extend(request.dirs.iter().map(String::as_str));
    ScriptRun::within(request.deadline, MOVE_ASIDE, &arguments)
}

fn moved_folders(output: &[u8]) -> Vec<MovedFolder> {
    let folder = |line: &str| match line.split_once('\t') {
        Some((kib, path)) => MovedFolder {
            path: path.to_owned(),
            kib: kib.parse().ok(),
        },
        None => MovedFolder {
            path: line.to_owned(),
            kib: None,
        },
    };
    String::from_utf8_lossy(output)
        .lines()
        .map(folder)
        .collect()
}

fn compose_hashes(output: &[u8]) -> std::collections::BTreeMap<String, String> {
    let hash = |line: &str| {
        let (service, hash) = line.split_once(' ')?;
        let hash = hash.trim();
        (hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()))
            .then(|| (service.to_owned(), hash.to_owned()))
    };
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(hash).collect()
}

/// The file, and the host's time in the last line.
fn service_state(output: Vec<u8>) -> Result<ServiceState, OperationError> {
    let text = output.trim_ascii_end();
    let at = text.iter().rposition(|byte| *byte == b'\n');
    let state = at.and_then(|at| {
        let now = std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?;
        Some(ServiceState {
            record: text[..at].to_vec(),
            now,
        })
    });
    state.ok_or(OperationError::Answer {
        operation: "ReadState",
        output,
    })
}

/// The addresses in the lines of `ip -o addr show`.
fn interface_addresses(output: &[u8]) -> std::collections::BTreeSet<std::net::IpAddr> {
    let address = |line: &str| {
        let word = line.split_whitespace().nth(3)?;
        word.split('/').next()?.parse().ok()
    };
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(address).collect()
}

/// What the process that holds the lock said first.
fn lock_answer(line: &[u8], stream: BoxStream) -> LockAnswer {
    let line = shown(&String::from_utf8_lossy(line));
    match line.as_str() {
        "locked" => LockAnswer::Held(stream),
        "no flock" => LockAnswer::Failed("flock is missing; install util-linux".into()),
        "" => LockAnswer::Failed("the lock command ended without an answer".into()),
        other if other.starts_with("cannot write ") => LockAnswer::Failed(other.to_owned()),
        other => match other.strip_prefix("held") {
            Some(holder) => LockAnswer::Taken {
                holder: holder.trim().to_owned(),
            },
            None => LockAnswer::Failed(format!("unexpected answer {other:?}")),
        },
    }
}

/// Milliseconds since the epoch on the operator's clock.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

#[async_trait]
impl HostSession for SshHost {
    fn host(&self) -> &HostName {
        self.session.host()
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        Ok(match operation {
            Operation::Observe(request) => return self.observe(&request).await,
            Operation::Place(request) => {
                self.checked(placement(&request)?).await?;
                HostAnswer::Place(())
            }
            Operation::Install(request) => {
                self.checked(installation(&request)).await?;
                HostAnswer::Install(())
            }
            Operation::StartUnit(request) => {
                let script = change(request.deadline, START_UNIT, &request.unit);
                self.checked(script).await?;
                HostAnswer::StartUnit(())
            }
            Operation::RemoveUnit(request) => {
                let script = change(request.deadline, REMOVE_UNIT, &request.unit);
                self.checked(script).await?;
                HostAnswer::RemoveUnit(())
            }
            Operation::RemoveFile(request) => {
                let script = change(request.deadline, REMOVE_FILE, &request.path);
                self.checked(script).await?;
                HostAnswer::RemoveFile(())
            }
            Operation::MoveAside(request) => {
                let output = self.checked(renaming(&request)).await?;
                HostAnswer::MoveAside(moved_folders(&output))
            }
            Operation::ComposeHashes(_) => {
                let script = ScriptRun::within(COMPOSE_LIMIT, COMPOSE_HASHES, &[]);
                HostAnswer::ComposeHashes(compose_hashes(&self.checked(script).await?))
            }
            Operation::ReadState(request) => {
                let script = ScriptRun {
                    privileged: false,
                    max_output: 4 * KIB,
                    ..ScriptRun::within(request.deadline, READ_STATE, &[&request.path])
                };
                HostAnswer::ReadState(service_state(self.checked(script).await?)?)
            }
            Operation::HostAddresses(request) => {
                let script = ScriptRun {
                    privileged: false,
                    max_output: 256 * KIB,
                    ..ScriptRun::within(request.deadline, ADDRESSES, &[])
                };
                HostAnswer::HostAddresses(interface_addresses(&self.checked(script).await?))
            }
            Operation::TaskLog(request) => {
                let script = {
                    let arguments = [request.work_dir.as_str(), &request.task];
                    ScriptRun::within(TASK_LOG_LIMIT, TASK_LOG, &arguments)
                };
                // What was printed counts; a file that goes meanwhile makes no failure of it.
                let output = self.session.exec(script.into_exec()).await?;
                HostAnswer::TaskLog(String::from_utf8_lossy(&output.stdout).into_owned())
            }
        })
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        let target = match target {
            StreamTarget::Tcp { address, port } => Target::Tcp { address, port },
            StreamTarget::Engine => Target::Unix {
                path: ENGINE_SOCKET.to_owned(),
            },
            StreamTarget::EngineCommand => Target::Command {
                command: script_in_line(DIAL_ENGINE, &[]),
                privileged: true,
            },
            StreamTarget::GiveImage {
                address,
                peer,
                image,
                token,
            } => {
                let arguments = [&address.to_string(), &peer.to_string(), image.as_str()];
                let command = perl_in_line(GIVE_IMAGE, &arguments);
                return self.open_with_token(command, &token).await;
            }
            StreamTarget::TakeImage {
                address,
                port,
                token,
            } => {
                let arguments = [address.to_string(), port.to_string()];
                let command = perl_in_line(TAKE_IMAGE, &[&arguments[0], &arguments[1]]);
                return self.open_with_token(command, &token).await;
            }
        };
        self.session.open(target).await
    }

    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        let seconds = request.silence_limit.as_secs().to_string();
        let arguments = [
            &request.holder,
            &self.lock.folder,
            &seconds,
            &self.lock.server,
        ];
        let target = Target::Companion {
            command: script_in_line(HOLD_LOCK, &arguments.map(String::as_str)),
            privileged: true,
        };
        let mut stream = self.session.open(target).await?;
        let mut line = Vec::new();
        let read = async {
            let mut byte = [0u8; 1];
            while line.len() < MAX_LOCK_LINE_BYTES
                && stream.read(&mut byte).await? == 1
                && byte[0] != b'\n'
            {
                line.push(byte[0]);
            }
            std::io::Result::Ok(())
        };
        Ok(match tokio::time::timeout(LOCK_LIMIT, read).await {
            Err(_) => LockAnswer::Failed("no answer".into()),
            Ok(Err(error)) => LockAnswer::Failed(shown(&error.to_string())),
            Ok(Ok(())) => lock_answer(&line, stream),
        })
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.session.settle_privilege().await
    }

    fn slow_login(&self) -> Option<Duration> {
        self.session.slow_login()
    }

    fn closed(&self) -> bool {
        self.session.closed()
    }

    fn cost(&self) -> Cost {
        self.session.cost()
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
