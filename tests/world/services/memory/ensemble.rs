//! A ZooKeeper ensemble by its promises: sessions that live while a server with a quorum hears of
//! them, ephemeral sequential nodes, lasting texts. An acknowledged write is never lost; that is the
//! simulated ZooKeeper's own matter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::changes::Watched;
use crate::network::Network;
use crate::services::coordination::{Coordination, Link, Session};

/// How long a client takes to connect to another server.
const RECONNECT: Duration = Duration::from_millis(200);
/// How often the ensemble looks for its quorum while it has none.
const SEARCH: Duration = Duration::from_secs(1);

/// `tickTime`: sessions end at whole ticks.
const TICK: Duration = Duration::from_secs(2);

struct Life {
    deadline: Instant,
    timeout: Duration,
}

struct Tree {
    began: Instant,
    network: Network,
    servers: Vec<Ipv4Addr>,
    up: BTreeSet<Ipv4Addr>,
    had_quorum: bool,
    sessions: BTreeMap<u64, Life>,
    next_session: u64,
    /// By prefix, then number: the session and the value.
    nodes: BTreeMap<String, BTreeMap<u64, (u64, String)>>,
    /// The next number below each folder.
    next_node: BTreeMap<String, u64>,
    texts: BTreeMap<String, String>,
    changes: Watched<u64>,
}

/// Cloned handles see one ensemble.
#[derive(Clone)]
pub struct MemoryEnsemble(Arc<Mutex<Tree>>);

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tree {
    fn serves(&self, server: Ipv4Addr) -> bool {
        let heard = |other: &&Ipv4Addr| self.network.reaches(server, **other);
        self.up.contains(&server) && self.up.iter().filter(heard).count() * 2 > self.servers.len()
    }

    /// When a session ends of which nothing more is heard: at the tick after its timeout.
    fn deadline(&self, timeout: Duration) -> Instant {
        let ticks = (self.began.elapsed() + timeout).as_millis() / TICK.as_millis() + 1;
        self.began + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn changed(&self) {
        self.changes.count();
    }

    fn end(&mut self, session: u64) {
        self.sessions.remove(&session);
        for nodes in self.nodes.values_mut() {
            nodes.retain(|_, (owner, _)| *owner != session);
        }
        self.changed();
    }

    /// Ends sessions whose time is over. While there is no quorum nobody's time passes, and
    /// everybody's begins anew when there is one again.
    fn expire(&mut self) {
        let has_quorum = self.servers.iter().any(|server| self.serves(*server));
        let now = Instant::now();
        if has_quorum && !self.had_quorum {
            let timeouts: Vec<(u64, Duration)> = self
                .sessions
                .iter()
                .map(|(id, life)| (*id, life.timeout))
                .collect();
            for (id, timeout) in timeouts {
                let deadline = self.deadline(timeout);
                self.sessions.insert(id, Life { deadline, timeout });
            }
        }
        self.had_quorum = has_quorum;
        let over = self
            .sessions
            .iter()
            .filter(|(_, life)| life.deadline <= now);
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for session in over.into_iter().filter(|_| has_quorum) {
            self.end(session);
        }
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = self.sessions.values().map(|life| life.deadline);
        let search = Instant::now() + SEARCH;
        match deadlines.min() {
            Some(deadline) if self.had_quorum => deadline,
            Some(_) => search,
            // Whoever opens a session wakes it.
            None => Instant::now() + Duration::from_secs(3600),
        }
    }
}

impl MemoryEnsemble {
    /// Servers that all run.
    pub fn new(network: &Network, servers: &[Ipv4Addr]) -> Self {
        let tree = Arc::new(Mutex::new(Tree {
            began: Instant::now(),
            network: network.clone(),
            servers: servers.to_vec(),
            up: servers.iter().copied().collect(),
            had_quorum: true,
            sessions: BTreeMap::new(),
            next_session: 1,
            nodes: BTreeMap::new(),
            next_node: BTreeMap::new(),
            texts: BTreeMap::new(),
            changes: Watched::new(0),
        }));
        tokio::spawn(keep_time(Arc::downgrade(&tree)));
        Self(tree)
    }

    /// Starts a server, or kills it.
    pub fn set_up(&self, server: Ipv4Addr, is_up: bool) {
        let mut tree = lock(&self.0);
        if is_up {
            tree.up.insert(server)
        } else {
            tree.up.remove(&server)
        };
        tree.expire();
        tree.changed();
    }

    /// Removes a node, as somebody with a client may.
    pub fn delete(&self, prefix: &str, number: u64) {
        let mut tree = lock(&self.0);
        if let Some(nodes) = tree.nodes.get_mut(prefix) {
            nodes.remove(&number);
        }
        tree.changed();
    }

    /// The nodes with this prefix, whoever asks.
    pub fn nodes(&self, prefix: &str) -> BTreeMap<u64, String> {
        let tree = lock(&self.0);
        let nodes = tree.nodes.get(prefix).into_iter().flatten();
        nodes.map(|(n, (_, value))| (*n, value.clone())).collect()
    }
}

async fn keep_time(tree: Weak<Mutex<Tree>>) {
    loop {
        let (deadline, changes, seen) = match tree.upgrade() {
            Some(tree) => {
                let mut tree = lock(&tree);
                tree.expire();
                (
                    tree.next_deadline(),
                    tree.changes.clone(),
                    tree.changes.get(),
                )
            }
            None => return,
        };
        tokio::select! {
            biased;
            _ = changes.wait_for(|version| *version != seen) => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// Where a client is connected, as it knows it.
struct Client {
    tree: Arc<Mutex<Tree>>,
    from: Ipv4Addr,
    servers: Vec<Ipv4Addr>,
    id: u64,
    timeout: Duration,
    server: Mutex<Option<Ipv4Addr>>,
    is_expired: Mutex<bool>,
}

struct MemorySession {
    client: Arc<Client>,
    _heart: JoinSet<()>,
}

impl Coordination for MemoryEnsemble {
    fn open(
        &self,
        from: Ipv4Addr,
        servers: &[(Ipv4Addr, u16)],
        timeout: Duration,
    ) -> Arc<dyn Session> {
        let id = {
            let mut tree = lock(&self.0);
            let id = tree.next_session;
            tree.next_session += 1;
            id
        };
        let client = Arc::new(Client {
            tree: Arc::clone(&self.0),
            from,
            servers: servers.iter().map(|(address, _)| *address).collect(),
            id,
            timeout,
            server: Mutex::new(None),
            is_expired: Mutex::new(false),
        });
        let mut heart = JoinSet::new();
        client.connect(true);
        heart.spawn(Arc::clone(&client).live());
        Arc::new(MemorySession {
            client,
            _heart: heart,
        })
    }
}

impl Client {
    fn server(&self) -> Option<Ipv4Addr> {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_server(&self, server: Option<Ipv4Addr>) {
        let mut at = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if *at != server {
            *at = server;
            lock(&self.tree).changed();
        }
    }

    fn is_expired(&self) -> bool {
        *self
            .is_expired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a server, its own machine's first. The ensemble tells whether the session has ended
    /// meanwhile.
    fn connect(&self, is_first: bool) {
        let server = {
            let mut tree = lock(&self.tree);
            let own = self.servers.iter().filter(|server| **server == self.from);
            let mut items = own.chain(&self.servers);
            let found = items.find(|s| tree.serves(**s) && tree.network.reaches(self.from, **s));
            let Some(server) = found.copied() else { return };
            if !is_first && !tree.sessions.contains_key(&self.id) {
                *self
                    .is_expired
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = true;
                tree.changed();
                return;
            }
            let life = Life {
                deadline: tree.deadline(self.timeout),
                timeout: self.timeout,
            };
            let is_new = tree.sessions.insert(self.id, life).is_none();
            if is_new {
                tree.changed();
            }
            server
        };
        self.set_server(Some(server));
    }

    /// Whether its server still answers; if so, the session's time begins anew.
    fn beat(&self, server: Ipv4Addr) -> bool {
        let mut tree = lock(&self.tree);
        let answers = tree.serves(server) && tree.network.reaches(self.from, server);
        let deadline = tree.deadline(self.timeout);
        if let Some(life) = tree.sessions.get_mut(&self.id).filter(|_| answers) {
            life.deadline = deadline;
        }
        answers && tree.sessions.contains_key(&self.id)
    }

    async fn live(self: Arc<Self>) {
        let changes = lock(&self.tree).changes.clone();
        let mut was_connected = self.server().is_some();
        while !self.is_expired() {
            let seen = changes.get();
            match self.server() {
                Some(server) if self.beat(server) => {
                    was_connected = true;
                    tokio::select! {
                        biased;
                        _ = changes.wait_for(|version| *version != seen) => {}
                        () = tokio::time::sleep(self.timeout / 3) => {}
                    }
                }
                Some(_) => self.set_server(None),
                None => {
                    tokio::time::sleep(RECONNECT).await;
                    self.connect(!was_connected);
                    if self.server().is_none() && !self.is_expired() {
                        tokio::time::sleep(SEARCH).await;
                    }
                }
            }
        }
    }

    /// The tree, when a server answers for it.
    fn asked(&self) -> Option<MutexGuard<'_, Tree>> {
        let server = self.server()?;
        let tree = lock(&self.tree);
        let answers = tree.serves(server)
            && tree.network.reaches(self.from, server)
            && tree.sessions.contains_key(&self.id);
        answers.then_some(tree)
    }
}

#[async_trait]
impl Session for MemorySession {
    fn link(&self) -> Link {
        match self.client.server() {
            _ if self.client.is_expired() => Link::Expired,
            Some(_) => Link::Connected,
            None => Link::Disconnected,
        }
    }

    fn server(&self) -> Option<Ipv4Addr> {
        self.client.server()
    }

    fn version(&self) -> u64 {
        lock(&self.client.tree).changes.get()
    }

    async fn changed(&self, since: u64) {
        let changes = lock(&self.client.tree).changes.clone();
        changes.wait_for(|version| *version != since).await;
    }

    async fn join(&self, prefix: &str, value: &str) -> Option<u64> {
        let mut tree = self.client.asked()?;
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let next = tree.next_node.entry(folder.to_owned()).or_default();
        let number = *next;
        *next += 1;
        let node = (self.client.id, value.to_owned());
        let nodes = tree.nodes.entry(prefix.to_owned()).or_default();
        nodes.insert(number, node);
        tree.changed();
        Some(number)
    }

    async fn members(&self, prefix: &str) -> Option<BTreeMap<u64, String>> {
        let tree = self.client.asked()?;
        let nodes = tree.nodes.get(prefix).into_iter().flatten();
        Some(nodes.map(|(n, (_, value))| (*n, value.clone())).collect())
    }

    async fn read(&self, path: &str) -> Option<Option<String>> {
        Some(self.client.asked()?.texts.get(path).cloned())
    }

    async fn write(&self, path: &str, text: &str) -> Option<()> {
        let mut tree = self.client.asked()?;
        tree.texts.insert(path.to_owned(), text.to_owned());
        tree.changed();
        Some(())
    }

    async fn close(&self) {
        let mut tree = lock(&self.client.tree);
        tree.end(self.client.id);
        drop(tree);
        *self
            .client
            .is_expired
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
    }
}
