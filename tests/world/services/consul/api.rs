//! The HTTP interface of an agent: what toots, Registrator and consul-template ask of it.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answers;
use super::catalog::{Catalog, Command};
use super::cluster::{Cluster, Key};
use super::config::{duration, is_set};
use super::local::LocalService;
use super::rpc::Failure;
use super::serf::Status;
use crate::services::web::{Body, Handler, Reply, Request};

pub const VERSION: &str = "1.22.0";
/// How long a query waits for a change when it does not say.
const WAIT: Duration = Duration::from_secs(300);

fn failed(failure: impl Into<String>) -> Reply {
    Reply::text(500, failure)
}

/// The value, or the answer of a failure.
macro_rules! or_fail {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(failure) => return failed(failure),
        }
    };
}

/// The HTTP interface of one agent.
pub struct Interface {
    pub cluster: Cluster,
    pub me: Key,
}

#[async_trait]
impl Handler for Interface {
    async fn answer(&self, request: Request) -> Reply {
        answer(&self.cluster, self.me, request).await
    }
}

async fn answer(cluster: &Cluster, me: Key, request: Request) -> Reply {
    let path = request.path.strip_prefix("/v1/").unwrap_or_default();
    let method = request.method.as_str();
    let (head, rest) = path.split_once('/').unwrap_or((path, ""));
    match (method, head) {
        (_, "status") => status(cluster, me, rest),
        (_, "agent") => agent(cluster, me, method, rest, &request).await,
        (_, "operator") => operator(cluster, me, method, rest, &request).await,
        ("GET", "kv") => get_key(cluster, me, rest, &request).await,
        ("PUT", "kv") => {
            let query = request.parameters();
            let cas = query.get("cas").and_then(|cas| cas.parse().ok());
            let flags = query.get("flags").and_then(|flags| flags.parse().ok());
            let command = Command::Put {
                key: rest.to_owned(),
                value: String::from_utf8_lossy(&request.body).into_owned(),
                flags: flags.unwrap_or(0),
                cas,
            };
            let (_, is_done) = or_fail!(cluster.write(me, &command).await);
            Reply::json(200, &json!(is_done))
        }
        ("DELETE", "kv") => {
            let is_tree = is_set(&request.parameters(), "recurse");
            let command = Command::Delete {
                key: rest.to_owned(),
                is_tree,
            };
            or_fail!(cluster.write(me, &command).await);
            Reply::json(200, &json!(true))
        }
        ("GET", "health" | "catalog") => {
            let (is_catalog, rest) = (head == "catalog", rest.to_owned());
            let query = request.parameters();
            read(
                cluster,
                me,
                &request,
                |state| state.node_index,
                move |state| {
                    if is_catalog {
                        answers::catalog(state, &rest)
                    } else {
                        answers::health(state, &rest, &query)
                    }
                },
            )
            .await
        }
        _ => Reply::text(404, ""),
    }
}

/// Local knowledge of a server; a client passes it on.
fn status(cluster: &Cluster, me: Key, question: &str) -> Reply {
    let state = cluster.lock();
    let server = or_fail!(state.server_for(me));
    let Some(raft) = state.raft(server) else {
        return failed("no raft");
    };
    match question {
        "leader" => {
            let leader = raft.leader.map(|address| format!("{address}:8300"));
            Reply::json(200, &json!(leader.unwrap_or_default()))
        }
        "peers" => {
            let servers = raft.servers().iter();
            let peers: Vec<String> = servers.map(|s| format!("{}:8300", s.address)).collect();
            Reply::json(200, &json!(peers))
        }
        _ => Reply::text(404, ""),
    }
}

async fn agent(cluster: &Cluster, me: Key, method: &str, rest: &str, request: &Request) -> Reply {
    let now = Instant::now();
    let (word, name) = rest.split_once('/').unwrap_or((rest, ""));
    match (method, word) {
        ("GET", "self") => Reply::json(200, &answers::itself(&cluster.lock(), me, VERSION)),
        ("GET", "members") => Reply::json(200, &answers::members(&cluster.lock(), me)),
        ("GET", "services") => Reply::json(200, &answers::local_services(&cluster.lock(), me)),
        ("PUT", "service") if name == "register" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let Some(service) = LocalService::read(&body, now) else {
                return Reply::text(400, "Missing service name");
            };
            let mut state = cluster.lock();
            if let Some(agent) = state.agents.get_mut(&me) {
                agent.register(service);
            }
            state.sync_services(me, now);
            drop(state);
            cluster.wake();
            Reply::text(200, "")
        }
        ("PUT", "service") => {
            let id = name.strip_prefix("deregister/").unwrap_or_default();
            let mut state = cluster.lock();
            let is_known = state
                .agents
                .get_mut(&me)
                .is_some_and(|agent| agent.deregister(id));
            state.sync_services(me, now);
            drop(state);
            cluster.wake();
            if is_known {
                Reply::text(200, "")
            } else {
                Reply::text(404, format!("Unknown service ID {id:?}"))
            }
        }
        ("PUT", "leave") => {
            leave(cluster, me).await;
            Reply::text(200, "")
        }
        ("PUT", "force-leave") => {
            let mut state = cluster.lock();
            let peer = state
                .agents
                .get_mut(&me)
                .and_then(|agent| agent.peers.get_mut(name));
            let Some(peer) = peer else {
                return failed(format!("agent: No node found with name '{name}'"));
            };
            if peer.status == Status::Failed {
                state.declare_left(me, name, is_set(&request.parameters(), "prune"));
                drop(state);
                cluster.wake();
            }
            Reply::text(200, "")
        }
        ("PUT", "reload") => Reply::text(200, ""),
        _ => Reply::text(404, ""),
    }
}

/// How long an agent stays after it said that it leaves.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Leaves the cluster: a leader hands over first, and a server gives up its vote.
pub async fn leave(cluster: &Cluster, me: Key) {
    {
        let (mut state, now) = (cluster.lock(), Instant::now());
        if state.raft(me).is_some_and(|raft| raft.lead().is_some()) {
            let _ = state.transfer(me, None, now);
        }
        if let Some(leader) = state.leader_for(me).filter(|leader| *leader != me) {
            let id = state.agents[&me].id.clone();
            state.change_servers(leader, now, |servers| {
                servers.retain(|server| server.id != id)
            });
        }
        if let Some(agent) = state.agents.get_mut(&me) {
            agent.status = Status::Leaving;
            agent.note("leave");
        }
        let name = state.agents.get(&me).map(|agent| agent.config.name.clone());
        state.declare_left(me, &name.unwrap_or_default(), false);
        if let Some(agent) = state.agents.get_mut(&me) {
            agent.status = Status::Left;
        }
    }
    cluster.wake();
    tokio::time::sleep(LEAVE_TIME).await;
}

async fn operator(
    cluster: &Cluster,
    me: Key,
    method: &str,
    rest: &str,
    request: &Request,
) -> Reply {
    let text = |key: &str| request.parameters().get(key).cloned();
    match (method, rest) {
        ("GET", "raft/configuration") => {
            let server = or_fail!(cluster.lock().server_for(me));
            let source = if is_set(&request.parameters(), "stale") {
                or_fail!(stale_source(cluster, server).await)
            } else {
                or_fail!(cluster.find_leader(me).await)
            };
            Reply::json(200, &answers::raft_configuration(&cluster.lock(), source))
        }
        ("GET", "autopilot/health") => {
            let leader = or_fail!(cluster.find_leader(me).await);
            let state = cluster.lock();
            let Some(lead) = state.raft(leader).and_then(|raft| raft.lead()) else {
                return failed("No cluster leader");
            };
            let (status, body) = lead.autopilot.answer(VERSION);
            Reply::json(status, &body)
        }
        ("GET" | "PUT", "autopilot/configuration") => {
            let leader = or_fail!(cluster.find_leader(me).await);
            let settings = cluster
                .lock()
                .raft(leader)
                .and_then(|raft| raft.catalog.autopilot);
            let Some(mut settings) = settings else {
                return failed("No cluster leader");
            };
            if method == "GET" {
                return Reply::json(
                    200,
                    &json!({
                        "CleanupDeadServers": settings.cleans_up,
                        "LastContactThreshold": "200ms",
                        "MaxTrailingLogs": 250,
                        "MinQuorum": settings.min_quorum,
                        "ServerStabilizationTime": "10s",
                    }),
                );
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if let Some(cleans_up) = body["CleanupDeadServers"].as_bool() {
                settings.cleans_up = cleans_up;
            }
            if let Some(quorum) = body["MinQuorum"].as_u64() {
                settings.min_quorum = usize::try_from(quorum).unwrap_or(0);
            }
            or_fail!(cluster.write(me, &Command::Autopilot(settings)).await);
            Reply::json(200, &json!(true))
        }
        ("POST" | "PUT", "raft/transfer-leader") => {
            let leader = or_fail!(cluster.find_leader(me).await);
            let id = text("id");
            let moved = cluster
                .lock()
                .transfer(leader, id.as_deref(), Instant::now());
            or_fail!(moved);
            cluster.wake();
            Reply::json(200, &json!({ "Success": true }))
        }
        ("DELETE", "raft/peer") => {
            let leader = or_fail!(cluster.find_leader(me).await);
            let (id, address) = (text("id"), text("address"));
            let is_named = |server: &super::catalog::RaftServer| {
                id.as_deref() == Some(server.id.as_str())
                    || address.as_deref() == Some(format!("{}:8300", server.address).as_str())
            };
            let mut state = cluster.lock();
            if !state
                .raft(leader)
                .is_some_and(|raft| raft.servers().iter().any(is_named))
            {
                return failed("specified server not found");
            }
            state.change_servers(leader, Instant::now(), |servers| {
                servers.retain(|server| !is_named(server));
            });
            drop(state);
            cluster.wake();
            Reply::text(200, "")
        }
        _ => Reply::text(404, ""),
    }
}

/// A server that answers for itself: it must have heard of a leader since its start.
async fn stale_source(cluster: &Cluster, server: Key) -> Result<Key, Failure> {
    let has_contact = |cluster: &Cluster| {
        cluster
            .lock()
            .raft(server)
            .is_some_and(|raft| raft.contact.is_some())
    };
    if !has_contact(cluster) {
        cluster.find_leader(server).await?;
    }
    Ok(server)
}

/// The server whose data answer a query, after a wait for a change when the query asks for it.
async fn read(
    cluster: &Cluster,
    me: Key,
    request: &Request,
    index_of: impl Fn(&Catalog) -> u64,
    body_of: impl Fn(&Catalog) -> Option<Value>,
) -> Reply {
    let server = or_fail!(cluster.lock().server_for(me));
    let query = request.parameters();
    let seen = query.get("index").and_then(|index| index.parse().ok());
    let seen: u64 = seen.unwrap_or(0);
    let wait = query.get("wait").and_then(|wait| duration(wait));
    let wait = wait.unwrap_or(WAIT);
    let deadline = Instant::now() + wait;
    let (mut changes, mut commits) = (cluster.changes(), cluster.commits());
    loop {
        let source = if is_set(&query, "stale") {
            or_fail!(stale_source(cluster, server).await)
        } else if is_set(&query, "consistent") {
            or_fail!(cluster.find_confirmed_leader(me).await)
        } else {
            or_fail!(cluster.find_leader(me).await)
        };
        {
            let state = cluster.lock();
            let Some(raft) = state.raft(source) else {
                return failed("No cluster leader");
            };
            let index = index_of(&raft.catalog);
            if seen == 0 || index > seen || Instant::now() >= deadline {
                let known = raft.leader.is_some();
                let reply = match body_of(&raft.catalog) {
                    Some(body) => Reply::json(200, &body),
                    None => Reply::text(404, ""),
                };
                return reply
                    .with("X-Consul-Index", index.max(1).to_string())
                    .with("X-Consul-Knownleader", known.to_string());
            }
        }
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = commits.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

async fn get_key(cluster: &Cluster, me: Key, key: &str, request: &Request) -> Reply {
    let query = request.parameters();
    let (is_tree, is_keys) = (is_set(&query, "recurse"), is_set(&query, "keys"));
    let is_raw = is_set(&query, "raw");
    let index_of = |catalog: &Catalog| {
        let own = catalog.keys.get(key).map(|value| value.modified);
        own.unwrap_or(catalog.key_index)
    };
    let found = |catalog: &Catalog| -> Option<Value> {
        let wanted = |name: &str| name == key || (is_tree || is_keys) && name.starts_with(key);
        let found = catalog.keys.iter().filter(|(name, _)| wanted(name));
        let base64 = base64::engine::general_purpose::STANDARD;
        let found: Vec<Value> = found
            .map(|(name, value)| {
                if is_keys {
                    return json!(name);
                }
                json!({
                    "LockIndex": 0,
                    "Key": name,
                    "Flags": value.flags,
                    "Value": base64.encode(&value.text),
                    "CreateIndex": value.created,
                    "ModifyIndex": value.modified,
                })
            })
            .collect();
        (!found.is_empty()).then(|| json!(found))
    };
    if !is_raw {
        return read(cluster, me, request, index_of, found).await;
    }
    let text_of = |catalog: &Catalog| catalog.keys.get(key).map(|value| json!(value.text));
    let mut reply = read(cluster, me, request, index_of, text_of).await;
    if let (200, Body::Whole(json)) = (reply.status, &reply.body) {
        let text: String = serde_json::from_slice(json).unwrap_or_default();
        reply.body = Body::Whole(text.into());
    }
    reply
}
