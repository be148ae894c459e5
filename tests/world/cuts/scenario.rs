//! Command lines that are cut off: what was before them, and what is on the operator's machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::bundle::write_bundle;
use crate::chaos::{MASTERS, THREE_MASTERS, on_own_clock};
use crate::life::{Ending, Hosts, Life};
use crate::saved::SavedHosts;

/// Absolute path → content of each file of an operator's machine.
pub type Desk = BTreeMap<PathBuf, Vec<u8>>;

pub const INVENTORY: &str = "/work/inventory.toml";
const BUNDLE: &str = "/work/images.tar";
/// Where runs keep their logs and notes.
const OWN_STATE: &str = "/home/ops/.local/state/toots";

pub const UP: &str = "toots cluster up --yes";
/// The life before has a seed of its own: ids that are drawn anew must be other ones.
const EARLIER: u64 = 0x5eed << 32;
const SLAVE: &str = "10.0.0.21";
/// An operator's file, whose comments stay.
const COMMENT: &str = "# three masters\n";

const WITH_SLAVE: [(&str, Ipv4Addr); 4] = with(&[(SLAVE, Ipv4Addr::new(10, 0, 0, 21))]);
const WITH_SLAVE_AND_EDGE: [(&str, Ipv4Addr); 5] = with(&[
    (SLAVE, Ipv4Addr::new(10, 0, 0, 21)),
    ("10.0.0.31", Ipv4Addr::new(10, 0, 0, 31)),
]);

/// The masters and others.
const fn with<const OTHERS: usize, const N: usize>(
    others: &[(&'static str, Ipv4Addr); OTHERS],
) -> [(&'static str, Ipv4Addr); N] {
    let mut hosts = [MASTERS[0]; N];
    let mut at = 0;
    while at < N {
        hosts[at] = match at < MASTERS.len() {
            true => MASTERS[at],
            false => others[at - MASTERS.len()],
        };
        at += 1;
    }
    hosts
}

/// A command line that is cut off, and what the cluster was before it.
pub struct Scenario {
    pub name: &'static str,
    pub hosts: &'static Hosts,
    /// What an undisturbed `up` before it left.
    before: Option<SavedHosts>,
    /// The operator's files; the same command line is given each time.
    pub desk: Desk,
    pub line: String,
    /// The inventory that a run leaves that ends with 0.
    pub inventory_after: String,
    pub has_registry: bool,
    pub seed: u64,
}

impl Scenario {
    fn up(name: &'static str, seed: u64, inventory: String) -> Self {
        let path = PathBuf::from(INVENTORY);
        Self {
            name,
            hosts: &MASTERS,
            before: None,
            desk: [(path, inventory.clone().into_bytes())].into(),
            line: UP.to_owned(),
            inventory_after: inventory,
            has_registry: true,
            seed,
        }
    }

    /// Begins with a cluster that an undisturbed `up` with this inventory brought up.
    fn after(mut self, before: &str) -> Self {
        let saved = on_own_clock(async {
            let life = Life::with_masters(self.seed ^ EARLIER, self.hosts, MASTERS.len());
            let ending = life.run(before, UP).await;
            assert_eq!(ending.exit, Some(0), "{}: {}", self.name, ending.output);
            SavedHosts::save(&life)
        });
        self.before = Some(saved);
        self
    }

    pub fn first_up() -> Self {
        Self::up("first up", 1, THREE_MASTERS.to_owned())
    }

    pub fn changed_image() -> Self {
        Self::changed(
            "changed image",
            2,
            "[images]\nzookeeper = \"zookeeper:3.9.6\"\n",
        )
    }

    /// Of a service with a quorum, and of one without.
    pub fn changed_parameter() -> Self {
        let more = "[params.zookeeper]\nheap = \"256m\"\n[params.marathon]\nheap = \"256m\"\n";
        Self::changed("changed parameter", 3, more)
    }

    pub fn changed_recipe() -> Self {
        Self::changed("changed recipe", 4, "[images.mesos]\nversion = \"1.12*\"\n")
    }

    fn changed(name: &'static str, seed: u64, more: &str) -> Self {
        let inventory = format!("{THREE_MASTERS}{more}");
        Self::up(name, seed, inventory).after(THREE_MASTERS)
    }

    /// No host reaches a registry: what is not in the bundle is not had.
    pub fn from_bundle() -> Self {
        let inventory = THREE_MASTERS.to_owned();
        let mut scenario = Self::up("images from a bundle", 5, inventory);
        scenario.line += " --images images.tar";
        scenario.has_registry = false;
        let bundle = on_own_clock(async {
            let life = Life::new(5, &MASTERS);
            let ending = life.run(THREE_MASTERS, UP).await;
            assert_eq!(ending.exit, Some(0), "{}", ending.output);
            write_bundle(&life.world.machines()[0].engine)
        });
        scenario.desk.insert(BUNDLE.into(), bundle);
        scenario
    }

    pub fn add_slave() -> Self {
        let inventory = format!("{COMMENT}{THREE_MASTERS}");
        let mut scenario = Self::up("add-slave", 6, inventory.clone());
        scenario.hosts = &WITH_SLAVE;
        scenario.line = format!("toots cluster add-slave {SLAVE}");
        scenario.inventory_after = format!("{inventory}slaves = [\"{SLAVE}\"]\n");
        scenario.after(&inventory)
    }

    pub fn with_slave_and_edge() -> Self {
        let roles = format!("slaves = [\"{SLAVE}\"]\nedges = [\"10.0.0.31\"]\n");
        let inventory = format!("{THREE_MASTERS}{roles}");
        let mut scenario = Self::up("first up with a slave and an edge", 7, inventory);
        scenario.hosts = &WITH_SLAVE_AND_EDGE;
        scenario
    }

    pub async fn begin(&self) -> Life {
        let life = Life::with_masters(self.seed, self.hosts, MASTERS.len());
        if let Some(before) = &self.before {
            before.begin(&life).await;
        }
        life.registry.set_down(!self.has_registry);
        life
    }

    /// Runs a command line on a machine with these files; returns them as they are then.
    pub async fn run(&self, life: &Life, desk: &Desk, line: &str) -> (Ending, Desk) {
        let operator = life.operator(&[]);
        let machine = operator.desk();
        for (path, content) in desk {
            machine.files.add(path, content.clone());
        }
        let ending = operator.run(line).await;
        (ending, machine.files.contents())
    }

    /// What is wrong with the operator's files after a run with this exit code.
    pub fn judge_desk(&self, before: &Desk, after: &Desk, exit: Option<u8>) -> Vec<String> {
        let path = PathBuf::from(INVENTORY);
        let mut expected = before.clone();
        if exit == Some(0) {
            expected.insert(path, self.inventory_after.clone().into_bytes());
        }
        let of_operator = |desk: &Desk| {
            let mut desk = desk.clone();
            desk.retain(|path, _| !path.starts_with(OWN_STATE));
            desk
        };
        let (expected, after) = (of_operator(&expected), of_operator(after));
        let paths = expected.keys().chain(after.keys());
        let is_other = |path: &&PathBuf| expected.get(*path) != after.get(*path);
        let mut changed: Vec<String> = paths
            .filter(is_other)
            .map(|path| format!("exit code {exit:?} and the operator's {}", path.display()))
            .collect();
        changed.dedup();
        changed
    }
}
