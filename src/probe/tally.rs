//! Collects what a judgement finds out about each member and turns it into a verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Verdict};
use crate::event::escape;
use crate::spec::HostName;

/// A verdict in the making.
pub(super) struct Tally {
    service: String,
    members: Vec<(HostName, bool)>,
    leader: Option<HostName>,
    roles: BTreeMap<HostName, String>,
    versions: BTreeMap<HostName, String>,
    bad: BTreeSet<HostName>,
    faults: Vec<String>,
    broken: bool,
    leaderless: bool,
}

impl Tally {
    /// For members that work without each other: no leader, and one is enough.
    pub(super) fn leaderless(service: &str, members: &[Member]) -> Self {
        let mut tally = Self::new(service, members);
        tally.leaderless = true;
        tally
    }

    /// Nothing is wrong yet but members that are down.
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
            faults: Vec::new(),
            broken: false,
            leaderless: false,
        };
        for (host, up) in tally.members.clone() {
            tally.role(&host, if up { "unknown" } else { "down" });
            if !up {
                tally.faults.push(format!("{host}: the host is down"));
            }
        }
        tally
    }

    /// Members that are not down.
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

    /// Something wrong with a member: it does not count as synced.
    pub(super) fn fault(&mut self, host: &HostName, what: impl Into<String>) {
        self.bad.insert(host.clone());
        self.note(host, what);
    }

    /// Something wrong on a host that is no member (a client, a slave), or that does not cost a member its vote.
    pub(super) fn note(&mut self, host: &HostName, what: impl Into<String>) {
        self.broken = true;
        let line = format!("{host}: {}", what.into());
        if !self.faults.contains(&line) {
            self.faults.push(line);
        }
    }

    /// Worth saying, but no reason to call the service unhealthy.
    pub(super) fn remark(&mut self, host: &HostName, what: &str) {
        self.faults.push(format!("{host}: {what}"));
    }

    /// Something wrong with the service as a whole: no member counts as synced.
    pub(super) fn general(&mut self, what: impl Into<String>) {
        self.broken = true;
        self.faults.push(what.into());
    }

    pub(super) fn leader(&mut self, leader: Option<HostName>) {
        self.leader = leader;
    }

    /// Members in sync: up, without a fault, and only where a leader is agreed on.
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

    /// The verdict: healthy when nothing is wrong but members known to be down, and the rest is a working majority.
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
                "{up} of {members} members are up, {quorum} are needed"
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
            faults,
        }
    }
}

/// Names as a person lists them: `a, b and c`.
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
