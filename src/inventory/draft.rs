//! A first inventory with a comment at every key, from the answers to the menus of the old shell
//! tool.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Answers to the questions of `init`; only the masters have no default.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The cluster's name.
    pub cluster: Option<String>,
    /// Addresses of the masters.
    pub masters: Vec<IpAddr>,
    /// Addresses of the slaves.
    pub slaves: Vec<IpAddr>,
    /// Addresses of the edges.
    pub edges: Vec<IpAddr>,
    /// Login name on the hosts.
    pub user: Option<String>,
    /// The interface that holds the addresses.
    pub nic: Option<String>,
    /// Domain of Consul's DNS.
    pub in_domain: Option<String>,
    /// Additional domain of the balancer.
    pub ex_domain: Option<String>,
    /// Address that one edge holds.
    pub vip: Option<IpAddr>,
    /// `host:/path` for slaves with persistent storage.
    pub nfs: Option<String>,
    /// `host[:port]` of a private registry.
    pub registry: Option<String>,
    /// Its CA certificate.
    pub ca: Option<String>,
    /// Switches of optional components.
    pub switches: Vec<String>,
}

/// Switches of optional components, with their comments.
const SWITCHES: [(&str, &str); 4] = [
    ("registrator_on_masters", "Run Registrator on masters too."),
    (
        "balancer_on_slaves",
        "Run consul-template and HAProxy on slaves too.",
    ),
    (
        "dnsmasq",
        "Run a DNS server on slaves, for Consul's names and all others.",
    ),
    (
        "supervisord",
        "Serve a page on port 9000 of every host. Needs `supervisor` in [images].",
    ),
];

/// Writes the inventory. Unanswered keys become comments with their default.
#[must_use]
pub fn draft(answers: &Draft) -> String {
    let mut out = String::new();
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
    let list = |addresses: &[IpAddr]| {
        addresses
            .iter()
            .map(|a| format!("\"{a}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = writeln!(
        out,
        "# The machines of the cluster. A host in several lists has several roles.\n# Check this file without contacting any host: toots inventory check -i FILE\n\n# Name of the cluster, also Consul's datacenter.\ncluster = {}\n\n# Three, five or seven; they tolerate one, two or three failures.\nmasters = [{}]\n\n# Hosts that run applications.\nslaves = [{}]\n\n# Hosts that serve the world on ports 80 and 81.\nedges = [{}]",
        quoted(answers.cluster.as_deref().unwrap_or("dc1")),
        list(&answers.masters),
        list(&answers.slaves),
        list(&answers.edges),
    );
    let mut table = |header: &str, lines: &[(&str, Option<String>, &str, &str)]| {
        let written = lines.iter().any(|(_, value, _, _)| value.is_some());
        let _ = writeln!(out, "\n{}[{header}]", if written { "" } else { "# " });
        for (key, value, default, comment) in lines {
            if !comment.is_empty() {
                let _ = writeln!(out, "# {comment}");
            }
            let _ = match value {
                Some(value) => writeln!(out, "{key} = {value}"),
                None => writeln!(out, "# {key} = {default}"),
            };
        }
    };
    let text = |value: &Option<String>| value.as_deref().map(quoted);
    table(
        "network",
        &[
            (
                "nic",
                text(&answers.nic),
                "\"eth0\"",
                "Network interface that holds the addresses above. Needed for vip and [openvpn].",
            ),
            (
                "in_domain",
                text(&answers.in_domain),
                "\"consul\"",
                "Services are NAME.service.<in_domain>.",
            ),
            (
                "ex_domain",
                text(&answers.ex_domain),
                "\"example.com\"",
                "The load balancer also answers NAME.<ex_domain>.",
            ),
            (
                "vip",
                answers.vip.map(|vip| format!("\"{vip}\"")),
                "\"10.0.0.100\"",
                "Virtual IP address, always held by one of the edges.",
            ),
        ],
    );
    table(
        "ssh",
        &[(
            "user",
            text(&answers.user),
            "\"admin\"",
            "Login name on the hosts: root, or a user with sudo. Default: as for ssh.",
        )],
    );
    table(
        "nfs",
        &[(
            "export",
            text(&answers.nfs),
            "\"192.168.2.91:/store\"",
            "NFS export for slaves with persistent = true in [hosts.NAME].",
        )],
    );
    table(
        "registry",
        &[
            (
                "server",
                text(&answers.registry),
                "\"registry.example.com:5000\"",
                "Private registry, as written in image references.",
            ),
            (
                "ca",
                text(&answers.ca),
                "\"registry-ca.crt\"",
                "CA of the registry, a PEM file beside this one.",
            ),
        ],
    );
    let is_on = |switch: &str| answers.switches.iter().any(|known| known == switch);
    let mut switches: Vec<(&str, Option<String>, &str, &str)> = SWITCHES
        .iter()
        .map(|(switch, comment)| {
            let value = is_on(switch).then(|| "true".to_owned());
            (*switch, value, "true", *comment)
        })
        .collect();
    // A playbook may have others; a wrong name is found by the check of the inventory.
    let others = answers.switches.iter().filter(|switch| {
        let is_known = |(known, _): &(&str, &str)| known == switch;
        !SWITCHES.iter().any(is_known)
    });
    switches.extend(others.map(|switch| (switch.as_str(), Some("true".into()), "", "")));
    table("components", &switches);
    out.push_str("\n# Every other key has a default; inventory.toml.example lists them all.\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_arrives() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let answers = Draft {
            cluster: Some("prod".into()),
            masters: vec![ip(1), ip(2), ip(3)],
            slaves: vec![ip(3), ip(4)],
            edges: vec![ip(5)],
            user: Some("ops".into()),
            nic: Some("eth1".into()),
            in_domain: Some("a.example".into()),
            ex_domain: Some("b.example".into()),
            vip: Some(ip(100)),
            nfs: Some("10.0.0.9:/store".into()),
            registry: Some("registry.example:5000".into()),
            ca: Some("ca.crt".into()),
            switches: ["dnsmasq", "supervisord", "own"].map(Into::into).into(),
        };
        let inventory =
            super::super::parse(&draft(&answers), "x", std::path::Path::new("/base")).unwrap();
        assert_eq!(
            (
                inventory.cluster.as_str(),
                inventory.hosts.len(),
                inventory.hosts[0].nic.as_str()
            ),
            ("prod", 5, "eth1")
        );
        assert_eq!(
            (
                inventory.network.in_domain.as_str(),
                inventory.network.ex_domain.as_deref()
            ),
            ("a.example", Some("b.example"))
        );
        assert_eq!(
            (
                inventory.network.vip,
                inventory.nfs.unwrap().export.as_str()
            ),
            (Some(ip(100)), "10.0.0.9:/store")
        );
        assert_eq!(
            inventory
                .registry
                .unwrap()
                .ca
                .unwrap()
                .display()
                .to_string(),
            "/base/ca.crt"
        );
        let switches: Vec<&str> = inventory.switches.iter().map(String::as_str).collect();
        assert_eq!(switches, ["dnsmasq", "own", "supervisord"]);
        assert_eq!(inventory.ssh.user.as_deref(), Some("ops"));
    }

    #[test]
    fn masters_are_enough_and_hostile_answers_stay_values() {
        let masters = (1..=3).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let bare = draft(&Draft {
            masters,
            ..Draft::default()
        });
        assert!(
            super::super::parse(&bare, "x", std::path::Path::new(".")).is_ok(),
            "{bare}"
        );
        let hostile = Draft {
            in_domain: Some("a\"\nvip = \"10.0.0.9".into()),
            ..Draft::default()
        };
        let text = draft(&hostile);
        let document: toml_edit::DocumentMut = text.parse().unwrap();
        assert_eq!(
            document["network"]["in_domain"].as_str(),
            hostile.in_domain.as_deref(),
            "{text}"
        );
    }
}
