//! What the tests of the simulated Engine share.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use toots::spec::HostName;

use super::{
    Behaviour, Engine, EngineSetup, Image, Machine, Payload, Registry, Shell, StoreKind, request,
};
use crate::files::Files;
use crate::network::Network;
use crate::record::Record;

pub const IMAGE: &str = "toots-lab/base:latest";

pub fn machine(name: &str) -> Machine {
    Machine {
        name: name.to_owned(),
        address: Ipv4Addr::new(10, 0, 0, 1),
        files: Files::default(),
        network: Network::default(),
        record: Record::default(),
    }
}

pub fn setup() -> EngineSetup {
    EngineSetup::new(machine("m1")).with_program("toots-lab/base", Arc::new(Shell))
}

/// An Engine with an image whose shell plays each [`Behaviour`].
pub fn engine() -> Engine {
    let engine = Engine::new(setup());
    engine.has_image(IMAGE, Image::new("toots-lab/base", "1"));
    engine
}

/// An Engine without images.
pub fn empty(name: &str, store: StoreKind, registry: &Registry) -> Engine {
    Engine::new(EngineSetup {
        store,
        registry: registry.clone(),
        ..EngineSetup::new(machine(name))
    })
}

pub async fn call(engine: &Engine, method: &str, uri: &str) -> (u16, Value) {
    send(engine, method, uri, Payload::None).await
}

pub async fn send(engine: &Engine, method: &str, uri: &str, payload: Payload) -> (u16, Value) {
    let sent = request(engine.connect("test"), method, uri, payload).await;
    let (status, body) = sent.expect("an answer");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Creates a container with a behaviour and a policy, and starts it.
pub async fn start(engine: &Engine, name: &str, behaviour: &str, policy: Value) {
    let mut behaviours = Behaviour::ALL.iter();
    let (_, _, command) = behaviours
        .find(|(other, ..)| *other == behaviour)
        .expect("a behaviour");
    let body = json!({
        "Image": IMAGE,
        "Cmd": command,
        "HostConfig": { "RestartPolicy": policy },
    });
    let uri = format!("/containers/create?name={name}");
    let (status, body) = send(engine, "POST", &uri, Payload::Json(body)).await;
    assert_eq!(status, 201, "{body}");
    let (status, body) = call(engine, "POST", &format!("/containers/{name}/start")).await;
    assert_eq!(status, 204, "{body}");
}

/// `STATE EXIT-CODE RESTARTS`
pub async fn state(engine: &Engine, name: &str) -> String {
    let (status, body) = call(engine, "GET", &format!("/containers/{name}/json")).await;
    assert_eq!(status, 200, "{body}");
    let status = body["State"]["Status"].as_str().unwrap_or_default();
    let code = &body["State"]["ExitCode"];
    format!("{status} {code} {}", body["RestartCount"])
}

pub async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// What was noted of somebody, in order.
pub fn notes(engine: &Engine, who: &str) -> Vec<String> {
    let entries = engine.machine().record.entries().into_iter();
    let noted = entries.filter(|entry| entry.who == who);
    noted.map(|entry| entry.what).collect()
}

/// A session that leads to the simulated Engine and nowhere else.
struct EngineSession {
    host: HostName,
    engine: Engine,
}

/// toots' own client of an Engine.
pub fn client(engine: &Engine) -> toots::docker::Engine {
    toots::docker::Engine::over(Arc::new(EngineSession {
        host: HostName::new("m1").expect("a name"),
        engine: engine.clone(),
    }))
}

#[async_trait]
impl HostSession for EngineSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        panic!("{}", operation.name())
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        assert_eq!(target, StreamTarget::Engine);
        Ok(Box::new(self.engine.connect("session")))
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        panic!("the lock")
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {}
}
