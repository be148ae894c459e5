//! A Mesos agent: it registers with the leading master, and finds itself again after its own restart by
//! what it wrote below its work directory.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::master::{Peer, detect};
use super::{SESSION, VERSION};
use crate::changes::Watched;
use crate::process::{Process, Program};
use crate::record::Notes;
use crate::services::Surroundings;
use crate::services::flags::{Flags, zookeepers};
use crate::services::store::Folder;
use crate::services::tasks::{Stop, Tasks};
use crate::services::view::{Seat, Service};
use crate::services::web::{Client, Handler, Reply, Request, serve};

const KNOWN_FLAGS: &str = include_str!("../../../standins/flags/mesos-agent.tsv");
const RETRY: Duration = Duration::from_secs(1);
/// Without a ping for so long the agent looks for its master anew.
const PING_LIMIT: Duration = Duration::from_secs(75);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

pub struct Agent(pub Surroundings);

#[derive(Default)]
struct State {
    id: Option<String>,
    /// The master with which it is registered.
    master: Option<Peer>,
}

struct Shared {
    info: Value,
    client: Client,
    slaves: Folder,
    seat: Seat,
    state: Mutex<State>,
    notes: Notes,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Program for Agent {
    async fn run(&self, mut process: Process) -> i64 {
        let flags = match Flags::of_mesos(&process.command, KNOWN_FLAGS) {
            Ok(flags) => flags,
            Err(why) => return fail(&process, 1, &why.0),
        };
        let (Some(master), Some(work_dir)) = (flags.get("master"), flags.get("work_dir")) else {
            return fail(&process, 1, "EXIT with status 1: Missing required option");
        };
        let (servers, path) = zookeepers(master);
        let port: u16 = flags.parse("port", 5051).unwrap_or(5051);
        let Ok(listener) = process.network.listen(process.address, port) else {
            return fail(&process, 134, "Failed to initialize: Failed to bind");
        };
        let view = &self.0.view;
        let shared = Arc::new(Shared {
            info: info(&flags, &process, port),
            client: Client {
                network: process.network.clone(),
                from: process.address,
                limit: ANSWER_LIMIT,
            },
            slaves: Folder::mounted(&process, work_dir).below("meta/slaves"),
            seat: view.sit(Service::MesosAgent, process.address, &process.name),
            state: Mutex::default(),
            notes: process.notes(),
        });
        if let Err(why) = recall(&shared) {
            return fail(&process, 1, &why);
        }
        shared.notes.note("start");
        let mut tasks = Tasks::new();
        tasks.spawn(serve(listener, Arc::new(Answers(Arc::clone(&shared)))));
        let leader = Watched::new(None);
        tasks.spawn(stay_registered(shared, leader.clone()));
        let (world, from) = (self.0.clone(), process.address);
        tasks.spawn(async move {
            loop {
                let session = world.coordination.open(from, &servers, SESSION);
                detect(session, path.clone(), leader.clone()).await;
            }
        });
        match tasks.run(&mut process.signals).await {
            Stop::Term => 143,
            Stop::Exit(code, why) => fail(&process, code, &why),
        }
    }
}

fn fail(process: &Process, code: i64, why: &str) -> i64 {
    process.log.line(why);
    code
}

fn info(flags: &Flags, process: &Process, port: u16) -> Value {
    let address = flags.text("advertise_ip", &flags.text("ip", ""));
    let address: Ipv4Addr = address.parse().unwrap_or(process.address);
    let attributes = flags.text("attributes", "");
    let attributes: BTreeMap<&str, &str> = attributes
        .split(';')
        .filter_map(|pair| pair.split_once(':'))
        .collect();
    json!({
        "hostname": flags.text("hostname", &process.hostname),
        "address": address.to_string(),
        "port": port,
        "pid": format!("slave(1)@{address}:{port}"),
        "attributes": attributes,
        "version": VERSION,
    })
}

/// Finds the agent that ran here before; one with other attributes is another agent.
fn recall(shared: &Shared) -> Result<(), String> {
    let Some(former) = shared.slaves.read::<Value>("latest") else {
        shared
            .slaves
            .write("latest", &json!({ "info": shared.info }));
        return Ok(());
    };
    if former["info"] != shared.info {
        let why = "Failed to perform recovery: Incompatible agent info detected.";
        return Err(format!("EXIT with status 1: {why}"));
    }
    shared.state().id = former["id"].as_str().map(str::to_owned);
    Ok(())
}

/// Registers again and again.
async fn stay_registered(shared: Arc<Shared>, masters: Watched<Option<Peer>>) {
    loop {
        let Some(master) = masters.wait_for(Option::is_some).await else {
            return;
        };
        tokio::select! {
            biased;
            _ = masters.wait_for(|now| now.as_ref() != Some(&master)) => {}
            () = async {
                follow_master(&shared, &master).await;
                sleep(RETRY).await;
            } => {}
        }
        shared.state().master = None;
        shared.seat.set(|row| row.serves = false);
    }
}

/// Registers with a master and reads its pings until the connection ends.
async fn follow_master(shared: &Shared, master: &Peer) {
    let id = shared.state().id.clone();
    let registration = json!({ "id": id, "info": shared.info });
    let request = Request::post("/master/agents", &registration);
    let client = &shared.client;
    let lines = client.follow(master.address, master.port, request).await;
    let Ok(mut lines) = lines else { return };
    while let Ok(Some(line)) = timeout(PING_LIMIT, lines.next()).await {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(id) = line["registered"].as_str() {
            {
                let mut state = shared.state();
                state.id = Some(id.to_owned());
                state.master = Some(master.clone());
            }
            let latest = json!({ "id": id, "info": shared.info });
            shared.slaves.write("latest", &latest);
            shared.seat.set(|row| row.serves = true);
            shared
                .notes
                .note(format!("registered {id} {}", master.address));
        }
    }
}

struct Answers(Arc<Shared>);

#[async_trait]
impl Handler for Answers {
    async fn answer(&self, request: Request) -> Reply {
        let state = self.0.state();
        match request.path.as_str() {
            "/health" => Reply::text(200, ""),
            "/metrics/snapshot" => {
                let registered = if state.master.is_some() { 1.0 } else { 0.0 };
                Reply::json(200, &json!({ "slave/registered": registered }))
            }
            "/state" => {
                let master = state.master.as_ref().map(|master| &master.hostname);
                let info = &self.0.info;
                let answer = json!({ "version": VERSION, "id": state.id, "pid": info["pid"],
                    "hostname": info["hostname"], "master_hostname": master });
                Reply::json(200, &answer)
            }
            _ => Reply::text(404, "404 Not Found."),
        }
    }
}
