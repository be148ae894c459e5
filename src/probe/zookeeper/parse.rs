//! Parses ZooKeeper's text answers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::probe::answer::{Answer, ProbeError};

/// The values of `mntr` that prove something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Monitor {
    /// Version without its build.
    pub version: String,
    /// `leader`, `follower`, `observer`, `standalone`, `read-only`.
    pub state: String,
    /// The number of members that it counts.
    pub quorum_size: Option<usize>,
    /// Transactions whose digest differed from the leader's; absent before 3.6.
    pub digest_mismatches: u64,
}

/// The values of `conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conf {
    /// Its own member number.
    pub id: u32,
    /// Addresses of all listed members.
    pub servers: BTreeMap<u32, String>,
}

/// The AdminServer's `zabstate`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ZabState {
    /// Its own member number; absent while it does not serve.
    #[serde(default)]
    pub myid: Option<u32>,
    /// Whether it votes.
    #[serde(default)]
    pub voting: bool,
    /// `broadcast` when it takes part.
    #[serde(default)]
    pub zabstate: String,
    #[serde(default)]
    error: Option<String>,
}

/// The AdminServer's `leader`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Leader {
    /// The leader's member number.
    pub leader_id: u32,
    /// Whether that is the answering member.
    pub is_leader: bool,
}

/// The digest of all data at one transaction. Digests of two versions cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Digest {
    /// The version of the algorithm.
    pub digest_version: u32,
    pub digest: i64,
}

/// The AdminServer's `hash`: digests by transaction id.
pub type Digests = BTreeMap<u64, Digest>;

/// The AdminServer's `voting_view`: addresses of all voters.
pub type View = BTreeMap<u32, String>;

fn utf8<'a>(question: &str, bytes: &'a [u8]) -> Answer<&'a str> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ProbeError::malformed(question, "not a text", bytes))?;
    for refusal in ["not currently serving requests", "not in the whitelist"] {
        if text.contains(refusal) {
            return Err(ProbeError::malformed(question, "not serving", bytes));
        }
    }
    Ok(text)
}

/// Parses `mntr`.
///
/// # Errors
/// When the member does not serve, the word is not on its whitelist, or the state is missing.
pub fn parse_monitor(bytes: &[u8]) -> Answer<Monitor> {
    let mut monitor = Monitor::default();
    for (key, value) in utf8("mntr", bytes)?
        .lines()
        .filter_map(|l| l.split_once('\t'))
    {
        let value = value.trim();
        match key {
            "zk_version" => {
                monitor.version = value
                    .split(['-', ',', ' '])
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            }
            "zk_server_state" => monitor.state = value.to_owned(),
            "zk_quorum_size" => monitor.quorum_size = value.parse().ok(),
            "zk_digest_mismatches_count" => {
                monitor.digest_mismatches = value.parse().unwrap_or(u64::MAX)
            }
            _ => {}
        }
    }
    if monitor.state.is_empty() {
        return Err(ProbeError::malformed("mntr", "no zk_server_state", bytes));
    }
    Ok(monitor)
}

/// The host in `host:2888:3888:participant;client`; the first of several addresses.
fn host_of(line: &str) -> String {
    let first = line.split('|').next().unwrap_or_default();
    match first
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, _)) => host.to_owned(),
        None => first.split(':').next().unwrap_or_default().to_owned(),
    }
}

/// Parses `conf`.
///
/// # Errors
/// When the member does not serve, the word is not on its whitelist, or its number is missing.
pub fn parse_conf(bytes: &[u8]) -> Answer<Conf> {
    let mut servers = BTreeMap::new();
    let mut id = None;
    for (key, value) in utf8("conf", bytes)?
        .lines()
        .filter_map(|l| l.split_once('='))
    {
        if key == "serverId" {
            id = value.trim().parse().ok();
        } else if let Some(number) = key.strip_prefix("server.").and_then(|n| n.parse().ok()) {
            servers.insert(number, host_of(value.trim()));
        }
    }
    let id = id.ok_or_else(|| ProbeError::malformed("conf", "no serverId", bytes))?;
    Ok(Conf { id, servers })
}

fn json<'a, T: Deserialize<'a>>(question: &str, bytes: &'a [u8]) -> Answer<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| ProbeError::malformed(question, format!("unexpected JSON ({e})"), bytes))
}

/// The AdminServer always answers 200; a failure is in `error`.
fn refused(question: &str, error: Option<&str>) -> Answer<()> {
    match error {
        Some(error) => Err(ProbeError::malformed(
            question,
            "not serving",
            error.as_bytes(),
        )),
        None => Ok(()),
    }
}

/// Reads `zabstate`.
///
/// # Errors
/// When the form is unexpected or the answer is an error.
pub fn parse_zabstate(bytes: &[u8]) -> Answer<ZabState> {
    let state: ZabState = json("zabstate", bytes)?;
    refused("zabstate", state.error.as_deref())?;
    Ok(state)
}

#[derive(Deserialize)]
struct ErrorOf {
    #[serde(default)]
    error: Option<String>,
}

/// Reads `leader`.
///
/// # Errors
/// When the form is unexpected or the answer is an error.
pub fn parse_leader(bytes: &[u8]) -> Answer<Leader> {
    refused("leader", json::<ErrorOf>("leader", bytes)?.error.as_deref())?;
    json("leader", bytes)
}

/// Reads `voting_view`.
///
/// # Errors
/// When the form is unexpected or the answer is an error.
pub fn parse_view(bytes: &[u8]) -> Answer<View> {
    #[derive(Deserialize)]
    struct Voter {
        server_addresses: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Reply {
        current_config: BTreeMap<u32, Voter>,
    }
    refused(
        "voting_view",
        json::<ErrorOf>("voting_view", bytes)?.error.as_deref(),
    )?;
    let reply: Reply = json("voting_view", bytes)?;
    Ok(reply
        .current_config
        .into_iter()
        .map(|(id, voter)| {
            (
                id,
                voter
                    .server_addresses
                    .first()
                    .map(|a| host_of(a))
                    .unwrap_or_default(),
            )
        })
        .collect())
}

/// Reads `hash`.
///
/// # Errors
/// When the form is unexpected or the answer is an error.
pub fn parse_hash(bytes: &[u8]) -> Answer<Digests> {
    #[derive(Deserialize)]
    struct Entry {
        zxid: u64,
        #[serde(flatten)]
        digest: Digest,
    }
    #[derive(Deserialize)]
    struct Reply {
        digests: Vec<Entry>,
    }
    refused("hash", json::<ErrorOf>("hash", bytes)?.error.as_deref())?;
    let reply: Reply = json("hash", bytes)?;
    let entries = reply.digests.into_iter();
    Ok(entries.map(|entry| (entry.zxid, entry.digest)).collect())
}
