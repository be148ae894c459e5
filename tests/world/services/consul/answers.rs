//! The bodies of an agent's answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::catalog::{Catalog, Node, Service};
use super::cluster::{Agent, Key, State};
use super::config::is_set;
use super::raft::Role;

fn tags(agent: &Agent, peer: &super::serf::Peer) -> Value {
    let mut tags = json!({
        "dc": agent.config.datacenter,
        "id": peer.id,
        "role": if peer.is_server { "consul" } else { "node" },
    });
    if peer.is_server {
        tags["port"] = json!("8300");
        if peer.expect > 0 {
            tags["expect"] = json!(peer.expect.to_string());
        }
    }
    tags
}

fn member(agent: &Agent, name: &str, peer: &super::serf::Peer) -> Value {
    json!({
        "Name": name,
        "Addr": peer.address.to_string(),
        "Port": 8301,
        "Tags": tags(agent, peer),
        "Status": peer.status as u8,
    })
}

pub fn members(state: &State, me: Key) -> Value {
    let Some(agent) = state.agents.get(&me) else {
        return Value::Null;
    };
    let peers = agent
        .peers
        .iter()
        .map(|(name, peer)| member(agent, name, peer));
    json!(peers.collect::<Vec<_>>())
}

pub fn itself(state: &State, me: Key, version: &str) -> Value {
    let Some(agent) = state.agents.get(&me) else {
        return Value::Null;
    };
    let peers = agent.peers.values();
    let servers = peers.filter(|peer| peer.is_server && peer.status == super::serf::Status::Alive);
    let mut consul = json!({ "server": agent.config.is_server.to_string() });
    let raft = match &agent.raft {
        Some(raft) => {
            consul["leader"] = json!(agent.is_leading().to_string());
            let leader = raft.leader.map(|address| format!("{address}:8300"));
            consul["leader_addr"] = json!(leader.unwrap_or_default());
            let others = raft.servers().iter();
            let others = others
                .filter(|server| server.is_voter && server.id != agent.id)
                .count();
            let others = if raft.is_voter(&agent.id) { others } else { 0 };
            json!({
                "applied_index": raft.applied().to_string(),
                "commit_index": raft.committed.to_string(),
                "last_log_index": raft.last().to_string(),
                "num_peers": others.to_string(),
                "state": match raft.role {
                    Role::Follower => "Follower",
                    Role::Candidate => "Candidate",
                    Role::Leader(_) => "Leader",
                },
                "term": raft.term.to_string(),
            })
        }
        None => {
            consul["known_servers"] = json!(servers.count().to_string());
            Value::Null
        }
    };
    let own = agent.peers.get(&agent.config.name);
    json!({
        "Config": {
            "Datacenter": agent.config.datacenter,
            "PrimaryDatacenter": agent.config.datacenter,
            "NodeName": agent.config.name,
            "NodeID": agent.id,
            "Revision": "",
            "Server": agent.config.is_server,
            "Version": version,
        },
        "Member": own.map(|own| member(agent, &agent.config.name, own)),
        "Stats": { "consul": consul, "raft": raft, "serf_lan": { "members": agent.peers.len().to_string() } },
        "Meta": {},
    })
}

pub fn raft_configuration(state: &State, source: Key) -> Value {
    let Some((agent, raft)) = state
        .agents
        .get(&source)
        .and_then(|agent| Some((agent, agent.raft.as_ref()?)))
    else {
        return Value::Null;
    };
    let servers = raft.servers().iter().map(|server| {
        let known = agent.peers.iter().find(|(_, peer)| peer.id == server.id);
        json!({
            "ID": server.id,
            "Node": known.map_or("(unknown)", |(name, _)| name.as_str()),
            "Address": format!("{}:8300", server.address),
            "Leader": raft.leader == Some(server.address),
            "ProtocolVersion": "3",
            "Voter": server.is_voter,
            "LastIndex": raft.last(),
        })
    });
    json!({ "Servers": servers.collect::<Vec<_>>(), "Index": 0 })
}

pub fn local_services(state: &State, me: Key) -> Value {
    let services = state
        .agents
        .get(&me)
        .into_iter()
        .flat_map(|agent| &agent.services);
    let services = services.map(|(id, local)| {
        let service = &local.service;
        let value = json!({
            "ID": id, "Service": service.name, "Tags": service.tags, "Address": service.address,
            "Port": service.port, "Meta": service.meta,
        });
        (id.clone(), value)
    });
    Value::Object(services.collect())
}

pub fn catalog(state: &Catalog, question: &str) -> Option<Value> {
    if question == "nodes" {
        let nodes = state
            .nodes
            .iter()
            .map(|(name, node)| node_value(name, node));
        return Some(json!(nodes.collect::<Vec<_>>()));
    }
    if question == "services" {
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (_, service) in services(state) {
            let tags = found.entry(&service.name).or_default();
            tags.extend(service.tags.iter().map(String::as_str));
        }
        return Some(json!(found));
    }
    let name = question.strip_prefix("service/")?;
    let found = services(state).filter(|(_, service)| service.name == name);
    let found = found.map(|((node_name, node), service)| {
        json!({
            "Node": node_name, "Address": node.address.to_string(), "ServiceID": service.id,
            "ServiceName": service.name, "ServiceTags": service.tags,
            "ServiceAddress": service.address, "ServicePort": service.port,
        })
    });
    Some(json!(found.collect::<Vec<_>>()))
}

fn services(state: &Catalog) -> impl Iterator<Item = ((&String, &Node), &Service)> {
    let nodes = state.nodes.iter();
    nodes.flat_map(|(name, node)| node.services.values().map(move |s| ((name, node), s)))
}

fn node_value(name: &str, node: &Node) -> Value {
    json!({ "ID": node.id, "Node": name, "Address": node.address.to_string(), "Meta": {} })
}

fn checks(name: &str, node: &Node, service: Option<&Service>) -> Vec<Value> {
    let mut checks = vec![json!({
        "Node": name, "CheckID": "serfHealth", "Name": "Serf Health Status",
        "Status": if node.is_passing { "passing" } else { "critical" },
        "ServiceID": "", "ServiceName": "",
    })];
    if let Some(service) = service.filter(|service| !service.status.is_empty()) {
        checks.push(json!({
            "Node": name, "CheckID": format!("service:{}", service.id), "Name": "",
            "Status": service.status, "ServiceID": service.id, "ServiceName": service.name,
        }));
    }
    checks
}

pub fn health(state: &Catalog, question: &str, query: &BTreeMap<String, String>) -> Option<Value> {
    if let Some(wanted) = question.strip_prefix("state/") {
        let checked = state.nodes.iter().flat_map(|(name, node)| {
            let own = checks(name, node, None);
            let services = node
                .services
                .values()
                .flat_map(move |service| checks(name, node, Some(service)).into_iter().skip(1));
            own.into_iter().chain(services)
        });
        let found = checked.filter(|check| wanted == "any" || check["Status"] == wanted);
        return Some(json!(found.collect::<Vec<_>>()));
    }
    let name = question.strip_prefix("service/")?;
    let tag = query.get("tag");
    let found = services(state)
        .filter(|(_, service)| service.name == name)
        .filter(|(_, service)| tag.is_none_or(|tag| service.tags.contains(tag)))
        .map(|((node_name, node), service)| {
            json!({
                "Node": node_value(node_name, node),
                "Service": {
                    "ID": service.id, "Service": service.name, "Tags": service.tags,
                    "Address": service.address, "Port": service.port, "Meta": service.meta,
                },
                "Checks": checks(node_name, node, Some(service)),
            })
        })
        .filter(|entry| {
            let checks = entry["Checks"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            !is_set(query, "passing") || checks.iter().all(|check| check["Status"] == "passing")
        });
    Some(json!(found.collect::<Vec<_>>()))
}
