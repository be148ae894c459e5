//! Simulated Consul agents, servers and clients. An agent reads the configuration that toots renders,
//! keeps its data in its machine's files, and answers HTTP on the wire. What the agents do among
//! themselves is played by the shared [`Cluster`].
//!
//! It follows the recordings of the real 1.21: elections and their times by the raft multiplier, what
//! wiped servers do, and which answers lie.
//!
//! It knows no program that uses it. To add a request: an arm in `api.rs`, its answer in `answers.rs`;
//! what changes the catalogue is a `Command`. Its tests are in `tests/world/quorum`.

mod answers;
mod api;
mod autopilot;
mod catalog;
mod cluster;
mod config;
mod deadlines;
mod local;
mod quiet;
mod quorum;
mod raft;
mod rpc;
mod serf;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

use cluster::Agent;
pub use cluster::{AgentView, Cluster};
use config::Config;
use raft::Raft;
use serf::Status;
pub use writer::Writer;

use super::tasks::terminated;
use super::{listening_address, web};
use crate::network::Listener;
use crate::process::{Process, Program, Signal};

/// How long the program takes until its port is open.
const START_TIME: Duration = Duration::from_millis(150);
const RPC_PORT: u16 = 8300;
const SERF_PORT: u16 = 8301;
/// Exit code of a mistake, and of a SIGTERM without leaving.
const FAILED: i64 = 1;

/// The program of an image, for all machines of one network.
#[derive(Clone)]
pub struct Consul {
    cluster: Cluster,
}

impl Consul {
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
        }
    }

    /// An agent that is about to join; `None`: the program ends.
    fn agent(&self, process: &Process, config: Config) -> Option<Agent> {
        let (files, dir) = (&process.files, config.data_dir.clone());
        let stored = |name: &str, new: &dyn Fn() -> String| {
            let path = format!("{dir}/{name}");
            files.text(&path).unwrap_or_else(|| {
                let text = new();
                files.write(&path, text.clone(), 0o600);
                text
            })
        };
        let id = stored("node-id", &|| self.cluster.new_id());
        // A keyring that is there wins over the configuration.
        let key = if config.key.is_empty() {
            String::new()
        } else {
            stored("serf/local.keyring", &|| config.key.clone())
        };
        let known = files
            .text(&format!("{dir}/serf/local.snapshot"))
            .unwrap_or_default();
        let known = known.lines().filter_map(|line| line.parse().ok());
        let join: BTreeSet<_> = config.retry_join.iter().copied().chain(known).collect();
        let now = Instant::now();
        let raft = match config.is_server {
            true => Some(Raft::open(files, &dir, now)?),
            false => None,
        };
        let services = local::read_services(files, &dir).into_iter();
        let services = services.map(|service| (service.service.id.clone(), service));
        Some(Agent {
            host: process.hostname.clone(),
            container: process.name.clone(),
            address: config.address,
            network: process.network.clone(),
            record: process.record.clone(),
            files: files.clone(),
            id,
            key,
            status: Status::Alive,
            peers: BTreeMap::new(),
            join: join.into_iter().collect(),
            join_at: now,
            raft,
            services: services.collect(),
            was_serving: false,
            misses_until: None,
            is_registered: false,
            config,
        })
    }

    async fn live(&self, process: &Process, signals: &mut UnboundedReceiver<Signal>) -> i64 {
        tokio::time::sleep(START_TIME).await;
        let Some(config) = Config::read(process) else {
            return FAILED;
        };
        let listen = |port| {
            let address = listening_address(&config.address.to_string(), process.address)?;
            process.network.listen(address, port).ok()
        };
        let mut ports = vec![SERF_PORT];
        ports.extend(config.is_server.then_some(RPC_PORT));
        let others: Option<Vec<Listener>> = ports.into_iter().map(listen).collect();
        let (Some(others), Some(clients)) = (others, listen(config.http_port)) else {
            return FAILED;
        };
        let leaves = config.leaves_on_terminate;
        let Some(agent) = self.agent(process, config) else {
            return FAILED;
        };
        let joined = self.cluster.join(agent);
        let (cluster, key) = (self.cluster.clone(), joined.key);
        let mut tasks = JoinSet::new();
        for listener in others {
            tasks.spawn(listener.accept_in_vain());
        }
        let interface = api::Interface { cluster, me: key };
        tasks.spawn(web::serve(clients, Arc::new(interface)));
        tokio::select! {
            biased;
            () = self.left(key) => 0,
            () = terminated(signals) => {
                if leaves {
                    api::leave(&self.cluster, key).await;
                    0
                } else {
                    FAILED
                }
            }
            () = self.cluster.live(key, &process.network) => FAILED,
        }
    }

    /// Returns some time after the agent left by request.
    async fn left(&self, key: u64) {
        let mut changes = self.cluster.changes();
        loop {
            let status = self
                .cluster
                .lock()
                .agents
                .get(&key)
                .map(|agent| agent.status);
            if status == Some(Status::Left) {
                tokio::time::sleep(Duration::from_secs(8)).await;
                return;
            }
            changes.changed().await;
        }
    }
}

#[async_trait]
impl Program for Consul {
    async fn run(&self, mut process: Process) -> i64 {
        let (_, none) = tokio::sync::mpsc::unbounded_channel();
        let mut signals = std::mem::replace(&mut process.signals, none);
        self.live(&process, &mut signals).await
    }
}
