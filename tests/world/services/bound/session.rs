//! ZooKeeper sessions of programs: each is one client that connects by itself, pings, and looks for
//! another server when its own is lost.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::changes::Changes;
use crate::network::Network;
use crate::services::coordination::{Coordination, Link, Session};
use crate::services::zookeeper::{Client, Ensemble, Failure, Mode, NodeMark, code};

/// Between two tries to connect.
const RETRY_INTERVAL: Duration = Duration::from_millis(1_000);

/// Opens sessions on the simulated ensembles of a network.
#[derive(Clone)]
pub struct EnsembleSessions {
    network: Network,
    ensemble: Ensemble,
}

impl EnsembleSessions {
    pub fn new(network: &Network, ensemble: &Ensemble) -> Self {
        Self {
            network: network.clone(),
            ensemble: ensemble.clone(),
        }
    }
}

/// What a session knows of itself.
struct Known {
    link: Link,
    server: Option<Ipv4Addr>,
    /// Its number, 0 before the first connection.
    id: i64,
    /// Nodes that were read, as they were then: the program hears of their changes.
    watched: BTreeMap<String, NodeMark>,
}

struct Bound {
    network: Network,
    ensemble: Ensemble,
    from: Ipv4Addr,
    servers: Vec<(Ipv4Addr, u16)>,
    timeout: Duration,
    known: Mutex<Known>,
    client: tokio::sync::Mutex<Option<Client>>,
    /// Of the link and of watched nodes.
    changes: Changes,
    /// A request found the connection lost.
    losses: Changes,
}

struct BoundSession {
    bound: Arc<Bound>,
    _heart: JoinSet<()>,
}

impl Coordination for EnsembleSessions {
    fn open(
        &self,
        from: Ipv4Addr,
        servers: &[(Ipv4Addr, u16)],
        timeout: Duration,
    ) -> Arc<dyn Session> {
        let bound = Arc::new(Bound {
            network: self.network.clone(),
            ensemble: self.ensemble.clone(),
            from,
            servers: servers.to_vec(),
            timeout,
            known: Mutex::new(Known {
                link: Link::Disconnected,
                server: None,
                id: 0,
                watched: BTreeMap::new(),
            }),
            client: tokio::sync::Mutex::new(None),
            changes: Changes::default(),
            losses: Changes::default(),
        });
        let mut heart = JoinSet::new();
        heart.spawn(Arc::clone(&bound).live());
        Arc::new(BoundSession {
            bound,
            _heart: heart,
        })
    }
}

/// A request to the server that a session is connected to.
macro_rules! ask {
    ($bound:expr, $client:ident => $request:expr) => {{
        let bound: &Bound = $bound;
        let deadline = Instant::now() + bound.timeout * 2 / 3;
        let mut guard = bound.client.lock().await;
        let answer = match guard.as_mut() {
            Some($client) if bound.is_reached_until(deadline).await => {
                timeout_at(deadline, $request).await.unwrap_or(Err(None))
            }
            _ => Err(None),
        };
        if answer.as_ref().is_err_and(Option::is_none) && guard.take().is_some() {
            bound.losses.add();
        }
        answer
    }};
}

impl Bound {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_link(&self, link: Link, server: Option<Ipv4Addr>) {
        let mut known = self.known();
        if known.link != Link::Expired {
            (known.link, known.server) = (link, server);
        }
        drop(known);
        self.changes.add();
    }

    /// Waits until the server is reached, as a connection does that the network cuts.
    async fn is_reached_until(&self, deadline: Instant) -> bool {
        let Some(server) = self.known().server else {
            return false;
        };
        let mut wires = self.network.changes();
        while !self.network.reaches(self.from, server) {
            if timeout_at(deadline, wires.changed()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Connects to the servers in turn, its own machine's first, until one serves.
    async fn connect(&self) {
        let own = self.servers.iter().filter(|(at, _)| *at == self.from);
        let others = self.servers.iter().filter(|(at, _)| *at != self.from);
        let servers: Vec<(Ipv4Addr, u16)> = own.chain(others).copied().collect();
        for to in servers.iter().cycle() {
            let id = self.known().id;
            let connect = Client::connect(&self.network, self.from, *to, self.timeout, id);
            let limit = Instant::now() + self.timeout / 3;
            match timeout_at(limit, connect).await.unwrap_or(Err(None)) {
                Ok(client) => {
                    self.known().id = client.session;
                    *self.client.lock().await = Some(client);
                    self.set_link(Link::Connected, Some(to.0));
                    return;
                }
                Err(Some(_)) => {
                    self.set_link(Link::Expired, None);
                    return;
                }
                Err(None) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn live(self: Arc<Self>) {
        while self.known().link != Link::Expired {
            self.connect().await;
            self.keep().await;
            if self.known().link == Link::Connected {
                self.set_link(Link::Disconnected, None);
            }
        }
    }

    /// Pings until the connection is lost.
    async fn keep(&self) {
        let (mut losses, mut members) = (self.losses.subscribe(), self.ensemble.changes());
        let mut commits = self.ensemble.commits();
        let mut ping_at = Instant::now() + self.timeout / 3;
        while self.known().link == Link::Connected {
            tokio::select! {
                biased;
                () = losses.changed() => return,
                () = commits.changed() => {
                    self.compare_watched();
                    continue;
                }
                // A server that ended, or that lost its quorum, closed the connection.
                () = members.changed() => {}
                () = sleep_until(ping_at) => {}
            }
            if ask!(self, client => client.ping()).is_err() {
                return;
            }
            ping_at = Instant::now() + self.timeout / 3;
            self.compare_watched();
        }
    }

    fn mark(&self, path: &str) -> NodeMark {
        let server = self.known().server;
        server.and_then(|server| self.ensemble.mark_at(server, path))
    }

    fn watch(&self, path: &str) {
        let mark = self.mark(path);
        self.known().watched.insert(path.to_owned(), mark);
    }

    /// A node that changed is not watched any more, until it is read again.
    fn compare_watched(&self) {
        let watched = self.known().watched.clone();
        let changed: Vec<String> = watched
            .into_iter()
            .filter(|(path, mark)| self.mark(path) != *mark)
            .map(|(path, _)| path)
            .collect();
        if changed.is_empty() {
            return;
        }
        self.known()
            .watched
            .retain(|path, _| !changed.contains(path));
        self.changes.add();
    }

    async fn create(&self, path: &str, value: &str, mode: Mode) -> Result<String, Failure> {
        let made = ask!(self, client => client.create(path, value.as_bytes(), mode));
        if made != Err(Some(code::NO_NODE)) {
            return made;
        }
        for (at, _) in path.match_indices('/').skip(1) {
            let parent = &path[..at];
            match ask!(self, client => client.create(parent, b"", Mode::Persistent)) {
                Ok(_) | Err(Some(code::NODE_EXISTS)) => {}
                Err(failure) => return Err(failure),
            }
        }
        ask!(self, client => client.create(path, value.as_bytes(), mode))
    }
}

/// The folder of a path, and the rest.
fn split(path: &str) -> (&str, &str) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    (if folder.is_empty() { "/" } else { folder }, name)
}

#[async_trait]
impl Session for BoundSession {
    fn link(&self) -> Link {
        self.bound.known().link
    }

    fn server(&self) -> Option<Ipv4Addr> {
        self.bound.known().server
    }

    fn version(&self) -> u64 {
        self.bound.changes.count()
    }

    async fn changed(&self, since: u64) {
        self.bound.changes.after(since).await;
    }

    async fn join(&self, prefix: &str, value: &str) -> Option<u64> {
        let mode = Mode::EphemeralSequential;
        let path = self.bound.create(prefix, value, mode).await.ok()?;
        path.strip_prefix(prefix)?.parse().ok()
    }

    async fn members(&self, prefix: &str) -> Option<BTreeMap<u64, String>> {
        let (folder, name) = split(prefix);
        self.bound.watch(folder);
        let names = match ask!(&self.bound, client => client.children(folder)) {
            Ok(names) => names,
            Err(Some(code::NO_NODE)) => Vec::new(),
            Err(_) => return None,
        };
        let mut members = BTreeMap::new();
        for child in names {
            let number = child.strip_prefix(name).and_then(|rest| rest.parse().ok());
            let Some(number) = number else {
                continue;
            };
            let path = format!("{}/{child}", folder.trim_end_matches('/'));
            match ask!(&self.bound, client => client.get(&path)) {
                Ok(data) => {
                    members.insert(number, String::from_utf8_lossy(&data).into_owned());
                }
                // It went meanwhile.
                Err(Some(code::NO_NODE)) => {}
                Err(_) => return None,
            }
        }
        Some(members)
    }

    async fn read(&self, path: &str) -> Option<Option<String>> {
        self.bound.watch(path);
        match ask!(&self.bound, client => client.get(path)) {
            Ok(data) => Some(Some(String::from_utf8_lossy(&data).into_owned())),
            Err(Some(code::NO_NODE)) => Some(None),
            Err(_) => None,
        }
    }

    async fn write(&self, path: &str, text: &str) -> Option<()> {
        match ask!(&self.bound, client => client.set(path, text.as_bytes())) {
            Ok(()) => return Some(()),
            Err(Some(code::NO_NODE)) => {}
            Err(_) => return None,
        }
        match self.bound.create(path, text, Mode::Persistent).await {
            Ok(_) => Some(()),
            // Another one made it meanwhile.
            Err(Some(code::NODE_EXISTS)) => {
                let set = ask!(&self.bound, client => client.set(path, text.as_bytes()));
                set.ok()
            }
            Err(_) => None,
        }
    }

    async fn close(&self) {
        let client = self.bound.client.lock().await.take();
        if let Some(client) = client {
            let limit = Instant::now() + self.bound.timeout / 3;
            drop(timeout_at(limit, client.close()).await);
        }
        self.bound.set_link(Link::Expired, None);
        self.bound.losses.add();
    }
}
