//! What a Consul agent reads at its start. A mistake ends it with exit code 1.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use crate::process::Process;
use crate::services::listening_address;

const CONFIG_DIR: &str = "/consul/config";
const DATA_DIR: &str = "/consul/data";

/// The keys of a configuration file. Others end the program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node_name: Option<String>,
    datacenter: Option<String>,
    #[serde(default)]
    server: bool,
    bootstrap_expect: Option<usize>,
    #[serde(default)]
    bootstrap: bool,
    bind_addr: Option<String>,
    advertise_addr: Option<String>,
    client_addr: Option<String>,
    encrypt: Option<String>,
    #[serde(default)]
    retry_join: Vec<String>,
    retry_interval: Option<String>,
    leave_on_terminate: Option<bool>,
    #[serde(default)]
    performance: Performance,
    #[serde(default)]
    autopilot: AutopilotKeys,
    #[serde(default)]
    ports: Ports,
    // What the world's agents do nothing with.
    #[serde(rename = "domain")]
    _domain: Option<String>,
    #[serde(rename = "skip_leave_on_interrupt")]
    _skip_leave_on_interrupt: Option<bool>,
    #[serde(rename = "rejoin_after_leave")]
    _rejoin_after_leave: Option<bool>,
    #[serde(rename = "limits")]
    _limits: Option<Value>,
    #[serde(rename = "ui_config")]
    _ui_config: Option<Value>,
    #[serde(rename = "connect")]
    _connect: Option<Value>,
    #[serde(rename = "disable_update_check")]
    _disable_update_check: Option<bool>,
    #[serde(rename = "log_level")]
    _log_level: Option<String>,
    #[serde(rename = "recursors")]
    _recursors: Option<Vec<String>>,
    #[serde(rename = "data_dir")]
    _data_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Performance {
    raft_multiplier: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AutopilotKeys {
    cleanup_dead_servers: Option<bool>,
    min_quorum: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
struct Ports {
    http: Option<u16>,
}

#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    pub datacenter: String,
    pub is_server: bool,
    /// Servers that must be seen before a cluster is founded; 0: this one founds none.
    pub expect: usize,
    pub address: Ipv4Addr,
    pub http_port: u16,
    /// The key of the gossip, empty without one.
    pub key: String,
    pub retry_join: Vec<Ipv4Addr>,
    pub retry_interval: Duration,
    pub leaves_on_terminate: bool,
    pub multiplier: u32,
    pub autopilot: AutopilotConfig,
    /// On the machine.
    pub data_dir: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AutopilotConfig {
    pub cleans_up: bool,
    pub min_quorum: usize,
}

impl Config {
    /// `None`: the program ends with exit code 1.
    pub fn read(process: &Process) -> Option<Self> {
        let dir = process.on_machine(CONFIG_DIR)?;
        let mut merged = serde_json::Map::new();
        for path in process.files.below(&dir) {
            if path.ends_with(".json") {
                let text = process.files.text(&path)?;
                let Value::Object(object) = serde_json::from_str(&text).ok()? else {
                    return None;
                };
                merged.extend(object);
            }
        }
        let file: File = serde_json::from_value(Value::Object(merged)).ok()?;
        let machine = process.address;
        let bind = file.bind_addr.unwrap_or_else(|| "0.0.0.0".into());
        listening_address(&bind, machine)?;
        let advertised = file.advertise_addr.unwrap_or(bind);
        let clients = file.client_addr.unwrap_or_else(|| "127.0.0.1".into());
        for address in clients.split_whitespace() {
            listening_address(address, machine)?;
        }
        let datacenter = file.datacenter.unwrap_or_else(|| "dc1".into());
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !datacenter.chars().all(is_name) || (file.bootstrap && file.bootstrap_expect.is_some()) {
            return None;
        }
        let key = file.encrypt.unwrap_or_default();
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(&key)
            .ok()?;
        if !matches!(decoded.len(), 0 | 16 | 24 | 32) {
            return None;
        }
        let addresses = file.retry_join.iter().filter_map(|text| text.parse().ok());
        Some(Self {
            name: file.node_name.unwrap_or_else(|| process.hostname.clone()),
            datacenter,
            is_server: file.server,
            expect: if file.bootstrap {
                1
            } else {
                file.bootstrap_expect.unwrap_or(0)
            },
            address: listening_address(&advertised, machine)?,
            http_port: file.ports.http.unwrap_or(8500),
            key,
            retry_join: addresses.collect(),
            retry_interval: file
                .retry_interval
                .as_deref()
                .and_then(duration)
                .unwrap_or(Duration::from_secs(30)),
            leaves_on_terminate: file.leave_on_terminate.unwrap_or(!file.server),
            multiplier: file.performance.raft_multiplier.unwrap_or(5).clamp(1, 10),
            autopilot: AutopilotConfig {
                cleans_up: file.autopilot.cleanup_dead_servers.unwrap_or(true),
                min_quorum: file.autopilot.min_quorum.unwrap_or(0),
            },
            data_dir: process.on_machine(DATA_DIR)?,
        })
    }

    /// A time of raft, which a slower machine makes longer.
    pub fn raft_time(&self, millis: u64) -> Duration {
        Duration::from_millis(millis) * self.multiplier
    }
}

/// A duration as Go writes it, of one unit.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3_600)),
        _ => None,
    }
}

/// Query values, of which one that is only named counts as set.
pub fn is_set(query: &BTreeMap<String, String>, key: &str) -> bool {
    query
        .get(key)
        .is_some_and(|value| !matches!(value.as_str(), "false" | "0"))
}
