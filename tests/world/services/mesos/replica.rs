//! One replica of the masters' log, on the disk of its machine. Of the log only the last value counts:
//! the registry.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::services::store::Folder;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Without a log. It does not vote until enough replicas without one stand together.
    #[default]
    Empty,
    Starting,
    Voting,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    pub status: Status,
    /// The highest ballot that it has promised.
    pub promised: u64,
    /// The ballot of the last value.
    pub accepted: u64,
    /// How many values there were.
    pub position: u64,
    pub registry: Option<Value>,
}

/// What replicas and the leading master ask each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Call {
    Status,
    Promise {
        ballot: u64,
    },
    Write {
        ballot: u64,
        position: u64,
        registry: Value,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it has done what was asked.
    pub is_done: bool,
    pub replica: Replica,
}

impl Replica {
    const FILE: &str = "replica";

    pub fn load(folder: &Folder) -> Self {
        folder.read(Self::FILE).unwrap_or_default()
    }

    pub fn save(&self, folder: &Folder) {
        folder.write(Self::FILE, self);
    }

    /// Carries a call out. What it promises or accepts must be saved before the answer is sent.
    pub fn apply(&mut self, call: &Call) -> Answer {
        let votes = self.status == Status::Voting;
        let is_done = match call {
            Call::Status => true,
            Call::Promise { ballot } => votes && self.promise(*ballot),
            Call::Write {
                ballot,
                position,
                registry,
            } => votes && self.accept(*ballot, *position, registry),
        };
        Answer {
            is_done,
            replica: self.clone(),
        }
    }

    fn promise(&mut self, ballot: u64) -> bool {
        let is_new = ballot > self.promised;
        if is_new {
            self.promised = ballot;
        }
        is_new
    }

    fn accept(&mut self, ballot: u64, position: u64, registry: &Value) -> bool {
        let is_valid = ballot >= self.promised;
        if is_valid {
            self.promised = ballot;
            self.accepted = ballot;
            self.position = position;
            self.registry = Some(registry.clone());
        }
        is_valid
    }

    /// The order in which values were chosen.
    pub fn age(&self) -> (u64, u64) {
        (self.accepted, self.position)
    }
}
