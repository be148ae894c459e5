//! Has every image present before any container is stopped.

use std::time::Instant;

use futures::StreamExt as _;
use futures::future::join_all;

use super::connect::{Hosts, ms};
use super::work::Work;
use crate::event::Event;

/// Pulls of one host that go on together: more only makes them wait for each other's layers.
const PULLS_PER_HOST: usize = 3;

/// Pulls on all hosts at once.
pub(super) async fn pull(work: &Work<'_>, hosts: &Hosts) {
    let Work { cx, ledger, .. } = *work;
    if work.in_scope(hosts).all(|(_, plan)| plan.images.is_empty()) {
        return;
    }
    let started = Instant::now();
    cx.events.send(Event::PhaseStarted {
        phase: "images".into(),
    });
    join_all(
        work.in_scope(hosts)
            .filter(|(host, _)| ledger.alive(&host.info.name))
            .map(|(host, plan)| async move {
                futures::stream::iter(&plan.images)
                    .for_each_concurrent(PULLS_PER_HOST, |step| async move {
                        work.all(host, "images", std::slice::from_ref(step)).await;
                    })
                    .await;
            }),
    )
    .await;
    cx.events.send(Event::PhaseFinished {
        phase: "images".into(),
        elapsed_ms: ms(started),
    });
}
