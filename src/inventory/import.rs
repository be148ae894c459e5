//! Converts the Toots.conf of the old shell tool to an inventory.

use std::fmt::Write as _;

use super::error::{InventoryErrors, Problems};

/// Converts a Toots.conf; every key of it is supported. Comments and empty lines are dropped,
/// because the result has its own comments.
///
/// # Errors
/// Lines that are not assignments, and unknown keys, each with its place.
pub fn import(text: &str, name: &str) -> Result<String, InventoryErrors> {
    let mut problems = Problems::new(text);
    let mut values: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let span = at..at + line.len();
        at += line.len();
        let line = line.split(" #").next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=').map(|(key, value)| {
            (
                key.trim(),
                value.trim().trim_matches(['"', '\'']).to_owned(),
            )
        }) {
            Some((key, value))
                if [
                    "MASTERS",
                    "NIC",
                    "IN_DOMAIN",
                    "EX_DOMAIN",
                    "VIP",
                    "NFS",
                    "REGISTRY_IP",
                    "CA",
                ]
                .contains(&key) =>
            {
                values.insert(key, value);
            }
            Some((key, _)) => problems.add(
                Some(span),
                format!("unknown key {key:?}"),
                Some(
                    "known keys: MASTERS, NIC, IN_DOMAIN, EX_DOMAIN, VIP, NFS, REGISTRY_IP, CA"
                        .into(),
                ),
            ),
            None => problems.add(Some(span), "line must be KEY=VALUE", None),
        }
    }
    if !values.contains_key("MASTERS") {
        problems.add(None, "MASTERS is missing", None);
    }
    let out = written(&values);
    problems.finish(name, Some(out))
}

fn written(values: &std::collections::BTreeMap<&str, String>) -> String {
    let mut out = String::from("# Imported from Toots.conf.\n");
    let get = |key: &str| values.get(key).filter(|value| !value.is_empty());
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
    let masters: Vec<String> = get("MASTERS")
        .map(String::as_str)
        .unwrap_or("")
        .split(',')
        .map(|ip| quoted(ip.trim()))
        .collect();
    let _ = writeln!(
        out,
        "masters = [{}]\n# Toots.conf did not list slaves and edges: they were installed on the machines themselves. List them here.\nslaves = []\nedges = []",
        masters.join(", ")
    );
    let mut table = |header: &str, keys: &[(&str, &str)]| {
        let lines: Vec<String> = keys
            .iter()
            .filter_map(|(new, old)| get(old).map(|value| format!("{new} = {}", quoted(value))))
            .collect();
        if !lines.is_empty() {
            let _ = writeln!(out, "\n[{header}]\n{}", lines.join("\n"));
        }
    };
    table(
        "network",
        &[
            ("nic", "NIC"),
            ("in_domain", "IN_DOMAIN"),
            ("ex_domain", "EX_DOMAIN"),
        ],
    );
    table("nfs", &[("export", "NFS")]);
    // Valid only with an edge, and the edges are not known.
    if let Some(vip) = get("VIP") {
        let _ = writeln!(
            out,
            "# Once edges are listed above, in [network]:\n#= vip = {}",
            quoted(vip)
        );
    }
    // The shell tool gave the registry a name of its own in /etc/hosts, and its images and
    // certificate use that name.
    if let Some(address) = get("REGISTRY_IP") {
        let ca = get("CA")
            .map(|ca| format!("ca = {}\n", quoted(ca)))
            .unwrap_or_default();
        let _ = write!(
            out,
            "\n[registry]\nserver = \"registry.super.com\"\naddress = {}\n{ca}",
            quoted(address)
        );
    } else if let Some(ca) = get("CA") {
        let _ = writeln!(
            out,
            "\n# Toots.conf set the CA {} but no REGISTRY_IP; without a registry it is not used.",
            crate::spec::shown(ca).replace('\n', " ")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_arrives() {
        let conf = "#Master Hosts\nMASTERS=10.0.0.1,10.0.0.2,10.0.0.3\nNIC=eth1\nIN_DOMAIN=a.example\nEX_DOMAIN=b.example\nVIP=10.0.0.100\nNFS=10.0.0.9:/store\nREGISTRY_IP=10.0.0.8\nCA=super.crt\n";
        let toml = import(conf, "Toots.conf").unwrap();
        let inventory = super::super::parse(&toml, "x", std::path::Path::new("/base")).unwrap();
        assert_eq!(inventory.hosts.len(), 3);
        assert_eq!(inventory.hosts[0].nic, "eth1");
        assert_eq!(
            (
                inventory.network.in_domain.as_str(),
                inventory.network.ex_domain.as_deref()
            ),
            ("a.example", Some("b.example"))
        );
        assert_eq!(inventory.nfs.unwrap().export, "10.0.0.9:/store");
        let registry = inventory.registry.unwrap();
        assert_eq!(
            (
                registry.server.as_str(),
                registry.address.unwrap().to_string().as_str()
            ),
            ("registry.super.com", "10.0.0.8")
        );
        assert_eq!(
            registry.ca.unwrap().display().to_string(),
            "/base/super.crt"
        );
        assert!(toml.contains("#= vip = \"10.0.0.100\""), "{toml}");
    }

    #[test]
    fn what_is_no_assignment_has_its_place() {
        let errors = import("MASTERS=a\n\nFOO=1\nNIC eth0\n", "Toots.conf")
            .unwrap_err()
            .to_string();
        assert!(
            errors.contains("Toots.conf:3:1: unknown key \"FOO\"")
                && errors.contains("Toots.conf:4:1: line must be KEY=VALUE"),
            "{errors}"
        );
        let hostile = import(
            "MASTERS=10.0.0.1,10.0.0.2,10.0.0.3\nIN_DOMAIN=x\"\nCA=a\"b\n",
            "c",
        )
        .unwrap();
        assert!(
            hostile.parse::<toml_edit::DocumentMut>().is_ok(),
            "{hostile}"
        );
    }
}
