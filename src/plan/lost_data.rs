//! Members of a quorum that lost their data: they must not vote, and when too few others are left,
//! the service stays down until the operator decides which data count.

use std::fmt;

use super::types::Observed;
use crate::desired::Desired;
use crate::spec::{ComponentName, HostName};

/// A service that cannot come back by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostData {
    pub component: ComponentName,
    /// Members without data.
    pub lost: Vec<HostName>,
    /// Members with data.
    pub kept: Vec<HostName>,
    /// The command, as root on a host, after which a member without data votes.
    command: String,
}

impl fmt::Display for LostData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |hosts: &[HostName]| {
            let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            names.join(", ")
        };
        let (lost, kept) = (names(&self.lost), names(&self.kept));
        write!(
            f,
            "{}: {lost} lost their data and must not vote without them; {kept} alone cannot form a \
             quorum. Restore the data of one of them, or go on with the data of {kept} (writes that \
             {kept} did not receive are lost): as root on {}, run: {}",
            self.component, self.lost[0], self.command
        )
    }
}

/// Services that were proven once, and of which too few members have data now.
#[must_use]
pub fn find_lost_data(desired: &Desired, observed: &Observed) -> Vec<LostData> {
    let mut found: Vec<LostData> = Vec::new();
    let components = desired.hosts.iter().flat_map(|host| &host.components);
    for component in components {
        let (Some(dir), Some(command)) = (&component.data_dir, &component.empty_vote_command)
        else {
            continue;
        };
        let is_proven = observed
            .values()
            .any(|status| status.proven.contains(&component.name));
        if !is_proven || found.iter().any(|known| known.component == component.name) {
            continue;
        }
        let runs = |host: &&crate::desired::HostDesired| {
            host.components.iter().any(|c| c.name == component.name)
        };
        let members: Vec<&HostName> = desired.hosts.iter().filter(runs).map(|h| &h.name).collect();
        let seen = members
            .iter()
            .filter_map(|name| Some((*name, observed.get(*name)?)));
        let (kept, lost): (Vec<_>, Vec<_>) =
            seen.partition(|(_, status)| status.has_data.contains(dir));
        let quorum = members.len() / 2 + 1;
        if kept.is_empty() || members.len() - lost.len() >= quorum {
            continue;
        }
        let names =
            |hosts: Vec<(&HostName, _)>| hosts.into_iter().map(|(h, _)| h.clone()).collect();
        found.push(LostData {
            component: component.name.clone(),
            lost: names(lost),
            kept: names(kept),
            command: command.clone(),
        });
    }
    found
}
