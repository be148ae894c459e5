//! The engine without hosts: sessions are played, and a command that was not foreseen is a failure of the test.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use toots::desired::{self, Desired, Draw, Recorded};
use toots::engine::{self, Cancel, Context, HostInfo, Mode, Timeouts};
use toots::event::{Event, EventSink, Outcome};
use toots::inventory::{self, Inventory};
use toots::plan::Limits;
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{HostName, Role, Secret};
use toots::transport::fake::FakeSession;
use toots::transport::{Dial, Session, TransportError};

const INVENTORY: &str =
    "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\nslaves = [\"10.0.0.4\"]\n";

struct Fixed;

impl Draw for Fixed {
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
    sessions: BTreeMap<HostName, Arc<FakeSession>>,
}

#[async_trait]
impl Dial for Played {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn Session>, TransportError> {
        match self.sessions.get(host) {
            Some(session) => Ok(Arc::clone(session) as Arc<dyn Session>),
            None => Err(TransportError::Unreachable {
                address: host.to_string(),
                why: "no answer".into(),
            }),
        }
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl EventSink for Heard {
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

fn context(dial: Played, heard: &Arc<Heard>) -> Context {
    let inventory = inventory::parse(INVENTORY, "inventory.toml", Path::new(".")).unwrap();
    let hosts: Vec<HostInfo> = inventory
        .hosts
        .iter()
        .map(|h| HostInfo {
            name: h.name.clone(),
            address: h.address,
            roles: h.roles.clone(),
        })
        .collect();
    Context {
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
        events: Arc::clone(heard) as Arc<dyn EventSink>,
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        mode: Mode::default(),
        registry: None,
        owner: "me@here".into(),
        run_id: "1".into(),
        cancel: Cancel::default(),
        settings: BTreeMap::new(),
    }
}

/// A session on which nothing at all is foreseen.
fn silent(n: u8) -> (HostName, Arc<FakeSession>) {
    (host(n), Arc::new(FakeSession::new(host(n))))
}

/// Below a majority of the masters no command is sent to anyone.
#[tokio::test]
async fn below_a_majority_nothing_is_asked_of_anyone() {
    let sessions: BTreeMap<_, _> = [silent(1), silent(4)].into();
    let played: Vec<_> = sessions.values().cloned().collect();
    let heard = Arc::new(Heard::default());
    let result = engine::up(&context(Played { sessions }, &heard)).await;
    assert_eq!((result.exit_code, result.changed), (3, 0));
    assert_eq!(result.hosts[&host(2)].outcome, Outcome::Unreachable);
    for session in played {
        assert!(
            session.commands().is_empty()
                && session.targets().is_empty()
                && session.unexpected().is_empty()
        );
    }
    let events = heard.0.lock().unwrap();
    let said = events
        .iter()
        .any(|event| matches!(event, Event::Warning { text, .. } if text.contains("1 of 3 masters can be used, 2 are needed")));
    assert!(said, "{events:?}");
    assert!(
        matches!(events.last(), Some(Event::Result(_))),
        "the result is the last event"
    );
}

/// A host whose reading fails is named; what the reading sent is one script and questions to the Engine, nothing else.
#[tokio::test]
async fn a_reading_that_fails_changes_nothing() {
    let session = |n: u8| {
        (
            host(n),
            Arc::new(FakeSession::new(host(n)).on_command("sh -s", 1, "")),
        )
    };
    let sessions: BTreeMap<_, _> = [session(1), session(2), session(3), session(4)].into();
    let played: Vec<_> = sessions.values().cloned().collect();
    let heard = Arc::new(Heard::default());
    let result = engine::up(&context(Played { sessions }, &heard)).await;
    assert_eq!((result.exit_code, result.changed), (3, 0));
    for session in played {
        assert_eq!(session.commands().len(), 1, "one script");
        assert!(session.commands()[0].privileged);
        assert_eq!(result.hosts[session.host()].outcome, Outcome::Failed);
    }
}
