//! What must hold in every life. It is judged by the world's own tables and its record, and never by
//! a verdict, an event or a label of toots.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::network::Network;
use crate::record::{Change, Entry, Record};
use crate::services::consul::Cluster;
use crate::services::view::{Service, View};
use crate::services::zookeeper::Ensemble;

/// How old the answers may be by which a run decides to stop a member. A fault within this time is
/// not its mistake.
const ANSWER_AGE: Duration = Duration::from_secs(30);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The services whose members vote, by the name of their container.
pub const VOTING: [&str; 3] = [
    "toots-zookeeper",
    "toots-consul-server",
    "toots-mesos-master",
];

/// Services without a quorum that run on more than one machine, and the port on which each member
/// answers.
const REPLICATED: [(&str, Service, u16); 2] = [
    ("toots-marathon", Service::Marathon, 8080),
    ("toots-chronos", Service::Chronos, 4400),
];

/// A member by its container's name and its machine.
type MemberKey = (&'static str, Ipv4Addr);

/// A stop of a member that served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub at: Instant,
    pub by: String,
    pub host: String,
    pub container: &'static str,
    /// It led its service.
    pub was_leading: bool,
    /// How many others of its service served and had everything.
    pub others: usize,
}

#[derive(Default)]
struct Findings {
    violations: Vec<String>,
    /// When the others of a member were last a majority that serves and has everything.
    last_safe: BTreeMap<MemberKey, Instant>,
    /// Containers by machine and name, from the Engines' notes.
    containers: BTreeSet<(String, String)>,
    /// Those with a process.
    running: BTreeSet<(String, String)>,
    /// The stops of members that served.
    stopped: Vec<Stop>,
    /// Those of them for which a fault had just taken the majority away.
    late: u64,
}

/// What the judge looks at.
#[derive(Clone)]
pub struct Tables {
    pub ensemble: Ensemble,
    pub consul: Cluster,
    pub view: View,
    pub network: Network,
    /// Names and addresses of all machines.
    pub machines: Vec<(String, Ipv4Addr)>,
    /// How many masters the inventory has.
    pub masters: usize,
}

#[derive(Clone)]
pub struct Judge {
    tables: Tables,
    record: Record,
    findings: Arc<Mutex<Findings>>,
}

/// A member by the tables: whether it serves, and whether it has everything too.
struct MemberState {
    address: Ipv4Addr,
    serves: bool,
    is_synced: bool,
    is_leading: bool,
}

impl Tables {
    fn members(&self, container: &str) -> Vec<MemberState> {
        match container {
            "toots-zookeeper" => {
                let members = self.ensemble.members().into_iter();
                let state = members.map(|member| MemberState {
                    address: member.address,
                    serves: member.is_serving,
                    is_synced: member.is_synced,
                    is_leading: member.is_leading,
                });
                state.collect()
            }
            "toots-consul-server" => {
                let agents = self.consul.members().into_iter();
                let state = agents.map(|agent| MemberState {
                    address: agent.address,
                    serves: agent.is_serving,
                    is_synced: agent.is_synced,
                    is_leading: agent.is_leading,
                });
                state.collect()
            }
            _ => {
                let mut replicated = REPLICATED.into_iter();
                if let Some((_, service, port)) = replicated.find(|(name, ..)| *name == container) {
                    return self.replicas(service, port);
                }
                let rows = self.view.rows(Service::MesosMaster).into_iter();
                let state = rows.map(|(address, row)| MemberState {
                    address,
                    serves: row.serves,
                    is_synced: row.serves,
                    is_leading: row.leads,
                });
                state.collect()
            }
        }
    }

    /// Each member answers, also one that does not lead.
    fn replicas(&self, service: Service, port: u16) -> Vec<MemberState> {
        let leading = self.view.leading(service);
        let machines = self.machines.iter();
        let members = machines.map(|(_, address)| {
            let serves = self.network.listens(*address, port);
            MemberState {
                address: *address,
                serves,
                is_synced: serves,
                is_leading: leading.contains(address),
            }
        });
        members.collect()
    }

    /// Where the leader of a service is.
    pub fn leader(&self, container: &str) -> Option<Ipv4Addr> {
        let mut members = self.members(container).into_iter();
        let found = members.find(|member| member.is_leading);
        found.map(|member| member.address)
    }

    /// Where the leader of each service is.
    pub fn leaders(&self) -> Vec<Option<Ipv4Addr>> {
        let replicated = REPLICATED.iter().map(|(container, ..)| *container);
        let containers = VOTING.into_iter().chain(replicated);
        containers.map(|container| self.leader(container)).collect()
    }

    /// Each member of each service: where it is, whether it serves, has everything, and leads.
    pub fn standing(&self) -> Vec<(Ipv4Addr, bool, bool, bool)> {
        let replicated = REPLICATED.iter().map(|(container, ..)| *container);
        let containers = VOTING.into_iter().chain(replicated);
        let members = containers.flat_map(|container| self.members(container));
        let standing = members.map(|member| {
            (
                member.address,
                member.serves,
                member.is_synced,
                member.is_leading,
            )
        });
        standing.collect()
    }

    /// How many members of a service besides this one serve and have everything.
    fn count_others(&self, container: &str, without: Ipv4Addr) -> usize {
        let members = self.members(container).into_iter();
        let rest = members.filter(|member| member.address != without);
        rest.filter(|member| member.serves && member.is_synced)
            .count()
    }

    /// The member of a machine, when it serves.
    fn serving(&self, container: &str, address: Ipv4Addr) -> Option<MemberState> {
        let mut members = self.members(container).into_iter();
        members.find(|member| member.address == address && member.serves)
    }
}

impl Judge {
    /// Begins to judge a world: at each stop of a member, and once a second.
    pub fn watch(record: &Record, tables: Tables) -> Self {
        let judge = Self {
            tables,
            record: record.clone(),
            findings: Arc::default(),
        };
        let at_entries = judge.clone();
        record.watch(move |entry| at_entries.see(entry));
        judge
    }

    /// Looks at the members as long as it is polled.
    pub async fn sample(&self) {
        loop {
            let now = Instant::now();
            for container in VOTING {
                let members = self.tables.members(container).into_iter();
                let synced = members.filter(|member| member.serves && member.is_synced);
                let synced: Vec<Ipv4Addr> = synced.map(|member| member.address).collect();
                let mut findings = self.findings();
                for (_, address) in &self.tables.machines {
                    let others = synced.iter().filter(|other| *other != address).count();
                    if others > self.tables.masters / 2 {
                        findings.last_safe.insert((container, *address), now);
                    }
                }
            }
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, entry: &Entry) {
        let is_end = ["stop by operator", "kill", "remove by operator"]
            .iter()
            .any(|word| entry.what.starts_with(word))
            && entry.what.contains("by operator");
        let former = entry.who.strip_suffix(".old").unwrap_or(&entry.who);
        let replicated = REPLICATED.map(|(name, ..)| name);
        let mut containers = VOTING.into_iter().chain(replicated);
        let container = containers.find(|name| *name == former);
        let mut machines = self.tables.machines.iter();
        let machine = machines.find(|(name, _)| *name == entry.host);
        // What has no process any more is no member, though a newer one may serve there already.
        let key = (entry.host.clone(), entry.who.clone());
        let is_end = is_end && self.findings().running.contains(&key);
        if let (true, Some(container), Some((_, address))) = (is_end, container, machine) {
            self.judge_stop(entry, container, *address);
        }
        self.follow_containers(entry);
    }

    /// The former container is what a failed replacement goes back to.
    fn follow_containers(&self, entry: &Entry) {
        let mut findings = self.findings();
        let key = (entry.host.clone(), entry.who.clone());
        let mut words = entry.what.split(' ');
        match (words.next(), words.next()) {
            (Some("create"), Some("by")) => {
                findings.containers.insert(key);
            }
            (Some("start"), Some("by")) => {
                findings.running.insert(key);
            }
            (Some("end"), Some(_)) => {
                findings.running.remove(&key);
            }
            (Some("power"), Some("cut")) => findings.running.retain(|(host, _)| *host != key.0),
            (Some("rename"), Some(to)) => {
                findings.containers.remove(&key);
                let newer = (key.0.clone(), to.to_owned());
                if findings.running.remove(&key) {
                    findings.running.insert(newer.clone());
                }
                findings.containers.insert(newer);
            }
            (Some("remove"), Some("by")) => {
                findings.containers.remove(&key);
                let name = entry.who.strip_suffix(".old");
                let newer = name.map(|name| (key.0, name.to_owned()));
                if newer.is_some_and(|newer| !findings.containers.contains(&newer)) {
                    let what = format!(
                        "{}: {} of {}, and there is no newer one",
                        entry.host, entry.what, entry.who
                    );
                    findings.violations.push(what);
                }
            }
            _ => {}
        }
    }

    fn judge_stop(&self, entry: &Entry, container: &'static str, address: Ipv4Addr) {
        let Some(member) = self.tables.serving(container, address) else {
            return;
        };
        let others = self.tables.count_others(container, address);
        let is_safe = !VOTING.contains(&container) || others > self.tables.masters / 2;
        let mut findings = self.findings();
        let by = entry.what.split(" by ").nth(1).unwrap_or_default();
        let of_service = |stop: &&Stop| stop.container == container;
        let last_stop = findings.stopped.iter().filter(of_service);
        let last_stop = last_stop.map(|stop| stop.at).max();
        let is_repeated = findings
            .stopped
            .iter()
            .any(|stop| stop.by == by && stop.host == entry.host && stop.container == container);
        if is_repeated {
            let what = format!(
                "{}: {} of {container}, for the second time",
                entry.host, entry.what
            );
            findings.violations.push(what);
        }
        findings.stopped.push(Stop {
            at: entry.at,
            by: by.to_owned(),
            host: entry.host.clone(),
            container,
            was_leading: member.is_leading,
            others,
        });
        if is_safe {
            return;
        }
        // A majority that a stop took away was no fault's work.
        let last_safe = findings.last_safe.get(&(container, address)).copied();
        let is_late = last_safe.is_some_and(|at| entry.at - at <= ANSWER_AGE);
        if is_late && last_stop.is_none_or(|stop| last_safe > Some(stop + SAMPLE_INTERVAL)) {
            findings.late += 1;
            return;
        }
        let what = format!(
            "{}: {} of {container}, which serves, while the rest is no majority",
            entry.host, entry.what
        );
        findings.violations.push(what);
    }

    /// How many members that served were stopped, and how many of them while a fault had just taken
    /// the majority of the others away.
    pub fn stops(&self) -> (u64, u64) {
        let findings = self.findings();
        (findings.stopped.len() as u64, findings.late)
    }

    pub fn stopped(&self) -> Vec<Stop> {
        self.findings().stopped.clone()
    }

    /// Everything that should not have happened, with what the record says about writers.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = self.findings().violations.clone();
        violations.extend(judge_writers(&self.record.changes()).violations);
        violations.extend(judge_initialize(&self.record.entries()));
        violations
    }

    /// Changes that a host received before their run lost its lock, and that another run's changes met.
    pub fn overlaps(&self) -> u64 {
        judge_writers(&self.record.changes()).allowed
    }
}

#[derive(Default)]
struct Writers {
    violations: Vec<String>,
    allowed: u64,
}

/// No change without the host's lock, and no two writers on a host.
fn judge_writers(changes: &[Change]) -> Writers {
    let mut found = Writers::default();
    let mut under_way: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| change.by.starts_with("operator"))
    {
        if !change.was_locked {
            found.violations.push(format!(
                "{}: {} of {} without the lock",
                change.host, change.what, change.by
            ));
        }
        let others = under_way.entry(&change.host).or_default();
        others.retain(|other| other.ended.is_none_or(|ended| ended > change.began));
        // What a host received before the lock was lost may still end.
        found.allowed += u64::from(others.iter().any(|other| other.by != change.by));
        others.push(change);
    }
    found
}

/// The file that lets a member without data found an ensemble: none may be written once there is one.
fn judge_initialize(entries: &[Entry]) -> Option<String> {
    let mut entries = entries.iter();
    entries
        .find(|entry| entry.who == "zookeeper-writer" && entry.what.starts_with("acknowledged"))?;
    let written = entries
        .find(|entry| entry.what.starts_with("placed") && entry.what.ends_with("/initialize"))?;
    Some(format!(
        "{}: {} although the ensemble has data",
        written.host, written.what
    ))
}
