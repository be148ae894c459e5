//! A simulated machine: what it has, what runs on it, and its power.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::JoinSet;
use tokio::time::Instant;
use toots::host::Facts;

use super::disk::Disk;
use super::faults::{Fault, Points};
use super::link::Link;
use super::lock::LockTable;
use super::power::{Power, PowerSwitch};
use super::units::UnitTable;
use crate::docker::{self, Engine};
use crate::files::Files;
use crate::network::Network;
use crate::random::Random;
use crate::record::Record;

const GIB: u64 = 1 << 30;
/// The clock of a machine at the start of every world: 2027-01-15T08:00:00Z.
const EPOCH_SECONDS: i64 = 1_800_000_000;

/// A user who may log in.
#[derive(Debug, Clone)]
pub struct User {
    pub uid: u32,
    pub can_become_root: bool,
    /// Whether the Engine's socket opens for them.
    pub can_open_engine: bool,
}

/// A process outside of the Engine's containers, or one of theirs that listens.
#[derive(Debug, Clone)]
pub struct MachineProcess {
    pub name: String,
    /// Id of the container that it runs in.
    pub container: Option<String>,
    /// Protocol, address and port of each socket at which it listens.
    pub sockets: Vec<(String, IpAddr, u16)>,
}

/// What a machine has besides its files.
pub struct MachineState {
    pub users: BTreeMap<String, User>,
    /// Who logs in.
    pub login: String,
    /// How long the startup files of the login shell take.
    pub shell_startup: Duration,
    /// Everything that does not follow from the rest.
    pub facts: Facts,
    /// Mount points below which mounts are shared, or not.
    pub mounts: BTreeMap<String, bool>,
    /// The clock's error.
    pub clock_skew: jiff::SignedDuration,
    pub processes: BTreeMap<u32, MachineProcess>,
    pub packages: BTreeSet<String>,
    /// Programs that the scripts need and that may be missing: `flock`.
    pub missing_programs: BTreeSet<String>,
    /// Whether the Engine of the machine runs.
    pub engine_runs: bool,
    /// How the machine's docker-compose hashes the services of toots' file.
    pub compose_hashes: BTreeMap<String, String>,
    /// Another file is mounted at /etc/hosts, as in a container.
    pub hosts_is_mount: bool,
    pub refuses_channels: bool,
    next_pid: u32,
    next_port: u16,
    operations: u64,
}

pub struct Machine {
    pub name: String,
    pub address: Ipv4Addr,
    pub disk: Disk,
    pub engine: Engine,
    pub network: Network,
    pub record: Record,
    pub points: Points,
    pub lock: LockTable,
    pub units: UnitTable,
    /// Held by a package manager at work.
    pub package_lock: AsyncMutex<()>,
    pub killed: Mutex<BTreeMap<u32, Arc<Notify>>>,
    started: Instant,
    state: Mutex<MachineState>,
    random: Mutex<Random>,
    power: Arc<PowerSwitch>,
    tasks: Mutex<JoinSet<()>>,
    links: Mutex<Vec<Weak<Link>>>,
}

/// What machines of a world share.
#[derive(Clone)]
pub struct Surroundings {
    /// Makes a machine's Engine.
    pub engine: Arc<dyn Fn(docker::Machine) -> Engine + Send + Sync>,
    pub network: Network,
    pub record: Record,
    pub points: Points,
    pub started: Instant,
}

fn facts(name: &str, address: Ipv4Addr) -> Facts {
    let nic = |name: &str, address: IpAddr| (name.to_owned(), vec![address]);
    Facts {
        hostname: name.to_owned(),
        os_id: "debian".to_owned(),
        os_version: "12".to_owned(),
        arch: "x86_64".to_owned(),
        kernel: "6.1.0-25-amd64".to_owned(),
        machine_id: format!("{:032x}", u32::from(address)),
        cpus: 4,
        mem_total_kib: 8 << 20,
        docker_root: "/var/lib/docker".to_owned(),
        nics: [
            nic("eth0", address.into()),
            nic("lo", Ipv4Addr::LOCALHOST.into()),
        ]
        .into(),
        cgroup_version: 1,
        own_name_resolves_to: vec![address.into()],
        systemd: true,
        package_managers: vec!["apt-get".to_owned()],
        nfs_kernel: true,
        ..Facts::default()
    }
}

impl MachineState {
    fn new(name: &str, address: Ipv4Addr) -> Self {
        let root = User {
            uid: 0,
            can_become_root: true,
            can_open_engine: true,
        };
        Self {
            users: [("root".to_owned(), root)].into(),
            login: "root".to_owned(),
            shell_startup: Duration::from_millis(20),
            facts: facts(name, address),
            mounts: [("/".to_owned(), true)].into(),
            clock_skew: jiff::SignedDuration::ZERO,
            processes: BTreeMap::new(),
            packages: ["docker".to_owned()].into(),
            missing_programs: BTreeSet::new(),
            engine_runs: true,
            compose_hashes: BTreeMap::new(),
            hosts_is_mount: false,
            refuses_channels: false,
            next_pid: 1_000,
            next_port: 32_768,
            operations: 0,
        }
    }

    pub fn user(&self) -> User {
        let user = self.users.get(&self.login).cloned();
        user.unwrap_or(User {
            uid: 1_000,
            can_become_root: false,
            can_open_engine: false,
        })
    }

    pub fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    /// The number of the next operation that begins here.
    pub fn new_operation(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    pub fn new_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(32_768);
        self.next_port
    }
}

impl Machine {
    pub fn new(name: &str, address: Ipv4Addr, seed: u64, around: &Surroundings) -> Arc<Self> {
        let files = Files::default();
        files.write("/etc/hosts", "127.0.0.1 localhost\n", 0o644);
        for folder in ["/etc/systemd/system", "/run", "/srv", "/var/lib"] {
            let dir = crate::files::Node::Dir {
                mode: 0o755,
                owner: 0,
            };
            for (at, _) in folder.match_indices('/').skip(1) {
                files.set(&folder[..at], dir.clone());
            }
            files.set(folder, dir);
        }
        let engine = (around.engine)(docker::Machine {
            name: name.to_owned(),
            address,
            files: files.clone(),
            network: around.network.clone(),
            record: around.record.clone(),
        });
        Arc::new(Self {
            name: name.to_owned(),
            address,
            disk: Disk::new(files, 100 * GIB),
            engine,
            network: around.network.clone(),
            record: around.record.clone(),
            points: around.points.clone(),
            lock: LockTable::default(),
            units: UnitTable::default(),
            package_lock: AsyncMutex::default(),
            killed: Mutex::default(),
            started: around.started,
            state: Mutex::new(MachineState::new(name, address)),
            random: Mutex::new(Random::new(seed ^ u64::from(u32::from(address)))),
            power: Arc::default(),
            tasks: Mutex::default(),
            links: Mutex::default(),
        })
    }

    pub fn files(&self) -> &Files {
        &self.disk.files
    }

    pub fn state(&self) -> MutexGuard<'_, MachineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `limit`, from the machine's seed.
    pub fn draw(&self, limit: u64) -> u64 {
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .below(limit)
    }

    /// Serves a connection to the machine's Engine; `requester` names who asks.
    pub fn serve_engine(self: &Arc<Self>, connection: DuplexStream, requester: &str) {
        self.record.note(&self.name, requester, "connects Engine");
        self.spawn(docker::serve(
            self.engine.clone(),
            connection,
            requester.to_owned(),
        ));
    }

    /// The machine's own clock.
    pub fn now(&self) -> jiff::Timestamp {
        let since = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        let skew = self.state().clock_skew;
        let epoch = jiff::Timestamp::from_second(EPOCH_SECONDS).unwrap_or_default();
        epoch + since + skew
    }

    pub fn add_link(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    fn links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).collect()
    }

    /// Loses every connection to it.
    pub fn lose_connections(&self, noticed_after: Duration, host_notices: bool) {
        for link in self.links() {
            link.lose(noticed_after, host_notices);
        }
    }

    /// Runs a process of the machine, which ends with its power and stands still while it hangs.
    pub fn spawn(self: &Arc<Self>, process: impl Future<Output = ()> + Send + 'static) {
        if self.power() == Power::Off {
            return;
        }
        let power = Arc::clone(&self.power);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { power.run(process).await });
    }

    pub fn power(&self) -> Power {
        self.power.get()
    }

    pub fn is_awake(&self) -> bool {
        self.power() == Power::On
    }

    /// Returns when the machine is at work.
    pub async fn awake(&self) {
        self.power.awake().await;
    }

    pub fn hang(&self) {
        if self.is_awake() {
            self.record.note(&self.name, "machine", "hangs");
            self.power.set(Power::Hangs);
            self.engine.pause();
            self.network.silence(self.address, true);
            self.links().iter().for_each(Link::hang);
        }
    }

    pub fn go_on(&self) {
        if self.power() == Power::Hangs {
            self.record.note(&self.name, "machine", "goes on");
            self.network.silence(self.address, false);
            self.power.set(Power::On);
            self.engine.go_on();
            self.links().iter().for_each(|link| link.wake());
        }
    }

    /// Processes end, files stay; what was not synced may be lost.
    pub fn cut_power(&self) {
        if self.power() == Power::Off {
            return;
        }
        self.record.note(&self.name, "machine", "power cut");
        self.power.set(Power::Off);
        self.network.silence(self.address, true);
        self.network.release(self.address);
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
        self.engine.power_cut();
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.cut_power(&mut random);
        drop(random);
        self.lock.clear();
        self.record.lock_freed(&self.name);
        self.units.stop();
        let mut state = self.state();
        state.engine_runs = false;
        state.processes.clear();
        drop(state);
        self.links().iter().for_each(Link::vanish);
    }

    /// Starts the machine anew after a power cut.
    pub fn start(&self) {
        if self.power() != Power::Off {
            return;
        }
        self.record.note(&self.name, "machine", "starts");
        self.network.silence(self.address, false);
        self.power.set(Power::On);
        let has_engine = self.has_docker();
        self.state().engine_runs = has_engine;
        self.units.start_enabled();
        if has_engine {
            let engine = self.engine.clone();
            tokio::spawn(async move { engine.boot().await });
        }
        self.links().iter().for_each(|link| link.reset());
    }

    /// Whether the Engine's package is there.
    pub fn has_docker(&self) -> bool {
        self.state().packages.contains("docker")
    }

    pub fn suffer(self: &Arc<Self>, fault: Fault) {
        match fault {
            Fault::HostHangs(lasts) => {
                self.hang();
                self.later(lasts, |machine| machine.go_on());
            }
            Fault::PowerCut(lasts) => {
                self.cut_power();
                self.later(lasts, |machine| machine.start());
            }
            Fault::HostDies => self.cut_power(),
            Fault::EngineRestarts(down) => self.restart_engine(down),
            Fault::LeaderEnds => self.points.end_leader(self.draw(u64::MAX)),
            Fault::DiskFull(lasts) => {
                self.record.note(&self.name, "machine", "disk full");
                self.disk.set_filled(self.disk.size());
                self.engine.set_disk_full(true);
                self.later(lasts, |machine| {
                    machine.disk.set_filled(0);
                    machine.engine.set_disk_full(false);
                });
            }
            _ => {}
        }
    }

    /// Its Engine ends in order, with all containers, and starts again.
    fn restart_engine(self: &Arc<Self>, down: Duration) {
        if !self.is_awake() || !self.state().engine_runs {
            return;
        }
        self.record.note(&self.name, "machine", "Engine restarts");
        let machine = Arc::clone(self);
        self.spawn(async move {
            machine.engine.shut_down().await;
            machine.state().engine_runs = false;
            tokio::time::sleep(down).await;
            machine.engine.boot().await;
            machine.state().engine_runs = true;
        });
    }

    /// As a machine is on which nobody installed Docker.
    pub fn uninstall_docker(&self) {
        let mut state = self.state();
        state.packages.remove("docker");
        state.engine_runs = false;
        drop(state);
        self.engine.power_cut();
    }

    fn later(self: &Arc<Self>, pause: Duration, act: impl FnOnce(&Self) + Send + 'static) {
        let machine = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            act(&machine);
        });
    }

    /// Ends a process that can be killed.
    pub fn kill(&self, pid: u32) -> bool {
        let killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        let process = killed.get(&pid);
        if let Some(process) = process {
            process.notify_one();
        }
        process.is_some()
    }
}
