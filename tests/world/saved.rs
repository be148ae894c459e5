//! A cluster as its hosts' disks hold it. It is brought up once, and other lives begin with it: all
//! hosts have started anew then, and nothing of the services' memory is left.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::docker::SavedEngine;
use crate::files::Files;
use crate::host::units::Unit;
use crate::life::Life;

/// Members find each other.
const START: Duration = Duration::from_secs(180);
/// More sessions than the first life had: those that its data names are not given again.
const SESSIONS: usize = 1_000;

struct SavedHost {
    files: Files,
    units: BTreeMap<String, Unit>,
    engine: SavedEngine,
}

pub struct SavedHosts(Vec<SavedHost>);

impl SavedHosts {
    pub fn save(life: &Life) -> Self {
        let machines = life.world.machines().iter();
        let saved = machines.map(|machine| SavedHost {
            files: machine.files().copy(),
            units: machine.units.units(),
            engine: machine.engine.saved(),
        });
        Self(saved.collect())
    }

    /// Starts the hosts of a new life with these disks, and waits until the services are there.
    pub async fn begin(&self, life: &Life) {
        let ensemble = &life.judge.tables().ensemble;
        for _ in 0..SESSIONS {
            ensemble.new_session();
        }
        for (machine, saved) in life.world.machines().iter().zip(&self.0) {
            machine.files().begin_with(&saved.files);
            for (name, unit) in &saved.units {
                machine.units.set(name, *unit);
            }
            machine.engine.begin_with(&saved.engine);
        }
        tokio::time::sleep(START).await;
    }
}
