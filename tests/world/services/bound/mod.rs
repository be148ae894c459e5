//! The traits of [`super::coordination`] on the simulated ZooKeeper and Consul: sessions and requests
//! go over the simulated network, to whatever member a program was told.
//!
//! Owns nothing of the programs that use it. To bind one more trait: its file.

mod catalog;
mod session;

use std::sync::Arc;

use catalog::AgentCatalog;
use session::EnsembleSessions;

use super::coordination::{Catalog, Coordination};
use super::tables::QuorumTables;
use super::{consul, zookeeper};
use crate::network::Network;
use crate::process::Program;

/// ZooKeeper and Consul of one network. Cloned handles see the same.
#[derive(Clone)]
pub struct Quorums {
    network: Network,
    pub ensemble: zookeeper::Ensemble,
    pub cluster: consul::Cluster,
}

impl Quorums {
    /// Ids and times of elections follow from the seed.
    pub fn new(network: &Network, seed: u64) -> Self {
        Self {
            network: network.clone(),
            ensemble: zookeeper::Ensemble::default(),
            cluster: consul::Cluster::new(seed),
        }
    }

    pub fn coordination(&self) -> Arc<dyn Coordination> {
        Arc::new(EnsembleSessions::new(&self.network, &self.ensemble))
    }

    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(AgentCatalog::new(&self.network))
    }

    pub fn tables(&self) -> QuorumTables {
        QuorumTables {
            ensemble: self.ensemble.clone(),
            cluster: self.cluster.clone(),
        }
    }

    /// The program of an image by the last part of its repository, and its version.
    pub fn program(&self, name: &str, version: &str) -> Option<Arc<dyn Program>> {
        match name {
            "zookeeper" => {
                let program = zookeeper::ZooKeeper::new(&self.ensemble, version);
                Some(Arc::new(program))
            }
            "consul" => Some(Arc::new(consul::Consul::new(&self.cluster))),
            _ => None,
        }
    }
}
