//! Two lives of one cluster are the same, to the nanosecond.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::frameworks::SCHEDULERS;
use super::rig::{M2, M3, Rig, THREE};
use crate::services::memory::Restart;
use crate::services::view::Service;

/// What a cluster with some faults noted: when, where, who, what.
async fn live() -> Vec<(Duration, String, String, String)> {
    let began = Instant::now();
    let rig = Rig::new(THREE);
    rig.bring_up(&SCHEDULERS).await;
    rig.bring_up(&["registrator", "consul-template", "haproxy"])
        .await;
    sleep(Duration::from_secs(20)).await;
    rig.kill(
        rig.leader(Service::MesosMaster),
        "mesos-master",
        Restart::Yes,
    );
    sleep(Duration::from_secs(60)).await;
    for server in [M2, M3] {
        rig.ensemble.set_up(server, false);
    }
    sleep(Duration::from_secs(30)).await;
    for server in [M2, M3] {
        rig.ensemble.set_up(server, true);
    }
    sleep(Duration::from_secs(120)).await;
    let entries = rig.record.entries().into_iter();
    entries
        .map(|entry| (entry.at - began, entry.host, entry.who, entry.what))
        .collect()
}

#[test]
fn the_same_life_twice_is_noted_alike() {
    let once = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(live())
    };
    let (first, second) = (once(), once());
    println!("{} notes in a life", first.len());
    assert!(first.len() > 40, "{}", first.len());
    assert_eq!(first, second);
}
