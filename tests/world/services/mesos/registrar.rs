//! The leading master's registry: fetched from the log before it serves, and written to it before a
//! change counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::log;
use super::master::Shared;

/// `--registry_fetch_timeout` and `--registry_store_timeout`.
const FETCH_LIMIT: Duration = Duration::from_secs(60);
const STORE_LIMIT: Duration = Duration::from_secs(20);
/// How long a new leader waits before it begins.
const BEGIN: Duration = Duration::from_millis(100);
/// `--agent_reregister_timeout`.
const REREGISTER_LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// It does not lead.
    No,
    Recovering,
    Ready {
        ballot: u64,
        position: u64,
        fetched: Duration,
    },
    /// A change was not stored in time: none is any more, although it goes on leading.
    Failed {
        fetched: Duration,
    },
}

impl Phase {
    pub fn is_recovered(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Failed { .. })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    pub master: Value,
    /// Admitted agents by id.
    pub slaves: BTreeMap<String, Value>,
    /// Agents that were not heard of for too long.
    pub unreachable: BTreeMap<String, Value>,
    pub weights: BTreeMap<String, f64>,
}

/// Fetches the registry; without it the master ends.
pub async fn recover(shared: Arc<Shared>) {
    let began = Instant::now();
    let until = began + FETCH_LIMIT;
    sleep(BEGIN).await;
    while shared.replica().status != super::replica::Status::Voting && Instant::now() < until {
        sleep(BEGIN).await;
    }
    let fetched = match log::elect(&shared, until).await {
        Some((ballot, newest)) => {
            let stored = newest
                .registry
                .and_then(|value| serde_json::from_value(value).ok());
            let mut registry: Registry = stored.unwrap_or_default();
            registry.master = shared.me.info();
            let position = newest.position + 1;
            let value = serde_json::to_value(&registry).expect("JSON");
            let is_written = log::write(&shared, ballot, position, &value, until).await;
            is_written.then_some((ballot, position, registry))
        }
        None => None,
    };
    let Some((ballot, position, registry)) = fetched else {
        let why = "Failed to recover registrar: Failed to perform fetch within 1mins";
        shared.exit(134, why);
        return;
    };
    {
        let mut state = shared.state();
        state.cluster.recovered = registry.slaves.keys().cloned().collect();
        state.registry = registry;
        state.phase = Phase::Ready {
            ballot,
            position,
            fetched: began.elapsed(),
        };
    }
    shared.note(format!("acknowledged registry {ballot} {position}"));
    shared.spawn(give_up_missing(Arc::clone(&shared)));
}

/// Agents that the former leader knew and that do not come back are unreachable.
async fn give_up_missing(shared: Arc<Shared>) {
    sleep(REREGISTER_LIMIT).await;
    let missing: Vec<String> = shared.state().cluster.recovered.iter().cloned().collect();
    for id in missing {
        mark_unreachable(&shared, &id).await;
    }
}

/// Takes an agent out of the registry's admitted ones; a master that cannot write that down ends.
pub async fn mark_unreachable(shared: &Shared, id: &str) {
    let is_stored = store(shared, |registry| {
        if let Some(info) = registry.slaves.remove(id) {
            registry.unreachable.insert(id.to_owned(), info);
        }
    })
    .await;
    if !is_stored {
        let why = format!("Failed to mark agent {id} unreachable: {STORE_FAILED}");
        shared.exit(134, &why);
        return;
    }
    shared.state().cluster.remove(id);
    shared.note(format!("unreachable {id}"));
}

pub const STORE_FAILED: &str = "Failed to update registry: Failed to perform store within 20secs";

/// Changes the registry. Returns whether a quorum has it.
pub async fn store(shared: &Shared, change: impl FnOnce(&mut Registry)) -> bool {
    let _writer = shared.writer.lock().await;
    let (mut registry, phase) = {
        let state = shared.state();
        (state.registry.clone(), state.phase.clone())
    };
    let Phase::Ready {
        ballot,
        position,
        fetched,
    } = phase
    else {
        return false;
    };
    change(&mut registry);
    let value = serde_json::to_value(&registry).expect("JSON");
    let until = Instant::now() + STORE_LIMIT;
    let is_stored = log::write(shared, ballot, position + 1, &value, until).await;
    if is_stored {
        shared.note(format!("acknowledged registry {ballot} {}", position + 1));
    } else {
        // Another leader's ballot ends it at once; what it answers is the same.
        tokio::time::sleep_until(until).await;
    }
    let mut state = shared.state();
    state.phase = if is_stored {
        state.registry = registry;
        Phase::Ready {
            ballot,
            position: position + 1,
            fetched,
        }
    } else {
        Phase::Failed { fetched }
    };
    is_stored
}
