//! What a container's program gets and how it is watched: the interface between the simulated Engine
//! and the simulated services.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::files::Files;
use crate::network::Network;
use crate::record::{Notes, Record};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Term,
    Hup,
    /// Any other that the program may handle.
    Other(i32),
}

/// The lines that a process printed, kept by the Engine.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn line(&self, line: impl Into<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A started process of a container. When the Engine kills it, its future is dropped: what it holds
/// (listeners, tasks in a `JoinSet`) must end with it, and only files stay.
pub struct Process {
    /// Name of the container.
    pub name: String,
    /// What its image says about its program: a name and a version.
    pub image: String,
    /// Entrypoint and arguments.
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Path in the container → path on the machine, of each bind mount.
    pub mounts: BTreeMap<String, String>,
    /// The machine's files.
    pub files: Files,
    /// The machine's address; containers share its network.
    pub address: Ipv4Addr,
    pub hostname: String,
    pub network: Network,
    pub signals: mpsc::UnboundedReceiver<Signal>,
    pub log: Log,
    /// Where the service notes what it did, for the invariants.
    pub record: Record,
}

impl Process {
    /// The path on the machine of a path in the container, when it lies in a mount.
    pub fn on_machine(&self, path: &str) -> Option<String> {
        let mount = self.mounts.iter().rev().find(|(inside, _)| {
            path == *inside
                || path
                    .strip_prefix(inside.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        mount.map(|(inside, outside)| format!("{outside}{}", &path[inside.len()..]))
    }

    /// Where the program notes what it does.
    pub fn notes(&self) -> Notes {
        Notes {
            record: self.record.clone(),
            host: self.hostname.clone(),
            who: self.name.clone(),
        }
    }

    /// Text of a file in the container.
    pub fn text(&self, path: &str) -> Option<String> {
        self.files.text(&self.on_machine(path)?)
    }
}

/// A program that an image contains.
#[async_trait]
pub trait Program: Send + Sync {
    /// Runs until it ends by itself or by a signal; answers its exit code.
    async fn run(&self, process: Process) -> i64;

    /// Whether the image has this command; without it a container does not start.
    fn has_command(&self, _command: &[String]) -> bool {
        true
    }
}
