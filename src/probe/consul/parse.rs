//! Consul's JSON as types.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::probe::answer::{Answer, ProbeError};

/// An agent's answer about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsulAgent {
    /// Node name.
    pub name: String,
    /// Node id.
    pub id: String,
    /// Whether it is a server.
    pub server: bool,
    pub version: String,
    /// The address that it advertises, when the answer contains it.
    pub address: Option<String>,
    /// The number of servers that a client knows.
    pub known_servers: Option<usize>,
    /// The log index up to which a server has applied entries.
    pub applied: Option<u64>,
    /// A server's role: `Leader`, `Follower`, `Candidate`.
    pub raft_state: Option<String>,
}

/// A server in raft's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftServer {
    /// Node name.
    pub node: String,
    /// Node id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Address and raft port.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it is the leader.
    pub leader: bool,
}

/// Autopilot's view.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// HTTP status: 200, or 429 when not healthy.
    #[serde(skip)]
    pub status: u16,
    /// Whether autopilot reports all servers as healthy.
    pub healthy: bool,
    /// The number of servers that may fail.
    pub failure_tolerance: i64,
    #[serde(default, deserialize_with = "list")]
    pub servers: Vec<HealthServer>,
}

/// A server as autopilot reports it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthServer {
    /// Node name.
    pub name: String,
    /// Node id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Address and raft port.
    pub address: String,
    /// `alive`, `failed`, `left`.
    #[serde(default)]
    pub serf_status: String,
    /// Whether autopilot reports it as healthy.
    pub healthy: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Time since its last contact with the leader, in Go's duration format.
    #[serde(default)]
    pub last_contact: String,
}

/// A member of the gossip pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SerfMember {
    /// Node name.
    pub name: String,
    /// Address.
    pub addr: String,
    /// 1 is alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
}

/// An instance of a service in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Service id.
    pub id: String,
    /// Node name.
    pub node: String,
    /// Address of the service, or of its node.
    pub address: String,
    pub port: u16,
    /// Tags, trimmed.
    pub tags: Vec<String>,
    /// Whether all its checks pass.
    pub passing: bool,
}

/// Reads a list. An empty one may be `null`: Go writes a slice so that was never filled, such as
/// autopilot's servers right after an election.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn json<T: DeserializeOwned>(question: &str, bytes: &[u8]) -> Answer<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| ProbeError::malformed(question, format!("unexpected JSON ({e})"), bytes))
}

/// Reads `/v1/agent/self`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_agent(bytes: &[u8]) -> Answer<ConsulAgent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        node_name: String,
        #[serde(rename = "NodeID")]
        node_id: String,
        server: bool,
        #[serde(default)]
        version: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Member {
        addr: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        config: Config,
        #[serde(default)]
        member: Option<Member>,
        #[serde(default)]
        stats: serde_json::Value,
    }
    let reply: Reply = json("agent/self", bytes)?;
    let stat = |group: &str, key: &str| {
        reply
            .stats
            .get(group)?
            .get(key)?
            .as_str()
            .map(str::to_owned)
    };
    Ok(ConsulAgent {
        known_servers: stat("consul", "known_servers").and_then(|n| n.parse().ok()),
        applied: stat("raft", "applied_index").and_then(|n| n.parse().ok()),
        raft_state: stat("raft", "state"),
        name: reply.config.node_name,
        id: reply.config.node_id,
        server: reply.config.server,
        version: reply.config.version,
        address: reply.member.map(|m| m.addr),
    })
}

/// Reads `/v1/operator/raft/configuration`; sorted, so that views of several servers can be
/// compared.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_raft(bytes: &[u8]) -> Answer<Vec<RaftServer>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        #[serde(deserialize_with = "list")]
        servers: Vec<RaftServer>,
    }
    let mut servers = json::<Reply>("raft/configuration", bytes)?.servers;
    servers.sort();
    Ok(servers)
}

/// Reads `/v1/operator/autopilot/health`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_health(status: u16, bytes: &[u8]) -> Answer<Health> {
    let mut health: Health = json("autopilot/health", bytes)?;
    health.status = status;
    Ok(health)
}

/// Reads `/v1/agent/members`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_members(bytes: &[u8]) -> Answer<Vec<SerfMember>> {
    Ok(json::<Option<_>>("agent/members", bytes)?.unwrap_or_default())
}

/// Reads `/v1/health/service/…`.
///
/// # Errors
/// When the form is unexpected.
pub fn parse_instances(bytes: &[u8]) -> Answer<Vec<Instance>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node {
        node: String,
        address: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Service {
        #[serde(rename = "ID")]
        id: String,
        address: String,
        port: u16,
        #[serde(default, deserialize_with = "list")]
        tags: Vec<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Check {
        status: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        node: Node,
        service: Service,
        #[serde(default, deserialize_with = "list")]
        checks: Vec<Check>,
    }
    let entries: Option<Vec<Entry>> = json("health/service", bytes)?;
    Ok(entries
        .unwrap_or_default()
        .into_iter()
        .map(|e| Instance {
            id: e.service.id,
            node: e.node.node,
            address: if e.service.address.is_empty() {
                e.node.address
            } else {
                e.service.address
            },
            port: e.service.port,
            // Registrator keeps the spaces around commas.
            tags: e.service.tags.iter().map(|t| t.trim().to_owned()).collect(),
            passing: e.checks.iter().all(|c| c.status == "passing"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_may_be_null() {
        let health = br#"{"Healthy": false, "FailureTolerance": 0, "Servers": null}"#;
        let health = parse_health(429, health).unwrap();
        assert_eq!((health.status, health.servers), (429, Vec::new()));
        assert_eq!(parse_raft(br#"{"Servers": null}"#).unwrap(), []);
        assert_eq!(parse_members(b"null").unwrap(), []);
        assert_eq!(parse_instances(b"null").unwrap(), []);
        let instance = br#"[{"Node": {"Node": "m1", "Address": "10.0.0.1"}, "Checks": null,
            "Service": {"ID": "x", "Address": "", "Port": 80, "Tags": null}}]"#;
        let instances = parse_instances(instance).unwrap();
        assert!(instances[0].tags.is_empty() && instances[0].passing);
    }
}
