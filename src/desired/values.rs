//! The values that templates may use.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::inventory::{Host, Inventory};
use crate::playbook::{Component, TemplateValues};
use crate::spec::{HostName, Role, Secret};

/// The host's components, in their order.
pub(super) fn components(here: &[&Component]) -> Value {
    let components = here.iter().map(|component| {
        json!({ "name": component.name, "quorum": component.quorum, "stop_timeout_s": component.stop_timeout_s })
    });
    components.collect()
}

/// The private registry as in Docker's configuration; `auth` is empty without credentials.
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

/// The VPN's network and certificates; empty without `[openvpn]`.
pub(super) fn openvpn(inventory: &Inventory, draw: &dyn super::Draw) -> Value {
    let Some(openvpn) = &inventory.openvpn else {
        return Value::Null;
    };
    let text = |path: &Path| draw.text(path).trim_end().to_owned();
    json!({
        "ca": text(&openvpn.ca),
        "certificate": text(&openvpn.certificate),
        "key": draw.private_key(&openvpn.key).expose().trim_end(),
        "network": openvpn.network.0,
        "netmask": openvpn.netmask(),
        "cidr": format!("{}/{}", openvpn.network.0, openvpn.network.1),
    })
}

/// The values of the cluster, the same on every host.
pub(super) fn cluster_values(
    inventory: &Inventory,
    members: &BTreeMap<HostName, u8>,
    secrets: &BTreeMap<String, Secret>,
) -> TemplateValues {
    // By member number: what programs read must not follow the order of a list. A cluster's first
    // numbers follow its list, and masters precede the other hosts in it.
    let with = |role| {
        let mut hosts: Vec<&Host> = inventory.with_role(role).collect();
        hosts.sort_by_key(|host| members.get(&host.name).map_or(u16::MAX, |n| (*n).into()));
        hosts
            .into_iter()
            .map(|host| describe(host, members))
            .collect::<Vec<Value>>()
    };
    let masters = with(Role::Master);
    let zk: Vec<String> = masters
        .iter()
        .filter_map(|master| master["url_address"].as_str())
        .map(|address| format!("{address}:2181"))
        .collect();
    let secrets: BTreeMap<&str, &str> = secrets
        .iter()
        .map(|(name, secret)| (name.as_str(), secret.expose()))
        .collect();
    let mut values = TemplateValues::default();
    values.insert("cluster", &json!(inventory.cluster));
    values.insert("in_domain", &json!(inventory.network.in_domain));
    values.insert("ex_domain", &json!(inventory.network.ex_domain));
    values.insert("switches", &json!(inventory.switches));
    values.insert("vip", &json!(inventory.network.vip));
    values.insert("quorum", &json!(masters.len() / 2 + 1));
    values.insert("zk", &json!(zk.join(",")));
    values.insert("masters", &json!(masters));
    values.insert("slaves", &json!(with(Role::Slave)));
    values.insert("edges", &json!(with(Role::Edge)));
    values.insert(
        "consul",
        &json!({ "raft_multiplier": inventory.consul.raft_multiplier }),
    );
    values.insert("images", &json!(inventory.images));
    values.insert("secrets", &json!(secrets));
    values
}

/// A host as templates see it.
pub(super) fn describe(host: &Host, members: &BTreeMap<HostName, u8>) -> Value {
    // In URLs and address:port pairs an IPv6 address needs brackets.
    let url_address = if host.address.is_ipv6() {
        format!("[{}]", host.address)
    } else {
        host.address.to_string()
    };
    json!({
        "name": host.name,
        "address": host.address,
        "url_address": url_address,
        "listen_ip": host.listen_ip,
        "listen_all": host.listen_ip.is_unspecified(),
        "nic": host.nic,
        "member": members.get(&host.name),
        "persistent": host.persistent,
        "master": host.roles.contains(&Role::Master),
        "slave": host.roles.contains(&Role::Slave),
        "edge": host.roles.contains(&Role::Edge),
    })
}
