//! A Mesos master: its start, its election by ZooKeeper, its end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::cluster::Cluster;
use super::registrar::{self, Phase, Registry};
use super::replica::{Answer, Call, Replica};
use super::{CANDIDATES, REPLICAS, SESSION, VERSION, log};
use crate::changes::Watched;
use crate::network::Network;
use crate::process::{Process, Program};
use crate::record::Notes;
use crate::services::Surroundings;
use crate::services::clock::Clock;
use crate::services::coordination::{Link, Session};
use crate::services::flags::{BadFlag, Flags, zookeepers};
use crate::services::store::Folder;
use crate::services::tasks::{Stop, TaskHandle, Tasks};
use crate::services::view::{Seat, Service};
use crate::services::web;

const KNOWN_FLAGS: &str = include_str!("../../../standins/flags/mesos-master.tsv");

pub struct Master(pub Surroundings);

/// A master as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: Ipv4Addr,
    pub port: u16,
    pub hostname: String,
    pub id: String,
}

impl Peer {
    /// What it says of itself in ZooKeeper.
    pub fn info(&self) -> Value {
        json!({
            "address": { "hostname": self.hostname, "ip": self.address.to_string(), "port": self.port },
            "capabilities": [{ "type": "AGENT_UPDATE" }, { "type": "AGENT_DRAINING" }, { "type": "QUOTA_V2" }],
            "hostname": self.hostname,
            "id": self.id,
            "ip": u32::from_le_bytes(self.address.octets()),
            "pid": format!("master@{}:{}", self.address, self.port),
            "port": self.port,
            "version": VERSION,
        })
    }

    pub fn parse(text: &str) -> Option<Self> {
        let info: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            address: info["address"]["ip"].as_str()?.parse().ok()?,
            port: u16::try_from(info["address"]["port"].as_u64()?).ok()?,
            hostname: info["hostname"].as_str()?.to_owned(),
            id: info["id"].as_str()?.to_owned(),
        })
    }
}

/// What changes while a master runs.
pub struct State {
    pub replica: Replica,
    /// The replicas that are registered in ZooKeeper.
    pub replicas: Vec<(Ipv4Addr, u16)>,
    pub leader: Option<Peer>,
    pub is_elected: bool,
    pub phase: Phase,
    pub registry: Registry,
    pub cluster: Cluster,
}

/// A running master, shared by its tasks. None of them may keep it alive beyond the process, so the
/// tasks themselves belong to [`Master::run`].
pub struct Shared {
    pub me: Peer,
    pub address: Ipv4Addr,
    pub port: u16,
    pub quorum: usize,
    pub network: Network,
    pub clock: Clock,
    pub seat: Seat,
    pub began: Instant,
    /// Held by whoever changes the registry.
    pub writer: tokio::sync::Mutex<()>,
    notes: Notes,
    folder: Folder,
    state: Mutex<State>,
    tasks: TaskHandle,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn replica(&self) -> Replica {
        self.state().replica.clone()
    }

    pub fn replicas(&self) -> Vec<(Ipv4Addr, u16)> {
        self.state().replicas.clone()
    }

    pub fn note(&self, what: impl Into<String>) {
        self.notes.note(what);
    }

    /// Changes the own replica, on the disk too.
    pub fn change_replica(&self, change: impl FnOnce(&mut Replica)) {
        let mut state = self.state();
        change(&mut state.replica);
        state.replica.save(&self.folder);
        let votes = state.replica.status == super::replica::Status::Voting;
        self.seat.set(|row| row.serves = votes);
    }

    pub fn apply(&self, call: &Call) -> Answer {
        let mut state = self.state();
        let answer = state.replica.apply(call);
        if !matches!(call, Call::Status) {
            state.replica.save(&self.folder);
        }
        answer
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub fn exit(&self, code: i64, why: &str) {
        self.tasks.exit(code, why);
    }
}

struct Settings {
    me: Peer,
    zookeeper: Option<(Vec<(Ipv4Addr, u16)>, String)>,
    quorum: usize,
    work_dir: String,
    listens: Ipv4Addr,
}

/// What the arguments say; an error is the exit code.
fn read_arguments(process: &Process, clock: &Clock) -> Result<Settings, i64> {
    let read = || -> Result<Settings, BadFlag> {
        let flags = Flags::of_mesos(&process.command, KNOWN_FLAGS)?;
        let missing =
            |name: &str| BadFlag(format!("EXIT with status 1: Flag --{name} is required"));
        let zookeeper = flags.get("zk").map(zookeepers);
        if zookeeper.is_some() && flags.get("quorum").is_none() {
            return Err(missing("quorum"));
        }
        let listens = flags.parse("ip", process.address)?;
        let port = flags.parse("port", 5050)?;
        let address = flags.parse("advertise_ip", listens)?;
        let bytes = address.octets();
        Ok(Settings {
            me: Peer {
                address,
                port,
                hostname: flags.text("hostname", &process.hostname),
                // Another one after each start.
                id: format!(
                    "{:08x}-0000-4000-8000-{:012x}",
                    u32::from_be_bytes(bytes),
                    clock.now().as_millisecond()
                ),
            },
            zookeeper,
            quorum: flags.parse("quorum", 1)?,
            work_dir: flags
                .get("work_dir")
                .ok_or_else(|| missing("work_dir"))?
                .to_owned(),
            listens,
        })
    };
    match read() {
        Ok(settings) if settings.quorum == 0 => {
            process.log.line("Check failed: quorum > 0");
            Err(134)
        }
        Ok(settings) => Ok(settings),
        Err(BadFlag(why)) => {
            process.log.line(why);
            Err(1)
        }
    }
}

#[async_trait]
impl Program for Master {
    async fn run(&self, mut process: Process) -> i64 {
        let settings = match read_arguments(&process, &self.0.clock) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        // An address that the machine does not have cannot be bound.
        let is_own = settings.listens == process.address || settings.listens.is_unspecified();
        let listener = process.network.listen(process.address, settings.me.port);
        let (true, Ok(listener)) = (is_own, listener) else {
            process.log.line("Failed to initialize: Failed to bind");
            return 134;
        };
        let mut tasks = Tasks::new();
        let shared = Arc::new(begin(&self.0, &process, &settings, tasks.handle()));
        tasks.spawn(web::serve(listener, Arc::new(Arc::clone(&shared))));
        tasks.spawn(log::recover(Arc::clone(&shared)));
        match settings.zookeeper {
            Some((servers, path)) => {
                let opener = self.0.clone();
                let open = move |from| opener.coordination.open(from, &servers, SESSION);
                tasks.spawn(follow_election(Arc::clone(&shared), open, path));
            }
            None => become_leader(&shared),
        }
        match tasks.run(&mut process.signals).await {
            Stop::Term => 143,
            Stop::Exit(code, why) => {
                process.log.line(why);
                code
            }
        }
    }
}

fn begin(
    world: &Surroundings,
    process: &Process,
    settings: &Settings,
    tasks: TaskHandle,
) -> Shared {
    let folder = Folder::mounted(process, &settings.work_dir).below("replicated_log");
    let replica = Replica::load(&folder);
    replica.save(&folder);
    let seat = world
        .view
        .sit(Service::MesosMaster, process.address, &process.name);
    let votes = replica.status == super::replica::Status::Voting;
    seat.set(|row| {
        row.quorum = settings.quorum;
        row.serves = votes;
    });
    let own = (settings.me.address, settings.me.port);
    let shared = Shared {
        me: settings.me.clone(),
        address: settings.me.address,
        port: settings.me.port,
        quorum: settings.quorum,
        network: process.network.clone(),
        clock: world.clock,
        seat,
        began: Instant::now(),
        writer: tokio::sync::Mutex::default(),
        notes: process.notes(),
        folder,
        state: Mutex::new(State {
            replica,
            replicas: vec![own],
            leader: None,
            is_elected: false,
            phase: Phase::No,
            registry: Registry::default(),
            cluster: Cluster::default(),
        }),
        tasks,
    };
    shared.note("start");
    shared
}

fn become_leader(shared: &Arc<Shared>) {
    {
        let mut state = shared.state();
        state.is_elected = true;
        state.leader = Some(shared.me.clone());
        state.phase = Phase::Recovering;
    }
    shared.seat.set(|row| row.leads = true);
    shared.note("leader");
    shared.spawn(registrar::recover(Arc::clone(shared)));
}

/// Follows ZooKeeper until the process ends. A leader that is none any more ends it.
async fn follow_election(
    shared: Arc<Shared>,
    open: impl Fn(Ipv4Addr) -> Arc<dyn Session>,
    path: String,
) {
    loop {
        let session = open(shared.address);
        let mut lost = Some(Instant::now());
        let mut joined = None;
        loop {
            let seen = session.version();
            match session.link() {
                Link::Expired => break,
                Link::Connected => {
                    lost = None;
                    if joined.is_none() {
                        joined = join(&shared, &*session, &path).await;
                    }
                    if let Some(number) = joined {
                        follow_members(&shared, &*session, &path, number).await;
                    }
                }
                Link::Disconnected if is_over(&mut lost) => lose(&shared),
                Link::Disconnected => {}
            }
            wait(&*session, seen, lost).await;
        }
        lose(&shared);
    }
}

async fn join(shared: &Shared, session: &dyn Session, path: &str) -> Option<u64> {
    let replica = format!("log-replica(1)@{}:{}", shared.address, shared.port);
    session
        .join(&format!("{path}/{REPLICAS}"), &replica)
        .await?;
    let info = shared.me.info().to_string();
    session.join(&format!("{path}/{CANDIDATES}"), &info).await
}

/// Takes note of who is there and who leads: the candidate with the lowest number.
async fn follow_members(shared: &Arc<Shared>, session: &dyn Session, path: &str, own: u64) {
    let replicas = session.members(&format!("{path}/{REPLICAS}")).await;
    let candidates = session.members(&format!("{path}/{CANDIDATES}")).await;
    let (Some(replicas), Some(candidates)) = (replicas, candidates) else {
        return;
    };
    let leader = first(&candidates);
    let was_elected = {
        let mut state = shared.state();
        let items = replicas
            .values()
            .filter_map(|text| log::parse_replica(text));
        state.replicas = items.collect();
        state.leader = leader.as_ref().map(|(_, leader)| leader.clone());
        state.is_elected
    };
    let leads = leader.is_some_and(|(number, _)| number == own);
    if was_elected && !leads || !candidates.contains_key(&own) {
        shared.exit(
            1,
            "EXIT with status 1: Lost candidacy as a leader... committing suicide!",
        );
    } else if leads && !was_elected {
        become_leader(shared);
    }
}

/// The leading candidate.
pub fn first(candidates: &BTreeMap<u64, String>) -> Option<(u64, Peer)> {
    let (number, text) = candidates.first_key_value()?;
    Some((*number, Peer::parse(text)?))
}

/// ZooKeeper is gone for longer than a session lasts.
fn lose(shared: &Shared) {
    let was_elected = {
        let mut state = shared.state();
        state.leader = None;
        state.replicas = vec![(shared.address, shared.port)];
        state.is_elected
    };
    if was_elected {
        shared.exit(
            1,
            "EXIT with status 1: Lost leadership... committing suicide!",
        );
    }
}

/// The leading master as an agent or a framework finds it, by a session of its own. `None` while no
/// candidate is registered, or ZooKeeper is gone for longer than a session lasts.
pub async fn detect(session: Arc<dyn Session>, path: String, leader: Watched<Option<Peer>>) {
    let mut lost = Some(Instant::now());
    let prefix = format!("{path}/{CANDIDATES}");
    loop {
        let seen = session.version();
        let found = match session.link() {
            Link::Expired => return,
            Link::Connected => {
                lost = None;
                let members = session.members(&prefix).await;
                members.map(|members| first(&members).map(|(_, peer)| peer))
            }
            Link::Disconnected if is_over(&mut lost) => Some(None),
            Link::Disconnected => None,
        };
        if let Some(found) = found {
            leader.set(found);
        }
        wait(&*session, seen, lost).await;
    }
}

/// Whether a connection is lost for longer than a session lasts. `lost`: since when; set at the first
/// question.
fn is_over(lost: &mut Option<Instant>) -> bool {
    lost.get_or_insert_with(Instant::now).elapsed() >= SESSION
}

/// Waits for a change, or until a lost connection is one for too long.
async fn wait(session: &dyn Session, seen: u64, lost: Option<Instant>) {
    let over = lost
        .map(|lost| lost + SESSION)
        .filter(|over| *over > Instant::now());
    tokio::select! {
        biased;
        () = session.changed(seen) => {}
        () = sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => {}
    }
}
