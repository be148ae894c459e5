//! What a ZooKeeper server reads at its start: zoo.cfg, myid and the flags of its JVM. A mistake ends
//! it with the exit code that the real one has.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::process::Process;

/// One `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLine {
    /// As written: an address or a name.
    pub host: String,
    pub quorum_port: u16,
    pub election_port: u16,
    pub is_observer: bool,
}

impl ServerLine {
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.host.parse().ok()
    }

    /// As `conf` shows it.
    pub fn text(&self) -> String {
        let role = if self.is_observer {
            "observer"
        } else {
            "participant"
        };
        format!(
            "{}:{}:{}:{role}",
            self.host, self.quorum_port, self.election_port
        )
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub id: u32,
    /// Every listed server, by its number; empty for one that runs alone.
    pub servers: BTreeMap<u32, ServerLine>,
    pub tick: Duration,
    pub init_limit: u32,
    pub sync_limit: u32,
    /// Folder of snapshots and epochs on the machine, with `version-2`.
    pub data_dir: String,
    /// Folder of the logs on the machine, with `version-2`.
    pub log_dir: String,
    /// Both folders as the configuration names them.
    pub named_dirs: (String, String),
    pub client_port: u16,
    pub client_address: String,
    pub max_connections: u32,
    pub whitelist: Vec<String>,
    pub admin: Option<(String, u16)>,
    /// A server without data may found an ensemble without an `initialize` file.
    pub autocreate: bool,
}

/// Exit code of a configuration that cannot be read.
const BAD_CONFIGURATION: i64 = 2;
const DEFAULT_CONFIGURATION: &str = "/conf/zoo.cfg";

impl Config {
    /// # Errors
    /// The exit code of a server with such a configuration.
    pub fn read(process: &Process) -> Result<Self, i64> {
        let path = process.command.iter().find(|word| word.ends_with(".cfg"));
        let path = path.map_or(DEFAULT_CONFIGURATION, String::as_str);
        let text = process.text(path).ok_or(BAD_CONFIGURATION)?;
        let values: BTreeMap<&str, &str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let text_of = |key: &str| values.get(key).map(|value| (*value).to_owned());
        let number = |key: &str, default: Option<u32>| match values.get(key) {
            Some(value) => value.parse().map_err(|_| BAD_CONFIGURATION),
            None => default.ok_or(BAD_CONFIGURATION),
        };
        let port = |key: &str, default: Option<u32>| {
            number(key, default).and_then(|port| u16::try_from(port).map_err(|_| BAD_CONFIGURATION))
        };
        let data = text_of("dataDir").ok_or(BAD_CONFIGURATION)?;
        let log = text_of("dataLogDir").unwrap_or_else(|| data.clone());
        let data_dir = existing_dir(process, &data)?;
        let log_dir = existing_dir(process, &log)?;
        let servers = server_lines(&values)?;
        let needs_limit = (!servers.is_empty()).then_some(());
        let limit = |key: &str| number(key, needs_limit.map_or(Some(0), |()| None));
        let is_standalone = servers.is_empty()
            || (servers.len() == 1 && values.get("standaloneEnabled") != Some(&"false"));
        let flags = process.env.get("JVMFLAGS").map_or("", String::as_str);
        let property = |name: &str| {
            let flag = format!("-Dzookeeper.{name}=");
            flags
                .split_whitespace()
                .find_map(|word| word.strip_prefix(&flag))
        };
        let admin = values.get("admin.enableServer") != Some(&"false");
        let admin_address = text_of("admin.serverAddress").unwrap_or_else(|| "0.0.0.0".into());
        let admin_port = port("admin.serverPort", Some(8080))?;
        let whitelist = values.get("4lw.commands.whitelist").unwrap_or(&"srvr");
        Ok(Self {
            id: if is_standalone {
                0
            } else {
                own_number(process, &data_dir, &servers)?
            },
            servers: if is_standalone {
                BTreeMap::new()
            } else {
                servers
            },
            tick: Duration::from_millis(u64::from(number("tickTime", Some(3000))?)),
            init_limit: limit("initLimit")?,
            sync_limit: limit("syncLimit")?,
            data_dir: format!("{data_dir}/version-2"),
            log_dir: format!("{log_dir}/version-2"),
            named_dirs: (format!("{data}/version-2"), format!("{log}/version-2")),
            client_port: port("clientPort", None)?,
            client_address: text_of("clientPortAddress").unwrap_or_else(|| "0.0.0.0".into()),
            max_connections: number("maxClientCnxns", Some(60))?,
            whitelist: whitelist
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
            admin: admin.then_some((admin_address, admin_port)),
            autocreate: property("db.autocreate") != Some("false"),
        })
    }

    pub fn is_standalone(&self) -> bool {
        self.servers.is_empty()
    }

    /// The voters that it lists.
    pub fn voters(&self) -> impl Iterator<Item = (u32, &ServerLine)> {
        let voters = self.servers.iter().filter(|(_, line)| !line.is_observer);
        voters.map(|(id, line)| (*id, line))
    }

    pub fn is_voter(&self, id: u32) -> bool {
        self.servers.get(&id).is_some_and(|line| !line.is_observer)
    }

    /// Voters that are more than half of all.
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// How long a server may take to find its leader and to copy its data.
    pub fn init_time(&self) -> Duration {
        self.tick * self.init_limit
    }

    /// How long leader and follower may not hear of each other.
    pub fn sync_time(&self) -> Duration {
        self.tick * self.sync_limit
    }
}

fn existing_dir(process: &Process, path: &str) -> Result<String, i64> {
    let path = process.on_machine(path).ok_or(BAD_CONFIGURATION)?;
    let exists = !process.files.below(&path).is_empty();
    exists.then_some(path).ok_or(BAD_CONFIGURATION)
}

fn server_lines(values: &BTreeMap<&str, &str>) -> Result<BTreeMap<u32, ServerLine>, i64> {
    let lines = values
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("server.")?, value)));
    lines
        .map(|(number, value)| {
            let number = number.parse().map_err(|_| BAD_CONFIGURATION)?;
            Ok((number, server_line(value).ok_or(BAD_CONFIGURATION)?))
        })
        .collect()
}

fn server_line(text: &str) -> Option<ServerLine> {
    let server = text.split(';').next()?;
    let mut parts = server.split(':');
    Some(ServerLine {
        host: parts.next()?.to_owned(),
        quorum_port: parts.next()?.parse().ok()?,
        election_port: parts.next()?.parse().ok()?,
        is_observer: parts.next() == Some("observer"),
    })
}

fn own_number(
    process: &Process,
    data_dir: &str,
    servers: &BTreeMap<u32, ServerLine>,
) -> Result<u32, i64> {
    let text = process.files.text(&format!("{data_dir}/myid"));
    let id = text.ok_or(BAD_CONFIGURATION)?;
    let id: u32 = id.trim().parse().map_err(|_| BAD_CONFIGURATION)?;
    // A number that nobody lists ends it later, with another code.
    if servers.contains_key(&id) {
        Ok(id)
    } else {
        Err(1)
    }
}
