//! Consul's catalogue by its promises: every agent of the cluster tells the same, while it runs and
//! the servers have a leader.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::changes::Watched;
use crate::network::Network;
use crate::services::coordination::{Catalog, Instance};

/// How long a question waits for a change.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Table {
    /// By agent and id.
    services: BTreeMap<(Ipv4Addr, String), Instance>,
    away: BTreeSet<Ipv4Addr>,
    has_no_leader: bool,
}

/// Cloned handles see one catalogue.
#[derive(Clone)]
pub struct MemoryCatalog {
    network: Network,
    table: Arc<Mutex<Table>>,
    index: Watched<u64>,
}

impl MemoryCatalog {
    pub fn new(network: &Network) -> Self {
        Self {
            network: network.clone(),
            table: Arc::default(),
            index: Watched::new(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the agent of a machine, or starts it. It keeps its services on its disk.
    pub fn set_away(&self, agent: Ipv4Addr, is_away: bool) {
        let mut table = self.lock();
        if is_away {
            table.away.insert(agent)
        } else {
            table.away.remove(&agent)
        };
        drop(table);
        self.index.count();
    }

    pub fn set_leader(&self, has_leader: bool) {
        self.lock().has_no_leader = !has_leader;
        self.index.count();
    }

    /// Every service, whoever asks.
    pub fn instances(&self) -> Vec<Instance> {
        self.lock().services.values().cloned().collect()
    }

    fn asked(&self, from: Ipv4Addr, agent: Ipv4Addr) -> io::Result<MutexGuard<'_, Table>> {
        let table = self.lock();
        if !self.network.reaches(from, agent) || table.away.contains(&agent) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if table.has_no_leader {
            return Err(io::Error::other("No cluster leader"));
        }
        Ok(table)
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn register(
        &self,
        from: Ipv4Addr,
        agent: Ipv4Addr,
        instance: Instance,
    ) -> io::Result<()> {
        let key = (agent, instance.id.clone());
        let former = self
            .asked(from, agent)?
            .services
            .insert(key, instance.clone());
        if former != Some(instance) {
            self.index.count();
        }
        Ok(())
    }

    async fn deregister(&self, from: Ipv4Addr, agent: Ipv4Addr, id: &str) -> io::Result<()> {
        let key = (agent, id.to_owned());
        if self.asked(from, agent)?.services.remove(&key).is_some() {
            self.index.count();
        }
        Ok(())
    }

    async fn of_agent(&self, from: Ipv4Addr, agent: Ipv4Addr) -> io::Result<Vec<Instance>> {
        let table = self.asked(from, agent)?;
        let own = table.services.iter().filter(|((at, _), _)| *at == agent);
        Ok(own.map(|(_, instance)| instance.clone()).collect())
    }

    async fn passing(
        &self,
        from: Ipv4Addr,
        agent: Ipv4Addr,
        after: u64,
    ) -> io::Result<(u64, BTreeMap<String, Vec<Instance>>)> {
        drop(self.asked(from, agent)?);
        let newer = self.index.wait_for(|index| *index > after);
        // A question that waits in vain is answered with what there is.
        drop(tokio::time::timeout(WAIT, newer).await);
        let table = self.asked(from, agent)?;
        let mut found: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        for ((at, _), instance) in &table.services {
            if !table.away.contains(at) {
                let instances = found.entry(instance.name.clone()).or_default();
                instances.push(instance.clone());
            }
        }
        Ok((self.index.get(), found))
    }
}
