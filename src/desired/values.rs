//! What templates may refer to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::inventory::{Host, Inventory};
use crate::playbook::{Component, Values};
use crate::spec::{HostName, Role, Secret};

/// The host's components in an order that respects `after`.
pub(super) fn components(here: &[&Component]) -> Value {
    let mut left: Vec<&Component> = here.to_vec();
    let mut out = Vec::new();
    while !left.is_empty() {
        let waits = |component: &&Component| {
            component
                .after
                .iter()
                .any(|after| left.iter().any(|other| other.name == *after))
        };
        // The playbook has no cycles, so one of the rest waits for none of the others.
        let at = left
            .iter()
            .position(|component| !waits(component))
            .unwrap_or(0);
        let component = left.remove(at);
        out.push(json!({ "name": component.name, "quorum": component.quorum, "stop_timeout_s": component.stop_timeout_s }));
    }
    json!(out)
}

/// The private registry as a docker configuration names it; `auth` is empty without a login.
pub(super) fn registry(inventory: &Inventory, password: Option<&Secret>) -> Value {
    let registry = inventory.registry.as_ref();
    let auth = registry
        .and_then(|registry| registry.username.as_ref())
        .zip(password)
        .map(|(user, password)| match password.expose() {
            Secret::MASK => Secret::MASK.to_owned(),
            password => STANDARD.encode(format!("{user}:{password}")),
        });
    json!({ "server": registry.map(|registry| &registry.server), "auth": auth.unwrap_or_default() })
}

/// The VPN's network and certificates; nothing without `[openvpn]`.
pub(super) fn openvpn(inventory: &Inventory, draw: &dyn super::Draw) -> Value {
    let Some(openvpn) = &inventory.openvpn else {
        return Value::Null;
    };
    let text = |path: &std::path::Path| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    json!({
        "ca": text(&openvpn.ca),
        "certificate": text(&openvpn.certificate),
        "key": draw.private_key(&openvpn.key).expose().trim_end(),
        "network": openvpn.network.0,
        "netmask": openvpn.netmask(),
        "cidr": format!("{}/{}", openvpn.network.0, openvpn.network.1),
    })
}

/// The values of one host: the cluster's, the same everywhere, and `host`.
pub(super) fn values(
    inventory: &Inventory,
    host: &Host,
    members: &BTreeMap<HostName, u8>,
    secrets: &BTreeMap<String, Secret>,
) -> Values {
    let describe = |host: &Host| {
        json!({
            "name": host.name,
            "address": host.address,
            // In URLs and address:port pairs an IPv6 address stands in brackets.
            "url_address": if host.address.is_ipv6() { format!("[{}]", host.address) } else { host.address.to_string() },
            "listen_ip": host.listen_ip,
            "listen_all": host.listen_ip.is_unspecified(),
            "nic": host.nic,
            "member": members.get(&host.name),
            "persistent": host.persistent,
            "master": host.roles.contains(&Role::Master),
            "slave": host.roles.contains(&Role::Slave),
            "edge": host.roles.contains(&Role::Edge),
        })
    };
    let with = |role| {
        inventory
            .with_role(role)
            .map(describe)
            .collect::<Vec<Value>>()
    };
    let masters = with(Role::Master);
    let zk: Vec<String> = masters
        .iter()
        .filter_map(|master| master["url_address"].as_str())
        .map(|address| format!("{address}:2181"))
        .collect();
    BTreeMap::from([
        ("cluster".to_owned(), json!(inventory.cluster)),
        ("in_domain".to_owned(), json!(inventory.network.in_domain)),
        ("ex_domain".to_owned(), json!(inventory.network.ex_domain)),
        ("switches".to_owned(), json!(inventory.switches)),
        ("vip".to_owned(), json!(inventory.network.vip)),
        ("quorum".to_owned(), json!(masters.len() / 2 + 1)),
        ("zk".to_owned(), json!(zk.join(","))),
        ("masters".to_owned(), json!(masters)),
        ("slaves".to_owned(), json!(with(Role::Slave))),
        ("edges".to_owned(), json!(with(Role::Edge))),
        (
            "consul".to_owned(),
            json!({ "raft_multiplier": inventory.consul.raft_multiplier }),
        ),
        ("images".to_owned(), json!(inventory.images)),
        ("host".to_owned(), describe(host)),
        (
            "secrets".to_owned(),
            json!(
                secrets
                    .iter()
                    .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
                    .collect::<BTreeMap<_, _>>()
            ),
        ),
    ])
}
