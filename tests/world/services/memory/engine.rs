//! The machines' Engines by what programs notice of them: containers that run a program, end with it,
//! and are started again.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::files::Files;
use crate::network::Network;
use crate::process::{Log, Process, Program, Signal};
use crate::record::Record;
use crate::services::engine::{Container, EngineEvent, Engines, LocalEngine};

/// Pause before a container is started again, and what its start takes.
const RESTART: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_millis(200);

/// Chooses the program of a container.
pub type Choose = Arc<dyn Fn(&Container) -> Arc<dyn Program> + Send + Sync>;

struct Running {
    container: Container,
    signals: mpsc::UnboundedSender<Signal>,
    task: AbortHandle,
    log: Log,
}

struct Machine {
    address: Ipv4Addr,
    network: Network,
    record: Record,
    files: Files,
    choose: Mutex<Option<Choose>>,
    containers: Mutex<BTreeMap<String, Running>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<EngineEvent>>>,
}

/// What becomes of a container that somebody stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It stays stopped.
    No,
    /// The Engine starts it again, as after a crash.
    Yes,
}

/// Cloned handles see one set of machines.
#[derive(Clone, Default)]
pub struct MemoryEngines(Arc<Mutex<BTreeMap<Ipv4Addr, Arc<Machine>>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryEngines {
    pub fn add(&self, address: Ipv4Addr, network: &Network, record: &Record) -> Files {
        let files = Files::default();
        let machine = Machine {
            address,
            network: network.clone(),
            record: record.clone(),
            files: files.clone(),
            choose: Mutex::default(),
            containers: Mutex::default(),
            listeners: Mutex::default(),
        };
        lock(&self.0).insert(address, Arc::new(machine));
        files
    }

    pub fn for_programs(&self) -> Arc<dyn Engines> {
        Arc::new(ForPrograms(Arc::downgrade(&self.0)))
    }

    /// Sets which programs the images contain.
    pub fn set_programs(&self, choose: &Choose) {
        for machine in lock(&self.0).values() {
            *lock(&machine.choose) = Some(Arc::clone(choose));
        }
    }

    fn machine(&self, address: Ipv4Addr) -> Arc<Machine> {
        Arc::clone(lock(&self.0).get(&address).expect("a machine"))
    }

    pub fn files(&self, address: Ipv4Addr) -> Files {
        self.machine(address).files.clone()
    }

    pub fn signal(&self, address: Ipv4Addr, name: &str, signal: Signal) {
        let machine = self.machine(address);
        if let Some(running) = lock(&machine.containers).get(name) {
            // A process that has ended hears nothing.
            let _ = running.signals.send(signal);
        }
    }

    /// Creates and starts a container.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn run(&self, address: Ipv4Addr, container: Container) -> io::Result<()> {
        tokio::time::sleep(START).await;
        self.machine(address).start(container, Log::default())
    }

    /// Kills a container's process.
    pub fn kill(&self, address: Ipv4Addr, name: &str, restart: Restart) {
        let machine = self.machine(address);
        let killed = lock(&machine.containers).remove(name);
        let Some(killed) = killed else { return };
        killed.task.abort();
        machine.publish(EngineEvent::Died(name.to_owned()));
        if restart == Restart::Yes {
            let container = killed.container;
            tokio::spawn(async move {
                tokio::time::sleep(RESTART).await;
                // The name may be taken meanwhile.
                let _ = machine.start(container, killed.log);
            });
        }
    }

    /// Closes the streams of events, as an Engine does that restarts.
    pub fn close_events(&self, address: Ipv4Addr) {
        lock(&self.machine(address).listeners).clear();
    }
}

impl Machine {
    fn publish(&self, event: EngineEvent) {
        lock(&self.listeners).retain(|listener| listener.send(event.clone()).is_ok());
    }

    fn start(self: &Arc<Self>, container: Container, log: Log) -> io::Result<()> {
        let mut containers = lock(&self.containers);
        if containers.contains_key(&container.name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let choose = lock(&self.choose).clone().expect("programs");
        let (sender, signals) = mpsc::unbounded_channel();
        let process = Process {
            name: container.name.clone(),
            image: container.image.clone(),
            command: container.command.clone(),
            env: container.env.clone(),
            mounts: container.mounts.clone(),
            files: self.files.clone(),
            address: self.address,
            hostname: self.address.to_string(),
            network: self.network.clone(),
            signals,
            log: log.clone(),
            record: self.record.clone(),
        };
        let life = Arc::downgrade(self);
        let program = choose(&container);
        let name = container.name.clone();
        let task = tokio::spawn(live(life, program, process, container.clone(), log.clone()));
        let running = Running {
            container,
            signals: sender,
            task: task.abort_handle(),
            log,
        };
        containers.insert(name.clone(), running);
        drop(containers);
        self.publish(EngineEvent::Started(name));
        Ok(())
    }
}

async fn live(
    machine: Weak<Machine>,
    program: Arc<dyn Program>,
    process: Process,
    container: Container,
    log: Log,
) {
    let notes = process.notes();
    let code = program.run(process).await;
    notes.note(format!("exit {code}"));
    let Some(machine) = machine.upgrade() else {
        return;
    };
    lock(&machine.containers).remove(&container.name);
    machine.publish(EngineEvent::Died(container.name.clone()));
    if container.restarts {
        tokio::time::sleep(RESTART).await;
        // The name may be taken meanwhile.
        let _ = machine.start(container, log);
    }
}

/// The same for the programs that these machines run, which must not keep them alive.
struct ForPrograms(Weak<Mutex<BTreeMap<Ipv4Addr, Arc<Machine>>>>);

impl Engines for ForPrograms {
    fn engine(&self, machine: Ipv4Addr) -> Option<Arc<dyn LocalEngine>> {
        let machine = lock(&*self.0.upgrade()?).get(&machine).map(Arc::clone)?;
        Some(Arc::new(MemoryEngine(machine)))
    }
}

struct MemoryEngine(Arc<Machine>);

#[async_trait]
impl LocalEngine for MemoryEngine {
    async fn running(&self) -> io::Result<Vec<Container>> {
        let containers = lock(&self.0.containers);
        let running = containers.values().map(|running| running.container.clone());
        Ok(running.collect())
    }

    async fn events(&self) -> io::Result<mpsc::UnboundedReceiver<EngineEvent>> {
        let (sender, events) = mpsc::unbounded_channel();
        lock(&self.0.listeners).push(sender);
        Ok(events)
    }
}
