//! Connects to all hosts in parallel, and closes the connections at the end.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::Instant;

use super::failure;
use super::host_run::{HostRun, Hosts};
use super::ledger::{EarlyExit, Ledger};
use super::phases::{finished, in_phase};
use super::run::Run;
use super::run_context::{HostInfo, RunContext};
use crate::event::Event;
use crate::spec::Phase;

/// Connects to all hosts. Those that fail are reported and left out.
pub(super) async fn connect(run: &mut Run<'_>) -> Result<(), EarlyExit> {
    run.hosts = connect_hosts(run.cx, &run.ledger).await;
    Ok(())
}

/// As [`connect`], outside of a run.
pub(super) async fn connect_hosts(cx: &RunContext, ledger: &Ledger) -> Hosts {
    let connecting = cx.hosts.iter().map(|info| connect_host(cx, ledger, info));
    let hosts = in_phase(cx, Phase::Connect, join_all(connecting)).await;
    let hosts = hosts.into_iter().flatten();
    hosts
        .map(|host| (host.info.name.clone(), Arc::new(host)))
        .collect()
}

async fn connect_host(cx: &RunContext, ledger: &Ledger, info: &HostInfo) -> Option<HostRun> {
    let started = Instant::now();
    cx.events.send(Event::StepStarted {
        host: info.name.clone(),
        phase: Phase::Connect,
        step: "connect".into(),
    });
    match cx.dial.dial(&info.name).await {
        Ok(session) => {
            cx.events
                .send(finished(&info.name, "connect", false, started));
            ledger.mark_touched(&info.name);
            Some(HostRun::new(cx, info, session))
        }
        Err(error) => {
            ledger.fail(
                &info.name,
                failure::outcome_of(&error),
                failure::transport(&Phase::Connect, "connect", &error),
            );
            None
        }
    }
}

/// Closes the connections.
pub(super) async fn close(hosts: &Hosts) {
    for host in hosts.values() {
        let cost = host.session.cost();
        tracing::info!(host = %host.info.name, ?cost, "connection closed");
    }
    join_all(hosts.values().map(|host| host.session.close())).await;
}
