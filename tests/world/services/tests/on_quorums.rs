//! The programs on the simulated ZooKeeper and Consul instead of those in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::rig::{MASTERS, Rig, S1, THREE, until};
use crate::services::Services;
use crate::services::bound::Quorums;
use crate::services::engine::Container;
use crate::services::memory::Restart;
use crate::services::view::Service;

/// Machines whose ZooKeeper and Consul are simulated on the wire.
fn rig() -> (Rig, Quorums) {
    let mut rig = Rig::new(THREE);
    let quorums = Quorums::new(&rig.network, 1);
    rig.world.coordination = quorums.coordination();
    rig.world.catalog = quorums.catalog();
    let services = Services::with_quorums(&rig.world, &quorums);
    let choose = move |container: &Container| {
        let image = container.image.replace("debian", "http-echo");
        services.program(&image).expect("a program of the image")
    };
    rig.engines.set_programs(&(Arc::new(choose) as _));
    // What is printed does not show the key.
    for machine in rig.hosts.keys() {
        let (files, path) = (rig.files(*machine), "/etc/toots/consul/consul.json");
        let text = files.text(path).expect("a configuration");
        let text = text.replace("***", "q6urq6urq6urq6urq6urqw==");
        files.write(path, text, 0o600);
    }
    (rig, quorums)
}

#[tokio::test(start_paused = true)]
async fn masters_and_frameworks_live_on_the_simulated_quorums() {
    let (rig, quorums) = rig();
    for component in ["zookeeper", "consul-server", "consul-client"] {
        rig.start_all(component).await;
    }
    sleep(Duration::from_secs(30)).await;
    let tables = quorums.tables();
    assert_eq!(tables.synced_zookeeper(), MASTERS.into());
    assert_eq!(tables.synced_consul(), MASTERS.into());
    rig.bring_up(&["mesos-master", "mesos-slave", "marathon", "registrator"])
        .await;
    let leader = rig.leader(Service::MesosMaster);
    assert_eq!(rig.leading(Service::Marathon).len(), 1);
    assert_eq!(rig.world.view.serving(Service::MesosAgent), [S1].into());
    // The leader of ZooKeeper and the leading master go, and the others go on.
    let members = quorums.ensemble.members();
    let first = members
        .iter()
        .find(|member| member.is_leading)
        .expect("a leader");
    rig.kill(first.address, "zookeeper", Restart::Yes);
    rig.kill(leader, "mesos-master", Restart::No);
    let time = until(60, async || {
        let leading = rig.leading(Service::MesosMaster);
        leading.len() == 1 && !leading.contains(&leader)
    });
    println!("another master leads after {:.1} s", time.await);
    until(60, async || tables.synced_zookeeper().len() == 3).await;
}
