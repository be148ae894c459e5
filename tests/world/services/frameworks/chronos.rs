//! Chronos. It waits while ZooKeeper is away, and a request at the wrong moment ends a standby.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::driver::{Event, stay_registered};
use super::{Member, is_connected};
use crate::process::{Process, Program, Signal};
use crate::services::coordination::{Link, Session};
use crate::services::flags::{BadFlag, Flags, zookeepers};
use crate::services::tasks::{Stop, Tasks};
use crate::services::view::{Row, Service};
use crate::services::web::{self, Handler, Reply, Request};
use crate::services::{Surroundings, split_image};

const START: Duration = Duration::from_secs(6);
/// Fixed in the program.
const SESSION: Duration = Duration::from_secs(40);
/// From the moment when the leader's node vanishes until the next leader serves.
const TAKE_OVER: Duration = Duration::from_millis(500);
/// How long its end takes, with its port closed.
const END: Duration = Duration::from_secs(30);
const FORWARD_LIMIT: Duration = Duration::from_secs(600);
const FLAGS: [&str; 5] = [
    "master",
    "zk_hosts",
    "hostname",
    "http_address",
    "http_port",
];
const LATCH: &str = "/chronos/state/candidate/latch-";
const FRAMEWORK_ID: &str = "/chronos/state/state/frameworkId";

pub struct Chronos(pub Surroundings);

struct Instance {
    member: Arc<Member>,
    /// `/v1`, which 2.x does not have.
    prefix: &'static str,
    resigned: Notify,
}

#[async_trait]
impl Program for Chronos {
    async fn run(&self, mut process: Process) -> i64 {
        let flags = match Flags::of_pairs(&process.command, &FLAGS) {
            Ok(flags) => flags,
            Err(BadFlag(why)) => return fail(&process, 1, &why),
        };
        let port = process.env.get("PORT0").map_or("4400", String::as_str);
        let Ok(port) = flags.text("http_port", port).parse::<u16>() else {
            let why = "[scallop] Error: Bad arguments for option 'http_port'";
            return fail(&process, 1, why);
        };
        let (servers, _) = zookeepers(&flags.text("zk_hosts", "localhost:2181"));
        let session = self.0.coordination.open(process.address, &servers, SESSION);
        let start = async {
            sleep(START).await;
            // Without ZooKeeper there is no HTTP, and no end either.
            is_connected(&*session).await;
        };
        tokio::select! {
            biased;
            Some(Signal::Term) = process.signals.recv() => return 143,
            () = start => {}
        }
        let Ok(listener) = process.network.listen(process.address, port) else {
            return fail(&process, 1, "Failed to start HTTP service");
        };
        let mut tasks = Tasks::new();
        let (_, version) = split_image(&process.image);
        let is_second = version.trim_start_matches('v').starts_with("2.");
        let member = Member::new(
            &self.0,
            &process,
            Service::Chronos,
            (flags.text("hostname", &process.hostname), port),
            flags.text("master", "local"),
            session,
            tasks.handle(),
        );
        let instance = Arc::new(Instance {
            member: Arc::clone(&member),
            prefix: if is_second { "" } else { "/v1" },
            resigned: Notify::new(),
        });
        let answers = Answers(Arc::clone(&instance));
        tasks.spawn(web::serve(listener, Arc::new(answers)));
        tasks.spawn(follow_election(instance, servers));
        let (code, why, takes) = match tasks.run(&mut process.signals).await {
            Stop::Term if member.state().leads => (143, String::new(), END),
            Stop::Term => (143, String::new(), Duration::ZERO),
            Stop::Exit(code, why) => (code, why, END),
        };
        member.session().close().await;
        drop(tasks);
        member.seat.set(|row| *row = Row::default());
        sleep(takes).await;
        fail(&process, code, &why)
    }
}

fn fail(process: &Process, code: i64, why: &str) -> i64 {
    process.log.line(why);
    code
}

/// Follows the latch. While ZooKeeper is away nothing changes; after its session's end it stands anew.
async fn follow_election(instance: Arc<Instance>, servers: Vec<(Ipv4Addr, u16)>) {
    let member = &instance.member;
    let mut joined = None;
    loop {
        let session = member.session();
        let seen = session.version();
        match session.link() {
            Link::Expired => {
                joined = None;
                let coordination = &member.world.coordination;
                member.set_session(coordination.open(member.address, &servers, SESSION));
                member.resign();
                instance.resigned.notify_waiters();
                continue;
            }
            Link::Connected => {
                if joined.is_none() {
                    joined = session.join(LATCH, &member.own).await;
                }
                follow_members(&instance, &*session, joined).await;
            }
            Link::Disconnected => {}
        }
        let until = member.state().leader_changed.map(|at| at + TAKE_OVER);
        let is_settling = until.is_some_and(|until| until > Instant::now());
        tokio::select! {
            biased;
            () = session.changed(seen) => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if is_settling => {}
        }
    }
}

async fn follow_members(instance: &Arc<Instance>, session: &dyn Session, joined: Option<u64>) {
    let Some(members) = session.members(LATCH).await else {
        return;
    };
    let leader = members.first_key_value();
    let leads = joined.is_some() && leader.map(|(number, _)| *number) == joined;
    let named = leader.map(|(_, leader)| leader.clone());
    let (begins, resigns) = {
        let mut state = instance.member.state();
        if state.leader != named {
            // The first leader that it learns of was there before.
            state.leader_changed = state.leader.is_some().then(Instant::now);
            state.leader = named;
        }
        let is_settled = state
            .leader_changed
            .is_none_or(|at| at.elapsed() >= TAKE_OVER);
        let begins = leads && !state.leads && is_settled;
        state.leads |= begins;
        (begins, state.leads && !leads)
    };
    if begins {
        instance.member.tasks.spawn(lead(Arc::clone(instance)));
    } else if resigns {
        instance.member.resign();
        instance.resigned.notify_waiters();
    }
}

/// Stays registered with Mesos as long as it leads.
async fn lead(instance: Arc<Instance>) {
    let member = &instance.member;
    let session = member.session();
    let framework_id = session.read(FRAMEWORK_ID).await.flatten();
    member.begin_to_lead(framework_id);
    let (sender, mut events) = mpsc::unbounded_channel();
    let follow = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::Registered(id) => {
                    // An unacknowledged write is repeated with the next registration.
                    let _ = session.write(FRAMEWORK_ID, &id).await;
                    member.notes.note(format!("registered {id}"));
                }
                Event::FailedOver => member.tasks.exit(1, "Framework failed over"),
                Event::Disconnected => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = instance.resigned.notified() => {}
        () = stay_registered(Arc::clone(member), "chronos-3.0.2", sender) => {}
        () = follow => {}
    }
}

struct Answers(Arc<Instance>);

#[async_trait]
impl Handler for Answers {
    async fn answer(&self, request: Request) -> Reply {
        let member = &self.0.member;
        // Every question is asked of ZooKeeper first; the session may be exchanged meanwhile.
        while member.session().link() != Link::Connected {
            let session = member.session();
            let seen = session.version();
            if session.link() != Link::Connected {
                session.changed(seen).await;
            }
        }
        let (serves, leader, is_settling) = {
            let state = member.state();
            let changed = state.leader_changed;
            let is_settling = changed.is_some_and(|at| at.elapsed() < TAKE_OVER);
            (state.serves, state.leader.clone(), is_settling)
        };
        if serves {
            return answer(&self.0, &request);
        }
        match leader.filter(|_| !is_settling) {
            Some(leader) => pass_on(&self.0, &leader, request).await,
            None => {
                let why = "Error trying to talk to zookeeper. Exiting.";
                member.tasks.exit(1, why);
                std::future::pending().await
            }
        }
    }
}

fn answer(instance: &Instance, request: &Request) -> Reply {
    let path = request.path.as_str();
    if path == "/ping" {
        return Reply::text(200, "pong\n");
    }
    match path.strip_prefix(instance.prefix) {
        Some("/scheduler/leader") => Reply::json(200, &json!({ "leader": instance.member.own })),
        _ => Reply::text(404, ""),
    }
}

async fn pass_on(instance: &Instance, leader: &str, request: Request) -> Reply {
    match instance
        .member
        .forward(leader, request, FORWARD_LIMIT)
        .await
    {
        // The body of an error does not arrive, and the client waits for it.
        Ok(answer) if answer.status >= 400 && !instance.prefix.is_empty() => {
            std::future::pending().await
        }
        Ok(answer) => {
            let kind = answer.headers.get("content-type").cloned();
            Reply::text(answer.status, answer.text()).with("Content-Type", kind.unwrap_or_default())
        }
        Err(_) => Reply::text(500, "Error proxying request to leader"),
    }
}
