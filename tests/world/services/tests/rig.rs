//! A cluster of machines that run what toots rendered.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::rendered::{Hosts, rendered};
use crate::files::Files;
use crate::network::Network;
use crate::process::Signal;
use crate::record::Record;
use crate::services::clock::Clock;
use crate::services::engine::Container;
use crate::services::memory::{MemoryCatalog, MemoryEngines, MemoryEnsemble, Restart};
use crate::services::view::{Service, View};
use crate::services::web::{Answer, Client, Request};
use crate::services::{Services, Surroundings};

pub const THREE: &str = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
    slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n";

pub const M1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
pub const M2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
pub const M3: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 13);
pub const S1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 21);
pub const E1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 31);
pub const MASTERS: [Ipv4Addr; 3] = [M1, M2, M3];

pub struct Rig {
    pub hosts: Hosts,
    pub network: Network,
    pub record: Record,
    pub ensemble: MemoryEnsemble,
    pub catalog: MemoryCatalog,
    pub engines: MemoryEngines,
    pub world: Surroundings,
}

impl Rig {
    /// Machines with their files; nothing runs yet but ZooKeeper and Consul.
    pub fn new(inventory: &str) -> Self {
        Self::from_hosts(rendered(inventory))
    }

    pub fn from_hosts(hosts: Hosts) -> Self {
        let (network, record) = (Network::default(), Record::default());
        let runs = |component: &str| -> Vec<Ipv4Addr> {
            let items = hosts
                .iter()
                .filter(|(_, host)| host.containers.contains_key(component));
            items.map(|(address, _)| *address).collect()
        };
        let ensemble = MemoryEnsemble::new(&network, &runs("zookeeper"));
        let catalog = MemoryCatalog::new(&network);
        let engines = MemoryEngines::default();
        for (address, host) in &hosts {
            let files = engines.add(*address, &network, &record);
            for (path, text) in &host.files {
                files.write(path, text.as_str(), 0o644);
            }
        }
        let world = Surroundings {
            coordination: Arc::new(ensemble.clone()),
            catalog: Arc::new(catalog.clone()),
            engines: engines.for_programs(),
            view: View::default(),
            clock: Clock::starting_at("2026-11-28T00:00:00Z".parse().expect("a time")),
        };
        let services = Services::new(&world);
        engines.set_programs(
            &(Arc::new(move |container: &Container| {
                // An application's image.
                let image = container.image.replace("debian", "http-echo");
                services.program(&image).expect("a program of the image")
            }) as _),
        );
        Self {
            hosts,
            network,
            record,
            ensemble,
            catalog,
            engines,
            world,
        }
    }

    pub fn files(&self, machine: Ipv4Addr) -> Files {
        self.engines.files(machine)
    }

    pub fn container(&self, machine: Ipv4Addr, component: &str) -> Container {
        self.hosts[&machine].containers[component].clone()
    }

    pub async fn run(&self, machine: Ipv4Addr, container: Container) {
        let started = self.engines.run(machine, container).await;
        started.expect("a container");
    }

    pub async fn start(&self, machine: Ipv4Addr, component: &str) {
        self.run(machine, self.container(machine, component)).await;
    }

    /// Starts a component wherever it was rendered.
    pub async fn start_all(&self, component: &str) {
        let has = |machine: &Ipv4Addr| self.hosts[machine].containers.contains_key(component);
        let machines: Vec<Ipv4Addr> = self.hosts.keys().copied().filter(has).collect();
        for machine in machines {
            self.start(machine, component).await;
        }
    }

    pub fn kill(&self, machine: Ipv4Addr, component: &str, restart: Restart) {
        self.engines
            .kill(machine, &format!("toots-{component}"), restart);
    }

    pub fn term(&self, machine: Ipv4Addr, component: &str) {
        self.engines
            .signal(machine, &format!("toots-{component}"), Signal::Term);
    }

    /// Asks a program on its own machine.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, machine: Ipv4Addr, port: u16, request: Request) -> io::Result<Answer> {
        let client = Client {
            network: self.network.clone(),
            from: machine,
            limit: Duration::from_secs(60),
        };
        client.send(machine, port, request).await
    }

    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, machine: Ipv4Addr, port: u16, path: &str) -> io::Result<Answer> {
        self.ask(machine, port, Request::new("GET", path)).await
    }

    /// The exit codes of a container's ends, in order.
    pub fn exits(&self, machine: Ipv4Addr, component: &str) -> Vec<i64> {
        let name = format!("toots-{component}");
        let entries = self.record.entries().into_iter();
        let own = entries.filter(|entry| entry.host == machine.to_string() && entry.who == name);
        own.filter_map(|entry| entry.what.strip_prefix("exit ")?.parse().ok())
            .collect()
    }

    pub fn leading(&self, service: Service) -> BTreeSet<Ipv4Addr> {
        self.world.view.leading(service)
    }

    /// The one that leads.
    pub fn leader(&self, service: Service) -> Ipv4Addr {
        let leading = self.leading(service);
        assert_eq!(leading.len(), 1, "{service:?}: {leading:?}");
        *leading.first().expect("a leader")
    }

    /// Masters, agents and frameworks, settled.
    pub async fn bring_up(&self, components: &[&str]) {
        for component in components {
            self.start_all(component).await;
        }
        sleep(Duration::from_secs(30)).await;
    }
}

/// Seconds until something holds, at most `limit`.
pub async fn until(limit: u64, mut holds: impl AsyncFnMut() -> bool) -> f64 {
    let began = Instant::now();
    while !holds().await {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(limit), "not within {limit} s");
        sleep(Duration::from_millis(50)).await;
    }
    began.elapsed().as_secs_f64()
}
