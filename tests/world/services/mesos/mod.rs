//! Mesos masters and agents, as the recorded ones behaved. A master is elected by ZooKeeper, keeps its
//! registry in a log with a replica on each master, and serves only what a quorum of the replicas has.
//!
//! It knows ZooKeeper by the traits of [`super::coordination`], and no framework. To add a request: an
//! arm in `answers.rs`.

mod agent;
mod answers;
mod cluster;
mod log;
mod master;
mod registrar;
mod replica;
mod scheduler;

use async_trait::async_trait;

pub use agent::Agent;
pub use master::{Master, Peer, detect};

use super::Surroundings;
use crate::process::{Process, Program};

/// The image that contains both programs.
pub struct Mesos(pub Surroundings);

#[async_trait]
impl Program for Mesos {
    async fn run(&self, process: Process) -> i64 {
        match process.command.first().map(String::as_str) {
            Some("mesos-master") => Master(self.0.clone()).run(process).await,
            Some("mesos-agent") => Agent(self.0.clone()).run(process).await,
            _ => {
                process.log.line("no such program");
                127
            }
        }
    }
}

/// What every program says of its version.
pub const VERSION: &str = "1.11.0";

/// Prefixes of the nodes below the path of `--zk`.
pub const CANDIDATES: &str = "json.info_";
pub const REPLICAS: &str = "log_replicas/";

/// How long ZooKeeper may be away before a master or an agent counts its session as lost.
pub const SESSION: std::time::Duration = std::time::Duration::from_secs(10);
