//! The whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::component;
use super::host;
use super::names;
use super::types::{Desired, HostDesired, Recorded};
use super::values;
use crate::inventory::{Host, Inventory};
use crate::playbook::{Component, Condition, Playbook, PlaybookError, Renderer, SecretKind};
use crate::spec::{ComponentName, HostName, NodeRecord, Role, Secret};

/// Where new ids and secrets come from; fixed in tests and offline.
pub trait Draw {
    /// A new cluster id.
    fn cluster_id(&self) -> String;
    /// A new secret.
    fn secret(&self, kind: SecretKind) -> Secret;

    /// The password of the inventory's registry, where it has a login.
    fn registry_password(&self) -> Option<Secret> {
        None
    }

    /// A private key of the operator's; one that cannot be read was refused when the inventory was.
    fn private_key(&self, path: &std::path::Path) -> Secret {
        Secret::new(std::fs::read_to_string(path).unwrap_or_default())
    }

    /// A new secret of its own for each name, so that knowing one (the login of a page) tells nothing of another.
    fn named(&self, name: &str, kind: SecretKind) -> Secret {
        let root = self.secret(kind);
        if root.expose() == Secret::MASK {
            root
        } else {
            super::secret::derived(&root, name, kind)
        }
    }
}

/// Builds the desired state.
///
/// # Errors
/// When the playbook does not fit the inventory (a template refers to something undefined).
pub fn build(
    inventory: &Inventory,
    playbook: &Playbook,
    recorded: &Recorded,
    draw: &dyn Draw,
) -> Result<Desired, PlaybookError> {
    names::check(inventory, playbook)?;
    let renderer = Renderer::new(playbook)?;
    let cluster_id = recorded
        .nodes
        .values()
        .next()
        .map_or_else(|| draw.cluster_id(), |node| node.cluster_id.clone());
    let members = members(inventory, recorded);
    let placed: BTreeMap<&HostName, Vec<&Component>> = inventory
        .hosts
        .iter()
        .map(|host| (&host.name, components_of(playbook, inventory, host)))
        .collect();
    let used: BTreeSet<ComponentName> = placed
        .values()
        .flatten()
        .map(|component| component.name.clone())
        .collect();
    names::images(inventory, playbook, &used)?;
    let mut secrets = BTreeMap::new();
    for component in playbook
        .components
        .values()
        .filter(|component| used.contains(&component.name))
    {
        for (name, kind) in &component.secrets {
            secrets.insert(
                name.clone(),
                recorded
                    .secrets
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| draw.named(name, *kind)),
            );
        }
    }
    let mut hosts: Vec<HostDesired> = Vec::new();
    for host in &inventory.hosts {
        let node = NodeRecord {
            cluster: inventory.cluster.clone(),
            cluster_id: cluster_id.clone(),
            node: host.name.clone(),
            member: members.get(&host.name).copied(),
        };
        let here: &[&Component] = placed.get(&host.name).map_or(&[], Vec::as_slice);
        let mut values = values::values(inventory, host, &members, &secrets);
        values.insert(
            "registry".to_owned(),
            values::registry(inventory, draw.registry_password().as_ref()),
        );
        values.insert("openvpn".to_owned(), values::openvpn(inventory, draw));
        values.insert("components".to_owned(), values::components(here));
        let mut components = Vec::new();
        for component in here {
            components.push(component::desired(
                component, inventory, &renderer, &values, recorded, &used,
            )?);
        }
        hosts.push(host::desired(
            inventory,
            host,
            node,
            &secrets,
            sorted(components),
        ));
    }
    Ok(Desired {
        cluster: inventory.cluster.clone(),
        cluster_id,
        hosts,
        secrets,
    })
}

/// Values that gates need, by `component.key`.
#[must_use]
pub fn settings(playbook: &Playbook) -> BTreeMap<String, String> {
    let components = playbook.components.values();
    components
        .flat_map(|c| {
            c.settings
                .iter()
                .map(move |(key, value)| (format!("{}.{key}", c.name), value.clone()))
        })
        .collect()
}

/// Recorded numbers stay; a new master gets the lowest one that no recorded host has.
fn members(inventory: &Inventory, recorded: &Recorded) -> BTreeMap<HostName, u8> {
    let mut taken: BTreeSet<u8> = recorded
        .nodes
        .values()
        .filter_map(|node| node.member)
        .collect();
    let mut out = BTreeMap::new();
    for host in inventory.with_role(Role::Master) {
        let known = recorded.nodes.get(&host.name).and_then(|node| node.member);
        let member = known.or_else(|| (1..=255).find(|member| !taken.contains(member)));
        if let Some(member) = member {
            taken.insert(member);
            out.insert(host.name.clone(), member);
        }
    }
    out
}

fn components_of<'a>(
    playbook: &'a Playbook,
    inventory: &Inventory,
    host: &Host,
) -> Vec<&'a Component> {
    let on = |switch: &str| inventory.switches.contains(switch);
    let here = |component: &&Component| {
        let rule = &component.on;
        let wanted = rule.roles.iter().any(|role| host.roles.contains(role))
            || rule.options.iter().any(|(option, roles)| {
                on(option) && roles.iter().any(|role| host.roles.contains(role))
            });
        let met = match rule.when {
            None => true,
            Some(Condition::Vip) => inventory.network.vip.is_some(),
            Some(Condition::Nfs) => inventory.nfs.is_some(),
            Some(Condition::Openvpn) => inventory.openvpn.is_some(),
        };
        wanted && met && !rule.except.iter().any(|role| host.roles.contains(role))
    };
    playbook.components.values().filter(here).collect()
}

/// An order that respects `after`.
fn sorted(
    mut components: Vec<super::types::ComponentDesired>,
) -> Vec<super::types::ComponentDesired> {
    let mut out: Vec<super::types::ComponentDesired> = Vec::new();
    while !components.is_empty() {
        let names: BTreeSet<ComponentName> = components.iter().map(|c| c.name.clone()).collect();
        // The playbook has no cycles, so one of the rest waits for none of the others.
        let at = components
            .iter()
            .position(|c| c.after.is_disjoint(&names))
            .unwrap_or(0);
        out.push(components.remove(at));
    }
    out
}
