//! Connects to every host and reads it once, all at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;

use super::context::{Context, HostInfo};
use super::failure;
use super::ledger::Ledger;
use super::line::Line;
use crate::docker::Engine;
use crate::event::{Event, Outcome};
use crate::observe::{self, Request};
use crate::plan::Observed;
use crate::spec::{HostName, Role};
use crate::transport::Session;

/// A host with its connection.
pub(super) struct HostRun {
    /// The host.
    pub info: HostInfo,
    /// Its connection, for those who use it.
    pub session: Arc<dyn Session>,
    /// The same connection, for those who keep it up.
    pub line: Arc<Line>,
    /// Its Engine.
    pub engine: Engine,
    /// Held while files are put on it: components go on together, and their files are staged in one place.
    pub placing: tokio::sync::Mutex<()>,
    /// Asked when the first container of a run is made.
    pub compose: tokio::sync::OnceCell<super::compose::Compose>,
}

/// The connected hosts.
pub(super) type Hosts = BTreeMap<HostName, Arc<HostRun>>;

/// Connects to all hosts of the run; those that fail are said so and left out.
pub(super) async fn connect(cx: &Context, ledger: &Ledger) -> Hosts {
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: "connect".into(),
    });
    let runs = join_all(cx.hosts.iter().map(|info| one(cx, ledger, info))).await;
    cx.events.send(Event::PhaseFinished {
        phase: "connect".into(),
        elapsed_ms: ms(started),
    });
    runs.into_iter()
        .flatten()
        .map(|run| (run.info.name.clone(), Arc::new(run)))
        .collect()
}

async fn one(cx: &Context, ledger: &Ledger, info: &HostInfo) -> Option<HostRun> {
    let started = Instant::now();
    cx.events.send(Event::StepStarted {
        host: info.name.clone(),
        phase: "connect".into(),
        step: "connect".into(),
    });
    match cx.dial.dial(&info.name).await {
        Ok(session) => {
            cx.events
                .send(finished(&info.name, "connect", false, started));
            ledger.touch(&info.name);
            let line = Arc::new(Line::new(session));
            let session: Arc<dyn Session> = Arc::clone(&line) as Arc<dyn Session>;
            let engine = Engine::over(Arc::clone(&session)).answering_within(cx.timeouts.answer);
            Some(HostRun {
                info: info.clone(),
                session,
                line,
                engine,
                placing: tokio::sync::Mutex::new(()),
                compose: tokio::sync::OnceCell::new(),
            })
        }
        Err(error) => {
            ledger.fail(
                &info.name,
                Outcome::Unreachable,
                failure::transport("connect", "connect", &error),
            );
            None
        }
    }
}

/// Reads all connected hosts; those whose reading fails are said so and left out.
pub(super) async fn observe(cx: &Context, ledger: &Ledger, hosts: &Hosts) -> Observed {
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: "observe".into(),
    });
    let readings = join_all(
        hosts
            .values()
            .filter(|host| ledger.alive(&host.info.name))
            .map(|host| async move {
                let request = request(cx, &host.info);
                let step = Instant::now();
                cx.events.send(Event::StepStarted {
                    host: host.info.name.clone(),
                    phase: "observe".into(),
                    step: "observe".into(),
                });
                let mut reading = observe::read(&host.session, &host.engine, &request).await;
                if reading.as_ref().is_err_and(lost) && host.line.renew(&*cx.dial).await.is_ok() {
                    // Reading changes nothing, so it may be done again.
                    reading = observe::read(&host.session, &host.engine, &request).await;
                }
                match reading {
                    Ok(status) => {
                        cx.events
                            .send(finished(&host.info.name, "observe", false, step));
                        Some((host.info.name.clone(), status))
                    }
                    Err(error) => {
                        let outcome = if lost(&error) {
                            Outcome::Unreachable
                        } else {
                            Outcome::Failed
                        };
                        let mut failure = failure::of("observe", "observe", &error);
                        failure.hints = hints(&error);
                        ledger.fail(&host.info.name, outcome, failure);
                        None
                    }
                }
            }),
    )
    .await;
    cx.events.send(Event::PhaseFinished {
        phase: "observe".into(),
        elapsed_ms: ms(started),
    });
    readings.into_iter().flatten().collect()
}

fn hints(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(transport) = error.downcast_ref::<crate::transport::TransportError>() {
            return transport.hints().to_vec();
        }
        next = error.source();
    }
    Vec::new()
}

fn lost(error: &observe::ObserveError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if matches!(
            error.downcast_ref(),
            Some(crate::transport::TransportError::Lost(_))
        ) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What to look at on a host: paths outside /etc/toots, data directories, and on masters whether the other masters can be reached.
pub(super) fn request(cx: &Context, info: &HostInfo) -> Request {
    let mut request = Request {
        deadline: Some(cx.timeouts.exec),
        ..Request::default()
    };
    let Some(host) = cx.offline.hosts.iter().find(|host| host.name == info.name) else {
        return request;
    };
    let own = host
        .dirs
        .iter()
        .map(|dir| &dir.path)
        .chain(host.files.iter().map(|file| &file.path));
    let components = host.components.iter().flat_map(|component| {
        component
            .dirs
            .iter()
            .map(|dir| &dir.path)
            .chain(component.files.iter().map(|file| &file.path))
    });
    request.paths = own
        .chain(components)
        .filter(|path| !path.starts_with("/etc/toots/"))
        .cloned()
        .collect();
    request.data_dirs = host
        .components
        .iter()
        .filter_map(|component| component.data_dir.clone())
        .collect();
    request.reach = host
        .nfs_server()
        .map(|(server, port)| (server.to_owned(), port))
        .into_iter()
        .collect();
    if info.roles.contains(&Role::Master) {
        let quorum_ports = host
            .components
            .iter()
            .filter(|c| c.quorum)
            .flat_map(|c| &c.ports)
            .filter(|(_, protocol, _)| protocol == "tcp");
        let ports: Vec<u16> = quorum_ports.map(|(port, _, _)| *port).collect();
        let peers = cx
            .hosts
            .iter()
            .filter(|peer| peer.roles.contains(&Role::Master) && peer.name != info.name);
        request.reach.extend(
            peers.flat_map(|peer| ports.iter().map(|port| (peer.address.to_string(), *port))),
        );
    }
    request
}

/// The event of a step's good end.
pub(super) fn finished(host: &HostName, step: &str, changed: bool, started: Instant) -> Event {
    Event::StepFinished {
        host: host.clone(),
        step: step.to_owned(),
        changed,
        elapsed_ms: ms(started),
    }
}

/// Milliseconds since.
pub(super) fn ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
