//! Observes all connected hosts in parallel, one round trip each.

use futures::future::join_all;
use tokio::time::Instant;

use super::failure;
use super::host_run::{HostRun, Hosts};
use super::ledger::{EarlyExit, Ledger};
use super::phases::{finished, in_phase};
use super::run::Run;
use super::run_context::{HostInfo, RunContext};
use crate::event::{Event, Outcome};
use crate::observe::{self, HostStatus, Request};
use crate::plan::Observed;
use crate::spec::{HostName, Phase, Port, Protocol, Remedy};

/// Observes all connected hosts. Those that fail are reported and left out.
pub(super) async fn observe(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    run.planned.observed = observe_hosts(run.cx, &run.ledger, &run.hosts).await;
    Ok(())
}

/// As [`observe`], outside of a run.
pub(super) async fn observe_hosts(cx: &RunContext, ledger: &Ledger, hosts: &Hosts) -> Observed {
    in_phase(cx, Phase::Observe, async {
        let taking_part = hosts.values().filter(|host| ledger.alive(&host.info.name));
        let readings = taking_part.map(|host| observe_host(cx, ledger, host));
        let readings = join_all(readings).await;
        for (name, host) in hosts {
            if let Some(took) = host.session.slow_login() {
                let text = format!(
                    "login shell of {name} takes {} s; see its startup files, e.g. ~/.bashrc",
                    took.as_secs()
                );
                ledger.warn(Some(name.clone()), text);
            }
        }
        readings.into_iter().flatten().collect()
    })
    .await
}

async fn observe_host(
    cx: &RunContext,
    ledger: &Ledger,
    host: &HostRun,
) -> Option<(HostName, HostStatus)> {
    let name = &host.info.name;
    let request = request(cx, &host.info);
    let started = Instant::now();
    cx.events.send(Event::StepStarted {
        host: name.clone(),
        phase: Phase::Observe,
        step: "observe".into(),
    });
    let mut reading = observe::read(&host.session, &host.engine, &request).await;
    if reading.as_ref().is_err_and(is_lost) && host.line.renew(&*cx.dial).await.is_ok() {
        // Observing changes nothing, so it may be repeated.
        reading = observe::read(&host.session, &host.engine, &request).await;
    }
    match reading {
        Ok(status) => {
            cx.events.send(finished(name, "observe", false, started));
            Some((name.clone(), status))
        }
        Err(error) => {
            let outcome = if is_lost(&error) {
                Outcome::Unreachable
            } else {
                Outcome::Failed
            };
            let mut failure = failure::from_error(&Phase::Observe, "observe", &error);
            failure.hints = hints(&error);
            ledger.fail(name, outcome, failure);
            None
        }
    }
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

fn is_lost(error: &observe::ObserveError) -> bool {
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
    let ports = host.components.iter().flat_map(|c| &c.ports);
    request.ports = ports.map(|port| port.number).collect();
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
    if info.is_master() {
        let quorum = host.components.iter().filter(|c| c.quorum);
        let is_reached = |port: &&Port| port.protocol == Protocol::Tcp && !port.is_loopback;
        let ports = quorum.flat_map(|c| c.ports.iter().filter(is_reached));
        let ports: Vec<u16> = ports.map(|port| port.number).collect();
        let peers = cx
            .hosts
            .iter()
            .filter(|peer| peer.is_master() && peer.name != info.name);
        request.reach.extend(
            peers.flat_map(|peer| ports.iter().map(|port| (peer.address.to_string(), *port))),
        );
    }
    request
}
