//! The clusters of lives: their hosts and roles, and what changes in their inventories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::random::Random;

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

/// What a run passes between its first change and its last, when it changes ZooKeeper on three masters.
const ZOOKEEPER_POINTS: u64 = 2_800;
/// The same of a first run.
const FIRST_POINTS: u64 = 2_200;

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
        if self.has_vip {
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

    /// One change that an operator could make; how many points a run that makes it passes between its
    /// first change and its last.
    fn change(&mut self, random: &mut Random) -> u64 {
        match random.below(15) {
            0..=2 => {
                set(&mut self.params, "zookeeper", "heap = \"256m\"");
                ZOOKEEPER_POINTS
            }
            3..=4 => {
                set(&mut self.params, "marathon", "heap = \"256m\"");
                1_200
            }
            5 => {
                set(&mut self.params, "chronos", "heap = \"256m\"");
                1_200
            }
            6..=8 => {
                set(&mut self.images, "zookeeper", "zookeeper:3.9.6");
                3_000
            }
            9..=10 => {
                set(&mut self.images, "consul", "hashicorp/consul:1.23");
                3_000
            }
            11 => {
                set(&mut self.recipes, "mesos", "docker_cli = \"docker.io\"");
                3_000
            }
            12 if self.has_vip => {
                set(&mut self.params, "keepalived", "router_id = 52");
                600
            }
            13 if !self.edges.is_empty() => {
                self.has_vip = !self.has_vip;
                600
            }
            _ => {
                self.toggle_component(random);
                550
            }
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
    /// Nothing is up before faults begin.
    pub is_new: bool,
    pub before: String,
    pub after: String,
    /// How many points the run that meets faults passes between its first change and its last.
    pub points: u64,
    inventory: Inventory,
}

impl Cluster {
    /// Most clusters are three masters, which are what a quorum needs; the others cost more.
    pub fn draw(random: &mut Random) -> Self {
        let mut inventory = Inventory::default();
        let (kind, masters, extra) = match random.below(100) {
            0..=75 => ("three masters", 3, Vec::new()),
            76..=78 => ("five masters", 5, Vec::new()),
            79..=89 => {
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
        let mut cluster = Self {
            kind,
            hosts,
            masters,
            is_new: true,
            before: inventory.text(),
            after: inventory.text(),
            points: FIRST_POINTS,
            inventory,
        };
        if random.below(5) > 0 {
            cluster.change(extra_slaves > 0, random);
        }
        cluster
    }

    fn change(&mut self, has_slaves: bool, random: &mut Random) {
        // In some lives a slave joins with the change.
        let joining = match has_slaves && random.below(4) == 0 {
            true => self.inventory.slaves.pop(),
            false => None,
        };
        self.is_new = false;
        self.before = self.inventory.text();
        self.inventory.slaves.extend(joining);
        self.points = self.inventory.change(random);
        self.after = self.inventory.text();
    }

    /// One more change, which every cluster can make.
    pub fn change_again(&mut self) {
        self.before.clone_from(&self.after);
        set(&mut self.inventory.params, "zookeeper", "heap = \"320m\"");
        self.points = ZOOKEEPER_POINTS;
        self.after = self.inventory.text();
    }
}
