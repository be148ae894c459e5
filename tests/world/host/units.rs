//! The units of a machine's systemd, as far as toots starts and removes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use toots::host::OperationError;

use super::task::{HostTask, failed};

const FOLDER: &str = "/etc/systemd/system";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Unit {
    pub is_enabled: bool,
    pub is_active: bool,
}

#[derive(Default)]
struct State {
    units: BTreeMap<String, Unit>,
    /// Files as systemd read them last.
    loaded: BTreeSet<String>,
}

#[derive(Default)]
pub struct UnitTable(Mutex<State>);

impl UnitTable {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn unit(&self, name: &str) -> Unit {
        self.state().units.get(name).copied().unwrap_or_default()
    }

    pub fn set(&self, name: &str, unit: Unit) {
        self.state().units.insert(name.to_owned(), unit);
    }

    /// Each unit that was enabled or started, in order.
    pub fn units(&self) -> BTreeMap<String, Unit> {
        self.state().units.clone()
    }

    /// Everything ends with the power.
    pub fn stop(&self) {
        let mut state = self.state();
        for unit in state.units.values_mut() {
            unit.is_active = false;
        }
    }

    pub fn start_enabled(&self) {
        let mut state = self.state();
        for unit in state.units.values_mut() {
            unit.is_active |= unit.is_enabled;
        }
    }
}

fn file(unit: &str) -> String {
    format!("{FOLDER}/{unit}")
}

/// systemd reads the folder of units.
fn reload(task: &HostTask) {
    let files = task.machine.files().below(FOLDER).into_iter();
    let names = files.filter_map(|path| Some(path.strip_prefix(FOLDER)?.strip_prefix('/')?.into()));
    task.machine.units.state().loaded = names.collect();
}

pub async fn start(task: &HostTask, name: &str) -> Result<(), OperationError> {
    let units = &task.machine.units;
    reload(task);
    task.step("reloaded").await;
    if !units.state().loaded.contains(name) {
        let why = format!("Failed to enable unit: Unit file {name} does not exist.");
        return Err(failed(1, format!("{why}\n{name}: not running")));
    }
    let mut unit = units.unit(name);
    unit.is_enabled = true;
    units.set(name, unit);
    task.step("enabled").await;
    unit.is_active = true;
    units.set(name, unit);
    task.note(format!("started {name}"));
    task.step("restarted").await;
    Ok(())
}

pub async fn remove(task: &HostTask, name: &str) -> Result<(), OperationError> {
    if task.disk().is_file(&file(name)) {
        task.machine.units.set(name, Unit::default());
        task.note(format!("stopped {name}"));
        task.step("disabled").await;
        drop(task.disk().remove_file(&file(name)));
        task.step("removed").await;
    }
    reload(task);
    task.machine.units.state().units.remove(name);
    Ok(())
}

/// The units of toots, and whether each is enabled and active.
pub fn observed(task: &HostTask) -> BTreeMap<String, bool> {
    let machine = &task.machine;
    let mut found = BTreeMap::new();
    for path in machine.files().below(FOLDER) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_unit = name.ends_with(".service") || name.ends_with(".mount");
        let text = machine.files().text(&path).unwrap_or_default();
        if is_unit && path == file(name) && text.lines().next() == Some("# Written by toots.") {
            let unit = machine.units.unit(name);
            found.insert(name.to_owned(), unit.is_enabled && unit.is_active);
        }
    }
    found
}
