//! Registrator: the services of the machine's containers, written into the machine's Consul agent.
//! Checks travel as metadata; the catalogue makes what it can of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{interval, sleep};

use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::coordination::{Catalog, Instance};
use crate::services::engine::{Container, EngineEvent, LocalEngine};
use crate::services::view::Service;

pub struct Registrator(pub Surroundings);

const SWITCHES: [&str; 3] = ["cleanup", "internal", "explicit"];
const VALUES: [&str; 9] = [
    "resync",
    "ip",
    "retry-attempts",
    "retry-interval",
    "ttl",
    "ttl-refresh",
    "tags",
    "deregister",
    "useIpFromLabel",
];

#[derive(Debug, Default)]
pub struct Settings {
    pub ip: Option<String>,
    pub cleanup: bool,
    pub explicit: bool,
    pub resync: u64,
    pub attempts: i64,
    pub interval: u64,
    pub consul: Option<Ipv4Addr>,
}

/// Reads Go's flags; an error is the exit code.
fn read(command: &[String]) -> Result<Settings, (i64, String)> {
    let mut settings = Settings {
        interval: 2000,
        ..Settings::default()
    };
    let mut given = BTreeMap::new();
    let mut words = crate::services::flags::arguments(command).iter();
    let mut uri = None;
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-') else {
            uri = Some(word);
            break;
        };
        let flag = flag.trim_start_matches('-');
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let value = match value {
            Some(value) => value,
            None if SWITCHES.contains(&name) => "true".to_owned(),
            None => words.next().cloned().unwrap_or_default(),
        };
        if !SWITCHES.contains(&name) && !VALUES.contains(&name) {
            return Err((2, format!("flag provided but not defined: -{name}")));
        }
        given.insert(name.to_owned(), value);
    }
    let (Some(uri), None) = (uri, words.next()) else {
        return Err((
            2,
            "Options should come before the registry URI argument.".to_owned(),
        ));
    };
    let number = |name: &str, default: i64| match given.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            (
                2,
                format!("invalid value \"{text}\" for flag -{name}: parse error"),
            )
        }),
    };
    settings.resync = u64::try_from(number("resync", 0)?).unwrap_or(0);
    settings.attempts = number("retry-attempts", 0)?;
    settings.interval = u64::try_from(number("retry-interval", 2000)?).unwrap_or(2000);
    settings.cleanup = given.contains_key("cleanup");
    settings.explicit = given.contains_key("explicit");
    settings.ip = given.get("ip").cloned();
    let address = uri
        .strip_prefix("consul://")
        .and_then(|rest| rest.split_once(':'));
    settings.consul = address.and_then(|(host, _)| host.parse().ok());
    Ok(settings)
}

/// The SERVICE_ variables of a container for one port, in lower case; a label wins over the
/// environment, a variable with the port's number over one without.
fn metadata(container: &Container, port: u16) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let variables = || container.env.iter().chain(&container.labels);
    let own = format!("{port}_");
    for is_of_port in [false, true] {
        for (key, value) in variables() {
            let Some(rest) = key.strip_prefix("SERVICE_") else {
                continue;
            };
            let has_number = rest
                .split('_')
                .next()
                .is_some_and(|n| n.parse::<u16>().is_ok());
            let name = if is_of_port {
                rest.strip_prefix(&own)
            } else {
                Some(rest)
            };
            if let Some(name) = name.filter(|_| is_of_port == has_number) {
                found.insert(name.to_lowercase(), value.clone());
            }
        }
    }
    found
}

/// Tags, split at commas that no backslash precedes.
fn tags(text: &str) -> Vec<String> {
    let marked = text.replace("\\,", "\u{0}");
    let parts = marked.split(',').filter(|tag| !tag.is_empty());
    parts.map(|tag| tag.replace('\u{0}', ",")).collect()
}

/// What Registrator makes of a container.
pub fn services_of(container: &Container, hostname: &str, settings: &Settings) -> Vec<Instance> {
    let ports: Vec<(u16, u16, bool)> = if container.is_on_host_network {
        container
            .exposed
            .iter()
            .map(|port| (*port, *port, false))
            .collect()
    } else {
        let published = container.published.iter();
        published
            .map(|p| (p.container_port, p.host_port, p.is_udp))
            .collect()
    };
    let several = ports.len() > 1;
    let (repository, _) = container
        .image
        .rsplit_once(':')
        .unwrap_or((&container.image, ""));
    let image = repository.rsplit('/').next().unwrap_or_default();
    let mut services = Vec::new();
    for (inside, outside, is_udp) in ports {
        let mut meta = metadata(container, inside);
        let is_set = |meta: &BTreeMap<String, String>, key: &str| {
            meta.get(key).is_some_and(|value| !value.is_empty())
        };
        // Consul refuses a check by script, so the service is never registered.
        if is_set(&meta, "ignore") || is_set(&meta, "check_script") {
            continue;
        }
        if settings.explicit && !is_set(&meta, "name") {
            continue;
        }
        let named = format!("SERVICE_{inside}_NAME");
        let is_named = container.env.contains_key(&named) || container.labels.contains_key(&named);
        let mut name = meta.remove("name").unwrap_or_else(|| image.to_owned());
        if several && !is_named {
            name = format!("{name}-{inside}");
        }
        let suffix = if is_udp { ":udp" } else { "" };
        let id = format!("{hostname}:{}:{inside}{suffix}", container.name);
        let mut tags = tags(&meta.remove("tags").unwrap_or_default());
        if is_udp {
            tags.push("udp".to_owned());
        }
        meta.remove("ignore");
        services.push(Instance {
            id: meta.remove("id").unwrap_or(id),
            name,
            address: settings
                .ip
                .clone()
                .unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: outside,
            tags,
            meta,
        });
    }
    services
}

struct Work {
    settings: Settings,
    hostname: String,
    from: Ipv4Addr,
    agent: Ipv4Addr,
    catalog: Arc<dyn Catalog>,
    engine: Arc<dyn LocalEngine>,
    /// What it registered, by container.
    known: BTreeMap<String, Vec<Instance>>,
}

impl Work {
    /// Registers a container that runs. What Consul refuses is tried again with the next resync.
    async fn add(&mut self, container: &Container) {
        let services = services_of(container, &self.hostname, &self.settings);
        for service in &services {
            drop(
                self.catalog
                    .register(self.from, self.agent, service.clone())
                    .await,
            );
        }
        self.known.insert(container.name.clone(), services);
    }

    async fn remove(&mut self, container: &str) {
        for service in self.known.remove(container).unwrap_or_default() {
            drop(
                self.catalog
                    .deregister(self.from, self.agent, &service.id)
                    .await,
            );
        }
    }

    async fn sync(&mut self) {
        let running = self.engine.running().await.unwrap_or_default();
        for container in &running {
            self.add(container).await;
        }
        if !self.settings.cleanup {
            return;
        }
        let own = format!("{}:", self.hostname);
        let names: BTreeSet<&str> = running.iter().map(|other| other.name.as_str()).collect();
        let registered = self
            .catalog
            .of_agent(self.from, self.agent)
            .await
            .unwrap_or_default();
        for service in registered {
            let container = service
                .id
                .strip_prefix(&own)
                .and_then(|rest| rest.split(':').next());
            if container.is_some_and(|name| !names.contains(name)) {
                drop(
                    self.catalog
                        .deregister(self.from, self.agent, &service.id)
                        .await,
                );
            }
        }
    }

    async fn follow(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Started(name) => {
                let running = self.engine.running().await.unwrap_or_default();
                if let Some(container) = running.iter().find(|other| other.name == name) {
                    self.add(container).await;
                }
            }
            EngineEvent::Died(name) => self.remove(&name).await,
        }
    }
}

#[async_trait]
impl Program for Registrator {
    async fn run(&self, mut process: Process) -> i64 {
        let log = process.log.clone();
        let fail = |code: i64, why: &str| {
            log.line(why);
            code
        };
        let settings = match read(&process.command) {
            Ok(settings) => settings,
            Err((code, why)) => return fail(code, &why),
        };
        let Some(engine) = self.0.engines.engine(process.address) else {
            return fail(1, "cannot connect to the Docker daemon");
        };
        let agent = settings.consul.unwrap_or(process.address);
        let mut attempts = 0;
        while let Err(error) = self.0.catalog.of_agent(process.address, agent).await {
            if settings.attempts >= 0 && attempts >= settings.attempts {
                return fail(1, &error.to_string());
            }
            attempts += 1;
            tokio::select! {
                biased;
                Some(Signal::Term) = process.signals.recv() => return 143,
                () = sleep(Duration::from_millis(settings.interval)) => {}
            }
        }
        let seat = self
            .0
            .view
            .sit(Service::Registrator, process.address, &process.name);
        let Ok(mut events) = engine.events().await else {
            return fail(1, "cannot connect to the Docker daemon");
        };
        let mut resync = interval(Duration::from_secs(settings.resync.max(1)));
        let resyncs = settings.resync > 0;
        let mut work = Work {
            settings,
            hostname: process.hostname.clone(),
            from: process.address,
            agent,
            catalog: Arc::clone(&self.0.catalog),
            engine,
            known: BTreeMap::new(),
        };
        work.sync().await;
        seat.set(|row| row.serves = true);
        process.notes().note("start");
        loop {
            tokio::select! {
                biased;
                Some(Signal::Term) = process.signals.recv() => return 143,
                event = events.recv() => match event {
                    Some(event) => work.follow(event).await,
                    None => return fail(1, "docker event loop closed"),
                },
                _ = resync.tick(), if resyncs => work.sync().await,
            }
        }
    }
}
