//! Services that are registered with an agent. It keeps them on its disk, checks them, and brings the
//! catalogue in line with them.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::catalog::{Command, Service};
use super::cluster::{Agent, Key, State};
use super::config::duration;
use crate::files::Files;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Check {
    /// A service that does not report for so long is critical.
    pub ttl: Option<Duration>,
    /// Something must listen there.
    pub listens: Option<(String, u16)>,
    pub interval: Duration,
    /// One that is critical for so long is removed.
    pub removed_after: Option<Duration>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalService {
    pub service: Service,
    pub check: Option<Check>,
    #[serde(skip)]
    pub reported: Option<Instant>,
    #[serde(skip)]
    pub critical_since: Option<Instant>,
}

impl LocalService {
    /// Reads a registration; `None` when it has another form.
    pub fn read(body: &Value, now: Instant) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = text(&body["Name"]).filter(|name| !name.is_empty())?;
        let list = |value: &Value| serde_json::from_value(value.clone()).unwrap_or_default();
        let check = &body["Check"];
        let time = |key: &str| check[key].as_str().and_then(duration);
        let address = check["HTTP"].as_str().or_else(|| check["TCP"].as_str());
        let status = match check["Status"].as_str() {
            Some(status) => status,
            None if check.is_object() => "critical",
            None => "",
        };
        Some(Self {
            service: Service {
                id: text(&body["ID"])
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| name.clone()),
                tags: list(&body["Tags"]),
                address: text(&body["Address"]).unwrap_or_default(),
                port: body["Port"]
                    .as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .unwrap_or(0),
                meta: serde_json::from_value(body["Meta"].clone()).unwrap_or_default(),
                status: status.to_owned(),
                name,
            },
            check: check.is_object().then(|| Check {
                ttl: time("TTL"),
                listens: address.and_then(host_and_port),
                interval: time("Interval").unwrap_or(Duration::from_secs(10)),
                removed_after: time("DeregisterCriticalServiceAfter"),
            }),
            reported: Some(now),
            critical_since: None,
        })
    }
}

/// Of `http://host:port/path` or `host:port`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn dir(data_dir: &str) -> String {
    format!("{data_dir}/services")
}

pub fn read_services(files: &Files, data_dir: &str) -> Vec<LocalService> {
    let paths = files.below(&dir(data_dir)).into_iter();
    let texts = paths.filter_map(|path| files.text(&path));
    texts
        .filter_map(|text| serde_json::from_str(&text).ok())
        .collect()
}

impl Agent {
    fn path_of(&self, id: &str) -> String {
        let name: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{}/{name}", dir(&self.config.data_dir))
    }

    pub fn register(&mut self, service: LocalService) {
        let text = serde_json::to_string(&service).expect("a service is JSON");
        self.files
            .write(&self.path_of(&service.service.id), text, 0o600);
        self.services.insert(service.service.id.clone(), service);
    }

    pub fn deregister(&mut self, id: &str) -> bool {
        self.files.remove(&self.path_of(id));
        self.services.remove(id).is_some()
    }

    fn check(&self, local: &LocalService, now: Instant) -> Option<&'static str> {
        let check = local.check.as_ref()?;
        if let Some((host, port)) = &check.listens {
            let address: Ipv4Addr = host.parse().ok()?;
            let address = if address.is_loopback() {
                self.address
            } else {
                address
            };
            let is_there =
                self.network.reaches(self.address, address) && self.network.listens(address, *port);
            return Some(if is_there { "passing" } else { "critical" });
        }
        let ttl = check.ttl?;
        let is_late = local.reported.is_none_or(|at| now >= at + ttl);
        is_late.then_some("critical")
    }
}

impl State {
    /// Checks an agent's services and sends the leader what its catalogue lacks.
    pub fn step_services(&mut self, me: Key, now: Instant) {
        let Some(agent) = self.agents.get(&me) else {
            return;
        };
        let statuses: Vec<(String, Option<&'static str>)> = agent
            .services
            .iter()
            .map(|(id, local)| (id.clone(), agent.check(local, now)))
            .collect();
        let Some(agent) = self.agents.get_mut(&me) else {
            return;
        };
        let mut expired = Vec::new();
        for (id, status) in statuses {
            let Some(local) = agent.services.get_mut(&id) else {
                continue;
            };
            if let Some(status) = status {
                status.clone_into(&mut local.service.status);
            }
            if local.service.status != "critical" {
                local.critical_since = None;
                continue;
            }
            let since = *local.critical_since.get_or_insert(now);
            let limit = local.check.as_ref().and_then(|check| check.removed_after);
            if limit.is_some_and(|limit| now >= since + limit) {
                expired.push(id);
            }
        }
        for id in expired {
            agent.deregister(&id);
        }
        self.sync_services(me, now);
    }

    /// Sends the leader what its catalogue lacks of an agent's services.
    pub fn sync_services(&mut self, me: Key, now: Instant) {
        let is_registered = self.try_sync_services(me, now).is_some();
        if let Some(agent) = self.agents.get_mut(&me) {
            agent.is_registered = is_registered;
        }
    }

    fn try_sync_services(&mut self, me: Key, now: Instant) -> Option<()> {
        let leader = self.leader_for(me)?;
        let agent = &self.agents[&me];
        let name = &agent.config.name;
        let raft = self.raft(leader);
        let raft = raft.filter(|raft| raft.committed == raft.last())?;
        let node = raft.catalog.nodes.get(name);
        let node = node.filter(|node| node.id == agent.id)?;
        let missing = agent.services.values().map(|local| &local.service);
        let missing = missing.filter(|service| node.services.get(&service.id) != Some(service));
        let mut commands: Vec<Command> = missing
            .map(|service| Command::Service {
                node: name.clone(),
                service: service.clone(),
            })
            .collect();
        let gone = node
            .services
            .keys()
            .filter(|id| !agent.services.contains_key(*id));
        commands.extend(gone.map(|id| Command::ServiceGone {
            node: name.clone(),
            id: id.clone(),
        }));
        for command in commands {
            self.propose(leader, command, now);
        }
        Some(())
    }
}
