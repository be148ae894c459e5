//! What lives in copies of this process found out, in a folder that they share.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cut::{Converged, CutLife};
use super::placed::PlacedCut;

/// By which the results of a life are found.
#[derive(Debug, Clone, Copy)]
pub struct LifeId {
    /// The number of its planned cut.
    pub id: usize,
    /// It has a second cut.
    pub is_twice: bool,
}

impl LifeId {
    fn file(self) -> String {
        let Self { id, is_twice } = self;
        format!("life-{id}-{}", if is_twice { 2 } else { 1 })
    }
}

/// The folder stays when a value is dropped: a copy that panics must not take it from the others.
pub struct Results {
    folder: PathBuf,
}

impl Results {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        Self { folder }
    }

    /// Removes the folder, when no copy runs any more.
    pub fn remove(self) {
        fs::remove_dir_all(self.folder).expect("its folder");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_vec(value).expect("JSON");
        fs::write(self.path(name), text).expect("a file");
    }

    /// `None` when the copy that was to write it ended before.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = fs::read(self.path(name)).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    /// Whether this life is the first one that left such hosts.
    pub fn claim(&self, aftermath: u64) -> bool {
        let path = self.path(&format!("claimed-{aftermath}"));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .is_ok()
    }

    pub fn keep_life(&self, id: LifeId, life: &CutLife) {
        self.write(&id.file(), life);
    }

    pub fn life(&self, id: LifeId) -> Option<CutLife> {
        self.read(&id.file())
    }

    pub fn keep_converged(&self, aftermath: u64, converged: &Converged) {
        self.write(&format!("converged-{aftermath}"), converged);
    }

    pub fn converged(&self, aftermath: u64) -> Option<Converged> {
        self.read(&format!("converged-{aftermath}"))
    }

    /// A second cut in the run after a cut, for the process that waits for it.
    pub fn keep_second(&self, id: usize, second: Option<&PlacedCut>) {
        self.write(&format!("second-{id}"), &second);
    }

    pub fn second(&self, id: usize) -> Option<PlacedCut> {
        self.read(&format!("second-{id}")).flatten()
    }
}
