//! Simulated ZooKeeper servers. A member reads the configuration that toots renders, keeps its data in
//! its machine's files, and answers clients, four-letter words and the AdminServer's commands on the
//! wire. What the members do among themselves is played by the shared [`Ensemble`].
//!
//! It follows the recordings of the real 3.8: elections and their times, what a wiped, copied or
//! foreign member does, and which answers lie. Judged by transaction numbers only, as there.
//!
//! It knows no program that uses it. To add a command of clients: an arm in `connection.rs`; a word:
//! `words.rs`; a command of the AdminServer: `admin.rs`. Its tests are in `tests/world/quorum`.

mod admin;
mod client;
mod config;
mod connection;
mod deadlines;
mod election;
mod ensemble;
mod member;
mod packet;
mod store;
mod tree;
mod words;
mod writer;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;

use admin::AdminServer;
pub use client::{Client, Failure, Mode};
use config::Config;
pub use ensemble::{Ensemble, MemberView, NodeMark};
use member::{Member, Phase, Vote};
use store::Store;
pub use tree::code;
pub use writer::Writer;

use super::tasks::terminated;
use super::{listening_address, web};
use crate::network::Listener;
use crate::process::{Process, Program};

/// How long the program takes to read its configuration, to open its port, and to open the
/// AdminServer's.
const READ_TIME: Duration = Duration::from_millis(170);
const START_TIME: Duration = Duration::from_millis(180);
const ADMIN_TIME: Duration = Duration::from_millis(400);
/// How long it tries to open the port of elections.
const BIND_LIMIT: Duration = Duration::from_millis(3_500);

const PORT_TAKEN: i64 = 1;
const ELECTION_PORT_TAKEN: i64 = 14;
const TERMINATED: i64 = 143;

/// The program of an image, for all machines of one network.
#[derive(Clone)]
pub struct ZooKeeper {
    ensemble: Ensemble,
    version: String,
}

impl ZooKeeper {
    pub fn new(ensemble: &Ensemble, version: &str) -> Self {
        Self {
            ensemble: ensemble.clone(),
            version: version.to_owned(),
        }
    }

    async fn live(&self, process: &Process) -> i64 {
        tokio::time::sleep(READ_TIME).await;
        let config = match Config::read(process) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let store = match Store::open(&process.files, &config) {
            Ok(store) => store,
            Err(code) => return code,
        };
        tokio::time::sleep(START_TIME).await;
        let listen = |address: &str, port| {
            let address = listening_address(address, process.address)?;
            process.network.listen(address, port).ok()
        };
        let Some(clients) = listen(&config.client_address, config.client_port) else {
            return PORT_TAKEN;
        };
        let mut tasks = JoinSet::new();
        if let Some(own) = config.servers.get(&config.id) {
            let ports = [own.election_port, own.quorum_port];
            let listeners: Option<Vec<Listener>> = ports
                .into_iter()
                .map(|port| listen(&own.host, port))
                .collect();
            let Some(listeners) = listeners else {
                process.log.line("Leaving listener: as leaving the process");
                tokio::time::sleep(BIND_LIMIT).await;
                return ELECTION_PORT_TAKEN;
            };
            for listener in listeners {
                tasks.spawn(listener.accept_in_vain());
            }
        }
        let admin = config.admin.clone();
        let joined = self.ensemble.join(member(process, config, store));
        let (ensemble, key) = (self.ensemble.clone(), joined.key);
        tasks.spawn(serve_clients(
            ensemble.clone(),
            key,
            self.version.clone(),
            clients,
        ));
        if let Some((address, port)) = admin {
            let (version, network) = (self.version.clone(), process.network.clone());
            let address = listening_address(&address, process.address);
            tasks.spawn(async move {
                tokio::time::sleep(ADMIN_TIME).await;
                // A port that is taken is only logged.
                let listener = address.and_then(|address| network.listen(address, port).ok());
                if let Some(listener) = listener {
                    let server = AdminServer {
                        ensemble,
                        key,
                        version,
                    };
                    web::serve(listener, Arc::new(server)).await;
                }
            });
        }
        self.ensemble.live(key, &process.network).await;
        PORT_TAKEN
    }
}

fn member(process: &Process, config: Config, store: Store) -> Member {
    Member {
        host: process.hostname.clone(),
        container: process.name.clone(),
        address: process.address,
        network: process.network.clone(),
        record: process.record.clone(),
        vote: Vote {
            epoch: 0,
            zxid: 0,
            id: config.id,
        },
        config,
        store,
        phase: Phase::Looking { agreed: None },
        round: 0,
        follows_from: Instant::now(),
        served: 0,
        was_serving: false,
    }
}

async fn serve_clients(ensemble: Ensemble, key: u64, version: String, mut listener: Listener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            (stream, _) = listener.accept() => {
                connections.spawn(connection::serve(ensemble.clone(), key, version.clone(), stream));
            }
        }
    }
}

#[async_trait]
impl Program for ZooKeeper {
    async fn run(&self, mut process: Process) -> i64 {
        let (_, none) = tokio::sync::mpsc::unbounded_channel();
        let mut signals = std::mem::replace(&mut process.signals, none);
        tokio::select! {
            biased;
            () = terminated(&mut signals) => TERMINATED,
            code = self.live(&process) => code,
        }
    }
}
