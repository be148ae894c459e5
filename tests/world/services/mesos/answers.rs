//! What a master answers over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::master::{Shared, State};
use super::registrar::{Phase, STORE_FAILED, store};
use super::replica::Status;
use super::{VERSION, cluster, log, scheduler};
use crate::services::web::{Handler, Reply, Request};

/// Just after the start everything is 404.
const SILENCE: Duration = Duration::from_millis(200);
const NOT_RECOVERED: &str = "Master has not finished recovery";

#[async_trait]
impl Handler for Arc<Shared> {
    async fn answer(&self, request: Request) -> Reply {
        answer(self, request).await
    }
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Reply {
    let path = request.path.trim_end_matches('/');
    let path = path.strip_prefix("/master").unwrap_or(path);
    if path == log::PATH {
        return match request.json().map(serde_json::from_value) {
            Some(Ok(call)) => {
                let answer = serde_json::to_value(shared.apply(&call)).expect("JSON");
                Reply::json(200, &answer)
            }
            _ => Reply::text(400, ""),
        };
    }
    if shared.began.elapsed() < SILENCE {
        return Reply::text(404, "404 Not Found.");
    }
    match path {
        "/health" => Reply::text(200, ""),
        "/version" => Reply::json(200, &json!({ "version": VERSION })),
        "/metrics/snapshot" => Reply::json(200, &metrics(&shared.state())),
        "/redirect" => match &shared.state().leader {
            Some(leader) => {
                let to = format!("//{}:{}", leader.hostname, leader.port);
                Reply::text(307, "").with("Location", to)
            }
            None => Reply::text(503, "No leader elected"),
        },
        "/api/v1" | "/api/v1/scheduler" | "/slaves" | "/state" | "/weights" | "/agents" => {
            of_leader(shared, path, &request).await
        }
        _ => Reply::text(404, "404 Not Found."),
    }
}

fn metrics(state: &State) -> Value {
    let number = |is_true: bool| if is_true { 1.0 } else { 0.0 };
    let mut metrics = Map::new();
    let mut set = |name: &str, value: f64| metrics.insert(name.to_owned(), json!(value));
    set("master/elected", number(state.is_elected));
    set("registrar/log/ensemble_size", state.replicas.len() as f64);
    set(
        "registrar/log/recovered",
        number(state.replica.status == Status::Voting),
    );
    set("registrar/queued_operations", 0.0);
    if let Phase::Ready { fetched, .. } | Phase::Failed { fetched } = &state.phase {
        let registry = serde_json::to_string(&state.registry).expect("JSON");
        set("registrar/registry_size_bytes", registry.len() as f64);
        set("registrar/state_fetch_ms", fetched.as_secs_f64() * 1000.0);
    }
    Value::Object(metrics)
}

/// Only the leader answers; others lead to it.
async fn of_leader(shared: &Arc<Shared>, path: &str, request: &Request) -> Reply {
    let recovered = {
        let state = shared.state();
        match &state.leader {
            _ if state.is_elected => {}
            Some(leader) => {
                let to = format!("//{}:{}/master{path}", leader.hostname, leader.port);
                return Reply::text(307, "").with("Location", to);
            }
            None => return Reply::text(503, "No leader elected"),
        }
        state.phase.is_recovered()
    };
    match (request.method.as_str(), path) {
        ("POST", "/api/v1") => operator(shared, request, recovered),
        (_, "/api/v1") => Reply::text(405, "").with("Allow", "POST"),
        ("GET", "/slaves") => Reply::json(200, &slaves(&shared.state())),
        (_, _) if !recovered => Reply::text(503, NOT_RECOVERED),
        ("PUT", "/weights") => put_weights(shared, request).await,
        ("POST", "/agents") => cluster::register(shared, &request.json().unwrap_or_default()).await,
        ("POST", "/api/v1/scheduler") => {
            scheduler::call(shared, &request.json().unwrap_or_default())
        }
        _ => Reply::text(405, ""),
    }
}

/// The operator API.
fn operator(shared: &Shared, request: &Request, is_recovered: bool) -> Reply {
    if request.header("content-type") != "application/json" {
        return Reply::text(415, "Expecting 'Content-Type' of application/json");
    }
    let Some(call) = request.json() else {
        return Reply::text(400, "Failed to parse body into JSON");
    };
    let kind = call["type"].as_str().unwrap_or_default();
    let state = shared.state();
    let answer = match kind {
        "GET_HEALTH" => json!({ "healthy": true }),
        "GET_FRAMEWORKS" => {
            json!({ "frameworks": frameworks(&state) })
        }
        _ => return Reply::text(400, "Failed to validate master::Call"),
    };
    if !is_recovered {
        return Reply::text(503, NOT_RECOVERED);
    }
    Reply::json(200, &json!({ "type": kind, kind.to_lowercase(): answer }))
}

async fn put_weights(shared: &Shared, request: &Request) -> Reply {
    let weights = request.json().unwrap_or_default();
    let is_stored = store(shared, |registry| {
        for weight in weights.as_array().into_iter().flatten() {
            let role = weight["role"].as_str().unwrap_or_default().to_owned();
            registry
                .weights
                .insert(role, weight["weight"].as_f64().unwrap_or(1.0));
        }
    })
    .await;
    if is_stored {
        Reply::text(200, "")
    } else {
        Reply::text(500, STORE_FAILED)
    }
}

fn slaves(state: &State) -> Value {
    let slaves = state.cluster.agents.iter().map(|(id, row)| {
        json!({
            "id": id,
            "hostname": row.info["hostname"],
            "port": row.info["port"],
            "pid": row.info["pid"],
            "attributes": row.info["attributes"],
            "registered_time": row.registered,
            "active": row.active,
            "deactivated": false,
            "version": VERSION,
        })
    });
    let recovered = state.cluster.recovered.iter().map(|id| {
        let info = state.registry.slaves.get(id).cloned().unwrap_or_default();
        json!({ "id": id, "hostname": info["hostname"] })
    });
    json!({ "slaves": slaves.collect::<Vec<_>>(), "recovered_slaves": recovered.collect::<Vec<_>>() })
}

fn frameworks(state: &State) -> Vec<Value> {
    let items = state.cluster.frameworks.iter().map(|(id, framework)| {
        json!({
            "framework_info": { "id": { "value": id }, "name": framework.name, "hostname": framework.hostname },
            "active": framework.active,
            "connected": framework.active,
            "recovered": false,
        })
    });
    items.collect()
}
