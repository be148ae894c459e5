//! A life of a cluster: its world, and the machine of an operator who runs command lines.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use toots::cli::{self, Env};
use toots::env::Signal;
use toots::env::memory::MemoryMachine;

use crate::docker::{Engine, EngineSetup, Image, Registry};
use crate::host::controller::{Controller, ControllerFault, SimulatedDialler};
use crate::host::faults::Faults;
use crate::judge::{Judge, Tables, VOTING};
use crate::network::Network;
use crate::services::bound::Quorums;
use crate::services::clock::Clock;
use crate::services::consul;
use crate::services::view::View;
use crate::services::wire_engine::{self, WireEngines};
use crate::services::zookeeper;
use crate::services::{Services, Surroundings};
use crate::world::World;

/// When each life begins: no time of the real machine enters it.
const BEGINNING: &str = "2027-01-15T08:00:00Z";

/// The images of a registry, by the playbooks' default names.
const IMAGES: [&str; 13] = [
    "zookeeper:3.9.5",
    "zookeeper:3.9.6",
    "hashicorp/consul:1.23",
    "hashicorp/consul:1.22",
    "hashicorp/consul-template:0.42.1",
    "mesosphere/marathon:v1.11.24",
    "mesosphere/chronos:v3.0.2",
    "fayrus/registrator:9.2.0",
    "haproxy:3.2.22",
    "registry:3.1.1",
    "hashicorp/http-echo:1.0",
    "debian:13-slim",
    "ubuntu:24.04",
];

/// Between two writes of a client.
const PAUSE: Duration = Duration::from_secs(3);
/// Hosts give up dead connections and their locks, and services find each other again.
const HEALING: Duration = Duration::from_secs(300);

/// The hosts of an inventory: names and addresses.
pub type Hosts = [(&'static str, Ipv4Addr)];

pub struct Life {
    pub world: World,
    /// What every Engine pulls from.
    pub registry: Registry,
    pub judge: Judge,
    pub ensemble: zookeeper::Ensemble,
    /// Where ZooKeeper and Consul run.
    masters: Vec<Ipv4Addr>,
    seed: u64,
    clock: Clock,
}

/// The machine of an operator, and its connections.
pub struct Operator {
    machine: Arc<MemoryMachine>,
    pub controller: Controller,
    dialler: Arc<SimulatedDialler>,
    killed: Arc<Notify>,
    holds: Arc<Mutex<Holds>>,
}

/// When a process was held.
#[derive(Default)]
struct Holds {
    since: Option<Instant>,
    spans: Vec<(Instant, Instant)>,
}

impl Holds {
    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// However often it was held, it goes on at once.
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.spans.push((since, Instant::now()));
        }
    }
}

/// Clients that write.
pub struct Writers {
    zookeeper: zookeeper::Writer,
    consul: consul::Writer,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Writers {
    /// Ends them; acknowledged writes that are not there, and how many there were.
    pub async fn end(&self, life: &Life) -> (Vec<String>, usize) {
        self.tasks.iter().for_each(|task| task.abort());
        let mut lost = Vec::new();
        for address in &life.masters {
            match self.zookeeper.lost_at((*address, 2181)).await {
                Ok(numbers) if numbers.is_empty() => {}
                Ok(numbers) => {
                    lost.push(format!("{address}: ZooKeeper lost the writes {numbers:?}"))
                }
                Err(why) => lost.push(format!("{address}: ZooKeeper does not answer: {why:?}")),
            }
            match self.consul.lost_at((*address, 8500)).await {
                Some(numbers) if numbers.is_empty() => {}
                Some(numbers) => {
                    lost.push(format!("{address}: Consul lost the writes {numbers:?}"))
                }
                None => lost.push(format!("{address}: Consul does not answer")),
            }
        }
        let count = self.zookeeper.acknowledged().len() + self.consul.acknowledged().len();
        (lost, count)
    }
}

/// What a run leaves on the operator's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `None`: it was killed.
    pub exit: Option<u8>,
    pub output: String,
    pub error: String,
    pub took: Duration,
    /// From when until when it was held, since its beginning.
    pub held: Vec<(Duration, Duration)>,
    /// Who ran it, as the world's record names them.
    pub by: String,
}

impl Ending {
    /// How long it was at work after its deadline; while it was held, it could not end.
    pub fn late(&self, deadline: Duration) -> Duration {
        let held = self.held.iter().map(|(from, until)| {
            let from = (*from).max(deadline);
            until.saturating_sub(from)
        });
        let over = self.took.saturating_sub(deadline);
        over.saturating_sub(held.sum())
    }
}

impl Life {
    /// All hosts are masters.
    pub fn new(seed: u64, hosts: &Hosts) -> Self {
        Self::with_masters(seed, hosts, hosts.len())
    }

    /// The first of the hosts are masters.
    pub fn with_masters(seed: u64, hosts: &Hosts, masters: usize) -> Self {
        let registry = Registry::default();
        for image in IMAGES {
            let (name, version) = image.split_once(':').expect("a tag");
            registry.push(image, Image::new(name, version));
        }
        let view = View::default();
        let now: Timestamp = BEGINNING.parse().expect("a time");
        let clock = Clock::starting_at(now);
        let network = Network::default();
        let quorums = Quorums::new(&network, seed);
        let surroundings = Surroundings {
            coordination: quorums.coordination(),
            catalog: quorums.catalog(),
            engines: Arc::new(WireEngines(network.clone())),
            view: view.clone(),
            clock,
        };
        let programs = Arc::new(Services::with_quorums(&surroundings, &quorums));
        let shelf = registry.clone();
        let world = World::with_engines(seed, hosts, &network, move |machine| {
            let mut setup = EngineSetup::new(machine);
            setup.registry = shelf.clone();
            setup.clock = now;
            setup.any_program = Some(Arc::clone(&programs) as _);
            Engine::new(setup)
        });
        for machine in world.machines() {
            machine
                .engine
                .listen(wire_engine::SOCKET)
                .expect("a free port");
        }
        let tables = Tables {
            ensemble: quorums.ensemble.clone(),
            consul: quorums.cluster.clone(),
            view,
            network: network.clone(),
            machines: hosts
                .iter()
                .map(|(name, address)| ((*name).to_owned(), *address))
                .collect(),
            masters,
        };
        end_leaders(&world, &tables);
        let ensemble = quorums.ensemble.clone();
        let judge = Judge::watch(&world.record, tables);
        let sampling = judge.clone();
        tokio::spawn(async move { sampling.sample().await });
        Self {
            world,
            registry,
            judge,
            ensemble,
            masters: hosts[..masters]
                .iter()
                .map(|(_, address)| *address)
                .collect(),
            seed,
            clock,
        }
    }

    /// An operator whose machine has these files, and whose clock shows the time of the hosts.
    pub fn operator(&self, files: &[(&str, &str)]) -> Operator {
        let controller = self.world.controller("operator");
        let seed = self.seed ^ u64::from(u32::from(controller.address()));
        let machine = MemoryMachine::new(seed, self.clock.now());
        for (path, content) in files {
            machine.files.add(path, *content);
        }
        let (machine, killed) = (Arc::new(machine), Arc::new(Notify::new()));
        let (of_process, notify) = (Arc::downgrade(&machine), Arc::clone(&killed));
        let holds = Arc::new(Mutex::new(Holds::default()));
        let noted = Arc::clone(&holds);
        controller.on_fault(move |fault| {
            let Some(machine) = of_process.upgrade() else {
                return;
            };
            // Without a listener the process ends as any other does.
            let send = |signal| {
                if !machine.signals.send(signal) {
                    notify.notify_one();
                }
            };
            match fault {
                ControllerFault::Killed => notify.notify_one(),
                ControllerFault::Interrupted => send(Signal::Interrupt),
                ControllerFault::Terminated => send(Signal::Terminate),
                ControllerFault::HungUp => send(Signal::HangUp),
                ControllerFault::Held(lasts) => {
                    machine.tasks.hold();
                    locked(&noted).begin();
                    let noted = Arc::clone(&noted);
                    tokio::spawn(async move {
                        tokio::time::sleep(lasts).await;
                        machine.tasks.resume();
                        locked(&noted).end();
                    });
                }
            }
        });
        Operator {
            machine,
            dialler: Arc::new(self.world.dialler(&controller)),
            controller,
            killed,
            holds,
        }
    }

    /// Clients that write to ZooKeeper and Consul as long as the life lasts.
    pub fn start_writers(&self) -> Writers {
        let from = Ipv4Addr::new(192, 0, 2, 250);
        let to = |port| {
            self.masters
                .iter()
                .map(|address| (*address, port))
                .collect()
        };
        let (network, record) = (&self.world.network, &self.world.record);
        let zookeeper = zookeeper::Writer::new(network, record, from, to(2181)).with_pause(PAUSE);
        let consul = consul::Writer::new(network, record, from, to(8500)).with_pause(PAUSE);
        let tasks =
            [zookeeper.clone()].map(|writer| tokio::spawn(async move { writer.run().await }));
        let more = [consul.clone()].map(|writer| tokio::spawn(async move { writer.run().await }));
        Writers {
            zookeeper,
            consul,
            tasks: tasks
                .into_iter()
                .chain(more)
                .map(|task| task.abort_handle())
                .collect(),
        }
    }

    /// Ends every fault: machines start and go on, disks have room.
    pub async fn heal(&self) {
        self.world.set_faults(Faults::default());
        for machine in self.world.machines() {
            machine.start();
            machine.go_on();
            machine.disk.set_filled(0);
            machine.engine.set_disk_full(false);
        }
        tokio::time::sleep(HEALING).await;
    }

    /// Runs one command line as a new operator.
    pub async fn run(&self, inventory: &str, line: &str) -> Ending {
        let operator = self.operator(&[("inventory.toml", inventory)]);
        operator.run(line).await
    }
}

impl Operator {
    /// What it shows and its files; they stay when it has run.
    pub fn desk(&self) -> Arc<MemoryMachine> {
        Arc::clone(&self.machine)
    }

    /// Runs a command line to its end. A machine runs one.
    pub async fn run(self, line: &str) -> Ending {
        let began = Instant::now();
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let env = Env {
            machine: self.machine.machine(),
            dialler: Arc::clone(&self.dialler) as _,
        };
        let running = self.machine.tasks.contain(cli::run(argv, env));
        let exit = tokio::select! {
            biased;
            () = self.killed.notified() => None,
            exit = running => exit,
        };
        self.machine.tasks.end();
        if exit.is_none() {
            self.controller.kill();
        }
        let mut holds = locked(&self.holds);
        holds.end();
        let spans = holds.spans.iter();
        let held = spans.map(|(from, until)| (*from - began, *until - began));
        let held = held.collect();
        drop(holds);
        Ending {
            held,
            exit,
            output: self.machine.terminal.output(),
            error: self.machine.terminal.error(),
            took: began.elapsed(),
            by: self.controller.name().to_owned(),
        }
    }
}

fn locked(holds: &Mutex<Holds>) -> std::sync::MutexGuard<'_, Holds> {
    holds.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Services whose leader's process may end.
const LED: [&str; 5] = [
    VOTING[0],
    VOTING[1],
    VOTING[2],
    "toots-marathon",
    "toots-chronos",
];

/// Lets the world end the process of a leader.
fn end_leaders(world: &World, tables: &Tables) {
    let machines: Vec<_> = world.machines().iter().map(Arc::downgrade).collect();
    let tables = tables.clone();
    world.points.on_leader_end(move |number| {
        let number = usize::try_from(number % LED.len() as u64).unwrap_or_default();
        // Another service when this one has no leader.
        let services = LED.iter().cycle().skip(number).take(LED.len());
        let mut leaders = services.filter_map(|service| Some((service, tables.leader(service)?)));
        let machines = || machines.iter().filter_map(std::sync::Weak::upgrade);
        leaders.any(|(service, leader)| {
            let mut machines = machines().filter(|machine| machine.is_awake());
            let machine = machines.find(|machine| machine.address == leader);
            machine.is_some_and(|machine| machine.engine.end_process(service))
        })
    });
}
