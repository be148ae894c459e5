//! The engine without hosts: sessions are scripted, and an unexpected operation fails the test.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use toots::desired::{self, Desired, Draw, Recorded};
use toots::engine::{self, Cancel, EndCause, HostInfo, RunContext, RunOptions, RunTimeouts};
use toots::env::{MachineFiles, Randomness, WallClock};
use toots::event::{Event, EventSink, Outcome};
use toots::host::fake::FakeHost;
use toots::host::{
    Dial, Facts, FileStatus, HostAnswer, HostSession, Observation, Operation, OperationError,
    TransportError,
};
use toots::inventory::{self, Inventory};
use toots::plan::Limits;
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{HostName, Role, Secret};

const INVENTORY: &str =
    "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\nslaves = [\"10.0.0.4\"]\n";

#[path = "engine/checks.rs"]
mod checks;
#[path = "engine/masters.rs"]
mod masters;

struct Fixed;

impl Draw for Fixed {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "0123".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new("s")
    }
}

/// Sessions by host; a host without one is unreachable.
#[derive(Default)]
struct Played {
    sessions: BTreeMap<HostName, Arc<FakeHost>>,
}

#[async_trait]
impl Dial for Played {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        match self.sessions.get(host) {
            Some(session) => Ok(Arc::clone(session) as Arc<dyn HostSession>),
            None => Err(TransportError::Unreachable {
                address: host.to_string(),
                why: "no answer".into(),
            }),
        }
    }
}

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl EventSink for RecordedEvents {
    fn send(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

fn host(n: u8) -> HostName {
    HostName::new(format!("10.0.0.{n}")).unwrap()
}

fn build(inventory: &Inventory, recorded: &Recorded) -> Desired {
    desired::build(inventory, &Playbook::load(None).unwrap(), recorded, &Fixed).unwrap()
}

fn context(dial: Played, heard: &Arc<RecordedEvents>) -> RunContext {
    context_of(INVENTORY, dial, heard)
}

fn context_of(text: &str, dial: Played, heard: &Arc<RecordedEvents>) -> RunContext {
    let inventory = inventory::parse(text, "inventory.toml", Path::new(".")).unwrap();
    context_for(inventory, dial, heard)
}

fn context_for(inventory: Inventory, dial: Played, heard: &Arc<RecordedEvents>) -> RunContext {
    let hosts: Vec<HostInfo> = inventory
        .hosts
        .iter()
        .map(|h| HostInfo {
            name: h.name.clone(),
            address: h.address,
            roles: h.roles.clone(),
        })
        .collect();
    RunContext {
        command: "cluster up".into(),
        cluster: inventory.cluster.clone(),
        scope: hosts
            .iter()
            .map(|host| host.name.clone())
            .collect::<BTreeSet<_>>(),
        hosts,
        masters: inventory.with_role(Role::Master).count(),
        offline: build(&inventory, &Recorded::default()),
        vip: None,
        domain: "consul".into(),
        build: Box::new(move |recorded| Ok(build(&inventory, recorded))),
        dial: Arc::new(dial),
        clock: WallClock::system(),
        random: Randomness::system(),
        files: Arc::new(MachineFiles),
        events: Arc::clone(heard) as Arc<dyn EventSink>,
        limits: Limits::default(),
        timeouts: RunTimeouts::default(),
        mode: RunOptions::default(),
        registry: None,
        owner: "me@here".into(),
        run_id: "1".into(),
        cancel: Cancel::default(),
        settings: BTreeMap::new(),
    }
}

/// What is found on a suitable machine without an Engine.
fn sound(n: u8) -> Observation {
    let mut observation = Observation::default();
    let space_kib = 52_428_800;
    observation.facts = Facts {
        hostname: format!("h{n}"),
        kernel: "6.12".into(),
        arch: "x86_64".into(),
        os_id: "debian".into(),
        machine_id: format!("id{n}"),
        mem_total_kib: 8_388_608,
        docker_root: "/var/lib/docker".into(),
        disk_free_docker_kib: space_kib,
        disk_free_data_kib: space_kib,
        own_name_resolves_to: vec![[10, 0, 0, n].into()],
        nics: [("eth0".to_owned(), vec![[10, 0, 0, n].into()])].into(),
        systemd: true,
        cgroup_version: 2,
        mounts: [("/".to_owned(), true)].into(),
        package_managers: vec!["apt-get".into()],
        ..Facts::default()
    };
    observation
}

/// A session that answers the observation with this and with files below /etc/toots, and does
/// nothing else.
fn observed(n: u8, mut observation: Observation, files: Vec<(&'static str, Vec<u8>)>) -> FakeHost {
    for (path, content) in files {
        let file = FileStatus {
            kind: 'f',
            mode: 0o644,
            content: Some(content),
            ..FileStatus::default()
        };
        observation.files.insert(path.to_owned(), file);
    }
    observation.take_records();
    FakeHost::new(host(n)).on_run(move |operation| {
        matches!(operation, Operation::Observe(_))
            .then(|| Ok(HostAnswer::Observe(Box::new(observation.clone()))))
    })
}

/// A session on which no command is expected.
fn silent(n: u8) -> (HostName, Arc<FakeHost>) {
    (host(n), Arc::new(FakeHost::new(host(n))))
}

#[tokio::test]
async fn a_slow_login_shell_is_named() {
    let mut sessions: BTreeMap<_, _> = [silent(2), silent(3)].into();
    let slow = FakeHost::new(host(1)).with_slow_login(std::time::Duration::from_millis(12_300));
    sessions.insert(host(1), Arc::new(slow));
    let heard = Arc::new(RecordedEvents::default());
    engine::up(&context(Played { sessions }, &heard)).await;
    let events = heard.0.lock().unwrap();
    let warnings: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { host, text, .. } => host.clone().zip(Some(text.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        warnings,
        [(
            host(1),
            "login shell of 10.0.0.1 takes 12 s; see its startup files, e.g. ~/.bashrc"
        )]
    );
}

/// Below a majority of the masters no command is sent to anyone.
#[tokio::test]
async fn nothing_is_asked_below_a_majority() {
    let sessions: BTreeMap<_, _> = [silent(1), silent(4)].into();
    let played: Vec<_> = sessions.values().cloned().collect();
    let heard = Arc::new(RecordedEvents::default());
    let result = engine::up(&context(Played { sessions }, &heard)).await;
    assert_eq!((result.exit_code, result.changed), (3, 0));
    assert_eq!(result.hosts[&host(2)].outcome, Outcome::Unreachable);
    assert_eq!(
        result.error.as_deref(),
        Some("1 of 3 masters are usable, 2 are required; nothing was changed on any host")
    );
    for session in played {
        assert!(
            session.operations().is_empty()
                && session.targets().is_empty()
                && session.unexpected().is_empty()
        );
    }
    let events = heard.0.lock().unwrap();
    let said = events
        .iter()
        .any(|event| matches!(event, Event::Warning { text, .. } if text.contains("1 of 3 masters are usable, 2 are required")));
    assert!(said, "{events:?}");
    assert!(
        matches!(events.last(), Some(Event::Result(_))),
        "the result is the last event"
    );
}

/// A host that cannot be observed is named; the observation is one operation and requests to the
/// Engine, nothing else.
#[tokio::test]
async fn a_reading_that_fails_changes_nothing() {
    let session = |n: u8| {
        let fails = FakeHost::new(host(n)).on_run(|_| {
            Some(Err(OperationError::Failed {
                status: 1,
                stdout: Vec::new(),
                stderr: Vec::new(),
            }))
        });
        (host(n), Arc::new(fails))
    };
    let sessions: BTreeMap<_, _> = [session(1), session(2), session(3), session(4)].into();
    let played: Vec<_> = sessions.values().cloned().collect();
    let heard = Arc::new(RecordedEvents::default());
    let result = engine::up(&context(Played { sessions }, &heard)).await;
    assert_eq!((result.exit_code, result.changed), (3, 0));
    for session in played {
        let operations = session.operations();
        assert!(matches!(operations[..], [Operation::Observe(_)]));
        assert_eq!(result.hosts[session.host()].outcome, Outcome::Failed);
    }
}

/// Never answers a connection.
struct Silent;

#[async_trait]
impl Dial for Silent {
    async fn dial(&self, _host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        std::future::pending().await
    }
}

fn silent_context(heard: &Arc<RecordedEvents>) -> RunContext {
    RunContext {
        dial: Arc::new(Silent),
        ..context(Played::default(), heard)
    }
}

/// Has a bug.
struct PanickingDial;

#[async_trait]
impl Dial for PanickingDial {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        panic!("no way to {host}")
    }
}

#[tokio::test]
async fn a_panic_is_a_cause_to_end_and_has_a_result() {
    let heard = Arc::new(RecordedEvents::default());
    let cx = RunContext {
        dial: Arc::new(PanickingDial),
        ..context(Played::default(), &heard)
    };
    let result = engine::up(&cx).await;
    assert_eq!((result.exit_code, result.changed), (1, 0));
    assert_eq!(result.error.as_deref(), Some(EndCause::Panicked.as_str()));
    let events = heard.0.lock().unwrap();
    assert!(
        matches!(events.last(), Some(Event::Result(_))),
        "{events:?}"
    );
}

#[tokio::test]
async fn every_signal_ends_a_run_at_once_and_with_its_own_code() {
    for (cause, code) in [
        (EndCause::Interrupted, 130),
        (EndCause::Terminated, 143),
        (EndCause::HungUp, 129),
    ] {
        let heard = Arc::new(RecordedEvents::default());
        let cx = silent_context(&heard);
        let request = async {
            tokio::task::yield_now().await;
            cx.cancel.cancel(cause)
        };
        let (result, first) = futures::join!(engine::up(&cx), request);
        assert!(first);
        assert_eq!((result.exit_code, result.changed), (code, 0));
        assert_eq!(result.error.as_deref(), Some(cause.as_str()));
        let events = heard.0.lock().unwrap();
        assert!(
            matches!(events.last(), Some(Event::Result(_))),
            "{events:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_connecting_too() {
    let heard = Arc::new(RecordedEvents::default());
    let cx = silent_with_deadline(&heard);
    let started = tokio::time::Instant::now();
    let result = engine::up(&cx).await;
    assert_eq!(result.exit_code, 8);
    assert_eq!(started.elapsed().as_secs(), 20);
    let planned = engine::observe_and_plan(&silent_with_deadline(&heard)).await;
    assert_eq!(planned.err().unwrap().exit_code, 8);
    let checked = engine::check(&silent_with_deadline(&heard)).await;
    assert_eq!(checked.exit_code, 8);
}

fn silent_with_deadline(heard: &Arc<RecordedEvents>) -> RunContext {
    let mut cx = silent_context(heard);
    cx.timeouts.run = Some(std::time::Duration::from_secs(20));
    cx
}
