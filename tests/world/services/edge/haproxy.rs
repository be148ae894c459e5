//! HAProxy under toots' script `edge.sh`: takes each new bundle apart, checks it, makes it the current
//! one and reloads; what became of it stands in the file `state`. The world has no symbolic links, so
//! the current configuration lies in the folder `now` itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::config::{Config, Frontend};
use super::worker::{Current, Served, Services, Statistics, parse_map, pass};
use crate::files::Files;
use crate::network::Network;
use crate::process::{Log, Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::clock::Clock;
use crate::services::view::Service;
use crate::services::web;

/// The script looks twice as often; the world has many edges.
const POLL: Duration = Duration::from_secs(1);
/// From the signal to the new worker, and how long the script waits for one that does not come.
const RELOAD: Duration = Duration::from_millis(200);
const RELOAD_LIMIT: Duration = Duration::from_secs(5);
/// How long it waits before what was in the way is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const PARTS: [&str; 5] = [
    "haproxy.cfg",
    "hosts.map",
    "exact.map",
    "prefix.map",
    "root.map",
];
const UNAVAILABLE: &str = "no worker starts with it, since an address or a port is not to be had (docker logs toots-haproxy)";

pub struct Haproxy(pub Surroundings);

/// The script and what it keeps.
struct Edge {
    files: Files,
    network: Network,
    address: Ipv4Addr,
    clock: Clock,
    log: Log,
    /// Its folders on the machine.
    dir: String,
    bundle: String,
    base: String,
    reserved: BTreeSet<u16>,
    services: Arc<Services>,
    /// Ports that are listened at, with the tasks that serve them.
    listeners: BTreeMap<u16, JoinSet<()>>,
    /// Something that is wanted was not to be had.
    waits: bool,
}

/// A bundle's files, and who holds which TCP port.
type Split = (BTreeMap<String, String>, BTreeMap<u16, String>);

impl Edge {
    fn read(&self, name: &str) -> Option<String> {
        self.files.text(&format!("{}/{name}", self.dir))
    }

    fn write(&self, name: &str, text: &str) {
        self.files
            .write(&format!("{}/{name}", self.dir), text, 0o644);
    }

    fn state(&self, result: &str, detail: &str) {
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
        self.write("state", &format!("{now} {result} {detail}\n"));
    }

    /// Takes a bundle apart; `None` when it is incomplete.
    fn split(&mut self, bundle: &str) -> Option<Split> {
        let claims = self.read("claims").unwrap_or_default();
        let former: BTreeMap<u16, String> = parse_map(&claims)
            .into_iter()
            .filter_map(|(port, name)| Some((port.parse().ok()?, name)))
            .collect();
        let mut wants: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for line in bundle.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["====", "tcp", port, name] = words.as_slice()
                && let Ok(port) = port.parse()
            {
                wants.entry(port).or_default().push((*name).to_owned());
            }
        }
        let mut holds = BTreeMap::new();
        for (port, names) in wants {
            let is_busy =
                self.network.listens(self.address, port) && !self.listeners.contains_key(&port);
            if self.reserved.contains(&port) || (31000..=32000).contains(&port) || is_busy {
                self.log.line(format!("edge: refused: tcp port {port}"));
                self.waits |= is_busy;
                continue;
            }
            let first = names.iter().find(|name| former.get(&port) == Some(*name));
            holds.insert(port, first.unwrap_or(&names[0]).clone());
        }
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let (mut file, mut is_complete) = (None, false);
        for line in bundle.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["====", "file", name] => {
                    files.insert((*name).to_owned(), String::new());
                    file = Some((*name).to_owned());
                }
                ["====", "tcp", port, name] => {
                    let is_held = port.parse().is_ok_and(|port: u16| {
                        holds.get(&port).is_some_and(|holder| holder == name)
                    });
                    file = is_held.then(|| PARTS[0].to_owned());
                }
                ["====", "end"] => is_complete = true,
                ["====", ..] => file = None,
                _ if line.is_empty() => {}
                _ => {
                    if let Some(name) = &file {
                        let _ = writeln!(files.entry(name.clone()).or_default(), "{line}");
                    }
                }
            }
        }
        is_complete.then_some((files, holds))
    }

    /// Checks the newest bundle and makes it the current one. Returns what is to be loaded.
    fn take(&mut self, bundle: &str) -> Option<(Served, BTreeMap<String, String>)> {
        self.waits = false;
        let Some((files, holds)) = self.split(bundle) else {
            self.log
                .line("edge: the bundle is incomplete and is not used");
            self.state("refused", "incomplete");
            return None;
        };
        let generation = generation(&files);
        if self.read("now/generation.map") == Some(format!("now {generation}\n")) {
            self.state("taken", &generation);
            return None;
        }
        match served(&files, &generation) {
            Ok(served) => {
                let former = self.current_files();
                self.make_current(&files, &generation);
                let claims: Vec<String> = holds
                    .iter()
                    .map(|(port, name)| format!("{port} {name}\n"))
                    .collect();
                self.write("claims", &claims.concat());
                self.state("taken", &generation);
                Some((served, former))
            }
            Err(alert) => {
                self.log.line(alert.clone());
                self.state("refused", &alert.chars().take(200).collect::<String>());
                None
            }
        }
    }

    fn current_files(&self) -> BTreeMap<String, String> {
        let items = PARTS.iter().chain(&["generation.map"]);
        let read =
            items.filter_map(|name| Some(((*name).to_owned(), self.read(&format!("now/{name}"))?)));
        read.collect()
    }

    fn make_current(&self, files: &BTreeMap<String, String>, generation: &str) {
        for name in PARTS {
            let text = files.get(name).map_or("", String::as_str);
            self.write(&format!("now/{name}"), text);
        }
        self.write("now/generation.map", &format!("now {generation}\n"));
    }

    /// Starts a worker with a configuration.
    ///
    /// # Errors
    /// When a port is not to be had: then nothing changes.
    fn load(&mut self, served: Served) -> io::Result<()> {
        let mut new = Vec::new();
        for (name, frontend) in &served.config.frontends {
            if !self.listeners.contains_key(&frontend.port) {
                let listener = self.network.listen(self.address, frontend.port)?;
                new.push((name.clone(), frontend.clone(), listener));
            }
        }
        let ports: BTreeSet<u16> = served.config.frontends.values().map(|f| f.port).collect();
        self.listeners.retain(|port, _| ports.contains(port));
        self.services.current.set(served);
        for (name, frontend, listener) in new {
            let mut task = JoinSet::new();
            let services = Arc::clone(&self.services);
            match frontend {
                Frontend { is_tcp: true, .. } => drop(task.spawn(pass(listener, services, name))),
                Frontend {
                    is_statistics: true,
                    ..
                } => {
                    let statistics = Statistics(services.current.clone());
                    task.spawn(web::serve(listener, Arc::new(statistics)));
                }
                _ => drop(task.spawn(web::serve(listener, services))),
            }
            self.listeners.insert(frontend.port, task);
        }
        Ok(())
    }

    /// A start from nothing, where the former configuration is missing or wrong.
    fn begin(&mut self) -> Result<(), String> {
        let is_right = self
            .read("now/haproxy.cfg")
            .is_some_and(|text| Config::parse(&text).is_ok());
        if !is_right {
            let base = self.files.text(&self.base).unwrap_or_default();
            self.make_current(&[(PARTS[0].to_owned(), base)].into(), "0");
            self.state("taken", "0");
        }
        if let Some(bundle) = self.files.text(&self.bundle) {
            self.take(&bundle);
        }
        let files = self.current_files();
        let generation = files.get("generation.map").map_or("", String::as_str);
        let generation = generation.trim().trim_start_matches("now ").to_owned();
        let served = served(&files, &generation)?;
        self.load(served).map_err(|error| error.to_string())
    }

    /// Waits for bundles, for ever.
    async fn follow(&mut self) {
        let mut seen = self.files.text(&self.bundle);
        loop {
            sleep(POLL).await;
            let now = self.files.text(&self.bundle);
            let (Some(bundle), true) = (&now, now != seen) else {
                continue;
            };
            seen.clone_from(&now);
            if let Some((served, former)) = self.take(bundle) {
                sleep(RELOAD).await;
                if self.load(served).is_err() {
                    sleep(RELOAD_LIMIT).await;
                    self.log
                        .line("edge: no worker started with the new configuration");
                    for (name, text) in &former {
                        self.write(&format!("now/{name}"), text);
                    }
                    self.state("refused", UNAVAILABLE);
                    self.waits = true;
                }
            }
            if self.waits {
                sleep(RETRY_INTERVAL).await;
                seen = None;
            }
        }
    }
}

/// A number that follows from a configuration's files.
fn generation(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for name in PARTS {
        hash.update(files.get(name).map_or("", String::as_str));
    }
    let bytes = hash.finalize();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).to_string()
}

fn served(files: &BTreeMap<String, String>, generation: &str) -> Result<Served, String> {
    let text = |name: &str| files.get(name).map_or("", String::as_str);
    let maps = ["hosts", "exact", "prefix", "root"];
    Ok(Served {
        config: Config::parse(text(PARTS[0]))?,
        generation: generation.to_owned(),
        maps: maps
            .iter()
            .map(|name| ((*name).to_owned(), parse_map(text(&format!("{name}.map")))))
            .collect(),
    })
}

#[async_trait]
impl Program for Haproxy {
    async fn run(&self, mut process: Process) -> i64 {
        let path = |path: &str| process.on_machine(path).unwrap_or_else(|| path.to_owned());
        let reserved = process
            .command
            .get(2)
            .map(String::as_str)
            .unwrap_or_default();
        let mut edge = Edge {
            files: process.files.clone(),
            network: process.network.clone(),
            address: process.address,
            clock: self.0.clock,
            log: process.log.clone(),
            dir: path("/usr/local/etc/haproxy"),
            bundle: path("/edge/bundle"),
            base: path("/etc/toots-haproxy/base.cfg"),
            reserved: reserved
                .split(' ')
                .filter_map(|port| port.parse().ok())
                .collect(),
            services: Arc::new(Services {
                current: Current::default(),
                network: process.network.clone(),
                address: process.address,
                turn: AtomicUsize::new(0),
            }),
            listeners: BTreeMap::new(),
            waits: false,
        };
        if let Err(why) = edge.begin() {
            process.log.line(why);
            return 1;
        }
        let seat = self
            .0
            .view
            .sit(Service::Haproxy, process.address, &process.name);
        seat.set(|row| row.serves = true);
        process.notes().note("start");
        let follow = edge.follow();
        tokio::pin!(follow);
        loop {
            tokio::select! {
                biased;
                Some(signal) = process.signals.recv() => if signal == Signal::Term { return 0 },
                () = &mut follow => {}
            }
        }
    }
}
