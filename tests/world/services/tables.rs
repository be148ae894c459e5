//! What members with a quorum are at this moment, by the world's own account, for whoever checks
//! invariants: read without waiting, and without asking a program.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{consul, zookeeper};

#[derive(Clone)]
pub struct QuorumTables {
    pub ensemble: zookeeper::Ensemble,
    pub cluster: consul::Cluster,
}

impl QuorumTables {
    /// Members that are reached by their leader and have everything that it committed.
    pub fn synced_zookeeper(&self) -> BTreeSet<Ipv4Addr> {
        let members = self.ensemble.members().into_iter();
        let synced = members.filter(|member| member.is_synced);
        synced.map(|member| member.address).collect()
    }

    pub fn synced_consul(&self) -> BTreeSet<Ipv4Addr> {
        let agents = self.cluster.members().into_iter();
        let synced = agents.filter(|agent| agent.is_synced);
        synced.map(|agent| agent.address).collect()
    }

    /// Acknowledged writes that nobody can read any more; `None` while no leader has a majority.
    pub fn lost_in_zookeeper(&self, writer: &zookeeper::Writer) -> Option<BTreeSet<u64>> {
        let paths = self.ensemble.committed_paths()?;
        let numbers = writer.acknowledged().into_iter();
        let is_lost = |number: &u64| !paths.contains(&zookeeper::Writer::path(*number));
        Some(numbers.filter(is_lost).collect())
    }

    /// As [`Self::lost_in_zookeeper`].
    pub fn lost_in_consul(&self, writer: &consul::Writer) -> Option<BTreeSet<u64>> {
        let keys = self.cluster.committed_keys()?;
        let numbers = writer.acknowledged().into_iter();
        let is_lost = |number: &u64| !keys.contains(&consul::Writer::key(*number));
        Some(numbers.filter(is_lost).collect())
    }
}
