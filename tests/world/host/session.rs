//! A session to a simulated machine.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    PlaceError, StreamTarget, TransportError,
};
use toots::spec::{HostName, shown};

use super::faults::{Fault, PointKind};
use super::images::{self, GivenImage};
use super::link::Link;
use super::machine::Machine;
use super::stream::{ClientStream, Fate};
use super::task::HostTask;
use super::{lock, operations, place};

const ENGINE_SOCKET: &str = "/var/run/docker.sock";
/// A login shell that takes longer is worth a word.
const SLOW_LOGIN: Duration = Duration::from_secs(3);
/// Limit until the host says whether it holds the lock.
const LOCK_LIMIT: Duration = Duration::from_secs(15);
/// A host ends what takes so much longer than its limit.
const HOST_GRACE: Duration = Duration::from_secs(2);
const PIPE_BYTES: usize = 64 * 1024;

pub struct SimulatedSession {
    name: HostName,
    link: Arc<Link>,
    execs: AtomicU32,
    streams: AtomicU32,
    /// Requests sent, and the last of them that was answered: to see that answers overtake.
    sent: AtomicU32,
    answered: AtomicU32,
}

type Answer = Result<HostAnswer, OperationError>;

impl SimulatedSession {
    pub fn new(name: HostName, link: Arc<Link>) -> Self {
        link.add_user();
        Self {
            name,
            link,
            execs: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            answered: AtomicU32::new(0),
        }
    }

    fn machine(&self) -> &Arc<Machine> {
        &self.link.machine
    }

    fn task(&self, name: &'static str) -> HostTask {
        HostTask {
            machine: Arc::clone(self.machine()),
            link: Arc::clone(&self.link),
            name,
        }
    }

    fn lost(&self) -> Option<TransportError> {
        self.link.why_closed().map(TransportError::Lost)
    }

    /// Waits until something can be sent.
    async fn ready(&self) -> Result<(), TransportError> {
        self.link.controller.alive().await;
        self.lost().map_or(Ok(()), Err)
    }

    fn check_root(&self) -> Result<(), TransportError> {
        let state = self.machine().state();
        if state.user().can_become_root {
            return Ok(());
        }
        Err(TransportError::Privilege {
            user: state.login.clone(),
            why: "sudo is not installed".to_owned(),
            hints: Vec::new(),
        })
    }

    /// Passes a point and lets what goes wrong there happen.
    async fn pass(&self, kind: PointKind, name: &str) -> Option<Fault> {
        let fault = self.link.pass(kind, name)?;
        tokio::time::sleep(self.link.suffer(fault)).await;
        Some(fault)
    }

    /// Sends a request; whether the host has the whole of it, half, or nothing.
    async fn send(&self, name: &str) -> Option<bool> {
        tokio::time::sleep(self.machine().network.latency()).await;
        self.pass(PointKind::Send, &format!("{name} sent")).await;
        if !self.link.carries() {
            return None;
        }
        self.pass(PointKind::SendHalf, &format!("{name} sent by half"))
            .await;
        Some(self.link.carries())
    }

    async fn exchange(&self, operation: Operation) -> Answer {
        let name = operation.name();
        let number = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let (answer, mut answered) = oneshot::channel();
        if let Some(is_complete) = self.send(name).await {
            let task = self.task(name);
            // Of half an operation nothing is done. A host that hangs has received it, too: it carries
            // it out when it goes on.
            let is_change = is_complete && operations::is_change(&operation);
            let change = is_change.then(|| {
                let (machine, by) = (self.machine(), self.link.controller.name());
                machine.record.begin_change(&machine.name, by, name)
            });
            self.machine().spawn(async move {
                let _change = change;
                carry_out(task, operation, is_complete, answer).await;
            });
        }
        let answer = tokio::select! {
            biased;
            why = self.link.closed() => return Err(TransportError::Lost(why).into()),
            // Without an answer only the end of the connection is left.
            Ok(answer) = &mut answered => answer,
        };
        self.pass(PointKind::Answer, &format!("{name} answered"))
            .await;
        if !self.link.carries() {
            return Err(TransportError::Lost(self.link.closed().await).into());
        }
        if self.answered.swap(number, Ordering::SeqCst) > number {
            self.machine().points.count("answers reordered");
        }
        answer
    }

    /// A pipe to a process of the machine.
    fn pipe(&self, name: &'static str) -> (BoxStream, DuplexStream, Fate) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let fate = Fate::default();
        let stream = ClientStream::new(&self.link, name, near, Arc::clone(&fate));
        (Box::new(stream), far, fate)
    }

    async fn open_tcp(&self, address: &str, port: u16) -> Result<BoxStream, TransportError> {
        let refused = || TransportError::Refused {
            what: format!("{address}:{port}"),
            why: "nothing listens there, or the host forbids it".to_owned(),
        };
        let own = self.machine().address;
        let to = match address {
            "localhost" => own,
            _ => address.parse().map_err(|_| refused())?,
        };
        let to = if Ipv4Addr::is_loopback(&to) { own } else { to };
        let connected = self.machine().network.connect(own, to, port);
        let connected = tokio::select! {
            biased;
            why = self.link.closed() => return Err(TransportError::Lost(why)),
            connected = connected => connected,
        };
        let near = connected.map_err(|_| refused())?;
        let stream = ClientStream::new(&self.link, format!("TCP {port}"), near, Fate::default());
        Ok(Box::new(stream))
    }

    fn open_engine(&self) -> Result<BoxStream, TransportError> {
        let machine = self.machine();
        let state = machine.state();
        if !state.engine_runs || !state.user().can_open_engine {
            return Err(TransportError::Refused {
                what: ENGINE_SOCKET.to_owned(),
                why: "nothing listens there, or the host forbids it".to_owned(),
            });
        }
        drop(state);
        let (stream, far, _) = self.pipe("Engine");
        machine.serve_engine(far, self.link.controller.name());
        Ok(stream)
    }

    fn open_engine_command(&self) -> BoxStream {
        let machine = self.machine();
        let (stream, far, fate) = self.pipe("Engine");
        if machine.state().engine_runs {
            machine.serve_engine(far, self.link.controller.name());
        } else {
            set_fate(&fate, "cannot connect to the Docker daemon");
        }
        stream
    }

    /// Runs a command of the machine whose first line of input is a token.
    async fn open_command<F>(
        &self,
        name: &'static str,
        token: &str,
        run: impl FnOnce(HostTask, DuplexStream) -> F + Send + 'static,
    ) -> Result<BoxStream, TransportError>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (mut stream, far, fate) = self.pipe(name);
        let task = self.task(name);
        let change = (name == "TakeImage").then(|| {
            let (machine, by) = (self.machine(), self.link.controller.name());
            machine.record.begin_change(&machine.name, by, name)
        });
        self.machine().spawn(async move {
            let _change = change;
            if let Err(why) = run(task, far).await {
                set_fate(&fate, &why);
            }
        });
        let sent = stream.write_all(format!("{token}\n").as_bytes()).await;
        sent.map_err(|error| TransportError::Command(error.to_string()))?;
        Ok(stream)
    }
}

/// The command's end; its output must end after this is set.
fn set_fate(fate: &Fate, why: &str) {
    let text = format!("command exited with status 255: {}", shown(why));
    fate.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(text);
}

/// Runs to its end whatever becomes of the connection, within the limit that the host keeps.
async fn carry_out(
    task: HostTask,
    operation: Operation,
    is_complete: bool,
    answer: oneshot::Sender<Answer>,
) {
    let limit = operations::limit(&operation) + HOST_GRACE;
    let name = operation.name();
    let number = task.machine.state().new_operation();
    task.note(format!("begin {name} {number}"));
    let run = operations::run(&task, &operation, is_complete);
    let result = tokio::time::timeout(limit, run).await;
    let end = match &result {
        Ok(Ok(_)) => "done",
        Ok(Err(_)) => "failed",
        Err(_) => "stopped at its limit",
    };
    task.note(format!("end {name} {number} {end}"));
    if let Ok(result) = result
        && task.link.carries()
    {
        drop(answer.send(result));
    }
}

impl SimulatedSession {
    async fn run_within(&self, operation: Operation) -> Answer {
        self.ready().await?;
        if let Operation::Place(request) = &operation
            && let Some(path) = place::unfit_path(request)
        {
            return Err(PlaceError::Path(path.to_owned()).into());
        }
        if operations::is_privileged(&operation) {
            self.check_root()?;
        }
        self.execs.fetch_add(1, Ordering::Relaxed);
        let limit = operations::limit(&operation);
        let exchanged = tokio::time::timeout(limit, self.exchange(operation)).await;
        exchanged.unwrap_or_else(|_| {
            let deadline = TransportError::Deadline {
                what: "run a command".to_owned(),
                limit,
            };
            Err(self.lost().unwrap_or(deadline).into())
        })
    }

    async fn open_stream(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        self.ready().await?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        let name = target_name(&target);
        tokio::time::sleep(self.machine().network.latency()).await;
        let to = match &target {
            StreamTarget::Tcp { address, port } => format!(" {address}:{port}"),
            _ => String::new(),
        };
        let opened = format!("{name}{to} opened");
        let fault = self.pass(PointKind::Open, &opened).await;
        if fault == Some(Fault::ChannelRefused) || self.machine().state().refuses_channels {
            return Err(TransportError::Refused {
                what: name.to_owned(),
                why: "the host is out of resources".to_owned(),
            });
        }
        tokio::select! {
            biased;
            why = self.link.closed() => return Err(TransportError::Lost(why)),
            () = self.machine().awake(), if self.link.carries() => {}
        }
        match target {
            StreamTarget::Tcp { address, port } => self.open_tcp(&address, port).await,
            StreamTarget::Engine => self.open_engine(),
            StreamTarget::EngineCommand => {
                self.check_root()?;
                Ok(self.open_engine_command())
            }
            StreamTarget::GiveImage {
                address,
                peer,
                image,
                token,
            } => {
                self.check_root()?;
                let given = GivenImage {
                    address,
                    peer,
                    image,
                };
                let run = |task, far| async move { images::give(&task, &given, far).await };
                self.open_command("GiveImage", token.expose(), run).await
            }
            StreamTarget::TakeImage {
                address,
                port,
                token,
            } => {
                self.check_root()?;
                let run =
                    move |task, far| async move { images::take(&task, address, port, far).await };
                self.open_command("TakeImage", token.expose(), run).await
            }
        }
    }

    async fn ask_for_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        self.ready().await?;
        self.check_root()?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        let sent = self.send("lock").await;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut stream: BoxStream = Box::new(ClientStream::companion(&self.link, near));
        if sent == Some(true) {
            self.machine()
                .spawn(lock::hold(self.task("lock"), request, far));
        }
        let mut line = Vec::new();
        let read = async {
            loop {
                match stream.read_u8().await {
                    Ok(b'\n') | Err(_) => return,
                    Ok(byte) => line.push(byte),
                }
            }
        };
        if tokio::time::timeout(LOCK_LIMIT, read).await.is_err() {
            return Ok(LockAnswer::Failed("no answer".to_owned()));
        }
        self.pass(PointKind::Answer, "lock answered").await;
        if let Some(error) = self.lost() {
            return Err(error);
        }
        Ok(lock_answer(&line, stream))
    }
}

/// Nothing returns to a controller that was killed.
#[async_trait]
impl HostSession for SimulatedSession {
    fn host(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, operation: Operation) -> Answer {
        let answer = self.run_within(operation).await;
        self.link.controller.alive().await;
        answer
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        let stream = self.open_stream(target).await;
        self.link.controller.alive().await;
        stream
    }

    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        let answer = self.ask_for_lock(request).await;
        self.link.controller.alive().await;
        answer
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.ready().await?;
        self.check_root()
    }

    fn slow_login(&self) -> Option<Duration> {
        let startup = self.machine().state().shell_startup;
        (startup > SLOW_LOGIN).then_some(startup)
    }

    fn closed(&self) -> bool {
        !self.link.is_open()
    }

    fn cost(&self) -> Cost {
        Cost {
            connections: 1,
            login_shells: 1,
            execs: self.execs.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        self.link.close("closed by toots");
    }
}

impl Drop for SimulatedSession {
    fn drop(&mut self) {
        self.link.remove_user();
    }
}

fn target_name(target: &StreamTarget) -> &'static str {
    match target {
        StreamTarget::Tcp { .. } => "TCP",
        StreamTarget::Engine => "Engine",
        StreamTarget::EngineCommand => "EngineCommand",
        StreamTarget::GiveImage { .. } => "GiveImage",
        StreamTarget::TakeImage { .. } => "TakeImage",
    }
}

fn lock_answer(line: &[u8], stream: BoxStream) -> LockAnswer {
    let line = shown(&String::from_utf8_lossy(line));
    match line.as_str() {
        "locked" => LockAnswer::Held(stream),
        "no flock" => LockAnswer::Failed("flock is missing; install util-linux".to_owned()),
        "" => LockAnswer::Failed("the lock command ended without an answer".to_owned()),
        why => match why.strip_prefix("held") {
            Some(holder) => LockAnswer::Taken {
                holder: holder.trim().to_owned(),
            },
            None => LockAnswer::Failed(why.to_owned()),
        },
    }
}
