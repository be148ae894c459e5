//! Builds the desired state of the whole cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::images::Images;
use super::types::{ComponentCommon, Desired, HostDesired, Recorded};
use super::{component, host, members, names, values};
use crate::env::FileAccess;
use crate::inventory::{Host, Inventory};
use crate::playbook::{Component, Condition, Playbook, PlaybookError, Renderer, SecretKind};
use crate::spec::{ComponentName, HostName, NodeRecord, Secret};

/// What the desired state takes from elsewhere: new ids and secrets, which are fixed in tests and
/// offline, and files of this machine.
pub trait Draw {
    /// A new cluster id.
    fn cluster_id(&self) -> String;
    /// A new secret.
    fn secret(&self, kind: SecretKind) -> Secret;

    /// The password of the inventory's registry, when it has credentials.
    fn registry_password(&self) -> Option<Secret> {
        None
    }

    /// The content of a file that the inventory names. An unreadable one was rejected together with
    /// the inventory.
    fn file(&self, path: &Path) -> Option<Vec<u8>>;

    /// The same as text.
    fn text(&self, path: &Path) -> String {
        let text = self.file(path).map(String::from_utf8);
        text.and_then(Result::ok).unwrap_or_default()
    }

    /// The content of a private key file.
    fn private_key(&self, path: &Path) -> Secret {
        Secret::new(self.text(path))
    }

    /// Draws a different secret for each name, so that one secret (the login of a page) tells
    /// nothing about another.
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
/// When the playbook does not match the inventory (a template uses an undefined value).
pub fn build(
    inventory: &Inventory,
    playbook: &Playbook,
    recorded: &Recorded,
    draw: &dyn Draw,
) -> Result<Desired, PlaybookError> {
    names::check(inventory, playbook)?;
    let renderer = Renderer::new(playbook)?;
    let nodes = recorded.nodes.values().map(|node| &node.cluster_id);
    let cluster_id = nodes
        .chain(recorded.membership.iter().map(|record| &record.cluster_id))
        .next()
        .map_or_else(|| draw.cluster_id(), Clone::clone);
    let membership = members::membership(inventory, playbook, recorded, &cluster_id);
    let members: BTreeMap<HostName, u8> = membership
        .members
        .iter()
        .map(|member| (member.host.clone(), member.number))
        .collect();
    let mut placed: BTreeMap<&HostName, Vec<&Component>> = inventory
        .hosts
        .iter()
        .map(|host| (&host.name, components_of(playbook, inventory, host)))
        .collect();
    keep_single(&mut placed, inventory, &members);
    let used: BTreeSet<ComponentName> = placed
        .values()
        .flatten()
        .map(|component| component.name.clone())
        .collect();
    let order = playbook.order(|name| used.contains(name));
    let placed: BTreeMap<&HostName, Vec<&Component>> = placed
        .into_iter()
        .map(|(host, components)| (host, order.sort(components, |component| &component.name)))
        .collect();
    names::images(inventory, playbook, &used)?;
    let images = Images::choose(inventory, playbook, recorded, &used);
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
    let mut values = values::cluster_values(inventory, &members, &secrets);
    values.insert(
        "registry",
        &values::registry(inventory, draw.registry_password().as_ref()),
    );
    values.insert("openvpn", &values::openvpn(inventory, draw));
    let common: BTreeMap<&ComponentName, Arc<ComponentCommon>> = playbook
        .components
        .values()
        .filter(|component| used.contains(&component.name))
        .map(|component| {
            let probes = component::probes(component, &renderer, &values)?;
            let common = component::common(component, &images, recorded, probes);
            Ok((&component.name, Arc::new(common)))
        })
        .collect::<Result<_, PlaybookError>>()?;
    let default_images = images.record();
    let registry_ca = inventory.registry.as_ref().and_then(|r| r.ca.as_ref());
    let records = host::CommonFiles {
        membership: &membership,
        default_images: default_images.as_ref(),
        secrets: &secrets,
        registry_ca: registry_ca.and_then(|path| draw.file(path)),
    };
    for host in &inventory.hosts {
        let node = NodeRecord {
            format: NodeRecord::FORMAT,
            cluster: inventory.cluster.clone(),
            cluster_id: cluster_id.clone(),
            node: host.name.clone(),
            member: members.get(&host.name).copied(),
        };
        let here: &[&Component] = placed.get(&host.name).map_or(&[], Vec::as_slice);
        values.insert("host", &values::describe(host, &members));
        values.insert("components", &values::components(here));
        let mut components = Vec::new();
        for component in here {
            components.push(component::desired(
                component,
                &common[&component.name],
                inventory,
                &images,
                &renderer,
                &values,
                recorded,
            )?);
        }
        let mut host = host::desired(inventory, host, node, &records, components);
        for component in playbook
            .components
            .values()
            .filter(|component| used.contains(&component.name))
        {
            component::add_to_every_host(component, &renderer, &values, &mut host)?;
        }
        return_spare_memory(&mut host);
        hosts.push(host);
    }
    Ok(Desired {
        cluster: inventory.cluster.clone(),
        cluster_id,
        hosts,
        secrets,
        order,
        recipes: images.recipes,
        newer_defaults: images.newer,
        spread_images: inventory.spread_images,
        bundle: None,
    })
}

/// Rendered texts grow by doubling, and thousands of hosts keep theirs until the end of a run.
fn return_spare_memory(host: &mut HostDesired) {
    let of_components = host.components.iter_mut().flat_map(|c| &mut c.files);
    for file in host.files.iter_mut().chain(of_components) {
        file.content.shrink_to_fit();
    }
    for component in &mut host.components {
        component.container.command.shrink_to_fit();
        component.files.shrink_to_fit();
    }
    host.files.shrink_to_fit();
    host.dirs.shrink_to_fit();
    host.components.shrink_to_fit();
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

/// Checks the files of this machine that arguments of recipes name. Reads all of each.
///
/// # Errors
/// When a file cannot be read, or has another digest.
pub fn check_local_files(
    inventory: &Inventory,
    playbook: &Playbook,
    files: &dyn FileAccess,
) -> Result<(), PlaybookError> {
    names::local_files(inventory, playbook, files)
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

/// Leaves a component that runs on a single host where the lowest member number is.
fn keep_single(
    placed: &mut BTreeMap<&HostName, Vec<&Component>>,
    inventory: &Inventory,
    members: &BTreeMap<HostName, u8>,
) {
    let mut holders: BTreeMap<&ComponentName, &HostName> = BTreeMap::new();
    let mut hosts: Vec<&Host> = inventory.hosts.iter().collect();
    hosts.sort_by_key(|host| members.get(&host.name).map_or(u16::MAX, |n| (*n).into()));
    for host in hosts {
        for component in placed.get(&host.name).into_iter().flatten() {
            if component.on.single {
                holders.entry(&component.name).or_insert(&host.name);
            }
        }
    }
    for (host, components) in placed {
        components.retain(|component| holders.get(&component.name).is_none_or(|h| h == host));
    }
}
