//! The Engine of one machine: what it runs on, its state, and its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::build::BuildManner;
use super::container::{Container, State};
use super::events::Events;
use super::image::{Image, hex};
use super::images::{ImageStore, StoreKind, StoredImage};
use super::references::Reference;
use super::registry::Registry;
use super::reply::Reply;
use super::routes::Call;
use super::shell::Idle;
use crate::changes::Bell;
use crate::files::Files;
use crate::network::Network;
use crate::process::Program;
use crate::record::Record;

/// What an Engine runs on.
#[derive(Clone)]
pub struct Machine {
    pub name: String,
    pub address: Ipv4Addr,
    pub files: Files,
    pub network: Network,
    pub record: Record,
}

/// How an Engine is set up.
#[derive(Clone)]
pub struct EngineSetup {
    pub machine: Machine,
    pub store: StoreKind,
    pub version: String,
    /// Repository of an image, or its last part → the program in it.
    pub programs: BTreeMap<String, Arc<dyn Program>>,
    /// The program of every other image.
    pub any_program: Option<Arc<dyn Program>>,
    pub registry: Registry,
    /// The machine's clock at the Engine's beginning.
    pub clock: Timestamp,
}

impl EngineSetup {
    /// An Engine with the former kind of store, whose images contain no program.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            store: StoreKind::Graph,
            version: "20.10.24".into(),
            programs: BTreeMap::new(),
            any_program: None,
            registry: Registry::default(),
            clock: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56),
        }
    }

    pub fn with_program(mut self, repository: &str, program: Arc<dyn Program>) -> Self {
        self.programs.insert(repository.to_owned(), program);
        self
    }
}

/// How long a request takes: until it has its effect, and then until it is answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    pub before: Duration,
    pub after: Duration,
}

/// Draws the pace of a request, such as `POST /containers/x/stop`.
pub type Pacer = Box<dyn FnMut(&str) -> Pace + Send>;

#[derive(Default)]
pub(super) struct EngineState {
    /// In the order of their creation.
    pub containers: Vec<Container>,
    pub images: ImageStore,
    pub events: Events,
    /// Containers created, and processes started, ever.
    pub created: u64,
    pub started: u32,
    pub is_disk_full: bool,
    /// Ends now are final.
    pub is_shutting_down: bool,
    /// The names of images on which builds here began.
    pub build_bases: BTreeSet<String>,
    pub build: BuildManner,
    pub pacer: Option<Pacer>,
}

/// Whether there is an Engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Its process exists.
    pub exists: bool,
    /// It takes connections.
    pub serves: bool,
    /// Its process is stopped and neither answers nor notices anything.
    pub is_paused: bool,
    /// Changes when all connections end.
    pub service: u64,
}

struct Inner {
    setup: EngineSetup,
    began: Instant,
    state: Mutex<EngineState>,
    condition: Mutex<Condition>,
    /// Rings with each change of the condition.
    condition_bell: Bell,
    /// Rings with each event, and when a container has ended or is gone.
    bell: Bell,
    requests: Mutex<JoinSet<()>>,
    processes: Mutex<JoinSet<()>>,
}

/// One machine's Engine. Cloned handles are the same Engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// A container with a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    pub name: String,
    pub id: String,
    pub pid: u32,
    /// As the request that created it names it.
    pub image: String,
}

/// A container, as far as its requests decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerForm {
    pub id: String,
    pub is_running: bool,
    pub state: State,
    /// What its image says about its program.
    pub contains: String,
    /// The request that created it.
    pub body: serde_json::Value,
}

/// An image in an Engine's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageForm {
    pub id: String,
    /// `repository:tag`
    pub tags: BTreeSet<String>,
    /// `repository@digest`, as a pull left it.
    pub pulled: BTreeSet<String>,
    /// A build on this Engine began with it.
    pub is_build_base: bool,
    pub image: Image,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn_in(tasks: &Mutex<JoinSet<()>>, task: impl Future<Output = ()> + Send + 'static) {
    let mut tasks = locked(tasks);
    // What has ended is not kept.
    while tasks.try_join_next().is_some() {}
    tasks.spawn(task);
}

impl Engine {
    pub fn new(setup: EngineSetup) -> Self {
        let state = EngineState {
            images: ImageStore {
                kind: setup.store,
                images: Vec::new(),
            },
            ..EngineState::default()
        };
        let condition = Condition {
            exists: true,
            serves: true,
            is_paused: false,
            service: 0,
        };
        Self(Arc::new(Inner {
            setup,
            began: Instant::now(),
            state: Mutex::new(state),
            condition: Mutex::new(condition),
            condition_bell: Bell::default(),
            bell: Bell::default(),
            requests: Mutex::default(),
            processes: Mutex::default(),
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, EngineState> {
        locked(&self.0.state)
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.0.setup.machine
    }

    pub fn registry(&self) -> &Registry {
        &self.0.setup.registry
    }

    /// What the machine noted.
    pub fn record(&self) -> &Record {
        &self.machine().record
    }

    pub(super) fn version(&self) -> &str {
        &self.0.setup.version
    }

    fn major(&self) -> u32 {
        let major = self.version().split('.').next();
        major.and_then(|major| major.parse().ok()).unwrap_or(20)
    }

    pub(super) fn is_before(&self, major: u32) -> bool {
        self.major() < major
    }

    pub(super) fn api_version(&self) -> &'static str {
        match self.major() {
            ..=20 => "1.41",
            21..=23 => "1.42",
            24 => "1.43",
            25 => "1.44",
            26 => "1.45",
            27 => "1.47",
            28 => "1.51",
            _ => "1.52",
        }
    }

    /// The machine's time.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.0.began.elapsed()).unwrap_or_default();
        self.0
            .setup
            .clock
            .checked_add(passed)
            .unwrap_or(Timestamp::MAX)
    }

    pub(super) fn note(&self, who: &str, what: impl Into<String>) {
        let machine = self.machine();
        machine.record.note(&machine.name, who, what);
    }

    /// An id that no other machine gives.
    pub(super) fn unique_id(&self, text: &str) -> String {
        hex(format!("{} {text}", self.machine().name).as_bytes())
    }

    /// The program of an image: what its layers contain, else what its names say.
    pub(super) fn program_of(&self, stored: &StoredImage) -> Arc<dyn Program> {
        let inside = stored.image.program();
        let inside = inside.iter().filter_map(|text| text.split(' ').next());
        let tags = stored
            .tags
            .iter()
            .map(|tag| Reference::parse(tag).repository);
        let programs = &self.0.setup.programs;
        let find = |name: String| {
            let last = name.rsplit('/').next().unwrap_or_default().to_owned();
            programs.get(&name).or_else(|| programs.get(&last)).cloned()
        };
        let names = inside.map(str::to_owned).chain(tags);
        let mut found = names.filter_map(find);
        let found = found.next().or_else(|| self.0.setup.any_program.clone());
        found.unwrap_or_else(|| Arc::new(Idle))
    }

    /// Puts an image into the store, as if it had been pulled long ago; returns its id.
    pub fn has_image(&self, reference: &str, image: Image) -> String {
        let now = self.now();
        let mut state = self.lock();
        let index = Some(image.index());
        let id = state.images.add(image, index, now);
        state.images.name(&id, &Reference::parse(reference));
        id
    }

    /// Containers with a process, in the order of their creation.
    pub fn running(&self) -> Vec<RunningContainer> {
        let state = self.lock();
        let running = state.containers.iter().filter_map(|container| {
            Some(RunningContainer {
                name: container.name.clone(),
                id: container.id.clone(),
                pid: container.process.as_ref()?.pid,
                image: container.body["Image"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            })
        });
        running.collect()
    }

    /// Every container as it was asked for, by name.
    pub fn forms(&self) -> BTreeMap<String, ContainerForm> {
        let state = self.lock();
        let form = |container: &Container| ContainerForm {
            id: container.id.clone(),
            is_running: container.is_running(),
            state: container.state,
            contains: container.contains.clone(),
            body: container.body.clone(),
        };
        let containers = state.containers.iter();
        containers.map(|c| (c.name.clone(), form(c))).collect()
    }

    /// Every image in its store, also one without a name.
    pub fn images(&self) -> Vec<ImageForm> {
        let state = self.lock();
        let form = |stored: &StoredImage| ImageForm {
            id: stored.id.clone(),
            tags: stored.tags.clone(),
            pulled: stored.pulled.clone(),
            is_build_base: [&stored.tags, &stored.pulled]
                .iter()
                .any(|names| !names.is_disjoint(&state.build_bases)),
            image: stored.image.clone(),
        };
        state.images.images.iter().map(form).collect()
    }

    /// Opens a connection for somebody.
    pub fn connect(&self, requester: &str) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(super::serve(self.clone(), far, requester.to_owned()));
        near
    }

    /// Takes connections at a port of the machine's network, beside those of [`Engine::connect`].
    ///
    /// # Errors
    /// When another program listens there.
    pub fn listen(&self, port: u16) -> io::Result<()> {
        let machine = self.machine();
        let mut listener = machine.network.listen(machine.address, port)?;
        let engine = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, from) = listener.accept().await;
                tokio::spawn(super::serve(engine.clone(), stream, from.to_string()));
            }
        });
        Ok(())
    }

    pub fn serves(&self) -> bool {
        self.condition().serves
    }

    pub(super) fn condition(&self) -> Condition {
        *locked(&self.0.condition)
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    pub(super) fn change_condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut locked(&self.0.condition));
        self.0.condition_bell.ring();
    }

    /// Waits until the Engine's process exists and goes on.
    pub(super) async fn until_awake(&self) {
        let is_awake = || {
            let now = self.condition();
            (now.exists && !now.is_paused).then_some(())
        };
        self.0.condition_bell.wait_for(is_awake).await;
    }

    /// The service of which a connection is part; `None` when none are taken.
    pub(super) fn service(&self) -> Option<u64> {
        let now = self.condition();
        now.serves.then_some(now.service)
    }

    /// Waits until the connections of a service end.
    pub(super) async fn end_of(&self, service: u64) {
        let has_ended = || (self.condition().service != service).then_some(());
        self.0.condition_bell.wait_for(has_ended).await;
    }

    pub(super) fn end_service(&self) {
        self.change_condition(|condition| {
            condition.serves = false;
            condition.service += 1;
        });
    }

    pub(super) fn spawn_request(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_in(&self.0.requests, task);
    }

    pub(super) fn spawn_process(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_in(&self.0.processes, task);
    }

    pub(super) fn abort_requests(&self) {
        locked(&self.0.requests).abort_all();
    }

    pub(super) fn abort_processes(&self) {
        locked(&self.0.processes).abort_all();
    }

    /// Carries a request out, at the Engine's pace.
    pub(super) async fn answer(&self, call: Call) -> Reply {
        self.until_awake().await;
        let words = call.words();
        let change = call.changes().then(|| {
            let machine = self.machine();
            machine
                .record
                .begin_change(&machine.name, call.by(), &words)
        });
        let pace = self.lock().pacer.as_mut().map(|pacer| pacer(&words));
        let pace = pace.unwrap_or_default();
        tokio::time::sleep(pace.before).await;
        self.until_awake().await;
        let reply = self.route(&call).await;
        tokio::time::sleep(pace.after).await;
        self.until_awake().await;
        if let Some(change) = change {
            drop(change);
            let by = call.by();
            self.note(
                "engine",
                format!("answer {} to {words} by {by}", reply.status),
            );
        }
        reply
    }

    pub(super) fn build_manner(&self) -> BuildManner {
        self.lock().build.clone()
    }

    pub(super) fn info(&self) -> Reply {
        let state = self.lock();
        let running = state.containers.iter().filter(|c| c.is_running()).count();
        let (driver, status) = match state.images.kind {
            StoreKind::Graph => ("overlay2", json!([["Backing Filesystem", "extfs"]])),
            StoreKind::Containerd => (
                "overlayfs",
                json!([["driver-type", "io.containerd.snapshotter.v1"]]),
            ),
        };
        let body = json!({
            "ID": self.unique_id("engine"),
            "Name": self.machine().name,
            "ServerVersion": self.version(),
            "Containers": state.containers.len(),
            "ContainersRunning": running,
            "ContainersPaused": 0,
            "ContainersStopped": state.containers.len() - running,
            "Images": state.images.images.len(),
            "Driver": driver,
            "DriverStatus": status,
            "DockerRootDir": "/var/lib/docker",
            "LiveRestoreEnabled": false,
            "SecurityOptions": ["name=seccomp,profile=default"],
            "OSType": "linux",
            "Architecture": "x86_64",
            "CgroupVersion": "2",
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
        });
        Reply::json(200, body)
    }
}
