//! Compares the inventory's masters with those of the cluster. Pure: whoever reaches hosts asks the
//! running members when [`needs_member_lists`] says so, and passes their answers in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::types::{Observed, Plan};
use crate::desired::{Desired, HostDesired, Recorded};
use crate::event::escape;
use crate::spec::{ComponentName, HostName, Membership, Remedy, Role};

/// The committed membership as running members report it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberLists {
    /// By member: number → address or name of every master, as the service spells it.
    pub lists: BTreeMap<HostName, BTreeMap<u32, String>>,
    /// Why the other members did not report it.
    pub silent: BTreeMap<HostName, String>,
}

/// Why the inventory's masters cannot be those of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MastersError {
    /// The inventory lists other hosts.
    #[error(
        "masters are {} in the cluster, the inventory lists {}: toots does not change the set of \
         masters yet",
        recorded.join(", "),
        listed.join(", ")
    )]
    Changed {
        /// The cluster's masters by number.
        recorded: Vec<String>,
        /// The inventory's masters.
        listed: Vec<String>,
    },
    /// A master has another address.
    #[error(
        "address of master {host} is {recorded} in the cluster, the inventory says {listed}: toots \
         does not change the address of a master yet"
    )]
    Moved {
        host: HostName,
        recorded: String,
        listed: IpAddr,
    },
    /// No record and no running member tells a number.
    #[error(
        "member number of {} is unknown: no reachable master has it recorded, and no running \
         member lists it ({})",
        names(hosts),
        silent.join("; ")
    )]
    Unknown {
        hosts: Vec<HostName>,
        /// What each asked member answered.
        silent: Vec<String>,
    },
    /// A master's record contradicts the running members.
    #[error(
        "member number of {host} is {recorded} in its record, but the running members list it as \
         {listed}"
    )]
    Renumbered {
        host: HostName,
        recorded: u8,
        listed: u32,
    },
    /// The running members do not confirm the newest record.
    #[error(
        "the running members do not confirm the newest record of the masters ({record}): {}",
        lists.join("; ")
    )]
    Unconfirmed {
        record: String,
        /// What each running member lists.
        lists: Vec<String>,
    },
    /// Running members list different masters.
    #[error("the running members list different masters: {}", lists.join("; "))]
    Disagree {
        /// What each running member lists.
        lists: Vec<String>,
    },
}

impl MastersError {
    /// The next step for the operator.
    #[must_use]
    pub fn hint(&self) -> Remedy {
        match self {
            Self::Changed { recorded, .. } => {
                let masters = recorded.join(", ");
                format!("set masters in the inventory back to {masters}").into()
            }
            Self::Moved { host, recorded, .. } => Remedy::RestoreAddress {
                host: host.clone(),
                address: recorded.to_string(),
            },
            Self::Unknown { hosts, .. } => format!(
                "start {} or the members on the other masters, then run again",
                names(hosts)
            )
            .into(),
            Self::Renumbered { .. } => "restore the changed record from a backup".into(),
            Self::Unconfirmed { .. } => format!(
                "start the masters that are down, or move the wrong {} aside, then run again",
                Membership::PATH
            )
            .into(),
            Self::Disagree { .. } => "start the masters that are down, then run again".into(),
        }
    }
}

fn names(hosts: &[HostName]) -> String {
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    names.join(", ")
}

/// Whether the records alone do not tell the numbers of the inventory's masters: one number is
/// recorded nowhere, or masters hold different records and the newest must be confirmed.
#[must_use]
pub fn needs_member_lists(offline: &Desired, observed: &Observed, recorded: &Recorded) -> bool {
    if creates_cluster(offline, recorded) {
        return false;
    }
    match &recorded.membership {
        Some(_) => has_stale_records(observed),
        None => masters(offline).any(|host| node_number(recorded, &host.name).is_none()),
    }
}

/// Whether a plan changes masters of a cluster that has no record of them yet: then only the
/// running members tell a removed master and a changed address.
#[must_use]
pub fn changes_unrecorded_masters(offline: &Desired, recorded: &Recorded, plan: &Plan) -> bool {
    recorded.membership.is_none()
        && !creates_cluster(offline, recorded)
        && masters(offline)
            .filter_map(|host| plan.host(&host.name))
            .any(|host| host.steps().next().is_some())
}

/// Checks that the inventory lists the masters of the cluster. Returns the numbers that only the
/// running members know. While the cluster is being created, every set is accepted.
///
/// # Errors
/// When the inventory lists other masters, or when the number of a master stays unknown.
pub fn check_masters(
    offline: &Desired,
    recorded: &Recorded,
    members: &MemberLists,
) -> Result<BTreeMap<HostName, u8>, MastersError> {
    if creates_cluster(offline, recorded) {
        return Ok(BTreeMap::new());
    }
    match &recorded.membership {
        Some(membership) => {
            check_confirmed(membership, members)?;
            check_recorded(offline, membership)?;
            Ok(BTreeMap::new())
        }
        None => match agreed_list(members)? {
            Some(list) => read_numbers(offline, recorded, list),
            None => check_nodes(offline, recorded, members),
        },
    }
}

/// Whether masters hold different records: some are stale.
fn has_stale_records(observed: &Observed) -> bool {
    let records = observed
        .values()
        .filter_map(|status| status.membership.as_ref()?.as_ref().ok());
    let serials: BTreeSet<u64> = records.map(|record| record.serial).collect();
    serials.len() > 1
}

fn creates_cluster(offline: &Desired, recorded: &Recorded) -> bool {
    let components = offline.hosts.iter().flat_map(|host| &host.components);
    let quorum: BTreeSet<&ComponentName> =
        components.filter(|c| c.quorum).map(|c| &c.name).collect();
    recorded.creates_cluster(quorum)
}

fn masters(offline: &Desired) -> impl Iterator<Item = &HostDesired> {
    let hosts = offline.hosts.iter();
    hosts.filter(|host| host.roles.contains(&Role::Master))
}

fn node_number(recorded: &Recorded, host: &HostName) -> Option<u8> {
    recorded.nodes.get(host).and_then(|node| node.member)
}

fn changed(offline: &Desired, recorded: Vec<String>) -> MastersError {
    MastersError::Changed {
        recorded,
        listed: masters(offline).map(|host| host.name.to_string()).collect(),
    }
}

fn check_recorded(offline: &Desired, membership: &Membership) -> Result<(), MastersError> {
    let recorded: BTreeSet<&HostName> = membership.members.iter().map(|m| &m.host).collect();
    let listed: BTreeSet<&HostName> = masters(offline).map(|host| &host.name).collect();
    if recorded != listed {
        let names = membership.members.iter().map(|m| m.host.to_string());
        return Err(changed(offline, names.collect()));
    }
    for host in masters(offline) {
        let member = membership.members.iter().find(|m| m.host == host.name);
        if let Some(member) = member.filter(|member| member.address != host.address) {
            return Err(MastersError::Moved {
                host: host.name.clone(),
                recorded: member.address.to_string(),
                listed: host.address,
            });
        }
    }
    Ok(())
}

/// The newest record must have more running members on its side than against it. A member that
/// missed a change still lists the former masters.
fn check_confirmed(membership: &Membership, members: &MemberLists) -> Result<(), MastersError> {
    let confirms = |list: &BTreeMap<u32, String>| {
        list.len() == membership.members.len()
            && membership.members.iter().all(|member| {
                list.get(&u32::from(member.number))
                    .is_some_and(|spelled| is_host(spelled, &member.host, member.address))
            })
    };
    let confirming = members.lists.values().filter(|list| confirms(list)).count();
    if members.lists.is_empty() || confirming * 2 > members.lists.len() {
        return Ok(());
    }
    Err(MastersError::Unconfirmed {
        record: membership.to_string(),
        lists: describe_lists(members),
    })
}

/// The list of most running members; `None` when none runs.
fn agreed_list(members: &MemberLists) -> Result<Option<&BTreeMap<u32, String>>, MastersError> {
    let count = |list: &BTreeMap<u32, String>| {
        let same = members.lists.values().filter(|other| *other == list);
        same.count()
    };
    let most = members.lists.values().max_by_key(|list| count(list));
    match most {
        Some(list) if count(list) * 2 <= members.lists.len() => Err(MastersError::Disagree {
            lists: describe_lists(members),
        }),
        most => Ok(most),
    }
}

/// Numbers of a cluster without a record of its masters, from the list of the running members.
fn read_numbers(
    offline: &Desired,
    recorded: &Recorded,
    list: &BTreeMap<u32, String>,
) -> Result<BTreeMap<HostName, u8>, MastersError> {
    let mut numbers = BTreeMap::new();
    let mut named = Vec::new();
    for (number, spelled) in list {
        let at = |host: &&HostDesired| is_host(spelled, &host.name, host.address);
        let numbered = |host: &&HostDesired| {
            node_number(recorded, &host.name).is_some_and(|own| u32::from(own) == *number)
        };
        let listed = masters(offline).find(at);
        let host = listed.or_else(|| offline.hosts.iter().find(numbered));
        if let (None, Some(host)) = (listed, host.filter(|h| h.roles.contains(&Role::Master))) {
            return Err(MastersError::Moved {
                host: host.name.clone(),
                recorded: escape(spelled),
                listed: host.address,
            });
        }
        named.push(host.map_or_else(|| escape(spelled), |host| host.name.to_string()));
        let Some(host) = listed else { continue };
        if let Some(own) = node_number(recorded, &host.name).filter(|n| u32::from(*n) != *number) {
            return Err(MastersError::Renumbered {
                host: host.name.clone(),
                recorded: own,
                listed: *number,
            });
        }
        numbers.extend(u8::try_from(*number).ok().map(|n| (host.name.clone(), n)));
    }
    if numbers.len() != list.len() || masters(offline).count() != list.len() {
        return Err(changed(offline, named));
    }
    Ok(numbers)
}

/// Without a running member: the masters are the hosts whose identity has a number.
fn check_nodes(
    offline: &Desired,
    recorded: &Recorded,
    members: &MemberLists,
) -> Result<BTreeMap<HostName, u8>, MastersError> {
    let numbered: BTreeMap<u8, &HostName> = recorded
        .nodes
        .iter()
        .filter_map(|(host, node)| Some((node.member?, host)))
        .collect();
    let listed: BTreeSet<&HostName> = masters(offline).map(|host| &host.name).collect();
    if numbered.values().any(|host| !listed.contains(*host)) {
        let names = numbered.values().map(|host| host.to_string());
        return Err(changed(offline, names.collect()));
    }
    let unknown: Vec<HostName> = listed
        .into_iter()
        .filter(|host| node_number(recorded, host).is_none())
        .cloned()
        .collect();
    if unknown.is_empty() {
        return Ok(BTreeMap::new());
    }
    let silent = members.silent.iter();
    Err(MastersError::Unknown {
        hosts: unknown,
        silent: silent.map(|(host, why)| format!("{host}: {why}")).collect(),
    })
}

/// Whether a service's spelling of a host (its address, or its name) is this host.
fn is_host(spelled: &str, host: &HostName, address: IpAddr) -> bool {
    spelled == host.as_str() || spelled.parse() == Ok(address)
}

fn describe_lists(members: &MemberLists) -> Vec<String> {
    let describe = |(host, list): (&HostName, &BTreeMap<u32, String>)| {
        let entries: Vec<String> = list
            .iter()
            .map(|(number, spelled)| format!("{number}={}", escape(spelled)))
            .collect();
        format!("{host} lists {}", entries.join(" "))
    };
    members.lists.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let host = |name: &str| HostName::new(name).unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let lists: Vec<String> = texts(&[
            "m1 lists 1=10.0.0.11 2=10.0.0.12",
            "m2 lists 1=10.0.0.11 3=10.0.0.13",
        ]);
        let hints = |error: &MastersError| vec![error.hint().to_string()];
        crate::testing::snapshot_messages!("masters_error", MastersError, hints: hints, {
            MastersError::Changed { .. } => MastersError::Changed {
                recorded: texts(&["m1", "m2", "m3"]),
                listed: texts(&["m1", "m2", "m4"]),
            },
            MastersError::Moved { .. } => MastersError::Moved {
                host: host("m1"),
                recorded: "10.0.0.11".into(),
                listed: [10, 0, 0, 14].into(),
            },
            MastersError::Unknown { .. } => MastersError::Unknown {
                hosts: vec![host("m3")],
                silent: texts(&["m1: conf: connection refused", "m2: conf: not serving"]),
            },
            MastersError::Renumbered { .. } => MastersError::Renumbered {
                host: host("m2"),
                recorded: 2,
                listed: 3,
            },
            MastersError::Unconfirmed { .. } => MastersError::Unconfirmed {
                record: "serial 2: 1=m1 (10.0.0.11), 2=m2 (10.0.0.12), 4=m4 (10.0.0.14)".into(),
                lists: lists.clone(),
            },
            MastersError::Disagree { .. } => MastersError::Disagree { lists },
        });
    }
}
