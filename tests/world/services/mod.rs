//! The services of a simulated cluster: programs that a container of an image runs. Small state
//! machines that read the configuration which toots renders, listen on their ports, and answer what
//! is asked of them as the recorded programs did.
//!
//! Owns: ZooKeeper and Consul with their members' data, Mesos, Marathon, Chronos, the edge, and the
//! other programs of `playbooks/`. They stand on what [`Surroundings`] holds: ZooKeeper and Consul by the
//! traits of [`coordination`], the machine's Engine by those of [`engine`]. It imports only what all
//! parts share, nothing of `docker`, `host` or toots. To add a program: its file, and a row in
//! `programs`.

pub mod bound;
pub mod clock;
pub mod consul;
pub mod coordination;
pub mod edge;
pub mod engine;
mod flags;
mod frameworks;
mod journal;
pub mod memory;
pub mod mesos;
mod other;
mod store;
pub mod tables;
mod tasks;
#[cfg(test)]
mod tests;
pub mod view;
pub mod web;
pub mod wire_engine;
mod written;
pub mod zookeeper;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use bound::Quorums;
use clock::Clock;
use coordination::{Catalog, Coordination};
use engine::Engines;
use view::View;

use crate::process::{Process, Program};

/// The entrypoint of an image that does not contain it: its containers do not start.
pub const MISSING_COMMAND: &str = "/missing";

/// What the programs of all machines share.
#[derive(Clone)]
pub struct Surroundings {
    pub coordination: Arc<dyn Coordination>,
    pub catalog: Arc<dyn Catalog>,
    pub engines: Arc<dyn Engines>,
    pub view: View,
    pub clock: Clock,
}

/// The program of every image: which one runs follows from what the image says of itself, its
/// repository or `NAME VERSION`, and the command line.
pub struct Services {
    programs: BTreeMap<&'static str, Arc<dyn Program>>,
    quorums: Option<Quorums>,
}

impl Services {
    pub fn new(world: &Surroundings) -> Self {
        Self {
            programs: programs(world),
            quorums: None,
        }
    }

    /// With ZooKeeper and Consul.
    pub fn with_quorums(world: &Surroundings, quorums: &Quorums) -> Self {
        Self {
            quorums: Some(quorums.clone()),
            ..Self::new(world)
        }
    }

    pub fn program(&self, image: &str) -> Option<Arc<dyn Program>> {
        let (name, version) = split_image(image);
        let quorums = self.quorums.as_ref();
        let known = self.programs.get(name).cloned();
        known.or_else(|| quorums?.program(name, version))
    }
}

#[async_trait]
impl Program for Services {
    async fn run(&self, process: Process) -> i64 {
        match self.program(&process.image) {
            Some(program) => program.run(process).await,
            None => {
                process.log.line(format!("no program: {}", process.image));
                127
            }
        }
    }

    fn has_command(&self, command: &[String]) -> bool {
        command.first().is_none_or(|word| word != MISSING_COMMAND)
    }
}

/// The last part of an image's repository, and its tag or version.
pub fn split_image(image: &str) -> (&str, &str) {
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once([':', ' ', '@']).unwrap_or((last, ""))
}

/// By the last part of an image's repository.
fn programs(world: &Surroundings) -> BTreeMap<&'static str, Arc<dyn Program>> {
    fn row<P: Program + 'static>(
        name: &'static str,
        program: P,
    ) -> (&'static str, Arc<dyn Program>) {
        (name, Arc::new(program))
    }
    let world = || world.clone();
    BTreeMap::from([
        row("mesos", mesos::Mesos(world())),
        row("mesos-master", mesos::Master(world())),
        row("mesos-slave", mesos::Agent(world())),
        row("marathon", frameworks::Marathon(world())),
        row("chronos", frameworks::Chronos(world())),
        row("registrator", edge::Registrator(world())),
        row("consul-template", edge::ConsulTemplate(world())),
        row("haproxy", edge::Haproxy(world())),
        row("keepalived", edge::Keepalived(world())),
        row("dnsmasq", other::Dnsmasq(world())),
        row("openvpn", other::Openvpn(world())),
        row("supervisord", other::Supervisord(world())),
        row("registry", other::Registry(world())),
        row("http-echo", other::Echo(world())),
    ])
}

/// The address at which a program on a machine listens. Loopback and the wildcard are the machine's
/// own address, since the network keeps one table for all machines.
pub fn listening_address(configured: &str, machine: Ipv4Addr) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = configured.parse().ok()?;
    let is_own = address.is_loopback() || address.is_unspecified() || address == machine;
    is_own.then_some(machine)
}
