//! The agents of the leading master: how they register, how it notices that one is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::master::Shared;
use super::registrar::{STORE_FAILED, mark_unreachable, store};
use super::scheduler::Framework;
use crate::services::web::Reply;

/// `--agent_ping_timeout` and `--max_agent_ping_timeouts`.
const PING: Duration = Duration::from_secs(15);
const MAX_MISSED: u32 = 5;

/// A registered agent.
pub struct Row {
    /// What it told of itself: host name, pid, attributes.
    pub info: Value,
    /// It is connected.
    pub active: bool,
    pub registered: f64,
    /// What is sent to it.
    pub lines: mpsc::UnboundedSender<String>,
}

/// What the leading master knows.
#[derive(Default)]
pub struct Cluster {
    pub agents: BTreeMap<String, Row>,
    /// Agents of the registry that have not come back since this master leads.
    pub recovered: BTreeSet<String>,
    pub frameworks: BTreeMap<String, Framework>,
    pub next_agent: u64,
    pub next_framework: u64,
}

impl Cluster {
    /// Forgets an agent.
    pub fn remove(&mut self, id: &str) {
        self.agents.remove(id);
        self.recovered.remove(id);
    }
}

/// Registers an agent, or takes it back; the answer is the stream of its pings.
pub async fn register(shared: &Arc<Shared>, registration: &Value) -> Reply {
    let info = registration["info"].clone();
    let address = info["address"].as_str().and_then(|text| text.parse().ok());
    let Some(address) = address else {
        return Reply::text(400, "Expecting an agent");
    };
    let id = match registration["id"].as_str() {
        Some(id) => id.to_owned(),
        None => {
            let mut state = shared.state();
            let number = state.cluster.next_agent;
            state.cluster.next_agent += 1;
            format!("{}-S{number}", shared.me.id)
        }
    };
    if !admit(shared, &id, &info).await {
        let pid = info["pid"].as_str().unwrap_or_default();
        shared.exit(
            134,
            &format!("Failed to admit agent {id} at {pid}: {STORE_FAILED}"),
        );
        return Reply::text(500, STORE_FAILED);
    }
    let (lines, stream) = mpsc::unbounded_channel();
    let _ = lines.send(json!({ "registered": id }).to_string());
    {
        let mut state = shared.state();
        state.cluster.recovered.remove(&id);
        let row = Row {
            info,
            active: true,
            registered: shared.clock.now().as_millisecond() as f64 / 1000.0,
            lines: lines.clone(),
        };
        state.cluster.agents.insert(id.clone(), row);
    }
    shared.note(format!("registered {id} {address}"));
    shared.spawn(ping_agent(Arc::clone(shared), id, address, lines));
    Reply::lines(stream)
}

/// Writes the agent into the registry where it is not in it yet.
async fn admit(shared: &Shared, id: &str, info: &Value) -> bool {
    let pid = info["pid"].clone();
    let former: Vec<String> = {
        let state = shared.state();
        if state.registry.slaves.contains_key(id) {
            return true;
        }
        let rows = state.cluster.agents.iter();
        let same = rows.filter(|(_, row)| row.info["pid"] == pid && !row.active);
        same.map(|(id, _)| id.clone()).collect()
    };
    let is_stored = store(shared, |registry| {
        for id in &former {
            registry.slaves.remove(id);
        }
        registry.unreachable.remove(id);
        registry.slaves.insert(id.to_owned(), info.clone());
    })
    .await;
    for id in former.iter().filter(|_| is_stored) {
        // A new agent registered at the same address.
        shared.state().cluster.remove(id);
    }
    is_stored
}

/// Pings an agent until it has registered anew or is given up.
async fn ping_agent(
    shared: Arc<Shared>,
    id: String,
    address: Ipv4Addr,
    lines: mpsc::UnboundedSender<String>,
) {
    let is_same = |shared: &Shared| {
        let state = shared.state();
        let row = state.cluster.agents.get(&id);
        row.is_some_and(|row| row.lines.same_channel(&lines))
    };
    let mut missed = 0;
    let mut is_connected = true;
    let mut ping = Box::pin(sleep(PING));
    while missed < MAX_MISSED {
        tokio::select! {
            biased;
            () = lines.closed(), if is_connected => {
                is_connected = false;
                if is_same(&shared)
                    && let Some(row) = shared.state().cluster.agents.get_mut(&id)
                {
                    row.active = false;
                }
                continue;
            }
            () = &mut ping => {}
        }
        ping = Box::pin(sleep(PING));
        if !is_same(&shared) {
            return;
        }
        let reaches = shared.network.reaches(shared.address, address);
        if is_connected && reaches && lines.send(json!({ "ping": id }).to_string()).is_ok() {
            missed = 0;
        } else {
            missed += 1;
        }
    }
    // The fifth ping is waited for like the others.
    sleep(PING).await;
    if is_same(&shared) {
        mark_unreachable(&shared, &id).await;
    }
}
