//! Machines that run only ZooKeeper and Consul, for the tests of this room. Their configuration is
//! what toots renders, as the golden files keep it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::files::Files;
use crate::network::Network;
use crate::process::{Log, Process, Program, Signal};
use crate::record::Record;
use crate::services::bound::Quorums;
use crate::services::{consul, zookeeper};

const GOLDEN: &str = include_str!("../../golden/contents.txt");
pub struct Running {
    task: JoinHandle<i64>,
    signals: mpsc::UnboundedSender<Signal>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct Lab {
    pub network: Network,
    pub record: Record,
    pub quorums: Quorums,
    pub ensemble: zookeeper::Ensemble,
    pub cluster: consul::Cluster,
    /// The disks of the machines, which outlive their processes.
    pub files: BTreeMap<u8, Files>,
    running: BTreeMap<u8, Running>,
}

/// How a ZooKeeper member is configured, where it differs from what toots renders for three.
#[derive(Debug, Clone)]
pub struct Zk {
    pub machine: u8,
    pub id: String,
    /// Numbers and machines of its list.
    pub list: Vec<(u32, u8)>,
    pub autocreate: bool,
    /// The file that lets a member without data found an ensemble.
    pub has_initialize: bool,
    /// Lines that replace those with the same key; without a value the key is left out.
    pub edits: Vec<(&'static str, Option<&'static str>)>,
}

impl Zk {
    pub fn new(machine: u8) -> Self {
        Self {
            machine,
            id: machine.to_string(),
            list: vec![(1, 1), (2, 2), (3, 3)],
            autocreate: false,
            has_initialize: true,
            edits: Vec::new(),
        }
    }

    /// As the real one's default: members without data found an ensemble.
    pub fn autocreate(machine: u8) -> Self {
        Self {
            autocreate: true,
            has_initialize: false,
            ..Self::new(machine)
        }
    }

    pub fn with_list(mut self, machines: &[u8]) -> Self {
        self.list = machines.iter().map(|n| (u32::from(*n), *n)).collect();
        self
    }

    fn text(&self) -> String {
        let own = format!("clientPortAddress={}", address(self.machine.min(3)));
        let base = golden("/etc/toots/zookeeper/zoo.cfg", &own);
        let own = address(self.machine).to_string();
        let mut text: String = base
            .lines()
            .filter(|line| !line.starts_with("server."))
            .filter(|line| {
                let key = line.split('=').next().unwrap_or_default();
                !self.edits.iter().any(|(edited, _)| *edited == key)
            })
            .map(|line| {
                let key = "clientPortAddress=";
                if line.starts_with(key) {
                    format!("{key}{own}\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        for (id, machine) in &self.list {
            if !self.edits.iter().any(|(key, _)| *key == "servers") {
                text += &format!("server.{id}={}:2888:3888\n", address(*machine));
            }
        }
        for (key, value) in &self.edits {
            if let Some(value) = value.filter(|_| *key != "servers") {
                text += &format!("{key}={value}\n");
            }
        }
        text
    }
}

/// How a Consul agent is configured, where it differs from what toots renders for three.
#[derive(Debug, Clone)]
pub struct Cs {
    pub machine: u8,
    pub is_server: bool,
    /// The recordings' own settings: a multiplier of 5 and no lower limit of servers.
    pub multiplier: u32,
    pub min_quorum: usize,
    /// Keys that replace those of the file; null removes one.
    pub edits: Vec<(&'static str, Value)>,
}

impl Cs {
    pub fn server(machine: u8) -> Self {
        Self {
            machine,
            is_server: true,
            multiplier: 5,
            min_quorum: 0,
            edits: Vec::new(),
        }
    }

    pub fn client(machine: u8) -> Self {
        Self {
            is_server: false,
            ..Self::server(machine)
        }
    }

    pub fn with(mut self, key: &'static str, value: Value) -> Self {
        self.edits.push((key, value));
        self
    }

    fn text(&self) -> String {
        let kind = format!("\"server\": {}", self.is_server);
        let base = golden("/etc/toots/consul/consul.json", &kind);
        let mut file: Value = serde_json::from_str(base).expect("JSON");
        let own = address(self.machine).to_string();
        file["node_name"] = json!(format!("s{}", self.machine));
        file["datacenter"] = json!("dc1");
        file["bind_addr"] = json!(own);
        file["advertise_addr"] = json!(own);
        file["client_addr"] = json!(format!("{own} 127.0.0.1"));
        // The golden files do not show the key.
        file["encrypt"] = json!("q6urq6urq6urq6urq6urqw==");
        if self.is_server {
            file["performance"]["raft_multiplier"] = json!(self.multiplier);
            file["autopilot"]["min_quorum"] = json!(self.min_quorum);
        }
        for (key, value) in &self.edits {
            file[*key] = value.clone();
        }
        if let Value::Object(object) = &mut file {
            object.retain(|_, value| !value.is_null());
        }
        file.to_string()
    }
}

/// A rendered file that contains `text`.
fn golden(path: &str, text: &str) -> &'static str {
    let sections = GOLDEN
        .split("##### ")
        .filter_map(|section| section.split_once('\n'));
    let found = sections
        .filter(|(head, _)| head.ends_with(path))
        .find(|(_, body)| body.contains(text));
    found.expect("a rendered file").1
}

pub fn address(machine: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + machine)
}

pub const CONSUL_DATA: &str = "/var/lib/toots/consul";

pub const ZK_DATA: [&str; 2] = [
    "/var/lib/toots/zookeeper/data/version-2",
    "/var/lib/toots/zookeeper/datalog/version-2",
];

impl Lab {
    pub fn new() -> Self {
        let network = Network::default();
        let quorums = Quorums::new(&network, 1);
        Self {
            record: Record::default(),
            ensemble: quorums.ensemble.clone(),
            cluster: quorums.cluster.clone(),
            quorums,
            network,
            files: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    pub fn files(&mut self, machine: u8) -> Files {
        self.files.entry(machine).or_default().clone()
    }

    /// Places a member's files and starts it.
    pub fn start_zk(&mut self, zk: &Zk) {
        let files = self.files(zk.machine);
        files.write("/etc/toots/zookeeper/zoo.cfg", zk.text(), 0o644);
        let base = "/var/lib/toots/zookeeper";
        if !zk.id.is_empty() {
            files.write(&format!("{base}/data/myid"), format!("{}\n", zk.id), 0o644);
        }
        for dir in ["data", "datalog"] {
            files.write(&format!("{base}/{dir}/.keep"), "", 0o644);
        }
        if zk.has_initialize && files.below(ZK_DATA[0]).is_empty() {
            files.write(
                &format!("{base}/datalog/initialize"),
                "created by toots\n",
                0o644,
            );
        }
        let program = self.quorums.program("zookeeper", "3.9.5");
        let flag = format!("-Xmx512m -Dzookeeper.db.autocreate={}", zk.autocreate);
        let env = BTreeMap::from([("JVMFLAGS".to_owned(), flag)]);
        let mounts = [
            ("/conf", "/etc/toots/zookeeper"),
            ("/data", "/var/lib/toots/zookeeper/data"),
            ("/datalog", "/var/lib/toots/zookeeper/datalog"),
        ];
        let command = ["/docker-entrypoint.sh", "zkServer.sh", "start-foreground"];
        self.start(
            zk.machine,
            program.expect("a program"),
            "toots-zookeeper",
            &command,
            env,
            &mounts,
        );
    }

    pub fn start(
        &mut self,
        machine: u8,
        program: Arc<dyn Program>,
        name: &str,
        command: &[&str],
        env: BTreeMap<String, String>,
        mounts: &[(&str, &str)],
    ) {
        let (signals, receiver) = mpsc::unbounded_channel();
        let process = Process {
            name: name.to_owned(),
            image: String::new(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env,
            mounts: mounts
                .iter()
                .map(|(inside, outside)| ((*inside).to_owned(), (*outside).to_owned()))
                .collect(),
            files: self.files(machine),
            address: address(machine),
            hostname: format!("m{machine}"),
            network: self.network.clone(),
            signals: receiver,
            log: Log::default(),
            record: self.record.clone(),
        };
        let task = tokio::spawn(async move { program.run(process).await });
        assert!(!self.runs(machine), "m{machine} runs already");
        self.running.insert(machine, Running { task, signals });
    }

    pub fn runs(&self, machine: u8) -> bool {
        self.running
            .get(&machine)
            .is_some_and(|running| !running.task.is_finished())
    }

    /// Ends a process at once.
    pub async fn kill(&mut self, machine: u8) {
        if let Some(mut running) = self.running.remove(&machine) {
            running.task.abort();
            let _ = (&mut running.task).await;
        }
    }

    /// Sends SIGTERM; the exit code of the process.
    pub async fn terminate(&mut self, machine: u8) -> Option<i64> {
        let mut running = self.running.remove(&machine)?;
        let _ = running.signals.send(Signal::Term);
        (&mut running.task).await.ok()
    }

    /// The exit code of a process that ends by itself within `limit`.
    pub async fn exit(&mut self, machine: u8, limit: Duration) -> Option<i64> {
        let running = self.running.get_mut(&machine)?;
        let code = tokio::time::timeout(limit, &mut running.task).await;
        self.running.remove(&machine).filter(|_| code.is_ok())?;
        code.ok()?.ok()
    }

    /// Places an agent's file and starts it.
    pub fn start_consul(&mut self, cs: &Cs) {
        let files = self.files(cs.machine);
        files.write("/etc/toots/consul/consul.json", cs.text(), 0o600);
        let mounts = [
            ("/consul/config", "/etc/toots/consul"),
            ("/consul/data", "/var/lib/toots/consul"),
        ];
        let program = self.quorums.program("consul", "1.22.0");
        let program = program.expect("a program");
        let command = ["docker-entrypoint.sh", "agent"];
        let env = BTreeMap::new();
        self.start(cs.machine, program, "toots-consul", &command, env, &mounts);
    }

    pub fn wipe_consul(&mut self, machine: u8) {
        self.files(machine).remove(CONSUL_DATA);
    }

    pub fn wipe_zk(&mut self, machine: u8) {
        let files = self.files(machine);
        for dir in ZK_DATA {
            files.remove(dir);
        }
    }

    /// A copy of what is below folders, and its way back.
    pub fn copy(&mut self, machine: u8, dirs: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let files = self.files(machine);
        let paths = dirs.iter().flat_map(|dir| files.below(dir));
        paths
            .filter_map(|path| Some((path.clone(), files.read(&path)?)))
            .collect()
    }

    pub fn put_back(&mut self, machine: u8, dirs: &[&str], copy: &BTreeMap<String, Vec<u8>>) {
        let files = self.files(machine);
        for dir in dirs {
            files.remove(dir);
        }
        for (path, bytes) in copy {
            files.write(path, bytes.clone(), 0o644);
        }
    }

    /// Cuts a machine off from others, or mends that.
    pub fn cut(&self, machine: u8, others: &[u8], is_cut: bool) {
        for other in others {
            self.network.cut(address(machine), address(*other), is_cut);
        }
    }
}

pub async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
