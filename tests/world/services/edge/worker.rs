//! A worker of HAProxy: serves one configuration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::copy_bidirectional;
use tokio::task::JoinSet;

use super::config::{Config, Server};
use crate::network::{Listener, Network};
use crate::services::web::{Client, Handler, Reply, Request};

/// `timeout server`, and the shorter one for a connection.
const SERVER_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Lines `KEY VALUE` of a map.
type Map = Vec<(String, String)>;

pub fn parse_map(text: &str) -> Map {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What a reload brings.
#[derive(Default)]
pub struct Served {
    pub config: Config,
    pub generation: String,
    /// By the name of the file without its ending: hosts, exact, prefix, root.
    pub maps: BTreeMap<String, Map>,
}

impl Served {
    fn map(&self, name: &str) -> &[(String, String)] {
        self.maps.get(name).map_or(&[], Vec::as_slice)
    }

    /// The backend of a request: a whole path, the longest beginning, the host, what takes the rest.
    pub fn route(&self, request: &Request) -> Option<&str> {
        let path = request.path.as_str();
        let whole = |name: &str, key: &str| {
            let mut pairs = self.map(name).iter();
            pairs
                .find(|(other, _)| other == key)
                .map(|(_, backend)| backend.as_str())
        };
        let beginnings = self
            .map("prefix")
            .iter()
            .filter(|(start, _)| path.starts_with(start));
        let host = request.header("host").split(':').next().unwrap_or_default();
        let host = host.to_lowercase();
        whole("exact", path)
            .or_else(|| {
                let longest = beginnings.max_by_key(|(start, _)| start.len());
                longest.map(|(_, backend)| backend.as_str())
            })
            .or_else(|| whole("hosts", host.trim_end_matches('.')))
            .or_else(|| whole("root", "/"))
    }
}

/// What the running worker serves; a reload exchanges it.
#[derive(Clone, Default)]
pub struct Current(Arc<Mutex<Arc<Served>>>);

impl Current {
    pub fn get(&self) -> Arc<Served> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, served: Served) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}

pub struct Services {
    pub current: Current,
    pub network: Network,
    pub address: Ipv4Addr,
    pub turn: AtomicUsize,
}

/// The servers, the next one first.
fn in_turn(servers: &[Server], turn: usize) -> impl Iterator<Item = &Server> {
    let first = turn.checked_rem(servers.len()).unwrap_or(0);
    servers[first..].iter().chain(&servers[..first])
}

#[async_trait]
impl Handler for Services {
    async fn answer(&self, mut request: Request) -> Reply {
        let served = self.current.get();
        let servers = served
            .route(&request)
            .and_then(|name| served.config.backends.get(name));
        request
            .headers
            .insert("x-forwarded-for".to_owned(), self.address.to_string());
        request.headers.remove("content-length");
        let client = Client {
            network: self.network.clone(),
            from: self.address,
            limit: SERVER_LIMIT,
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // A server that refuses is left for the next one, as `redispatch` does.
        for server in in_turn(servers.map_or(&[], Vec::as_slice), turn) {
            let sent = client
                .send(server.address, server.port, request.clone())
                .await;
            if let Ok(answer) = sent {
                let kind = answer
                    .headers
                    .get("content-type")
                    .cloned()
                    .unwrap_or_default();
                return Reply::text(answer.status, answer.text()).with("Content-Type", kind);
            }
        }
        Reply::text(503, "503 no service is here\n").with("Retry-After", "5")
    }
}

pub struct Statistics(pub Current);

#[async_trait]
impl Handler for Statistics {
    async fn answer(&self, request: Request) -> Reply {
        let served = self.0.get();
        if let Some((user, password)) = &served.config.login {
            let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            if request.header("authorization") != login {
                return Reply::text(401, "").with("WWW-Authenticate", "Basic realm=\"toots\"");
            }
        }
        match request.path.as_str() {
            "/generation" => Reply::text(200, served.generation.clone()),
            "/;csv" => Reply::text(200, csv(&served.config)),
            _ => Reply::text(200, "Statistics Report for HAProxy"),
        }
    }
}

fn csv(config: &Config) -> String {
    let mut lines = vec!["# pxname,svname,qcur,qmax,scur".to_owned()];
    for (name, frontend) in &config.frontends {
        lines.push(format!("{name},FRONTEND,,,0"));
        if frontend.is_tcp {
            lines.extend(
                frontend
                    .servers
                    .iter()
                    .map(|s| format!("{name},{},0,0,0", s.name)),
            );
            lines.push(format!("{name},BACKEND,0,0,0"));
        }
    }
    for (name, servers) in &config.backends {
        lines.extend(
            servers
                .iter()
                .map(|server| format!("{name},{},0,0,0", server.name)),
        );
        lines.push(format!("{name},BACKEND,0,0,0"));
    }
    lines.join("\n") + "\n"
}

/// Passes connections on until it is dropped.
pub async fn pass(mut listener: Listener, services: Arc<Services>, name: String) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            (mut stream, _) = listener.accept() => {
                let services = Arc::clone(&services);
                let name = name.clone();
                connections.spawn(async move {
                    let served = services.current.get();
                    let servers = served.config.frontends.get(&name).map(|f| f.servers.clone());
                    let turn = services.turn.fetch_add(1, Ordering::Relaxed);
                    for server in in_turn(&servers.unwrap_or_default(), turn) {
                        let to = services.network.connect(services.address, server.address, server.port);
                        if let Ok(Ok(mut far)) = tokio::time::timeout(CONNECT_LIMIT, to).await {
                            // Either end may close at any time.
                            drop(copy_bidirectional(&mut stream, &mut far).await);
                            return;
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
