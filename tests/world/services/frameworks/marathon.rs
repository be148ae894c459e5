//! Marathon. It ends where others wait, with the recorded codes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::driver::{Event, stay_registered};
use super::{Member, is_connected};
use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::coordination::Link;
use crate::services::flags::{BadFlag, Flags, zookeepers};
use crate::services::tasks::{Stop, Tasks};
use crate::services::view::Service;
use crate::services::web::{self, Handler, Reply, Request};

/// What a Java process takes until it begins.
const START: Duration = Duration::from_secs(8);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const SESSION: Duration = Duration::from_secs(10);
/// From the election to the first answer.
const TAKE_OVER: Duration = Duration::from_millis(800);
/// How often, and after which pause, an instance that does not serve looks for a leader that does.
const LEADER_SEARCHES: u32 = 11;
const LEADER_PAUSE: Duration = Duration::from_millis(250);
const FORWARD_LIMIT: Duration = Duration::from_secs(10);
const VERSION: &str = "1.11.24";
const FLAGS: [&str; 5] = ["master", "zk", "hostname", "http_address", "http_port"];

/// Exit codes.
const ZK_CONNECT: i64 = 100;
const ZK_LOST: i64 = 101;
const LEADERSHIP_LOST: i64 = 103;
const TWICE: i64 = 104;
const SCHEDULER_ERROR: i64 = 106;
const UNCAUGHT: i64 = 107;
const BIND: i64 = 111;

pub struct Marathon(pub Surroundings);

#[async_trait]
impl Program for Marathon {
    async fn run(&self, mut process: Process) -> i64 {
        let (flags, port) = match read_arguments(&process.command) {
            Ok(read) => read,
            Err((code, why)) => return fail(&process, code, &why),
        };
        let term = async |process: &mut Process| {
            while process.signals.recv().await != Some(Signal::Term) {}
        };
        tokio::select! {
            biased;
            () = term(&mut process) => return 143,
            () = sleep(START) => {}
        }
        let (servers, path) = zookeepers(&flags.text("zk", ""));
        let session = self.0.coordination.open(process.address, &servers, SESSION);
        if timeout(CONNECT_LIMIT, is_connected(&*session))
            .await
            .is_err()
        {
            return fail(&process, ZK_CONNECT, "Failed to connect to ZooKeeper");
        }
        let Ok(listener) = process.network.listen(process.address, port) else {
            return fail(&process, BIND, "Failed to bind: Address already in use");
        };
        let mut tasks = Tasks::new();
        let member = Member::new(
            &self.0,
            &process,
            Service::Marathon,
            (flags.text("hostname", &process.hostname), port),
            flags.text("master", ""),
            session,
            tasks.handle(),
        );
        tasks.spawn(web::serve(listener, Arc::new(Answers(Arc::clone(&member)))));
        tasks.spawn(follow_election(Arc::clone(&member), path));
        let stop = tasks.run(&mut process.signals).await;
        member.session().close().await;
        match stop {
            Stop::Term => 143,
            Stop::Exit(code, why) => fail(&process, code, &why),
        }
    }
}

fn read_arguments(command: &[String]) -> Result<(Flags, u16), (i64, String)> {
    let bad = |code: i64| move |BadFlag(why)| (code, why);
    let flags = Flags::of_pairs(command, &FLAGS).map_err(bad(1))?;
    for name in ["master", "zk"] {
        if !flags.text(name, "").starts_with("zk://") {
            return Err((1, format!("[scallop] Error: Bad arguments for '{name}'")));
        }
    }
    let port = flags.parse("http_port", 8080).map_err(bad(UNCAUGHT))?;
    Ok((flags, port))
}

fn fail(process: &Process, code: i64, why: &str) -> i64 {
    process
        .log
        .line(format!("{why}; shutting down with exit code {code}"));
    code
}

/// Follows the latch; ends the process where leadership or ZooKeeper is lost.
async fn follow_election(member: Arc<Member>, path: String) {
    let prefix = format!("{path}/leader-curator/latch-");
    let session = member.session();
    let server = session.server();
    let mut joined = None;
    loop {
        let seen = session.version();
        // A connection to another server is a lost one too: it was suspended meanwhile.
        if session.link() != Link::Connected || session.server() != server {
            return member.tasks.exit(ZK_LOST, "Lost connection to ZooKeeper");
        }
        if joined.is_none() {
            joined = session.join(&prefix, &member.own).await;
        }
        if let Some(members) = session.members(&prefix).await {
            let leader = members.first_key_value();
            let leads = joined.is_some() && leader.map(|(number, _)| *number) == joined;
            if leads && members.values().filter(|own| **own == member.own).count() > 1 {
                let why = "Multiple election participants have the same id";
                return member.tasks.exit(TWICE, why);
            }
            let was_leading = {
                let mut state = member.state();
                state.leader = leader.map(|(_, leader)| leader.clone());
                std::mem::replace(&mut state.leads, leads)
            };
            if was_leading && !leads {
                return member.tasks.exit(LEADERSHIP_LOST, "Leadership lost");
            }
            if leads && !was_leading {
                member.tasks.spawn(lead(Arc::clone(&member), path.clone()));
            }
        }
        session.changed(seen).await;
    }
}

/// Reads its state and serves until the process ends.
async fn lead(member: Arc<Member>, path: String) {
    sleep(TAKE_OVER).await;
    let session = member.session();
    let node = format!("{path}/state/framework:id");
    let Some(framework_id) = session.read(&node).await else {
        // The connection is lost, which ends the process.
        return;
    };
    member.begin_to_lead(framework_id);
    let (sender, mut events) = mpsc::unbounded_channel();
    let driver = stay_registered(Arc::clone(&member), "marathon", sender);
    member.tasks.spawn(driver);
    while let Some(event) = events.recv().await {
        match event {
            Event::Registered(id) => {
                // An unacknowledged write is repeated with the next registration.
                let _ = session.write(&node, &id).await;
                member.notes.note(format!("registered {id}"));
            }
            Event::Disconnected => member
                .tasks
                .exit(LEADERSHIP_LOST, "Disconnected from the Mesos master"),
            Event::FailedOver => member
                .tasks
                .exit(SCHEDULER_ERROR, "Error: Framework failed over"),
        }
    }
}

struct Answers(Arc<Member>);

#[async_trait]
impl Handler for Answers {
    async fn answer(&self, request: Request) -> Reply {
        let member = &self.0;
        for _ in 0..LEADER_SEARCHES {
            let (leads, serves, leader) = {
                let state = member.state();
                (state.leads, state.serves, state.leader.clone())
            };
            if serves {
                let leader = format!("http://{}", member.own);
                return answer(member, &request).with("X-Marathon-Leader", leader);
            }
            if let Some(leader) = leader.filter(|_| !leads) {
                return pass_on(member, &leader, request).await;
            }
            sleep(LEADER_PAUSE).await;
        }
        Reply::text(502, "Could not determine the current leader")
    }
}

fn answer(member: &Member, request: &Request) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        (_, "/ping") => Reply::text(200, "pong"),
        ("DELETE", "/v2/leader") => {
            member.tasks.exit(LEADERSHIP_LOST, "Leadership abdicated");
            Reply::json(200, &json!({ "message": "Leadership abdicated" }))
        }
        (_, "/v2/leader") => Reply::json(200, &json!({ "leader": member.own })),
        (_, "/v2/info") => {
            let mut info = json!({ "name": "marathon", "version": VERSION, "elected": true,
                "leader": member.own });
            if let Some(id) = &member.state().framework_id {
                info["frameworkId"] = json!(id);
            }
            Reply::json(200, &info)
        }
        _ => Reply::json(500, &json!({ "message": "URI not found" })),
    }
}

async fn pass_on(member: &Member, leader: &str, request: Request) -> Reply {
    if request.method == "HEAD" {
        return Reply::text(500, "Server Error");
    }
    match member.forward(leader, request, FORWARD_LIMIT).await {
        Ok(answer) => {
            let mut reply = Reply::text(answer.status, answer.text());
            for name in ["content-type", "x-marathon-leader"] {
                if let Some(value) = answer.headers.get(name) {
                    reply = reply.with(name, value);
                }
            }
            reply.with("X-Marathon-Via", format!("1.1 {}", member.own))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::InvalidInput => Reply::text(502, "Detected proxying loop."),
            io::ErrorKind::ConnectionRefused => Reply::text(502, "Connection to leader refused."),
            _ => Reply::text(500, "Server Error"),
        },
    }
}
