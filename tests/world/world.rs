//! A world: machines, the network between them, and what happened.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::time::Instant;
use toots::host::Dial;

use crate::docker::{self, Engine, EngineSetup, Image};
use crate::host::controller::{Controller, SimulatedDialler};
use crate::host::faults::{Faults, Point, Points};
use crate::host::machine::{Machine, Surroundings};
use crate::network::Network;
use crate::record::Record;

pub struct World {
    pub network: Network,
    pub record: Record,
    machines: Vec<Arc<Machine>>,
    pub points: Points,
    controllers: std::cell::Cell<u8>,
}

impl World {
    /// Machines by name and address, each with an Engine that has these images, which contain nothing.
    pub fn new(seed: u64, hosts: &[(&str, Ipv4Addr)], images: &'static [&'static str]) -> Self {
        Self::with_engines(seed, hosts, &Network::default(), move |machine| {
            let engine = Engine::new(EngineSetup::new(machine));
            for image in images {
                engine.has_image(image, Image::new(image, "1"));
            }
            engine
        })
    }

    /// Machines by name and address, each with an Engine of this making.
    pub fn with_engines(
        seed: u64,
        hosts: &[(&str, Ipv4Addr)],
        network: &Network,
        engine: impl Fn(docker::Machine) -> Engine + Send + Sync + 'static,
    ) -> Self {
        let around = Surroundings {
            engine: Arc::new(engine),
            network: network.clone(),
            record: Record::default(),
            points: Points::default(),
            started: Instant::now(),
        };
        let machine =
            |(name, address): &(&str, Ipv4Addr)| Machine::new(name, *address, seed, &around);
        Self {
            machines: hosts.iter().map(machine).collect(),
            network: around.network,
            record: around.record,
            points: around.points,
            controllers: std::cell::Cell::new(0),
        }
    }

    /// # Panics
    /// When there is no such machine.
    pub fn machine(&self, name: &str) -> &Arc<Machine> {
        let mut machines = self.machines.iter();
        let found = machines.find(|machine| machine.name == name);
        found.expect("a machine of this name")
    }

    pub fn machines(&self) -> &[Arc<Machine>] {
        &self.machines
    }

    /// A machine from which toots runs.
    pub fn controller(&self, name: &str) -> Controller {
        let number = self.controllers.get() + 1;
        self.controllers.set(number);
        let address = Ipv4Addr::new(192, 0, 2, number);
        Controller::new(&format!("{name} {number}"), address, self.record.clone())
    }

    /// Opens sessions from a controller to every machine.
    pub fn dialler(&self, from: &Controller) -> SimulatedDialler {
        SimulatedDialler {
            controller: from.clone(),
            machines: self.machines.clone(),
        }
    }

    /// The same, as an engine uses it.
    pub fn dial(&self, from: &Controller) -> Arc<dyn Dial> {
        Arc::new(self.dialler(from))
    }

    pub fn set_faults(&self, faults: Faults) {
        self.points.set_faults(faults);
    }

    /// How many points were passed.
    pub fn passed(&self) -> usize {
        self.points.count_passed()
    }

    /// The points passed so far, at each of which a fault can be set.
    pub fn points(&self) -> Vec<Point> {
        self.points.passed()
    }

    /// How often each kind of fault occurred, and what it led to.
    pub fn counts(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.points.counts()
    }
}
