//! Chooses among the masters' records of the membership. Pure: the records were observed before.

use std::collections::BTreeMap;

use super::recorded::{IdentityError, major_id};
use super::types::Observed;
use crate::spec::{HostName, Membership, NodeRecord, RecordError};

/// The newest record of the masters. Older ones are stale, and rewritten with it.
///
/// # Errors
/// The hosts whose record cannot be used, belongs to another cluster, contradicts one of the same
/// serial, or contradicts the identity of a host.
pub(super) fn choose_membership(
    observed: &Observed,
    nodes: &BTreeMap<HostName, NodeRecord>,
) -> Result<Option<Membership>, Vec<IdentityError>> {
    let mut records: Vec<(&HostName, &Membership)> = Vec::new();
    let mut errors = Vec::new();
    for (host, status) in observed {
        match &status.membership {
            None => {}
            Some(Ok(record)) => records.push((host, record)),
            Some(Err(error)) => errors.push(IdentityError {
                host: host.clone(),
                why: error.to_string(),
                hint: match error {
                    RecordError::Newer { .. } => "update toots on this machine".into(),
                    RecordError::Unreadable { path, .. } => format!(
                        "move {path} aside: the next run writes it again from the other masters"
                    )
                    .into(),
                },
            }),
        }
    }
    errors.extend(foreign_records(&records, nodes));
    errors.extend(contradictions(&records));
    let newest = newest(&records);
    errors.extend(
        newest
            .iter()
            .flat_map(|(on, record)| misnumbered(on, record, nodes)),
    );
    if errors.is_empty() {
        Ok(newest.map(|(_, record)| record.clone()))
    } else {
        Err(errors)
    }
}

fn newest<'a>(
    records: &[(&'a HostName, &'a Membership)],
) -> Option<(&'a HostName, &'a Membership)> {
    records
        .iter()
        .max_by_key(|(_, record)| record.serial)
        .copied()
}

/// Records with another cluster id than most hosts have.
fn foreign_records(
    records: &[(&HostName, &Membership)],
    nodes: &BTreeMap<HostName, NodeRecord>,
) -> Vec<IdentityError> {
    let first = records
        .first()
        .map(|(_, record)| record.cluster_id.as_str());
    let Some(id) = major_id(nodes).or(first) else {
        return Vec::new();
    };
    records
        .iter()
        .filter(|(_, record)| record.cluster_id != id)
        .map(|(host, record)| IdentityError {
            host: (*host).clone(),
            why: format!(
                "{} belongs to another cluster: its cluster id is {:?}, that of the other hosts is \
                 {id:?}",
                Membership::PATH,
                record.cluster_id
            ),
            hint: format!(
                "move {} aside if it was copied from there",
                Membership::PATH
            )
            .into(),
        })
        .collect()
}

/// Records of one serial with different content.
fn contradictions(records: &[(&HostName, &Membership)]) -> Vec<IdentityError> {
    let mut by_serial: BTreeMap<u64, (&HostName, &Membership)> = BTreeMap::new();
    let mut errors = Vec::new();
    for (host, record) in records {
        let (other, first) = *by_serial.entry(record.serial).or_insert((host, record));
        if first.cluster_id == record.cluster_id && first != *record {
            errors.push(IdentityError {
                host: (*host).clone(),
                why: format!(
                    "{} contradicts that of {other}: here {record}; on {other} {first}",
                    Membership::PATH
                ),
                hint: format!(
                    "keep the one with the members of the running ensemble, move the other {} \
                     aside",
                    Membership::PATH
                )
                .into(),
            });
        }
    }
    errors
}

/// Hosts whose own record has another number than the membership gives them, or a number that it
/// gives to another host.
fn misnumbered(
    on: &HostName,
    record: &Membership,
    nodes: &BTreeMap<HostName, NodeRecord>,
) -> Vec<IdentityError> {
    let numbered = nodes
        .iter()
        .filter_map(|(host, node)| node.member.map(|number| (host, number)));
    let wrong = numbered.filter_map(|(host, number)| {
        let own = record.members.iter().find(|member| member.host == *host);
        let other = record.members.iter().find(|member| member.number == number);
        let said = own.filter(|own| own.number != number).or(other)?;
        (said.host != *host || said.number != number).then_some((host, number, said))
    });
    wrong
        .map(|(host, number, said)| IdentityError {
            host: host.clone(),
            why: format!(
                "member number is {number} in {}, but {} of {on} says {said}",
                NodeRecord::PATH,
                Membership::PATH
            ),
            hint: "restore the changed record from a backup".into(),
        })
        .collect()
}
