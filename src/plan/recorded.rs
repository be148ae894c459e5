//! What earlier runs wrote down, read back from what was observed, and the refusal of hosts that belong elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::types::Observed;
use crate::desired::{Desired, Recorded};
use crate::spec::{ClusterName, HostName, ImageRef};

/// A host's recorded identity does not fit the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError {
    /// The host.
    pub host: HostName,
    /// What does not fit.
    pub why: String,
    /// The next step for the operator.
    pub hint: String,
}

/// Collects the records of all observed hosts. `offline` is the desired state without records: it tells where data lies.
///
/// # Errors
/// All hosts whose identity belongs to another cluster, another name, or contradicts another host's.
pub fn recorded(
    cluster: &ClusterName,
    observed: &Observed,
    offline: &Desired,
) -> Result<Recorded, Vec<IdentityError>> {
    let mut out = Recorded::default();
    let mut errors = Vec::new();
    let mut ids: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
    let mut members: BTreeMap<u8, HostName> = BTreeMap::new();
    for (host, status) in observed {
        let mut refuse = |why: String, hint: String| {
            errors.push(IdentityError {
                host: host.clone(),
                why,
                hint,
            })
        };
        match &status.node {
            None => {}
            Some(Err(why)) => refuse(
                format!("its identity file cannot be used: {why}"),
                "restore /etc/toots/node.json from a backup, or move it aside if the host is new to this cluster".into(),
            ),
            Some(Ok(node)) if node.cluster != *cluster => refuse(
                format!("it belongs to cluster {:?}, the inventory describes {:?}", node.cluster.as_str(), cluster.as_str()),
                "take the host out of this inventory, or out of its former cluster first".into(),
            ),
            Some(Ok(node)) if node.node != *host => refuse(
                format!("it was installed as {}, the inventory calls it {host}", node.node),
                format!("name it {} in the inventory, or correct the address of {host}", node.node),
            ),
            Some(Ok(node)) => {
                ids.entry(node.cluster_id.clone()).or_default().push(host.clone());
                if let Some(member) = node.member
                    && let Some(other) = members.insert(member, host.clone())
                {
                    refuse(
                        format!("member number {member} is also recorded on {other}"),
                        "one of the two was copied from the other".into(),
                    );
                }
                out.nodes.insert(host.clone(), node.clone());
            }
        }
        out.secrets.extend(
            status
                .secrets
                .iter()
                .map(|(name, secret)| (name.clone(), secret.clone())),
        );
        out.proven.extend(status.proven.iter().cloned());
        out.digests.extend(
            status
                .digests
                .iter()
                .map(|(image, digest)| (ImageRef(image.clone()), digest.clone())),
        );
    }
    if ids.len() > 1 {
        let major = ids
            .iter()
            .max_by_key(|(_, hosts)| hosts.len())
            .map(|(id, _)| id.clone())
            .unwrap_or_default();
        for host in ids
            .iter()
            .filter(|(id, _)| **id != major)
            .flat_map(|(_, hosts)| hosts)
        {
            errors.push(IdentityError {
                host: host.clone(),
                why: "it belongs to another cluster of the same name".into(),
                hint: "move its /etc/toots and /var/lib/toots aside only if you know that its data is not needed".into(),
            });
        }
    }
    out.has_data = data(offline, observed);
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(errors)
    }
}

fn data(
    offline: &Desired,
    observed: &Observed,
) -> BTreeMap<crate::spec::ComponentName, BTreeSet<HostName>> {
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
