//! The numbers of the masters: recorded ones stay, and only the creation of a cluster gives new
//! ones.

use std::collections::BTreeSet;

use super::types::Recorded;
use crate::inventory::Inventory;
use crate::playbook::Playbook;
use crate::spec::{HostName, MemberRecord, Membership, Role};

/// The membership that the masters' records must hold. A master whose number is unknown is left
/// out; `plan::check_masters` refuses such a cluster before anything is changed.
pub(super) fn membership(
    inventory: &Inventory,
    playbook: &Playbook,
    recorded: &Recorded,
    cluster_id: &str,
) -> Membership {
    let components = playbook.components.values();
    let creates = recorded.creates_cluster(components.filter(|c| c.quorum).map(|c| &c.name));
    let former = recorded.membership.as_ref();
    let mut taken = taken_numbers(recorded);
    // Known numbers first: a new master must not get the number of one that is listed after it.
    let (known, unknown): (Vec<_>, Vec<_>) = inventory
        .with_role(Role::Master)
        .map(|host| (host, known_number(recorded, &host.name)))
        .partition(|(_, number)| number.is_some());
    let mut members = Vec::new();
    for (host, number) in known.into_iter().chain(unknown) {
        let free = || (1..=255).find(|number| creates && !taken.contains(number));
        if let Some(number) = number.or_else(free) {
            taken.insert(number);
            members.push(MemberRecord {
                number,
                host: host.name.clone(),
                address: host.address,
            });
        }
    }
    members.sort();
    let Some(former) = former else {
        return Membership {
            format: Membership::FORMAT,
            cluster_id: cluster_id.to_owned(),
            serial: 1,
            members,
            retired: Vec::new(),
        };
    };
    if former.members == members {
        return former.clone();
    }
    let numbers: BTreeSet<u8> = members.iter().map(|member| member.number).collect();
    let former_members = former.members.iter().chain(&former.retired);
    let mut retired: Vec<MemberRecord> = former_members
        .filter(|member| !numbers.contains(&member.number))
        .cloned()
        .collect();
    retired.sort();
    Membership {
        format: Membership::FORMAT,
        cluster_id: cluster_id.to_owned(),
        serial: former.serial.saturating_add(1),
        members,
        retired,
    }
}

fn known_number(recorded: &Recorded, host: &HostName) -> Option<u8> {
    let in_membership = recorded.membership.as_ref().and_then(|m| m.number(host));
    let in_node = || recorded.nodes.get(host).and_then(|node| node.member);
    in_membership
        .or_else(in_node)
        .or_else(|| recorded.committed.get(host).copied())
}

/// Every number that a record gives to some host, now or formerly.
fn taken_numbers(recorded: &Recorded) -> BTreeSet<u8> {
    let nodes = recorded.nodes.values().filter_map(|node| node.member);
    let members = recorded
        .membership
        .iter()
        .flat_map(|membership| membership.members.iter().chain(&membership.retired))
        .map(|member| member.number);
    nodes
        .chain(members)
        .chain(recorded.committed.values().copied())
        .collect()
}
