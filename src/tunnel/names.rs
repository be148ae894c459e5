//! Resolves names of the cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The names in the inventory.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Consul's domain (`consul`).
    pub domain: String,
    /// HAProxy's additional domain.
    pub ex_domain: Option<String>,
    /// Hosts by name.
    pub hosts: BTreeMap<String, IpAddr>,
    /// Edges, which route HTTP to a service by its name.
    pub edges: Vec<IpAddr>,
    /// Consul's servers, for queries.
    pub servers: Vec<IpAddr>,
}

/// The target of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// This address.
    Address(String),
    /// Any edge.
    Edge,
    /// An instance that passes Consul's checks.
    Service {
        /// Its name.
        name: String,
        /// With this tag.
        tag: Option<String>,
        /// In this datacenter.
        datacenter: Option<String>,
    },
}

impl Names {
    /// Resolves a name. On port 80 a service is reached as from outside, through an edge; on any
    /// other port directly at an instance.
    pub(super) fn place(&self, name: &str, port: u16) -> Destination {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(address) = self.hosts.get(&plain) {
            return Destination::Address(address.to_string());
        }
        let through_edge = port == 80 && !self.edges.is_empty();
        let below = |domain: &str| {
            plain
                .strip_suffix(domain)
                .and_then(|rest| rest.strip_suffix('.'))
                .map(str::to_owned)
        };
        if through_edge
            && self
                .ex_domain
                .as_deref()
                .is_some_and(|domain| below(domain.trim_matches('.')).is_some())
        {
            return Destination::Edge;
        }
        let Some(rest) = below(&self.domain) else {
            return Destination::Address(name.to_owned());
        };
        let labels: Vec<&str> = rest.split('.').collect();
        let Some(at) = labels
            .iter()
            .rposition(|label| matches!(*label, "service" | "node"))
        else {
            return Destination::Address(name.to_owned());
        };
        let datacenter = labels.get(at + 1).map(|label| (*label).to_owned());
        match (&labels[..at], labels[at]) {
            ([host], "node") => Destination::Address(
                self.hosts
                    .get(*host)
                    .map_or_else(|| name.to_owned(), ToString::to_string),
            ),
            ([_, ..], "service") if through_edge => Destination::Edge,
            ([service], "service") => Destination::Service {
                name: (*service).to_owned(),
                tag: None,
                datacenter,
            },
            ([tag, service], "service") => Destination::Service {
                name: (*service).to_owned(),
                tag: Some((*tag).to_owned()),
                datacenter,
            },
            _ => Destination::Address(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_they_mean_inside() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let names = Names {
            domain: "consul".into(),
            ex_domain: Some(".apps.example.org".into()),
            hosts: [("m1".to_owned(), address("10.0.0.11"))].into(),
            edges: vec![address("10.0.0.31")],
            servers: vec![address("10.0.0.11")],
        };
        let to = |text: &str| Destination::Address(text.into());
        let service = |name: &str, tag: Option<&str>, dc: Option<&str>| Destination::Service {
            name: name.into(),
            tag: tag.map(str::to_owned),
            datacenter: dc.map(str::to_owned),
        };
        for (name, port, want) in [
            ("m1", 22, to("10.0.0.11")),
            ("M1.", 22, to("10.0.0.11")),
            ("m1.node.consul", 22, to("10.0.0.11")),
            ("m1.node.dc1.consul", 80, to("10.0.0.11")),
            ("other.node.consul", 22, to("other.node.consul")),
            ("web.service.consul", 80, Destination::Edge),
            ("Web.Service.Consul.", 8080, service("web", None, None)),
            (
                "web.service.dc2.consul",
                8080,
                service("web", None, Some("dc2")),
            ),
            (
                "blue.web.service.consul",
                8080,
                service("web", Some("blue"), None),
            ),
            ("web.apps.example.org", 80, Destination::Edge),
            ("web.apps.example.org", 443, to("web.apps.example.org")),
            ("notconsul", 80, to("notconsul")),
            ("service.consul", 80, to("service.consul")),
            ("10.0.0.99", 5050, to("10.0.0.99")),
        ] {
            assert_eq!(names.place(name, port), want, "{name}:{port}");
        }
    }
}
