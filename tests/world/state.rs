//! What a cluster's hosts are, as far as a later run finds it: containers, files, units and names.

use std::collections::BTreeMap;

use crate::docker::ContainerForm;
use crate::files::Node;
use crate::host::machine::Machine;
use crate::world::World;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    pub containers: BTreeMap<String, ContainerForm>,
    /// Path → mode, and content of what toots placed.
    pub files: BTreeMap<String, String>,
    pub images: Vec<String>,
}

/// Folders in which toots keeps its own files. What services write below /var/lib/toots is theirs.
const FOLDERS: [&str; 3] = ["/etc/toots", "/etc/systemd/system", "/etc/docker"];

impl HostState {
    pub fn read(machine: &Machine) -> Self {
        let tree = machine.files();
        let mut files = BTreeMap::new();
        for path in FOLDERS.iter().flat_map(|folder| tree.below(folder)) {
            let text = match tree.node(&path) {
                Some(Node::Dir { mode, .. }) => format!("{mode:o}"),
                Some(Node::File { bytes, mode, .. }) => {
                    format!("{mode:o} {}", String::from_utf8_lossy(&bytes))
                }
                None => continue,
            };
            files.insert(path, text);
        }
        let hosts = tree.text("/etc/hosts").unwrap_or_default();
        files.insert("/etc/hosts".to_owned(), hosts);
        Self {
            containers: machine.engine.forms(),
            files,
            images: machine.engine.image_names(),
        }
    }

    /// What is the same in each life that ended well: no ids, no secrets, no times.
    pub fn outline(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, form) in &self.containers {
            let (command, contains) = (&form.body["Cmd"], &form.contains);
            let is_running = form.is_running;
            lines.push(format!("{name} {contains} {command} running: {is_running}"));
        }
        for (path, text) in &self.files {
            let mode = text.split(' ').next().unwrap_or_default();
            // Images that a run loaded or built are noted by it.
            lines.push(format!("{path} {mode}"));
        }
        lines
    }

    /// One number for all of it.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{Hash as _, Hasher as _};
        // Its keys are the same in every process.
        let mut hasher = std::hash::DefaultHasher::new();
        for (name, form) in &self.containers {
            (name, form.is_running, form.body.to_string()).hash(&mut hasher);
        }
        self.files.hash(&mut hasher);
        self.images.hash(&mut hasher);
        hasher.finish()
    }
}

/// Every host by name.
pub fn states(world: &World) -> BTreeMap<String, HostState> {
    let machines = world.machines().iter();
    machines
        .map(|machine| (machine.name.clone(), HostState::read(machine)))
        .collect()
}

/// What every life that ended well has.
pub fn outline(world: &World) -> Vec<String> {
    let states = states(world);
    let lines = states.iter().flat_map(|(name, state)| {
        let lines = state.outline().into_iter();
        lines.map(move |line| format!("{name}: {line}"))
    });
    lines.collect()
}
