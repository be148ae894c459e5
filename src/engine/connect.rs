//! Connects to all hosts and observes them, in parallel.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::Instant;

use super::failure;
use super::ledger::Ledger;
use super::reconnect::ReconnectingSession;
use super::run_context::{HostInfo, RunContext};
use crate::docker::Engine;
use crate::event::{Event, Outcome};
use crate::host::HostSession;
use crate::observe::{self, Request};
use crate::plan::Observed;
use crate::spec::{HostName, Remedy, Role};

/// A host with its connection.
pub(super) struct HostRun {
    pub info: HostInfo,
    /// The connection, for its users.
    pub session: Arc<dyn HostSession>,
    /// The same connection, for those who reopen it.
    pub line: Arc<ReconnectingSession>,
    pub engine: Engine,
    /// Held while files are written: components run in parallel, and their files share one staging
    /// folder.
    pub placing: tokio::sync::Mutex<()>,
    /// Held while an image is built.
    pub building: tokio::sync::Mutex<()>,
    /// Held while an image is loaded: two would share the line and have no rate of their own.
    pub loading: tokio::sync::Mutex<()>,
    /// Images for other hosts.
    pub saved: super::loads::SavedImages,
    /// Filled when the first container of a run is created.
    pub compose: tokio::sync::OnceCell<super::compose::Compose>,
}

/// The connected hosts.
pub(super) type Hosts = BTreeMap<HostName, Arc<HostRun>>;

/// Connects to all hosts of the run. Hosts that fail are reported and left out.
pub(super) async fn connect_hosts(cx: &RunContext, ledger: &Ledger) -> Hosts {
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: "connect".into(),
    });
    let runs = join_all(cx.hosts.iter().map(|info| connect_host(cx, ledger, info))).await;
    cx.events.send(Event::PhaseFinished {
        phase: "connect".into(),
        elapsed_ms: ms(started),
    });
    runs.into_iter()
        .flatten()
        .map(|run| (run.info.name.clone(), Arc::new(run)))
        .collect()
}

async fn connect_host(cx: &RunContext, ledger: &Ledger, info: &HostInfo) -> Option<HostRun> {
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
            ledger.mark_touched(&info.name);
            let line = Arc::new(ReconnectingSession::new(session));
            let session: Arc<dyn HostSession> = Arc::clone(&line) as Arc<dyn HostSession>;
            let engine = Engine::over(Arc::clone(&session)).answering_within(cx.timeouts.answer);
            Some(HostRun {
                info: info.clone(),
                session,
                line,
                engine,
                placing: tokio::sync::Mutex::new(()),
                building: tokio::sync::Mutex::new(()),
                loading: tokio::sync::Mutex::new(()),
                saved: super::loads::SavedImages::default(),
                compose: tokio::sync::OnceCell::new(),
            })
        }
        Err(error) => {
            ledger.fail(
                &info.name,
                failure::outcome_of(&error),
                failure::transport("connect", "connect", &error),
            );
            None
        }
    }
}

/// Observes all connected hosts. Hosts that fail are reported and left out.
pub(super) async fn observe(cx: &RunContext, ledger: &Ledger, hosts: &Hosts) -> Observed {
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
                    // Observing changes nothing, so it may be repeated.
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
                        let mut failure = failure::from_error("observe", "observe", &error);
                        failure.hints = hints(&error);
                        ledger.fail(&host.info.name, outcome, failure);
                        None
                    }
                }
            }),
    )
    .await;
    for (name, host) in hosts {
        if let Some(took) = host.session.slow_login() {
            let text = format!(
                "login shell of {name} takes {} s; see its startup files, e.g. ~/.bashrc",
                took.as_secs()
            );
            ledger.warn(Some(name.clone()), text);
        }
    }
    cx.events.send(Event::PhaseFinished {
        phase: "observe".into(),
        elapsed_ms: ms(started),
    });
    readings.into_iter().flatten().collect()
}

fn hints(error: &(dyn std::error::Error + 'static)) -> Vec<Remedy> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(transport) = error.downcast_ref::<crate::host::TransportError>() {
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
            Some(crate::host::TransportError::Lost(_))
        ) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What to observe on a host: paths outside /etc/toots, data directories, and on masters whether
/// the other masters are reachable.
pub(super) fn request(cx: &RunContext, info: &HostInfo) -> Request {
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
    let ports = host
        .components
        .iter()
        .flat_map(|component| &component.ports);
    request.ports = ports.map(|(port, _, _)| *port).collect();
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
        let quorum_ports = host.components.iter().filter(|c| c.quorum).flat_map(|c| {
            let ports = c.ports.iter().filter(|(_, protocol, _)| protocol == "tcp");
            let ports = ports.map(|(port, _, _)| *port);
            ports.filter(|port| !c.loopback_ports.contains(port))
        });
        let ports: Vec<u16> = quorum_ports.collect();
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

/// The event of a step that succeeded.
pub(super) fn finished(host: &HostName, step: &str, changed: bool, started: Instant) -> Event {
    Event::StepFinished {
        host: host.clone(),
        step: step.to_owned(),
        changed,
        elapsed_ms: ms(started),
    }
}

/// Milliseconds since `started`.
pub(super) fn ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
