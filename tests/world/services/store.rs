//! Files of a program's working directory.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::Files;
use crate::process::Process;

/// A folder of a container, on the machine.
#[derive(Clone)]
pub struct Folder {
    files: Files,
    path: String,
}

impl Folder {
    /// The folder, in its mount; what lies in none is the container's own.
    pub fn mounted(process: &Process, path: &str) -> Self {
        let own = || format!("/var/lib/docker/containers/{}{path}", process.name);
        Self {
            files: process.files.clone(),
            path: process.on_machine(path).unwrap_or_else(own),
        }
    }

    pub fn below(&self, name: &str) -> Self {
        Self {
            files: self.files.clone(),
            path: format!("{}/{name}", self.path),
        }
    }

    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = self.files.text(&format!("{}/{name}", self.path))?;
        serde_json::from_str(&text).ok()
    }

    pub fn write(&self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("JSON");
        self.files
            .write(&format!("{}/{name}", self.path), text, 0o644);
    }
}
