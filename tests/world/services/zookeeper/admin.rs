//! The AdminServer's commands. It answers 200 while the member does not serve: `error` tells.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::ensemble::{Ensemble, State};
use super::member::{Key, Member};
use super::words::{learners, mode, version_line};
use crate::services::web::{Handler, Reply, Request};

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// The name of a command and what it may be called as well.
fn command_of(path: &str) -> Option<&'static str> {
    Some(match path.strip_prefix("/commands/")? {
        "ruok" => "ruok",
        "srvr" | "server_stats" => "server_stats",
        "lead" | "leader" => "leader",
        "mntr" | "monitor" => "monitor",
        "conf" | "config" | "configuration" => "configuration",
        "isro" | "is_read_only" => "is_read_only",
        "voting_view" => "voting_view",
        "zabstate" => "zabstate",
        "hash" => "hash",
        _ => return None,
    })
}

/// The AdminServer of one member.
pub struct AdminServer {
    pub ensemble: Ensemble,
    pub key: Key,
    pub version: String,
}

#[async_trait]
impl Handler for AdminServer {
    async fn answer(&self, request: Request) -> Reply {
        answer(&self.ensemble, self.key, &self.version, &request)
    }
}

fn answer(ensemble: &Ensemble, key: Key, version: &str, request: &Request) -> Reply {
    let Some(command) = command_of(&request.path) else {
        return Reply::text(404, "no such command");
    };
    let state = ensemble.lock();
    let Some(member) = state.members.get(&key) else {
        return Reply::text(503, "");
    };
    let body = body_of(&state, key, member, version, command);
    if body.is_none() && command == "monitor" {
        return Reply::text(500, "NullPointerException");
    }
    let (mut fields, error) = match body {
        Some(Value::Object(fields)) => (fields, Value::Null),
        _ => (Map::new(), json!(NOT_SERVING)),
    };
    fields.insert("command".into(), json!(command));
    fields.insert("error".into(), error);
    Reply::json(200, &Value::Object(fields))
}

/// `None`: the member does not serve.
fn body_of(
    state: &State,
    key: Key,
    member: &Member,
    version: &str,
    command: &str,
) -> Option<Value> {
    let is_serving = member.is_serving();
    if command == "zabstate" && !is_serving {
        return Some(json!({ "voting": false, "zabstate": "" }));
    }
    if command == "leader" {
        return leader(state, key, member);
    }
    if !is_serving {
        return None;
    }
    let tree = &member.store.tree;
    Some(match command {
        "server_stats" => json!({
            "version": version_line(version),
            "read_only": false,
            "server_stats": { "server_state": mode(member), "last_processed_zxid": member.shown_zxid() },
            "node_count": tree.nodes.len(),
        }),
        "monitor" => {
            let mut fields = json!({
                "version": version_line(version),
                "server_state": mode(member),
                "znode_count": tree.nodes.len(),
                "quorum_size": member.config.voters().count(),
                "digest_mismatches_count": tree.mismatches,
            });
            if let Some(learners) = learners(state, key) {
                fields["learners"] = json!(learners.count);
                fields["synced_followers"] = json!(learners.synced);
            }
            fields
        }
        "configuration" => json!({
            "client_port": member.config.client_port,
            "tick_time": u64::try_from(member.config.tick.as_millis()).unwrap_or(0),
            "server_id": member.config.id,
        }),
        "is_read_only" => json!({ "read_only": false }),
        "voting_view" => json!({ "current_config": voting_view(member) }),
        "zabstate" => json!({
            "myid": member.config.id,
            "is_leader": member.is_leading(),
            // By its own list: with static files the leader's is not asked.
            "voting": member.config.is_voter(member.config.id),
            "last_zxid": member.shown_zxid(),
            "zabstate": "broadcast",
        }),
        "hash" => json!({
            "digests": tree
                .digests
                .iter()
                .map(|(zxid, digest)| json!({ "zxid": zxid, "digest_version": 2, "digest": digest }))
                .collect::<Vec<_>>(),
        }),
        _ => json!({}),
    })
}

/// A member that still copies its leader's data names it already.
fn leader(state: &State, key: Key, member: &Member) -> Option<Value> {
    let leader = if member.is_leading() {
        Some(key)
    } else {
        member.leader().map(|(leader, _)| leader)
    };
    let leader = state.members.get(&leader?)?;
    Some(json!({
        "is_leader": member.is_leading(),
        "leader_id": leader.config.id,
        "leader_ip": leader.address.to_string(),
    }))
}

fn voting_view(member: &Member) -> Value {
    let own = member.config.id;
    let voters = member.config.voters().map(|(id, line)| {
        let client = if id == own {
            format!("{}:{}", member.address, member.config.client_port)
        } else {
            String::new()
        };
        let voter = json!({
            "server_addresses": [format!("{}:{}", line.host, line.quorum_port)],
            "election_addresses": [format!("{}:{}", line.host, line.election_port)],
            "client_address": client,
            "learner_type": "participant",
        });
        (id.to_string(), voter)
    });
    Value::Object(voters.collect())
}
