//! A first inventory, with a comment at every line: what the shell tool's menus asked, written down.

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

/// Writes the inventory. What was not answered stands there as a comment with its default.
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
        "# The machines of the cluster. A host may be in several lists; then it has several roles.\n\
         # Check this file without contacting anyone: toots inventory check -i FILE\n\n\
         # The cluster's name, also Consul's datacenter.\ncluster = {}\n\n\
         # Three, five or seven: the cluster goes on when one, two or three of them fail.\nmasters = [{}]\n\n\
         # They run the applications.\nslaves = [{}]\n\n\
         # They let the world in, on ports 80 and 81.\nedges = [{}]",
        quoted(answers.cluster.as_deref().unwrap_or("dc1")),
        list(&answers.masters),
        list(&answers.slaves),
        list(&answers.edges),
    );
    let mut table = |header: &str, lines: &[(&str, Option<String>, &str, &str)]| {
        let written = lines.iter().any(|(_, value, _, _)| value.is_some());
        let _ = writeln!(out, "\n{}[{header}]", if written { "" } else { "# " });
        for (key, value, default, comment) in lines {
            let _ = match value {
                Some(value) => writeln!(out, "# {comment}\n{key} = {value}"),
                None => writeln!(out, "# {comment}\n# {key} = {default}"),
            };
        }
    };
    let text = |value: &Option<String>| value.as_deref().map(quoted);
    table(
        "network",
        &[
            (
                "nic",
                Some(quoted(answers.nic.as_deref().unwrap_or("eth0"))),
                "",
                "The interface that holds the addresses above.",
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
                "The balancer answers NAME.<ex_domain> too.",
            ),
            (
                "vip",
                answers.vip.map(|vip| format!("\"{vip}\"")),
                "\"10.0.0.100\"",
                "An address that always one of the edges holds.",
            ),
        ],
    );
    table(
        "nfs",
        &[(
            "export",
            text(&answers.nfs),
            "\"192.168.2.91:/store\"",
            "Storage of slaves with persistent = true in [hosts.NAME].",
        )],
    );
    table(
        "registry",
        &[
            (
                "server",
                text(&answers.registry),
                "\"registry.example.com:5000\"",
                "A private registry, as image references begin.",
            ),
            (
                "ca",
                text(&answers.ca),
                "\"registry-ca.crt\"",
                "Its own CA, a PEM file beside this one.",
            ),
        ],
    );
    let on = |switch: &str| {
        answers
            .switches
            .iter()
            .any(|known| known == switch)
            .then(|| "true".to_owned())
    };
    table(
        "components",
        &[
            (
                "registrator_on_masters",
                on("registrator_on_masters"),
                "true",
                "Registrator on masters too.",
            ),
            (
                "balancer_on_slaves",
                on("balancer_on_slaves"),
                "true",
                "consul-template and HAProxy on slaves too.",
            ),
            (
                "dnsmasq",
                on("dnsmasq"),
                "true",
                "DNS on slaves: Consul's names and all others.",
            ),
        ],
    );
    out.push_str(
        "\n# Everything else has a default; inventory.toml.example of the project shows it all.\n",
    );
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
            nic: Some("eth1".into()),
            in_domain: Some("a.example".into()),
            ex_domain: Some("b.example".into()),
            vip: Some(ip(100)),
            nfs: Some("10.0.0.9:/store".into()),
            registry: Some("registry.example:5000".into()),
            ca: Some("ca.crt".into()),
            switches: vec!["dnsmasq".into()],
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
        assert!(inventory.switches.contains("dnsmasq") && inventory.switches.len() == 1);
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
