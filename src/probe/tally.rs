//! Collects findings about each member and turns them into a verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Verdict};
use crate::event::escape;
use crate::spec::HostName;

/// A verdict under construction.
pub(super) struct Tally {
    service: String,
    members: Vec<(HostName, bool)>,
    leader: Option<HostName>,
    roles: BTreeMap<HostName, String>,
    versions: BTreeMap<HostName, String>,
    bad: BTreeSet<HostName>,
    different: BTreeSet<HostName>,
    committed: Option<BTreeSet<String>>,
    faults: Vec<String>,
    broken: bool,
    leaderless: bool,
}

impl Tally {
    /// For members that work independently: no leader, and one is enough.
    pub(super) fn leaderless(service: &str, members: &[Member]) -> Self {
        let mut tally = Self::new(service, members);
        tally.leaderless = true;
        tally
    }

    /// Starts without faults, except for members that are down.
    pub(super) fn new(service: &str, members: &[Member]) -> Self {
        let mut tally = Self {
            service: service.to_owned(),
            members: members
                .iter()
                .map(|m| (m.host.clone(), m.session.is_some()))
                .collect(),
            leader: None,
            roles: BTreeMap::new(),
            versions: BTreeMap::new(),
            bad: BTreeSet::new(),
            different: BTreeSet::new(),
            committed: None,
            faults: Vec::new(),
            broken: false,
            leaderless: false,
        };
        for (host, up) in tally.members.clone() {
            tally.role(&host, if up { "unknown" } else { Verdict::DOWN });
            if !up {
                tally.faults.push(format!("{host}: host is unreachable"));
            }
        }
        tally
    }

    /// The number of members that are not down.
    pub(super) fn up(&self) -> usize {
        self.members.iter().filter(|(_, up)| *up).count()
    }

    /// Majority of the configured members.
    pub(super) fn quorum(&self) -> usize {
        if self.leaderless {
            1
        } else {
            self.members.len() / 2 + 1
        }
    }

    pub(super) fn role(&mut self, host: &HostName, role: &str) {
        self.roles.insert(host.clone(), escape(role));
    }

    pub(super) fn version(&mut self, host: &HostName, version: &str) {
        if !version.is_empty() {
            self.versions.insert(host.clone(), escape(version));
        }
    }

    /// Records a fault of a member: it does not count as synced.
    pub(super) fn fault(&mut self, host: &HostName, what: impl Into<String>) {
        self.bad.insert(host.clone());
        self.note(host, what);
    }

    /// Records a fault on a host that is not a member (a client, a slave), or one that does not
    /// cost a member its vote.
    pub(super) fn note(&mut self, host: &HostName, what: impl Into<String>) {
        self.broken = true;
        let line = format!("{host}: {}", what.into());
        if !self.faults.contains(&line) {
            self.faults.push(line);
        }
    }

    /// Records a fault of the service as a whole that costs no member its vote: what a server says
    /// of the whole cluster is no fault of the server.
    pub(super) fn cluster_note(&mut self, what: impl Into<String>) {
        self.broken = true;
        let line = what.into();
        if !self.faults.contains(&line) {
            self.faults.push(line);
        }
    }

    /// Records the fault of a member that holds other data than the majority.
    pub(super) fn different(&mut self, host: &HostName, what: impl Into<String>) {
        self.different.insert(host.clone());
        self.fault(host, what);
    }

    /// Adds hosts that a member's committed membership lists.
    pub(super) fn committed(&mut self, hosts: impl Iterator<Item = String>) {
        self.committed.get_or_insert_default().extend(hosts);
    }

    /// Records a remark that does not make the service unhealthy.
    pub(super) fn remark(&mut self, host: &HostName, what: &str) {
        self.faults.push(format!("{host}: {what}"));
    }

    /// Records a remark about the service as a whole that does not make it unhealthy.
    pub(super) fn cluster_remark(&mut self, what: String) {
        self.faults.push(what);
    }

    /// Records a fault of the service as a whole: no member counts as synced.
    pub(super) fn cluster_fault(&mut self, what: impl Into<String>) {
        self.broken = true;
        self.faults.push(what.into());
    }

    pub(super) fn leader(&mut self, leader: Option<HostName>) {
        self.leader = leader;
    }

    /// Members in sync: up, without a fault, and only when a leader is agreed on.
    pub(super) fn synced(&self) -> Vec<HostName> {
        if self.leader.is_none() && !self.leaderless {
            return Vec::new();
        }
        self.members
            .iter()
            .filter(|(host, up)| *up && !self.bad.contains(host))
            .map(|(host, _)| host.clone())
            .collect()
    }

    /// The verdict: healthy when there is no fault except members known to be down, and the rest is
    /// a working majority.
    pub(super) fn finish(self, detail: impl FnOnce(usize) -> String, proof: &str) -> Verdict {
        let synced = self.synced();
        let (members, quorum, up) = (self.members.len(), self.quorum(), self.up());
        let healthy = !self.broken
            && (self.leaderless || self.leader.is_some())
            && synced.len() == up
            && synced.len() >= quorum;
        let mut faults = self.faults;
        if up < quorum {
            faults.push(format!(
                "{up} of {members} members are up, {quorum} are required"
            ));
        }
        let mut membership = format!("{} of {members}", synced.len());
        let detail = detail(synced.len());
        if !detail.is_empty() {
            membership = format!("{membership}, {detail}");
        }
        let down: Vec<&str> = self
            .members
            .iter()
            .filter(|(_, up)| !up)
            .map(|(host, _)| host.as_str())
            .collect();
        if !down.is_empty() {
            membership = format!("{membership}; {} down", down.join(", "));
        }
        Verdict {
            service: self.service,
            healthy,
            leader: self.leader,
            synced,
            members,
            quorum,
            membership,
            proof: if healthy {
                proof.to_owned()
            } else {
                "none".to_owned()
            },
            roles: self.roles,
            versions: self.versions,
            different: self.different,
            committed: self.committed,
            faults,
        }
    }
}

/// Joins names as in a sentence: `a, b and c`.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [head @ .., last] => format!(
            "{} and {}",
            head.iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>()
                .join(", "),
            last.as_ref()
        ),
    }
}
