//! Reads earlier runs' records from the hosts, and refuses hosts that belong to another cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::choose_membership;
use super::types::Observed;
use crate::desired::{Desired, Recorded};
use crate::docker::ContainerStatus;
use crate::observe::{DockerStatus, HostStatus};
use crate::spec::{
    ClusterName, ComponentName, ContainerSpec, DefaultImage, HostName, ImageRef, NodeRecord,
    RecordError, Remedy,
};

/// A host's recorded identity contradicts the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError {
    pub host: HostName,
    /// What contradicts it.
    pub why: String,
    /// The next step for the operator.
    pub hint: Remedy,
}

/// Collects the records of all observed hosts. `offline`: the desired state without records, which
/// tells where data lies.
///
/// # Errors
/// All hosts whose identity belongs to another cluster, has another name, or contradicts another
/// host's.
pub fn recorded(
    cluster: &ClusterName,
    observed: &Observed,
    offline: &Desired,
) -> Result<Recorded, Vec<IdentityError>> {
    let mut out = Recorded::default();
    let mut errors = Vec::new();
    for (host, status) in observed {
        match read_node(cluster, host, status) {
            Ok(node) => out
                .nodes
                .extend(node.map(|node| (host.clone(), node.clone()))),
            Err(error) => errors.push(error),
        }
        collect(status, &mut out);
        collect_running_images(cluster, status, &mut out);
    }
    errors.extend(collect_default_images(observed, &mut out));
    errors.extend(shared_numbers(&out.nodes));
    errors.extend(foreign_ids(&out.nodes));
    match choose_membership(observed, &out.nodes) {
        Ok(membership) => out.membership = membership,
        Err(contradictions) => errors.extend(contradictions),
    }
    out.has_data = data(offline, observed);
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(errors)
    }
}

/// Adds what a host knows besides its identity.
fn collect(status: &HostStatus, out: &mut Recorded) {
    let secrets = status.secrets.iter();
    out.secrets
        .extend(secrets.map(|(name, secret)| (name.clone(), secret.clone())));
    out.proven.extend(status.proven.iter().cloned());
    let digests = status.digests.iter();
    out.digests
        .extend(digests.map(|(image, digest)| (ImageRef(image.clone()), digest.as_str().into())));
}

/// Adds the images from which the cluster's containers were created.
fn collect_running_images(cluster: &ClusterName, status: &HostStatus, out: &mut Recorded) {
    let DockerStatus::Up { containers, .. } = &status.docker else {
        return;
    };
    let label = |container: &ContainerStatus, name| container.labels.get(name).cloned();
    let own = containers.iter().filter(|container| {
        label(container, ContainerSpec::LABEL_CLUSTER).as_deref() == Some(cluster.as_str())
    });
    let images = own.filter_map(|container| label(container, ContainerSpec::LABEL_IMAGE));
    out.running_images.extend(images.map(ImageRef));
}

/// Adds the default images that most masters record. A master that was away while they changed has
/// former ones.
fn collect_default_images(observed: &Observed, out: &mut Recorded) -> Vec<IdentityError> {
    let mut errors = Vec::new();
    let mut votes: BTreeMap<&String, BTreeMap<&DefaultImage, usize>> = BTreeMap::new();
    for (host, status) in observed {
        match &status.default_images {
            None => {}
            Some(Err(error)) => errors.push(IdentityError {
                host: host.clone(),
                why: error.to_string(),
                hint: unreadable_hint(error),
            }),
            Some(Ok(record)) => {
                for (key, image) in &record.images {
                    *votes.entry(key).or_default().entry(image).or_default() += 1;
                }
            }
        }
    }
    let major = votes.into_iter().filter_map(|(key, images)| {
        let (image, _) = images.into_iter().max_by_key(|(_, count)| *count)?;
        Some((key.clone(), image.clone()))
    });
    out.default_images.extend(major);
    errors
}

/// The identity of a host of this cluster with this name; `None` on a new host.
fn read_node<'a>(
    cluster: &ClusterName,
    host: &HostName,
    status: &'a HostStatus,
) -> Result<Option<&'a NodeRecord>, IdentityError> {
    let refuse = |why: String, hint: Remedy| {
        Err(IdentityError {
            host: host.clone(),
            why,
            hint,
        })
    };
    match &status.node {
        None => Ok(None),
        Some(Err(error)) => refuse(error.to_string(), unreadable_hint(error)),
        Some(Ok(node)) if node.cluster != *cluster => refuse(
            format!(
                "belongs to cluster {:?}, the inventory describes {:?}",
                node.cluster.as_str(),
                cluster.as_str()
            ),
            "remove the host from this inventory, or from its former cluster first".into(),
        ),
        Some(Ok(node)) if node.node != *host => refuse(
            format!(
                "was installed as {}, the inventory names it {host}",
                node.node
            ),
            format!(
                "name it {} in the inventory, or correct the address of {host}",
                node.node
            )
            .into(),
        ),
        Some(Ok(node)) => Ok(Some(node)),
    }
}

/// What to do about a record that cannot be used.
fn unreadable_hint(error: &RecordError) -> Remedy {
    match error {
        RecordError::Newer { .. } => "update toots on this machine".into(),
        RecordError::Unreadable { path, .. } => format!(
            "restore {path} from a backup, or move it aside if the host is new to this cluster"
        )
        .into(),
    }
}

fn shared_numbers(nodes: &BTreeMap<HostName, NodeRecord>) -> Vec<IdentityError> {
    let mut numbers: BTreeMap<u8, &HostName> = BTreeMap::new();
    let mut errors = Vec::new();
    for (host, node) in nodes {
        if let Some(member) = node.member
            && let Some(other) = numbers.insert(member, host)
        {
            errors.push(IdentityError {
                host: host.clone(),
                why: format!("member number {member} is also recorded on {other}"),
                hint: "one of the two was copied from the other".into(),
            });
        }
    }
    errors
}

/// Hosts whose cluster id is not that of most hosts.
fn foreign_ids(nodes: &BTreeMap<HostName, NodeRecord>) -> Vec<IdentityError> {
    let Some(major) = major_id(nodes) else {
        return Vec::new();
    };
    nodes
        .iter()
        .filter(|(_, node)| node.cluster_id != major)
        .map(|(host, node)| IdentityError {
            host: host.clone(),
            why: format!(
                "belongs to another cluster with the same name: its cluster id is {:?}, that of \
                 the other hosts is {major:?}",
                node.cluster_id
            ),
            hint: "move /etc/toots and /var/lib/toots aside only if their data is not needed"
                .into(),
        })
        .collect()
}

/// The cluster id of most hosts.
pub(super) fn major_id(nodes: &BTreeMap<HostName, NodeRecord>) -> Option<&str> {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes.values() {
        *ids.entry(&node.cluster_id).or_default() += 1;
    }
    ids.into_iter()
        .max_by_key(|(_, hosts)| *hosts)
        .map(|(id, _)| id)
}

fn data(offline: &Desired, observed: &Observed) -> BTreeMap<ComponentName, BTreeSet<HostName>> {
    let mut out: BTreeMap<_, BTreeSet<HostName>> = BTreeMap::new();
    for host in &offline.hosts {
        let Some(status) = observed.get(&host.name) else {
            continue;
        };
        for component in &host.components {
            if component
                .data_dir
                .as_ref()
                .is_some_and(|dir| status.has_data.contains(dir))
            {
                out.entry(component.name.clone())
                    .or_default()
                    .insert(host.name.clone());
            }
        }
    }
    out
}
