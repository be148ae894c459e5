//! The clusters of lives: their hosts and roles, and what changes in their inventories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::random::Random;

/// A virtual address is not lived yet: after a host started again, its simulated keepalived does not always
/// take the address (seeds 37, 66, 82 and 113).
const IS_VIP_LIVED: bool = false;

const fn host(name: &'static str, last: u8) -> (&'static str, Ipv4Addr) {
    (name, Ipv4Addr::new(10, 0, 0, last))
}

const MASTERS: [(&str, Ipv4Addr); 5] = [
    host("10.0.0.11", 11),
    host("10.0.0.12", 12),
    host("10.0.0.13", 13),
    host("10.0.0.14", 14),
    host("10.0.0.15", 15),
];
const SLAVES: [(&str, Ipv4Addr); 2] = [host("10.0.0.21", 21), host("10.0.0.22", 22)];
const EDGE: (&str, Ipv4Addr) = host("10.0.0.31", 31);

/// An inventory as its parts, from which its text follows.
#[derive(Debug, Clone, Default)]
struct Inventory {
    masters: Vec<&'static str>,
    slaves: Vec<&'static str>,
    edges: Vec<&'static str>,
    has_vip: bool,
    components: BTreeSet<&'static str>,
    images: BTreeMap<&'static str, &'static str>,
    /// Arguments of recipes, by recipe.
    recipes: BTreeMap<&'static str, &'static str>,
    /// Parameters, by component.
    params: BTreeMap<&'static str, &'static str>,
}

impl Inventory {
    fn text(&self) -> String {
        let mut text = String::new();
        for (role, names) in [
            ("masters", &self.masters),
            ("slaves", &self.slaves),
            ("edges", &self.edges),
        ] {
            if !names.is_empty() {
                let _ = writeln!(text, "{role} = {names:?}");
            }
        }
        if self.has_vip && IS_VIP_LIVED {
            text += "[network]\nvip = \"10.0.0.100\"\n";
        }
        if !self.components.is_empty() {
            text += "[components]\n";
            for name in &self.components {
                let _ = writeln!(text, "{name} = true");
            }
        }
        if !self.images.is_empty() {
            text += "[images]\n";
            for (name, image) in &self.images {
                let _ = writeln!(text, "{name} = \"{image}\"");
            }
        }
        for (recipe, argument) in &self.recipes {
            let _ = writeln!(text, "[images.{recipe}]\n{argument}");
        }
        for (component, param) in &self.params {
            let _ = writeln!(text, "[params.{component}]\n{param}");
        }
        text
    }

    /// Components that may be switched on for these roles.
    fn options(&self) -> Vec<&'static str> {
        let mut options = vec!["registrator_on_masters", "supervisord"];
        if !self.slaves.is_empty() {
            options.extend(["dnsmasq", "balancer_on_slaves"]);
        }
        options
    }

    fn toggle_component(&mut self, random: &mut Random) {
        let name = *random.choose(&self.options());
        if !self.components.remove(name) {
            self.components.insert(name);
        }
    }

    /// One change that an operator could make.
    fn change(&mut self, random: &mut Random) {
        match random.below(16) {
            // What is there is brought up again.
            0 => {}
            1..=3 => set(&mut self.params, "zookeeper", "heap = \"256m\""),
            4..=5 => set(&mut self.params, "marathon", "heap = \"256m\""),
            6 => set(&mut self.params, "chronos", "heap = \"256m\""),
            7..=9 => set(&mut self.images, "zookeeper", "zookeeper:3.9.6"),
            10..=11 => set(&mut self.images, "consul", "hashicorp/consul:1.23"),
            12 => set(&mut self.recipes, "mesos", "docker_cli = \"docker.io\""),
            13 if self.has_vip && IS_VIP_LIVED => {
                set(&mut self.params, "keepalived", "router_id = 52")
            }
            13..=14 => self.toggle_component(random),
            _ if self.edges.is_empty() => self.toggle_component(random),
            _ => self.has_vip = !self.has_vip,
        }
    }
}

fn set(table: &mut BTreeMap<&'static str, &'static str>, key: &'static str, value: &'static str) {
    table.insert(key, value);
}

/// The hosts of a life, and its inventories.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// In a word, for the counts that are printed.
    pub kind: &'static str,
    /// The masters first.
    pub hosts: Vec<(&'static str, Ipv4Addr)>,
    pub masters: usize,
    pub before: String,
    pub after: String,
}

impl Cluster {
    /// Most clusters are three masters, which are what a quorum needs; the others cost more.
    pub fn draw(random: &mut Random) -> Self {
        let mut inventory = Inventory::default();
        let (kind, masters, extra) = match random.below(100) {
            0..=71 => ("three masters", 3, Vec::new()),
            72..=75 => ("five masters", 5, Vec::new()),
            76..=87 => {
                // A host has several roles.
                inventory.slaves = vec![MASTERS[2].0];
                if random.below(2) == 0 {
                    inventory.edges = vec![MASTERS[1].0];
                }
                ("masters with other roles", 3, Vec::new())
            }
            _ => {
                let mut extra = vec![SLAVES[0]];
                if random.below(3) == 0 {
                    extra.push(SLAVES[1]);
                }
                inventory.slaves = extra.iter().map(|(name, _)| *name).collect();
                if random.below(2) == 0 {
                    inventory.edges = vec![EDGE.0];
                    extra.push(EDGE);
                }
                ("slaves and edges", 3, extra)
            }
        };
        let extra_slaves = extra.len();
        let mut hosts = MASTERS[..masters].to_vec();
        inventory.masters = hosts.iter().map(|(name, _)| *name).collect();
        hosts.extend(extra);
        if random.below(8) == 0 {
            inventory.toggle_component(random);
        }
        inventory.has_vip = !inventory.edges.is_empty() && random.below(3) == 0;
        // In some lives a slave joins with the change.
        let joining = match extra_slaves > 0 && random.below(4) == 0 {
            true => inventory.slaves.pop(),
            false => None,
        };
        let before = inventory.text();
        inventory.slaves.extend(joining);
        inventory.change(random);
        Self {
            kind,
            hosts,
            masters,
            before,
            after: inventory.text(),
        }
    }
}
