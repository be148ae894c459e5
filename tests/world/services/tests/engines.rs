//! The programs in containers of the simulated Engines, as toots renders them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::rendered::{Hosts, rendered};
use super::rig::{M1, M2, M3, MASTERS, S1, THREE, until};
use crate::docker::{Engine, EngineSetup, Image, Machine, Payload, request};
use crate::files::Files;
use crate::network::Network;
use crate::record::Record;
use crate::services::clock::Clock;
use crate::services::engine::{Container, Published};
use crate::services::memory::{MemoryCatalog, MemoryEnsemble};
use crate::services::view::{Service, View};
use crate::services::wire_engine::{SOCKET, WireEngines};
use crate::services::{Services, Surroundings, split_image};

struct Cluster {
    hosts: Hosts,
    ensemble: MemoryEnsemble,
    catalog: MemoryCatalog,
    engines: BTreeMap<Ipv4Addr, Engine>,
    view: View,
    record: Record,
}

impl Cluster {
    fn new() -> Self {
        let hosts = rendered(THREE);
        let (network, record) = (Network::default(), Record::default());
        let (ensemble, view) = (MemoryEnsemble::new(&network, &MASTERS), View::default());
        let catalog = MemoryCatalog::new(&network);
        let services = Arc::new(Services::new(&Surroundings {
            coordination: Arc::new(ensemble.clone()),
            catalog: Arc::new(catalog.clone()),
            engines: Arc::new(WireEngines(network.clone())),
            view: view.clone(),
            clock: Clock::starting_at("2026-11-28T00:00:00Z".parse().expect("a time")),
        }));
        let engine = |address: &Ipv4Addr| {
            let files = Files::default();
            for (path, text) in &hosts[address].files {
                files.write(path, text.as_str(), 0o644);
            }
            let machine = Machine {
                name: address.to_string(),
                address: *address,
                files,
                network: network.clone(),
                record: record.clone(),
            };
            let engine = Engine::new(EngineSetup {
                any_program: Some(Arc::clone(&services) as _),
                ..EngineSetup::new(machine)
            });
            engine.listen(SOCKET).expect("a socket");
            (*address, engine)
        };
        let engines = hosts.keys().map(engine).collect();
        Self {
            hosts,
            ensemble,
            catalog,
            engines,
            view,
            record,
        }
    }

    async fn send(&self, machine: Ipv4Addr, uri: &str, body: Value) {
        let stream = self.engines[&machine].connect("test");
        let answer = request(stream, "POST", uri, Payload::Json(body)).await;
        let (status, body) = answer.expect("an answer");
        let text = String::from_utf8_lossy(&body);
        assert!((200..300).contains(&status), "{uri}: {status} {text}");
    }

    async fn run(&self, machine: Ipv4Addr, container: &Container) {
        let (program, version) = split_image(&container.image);
        self.engines[&machine].has_image(&container.image, Image::new(program, version));
        let pair = |(key, value): (&String, &String)| format!("{key}={value}");
        let bind = |(inside, outside): (&String, &String)| format!("{outside}:{inside}");
        let ports = |port: u16| (format!("{port}/tcp"), json!({}));
        let bound = container.published.iter().map(|published| {
            let binding = json!([{ "HostPort": published.host_port.to_string() }]);
            (format!("{}/tcp", published.container_port), binding)
        });
        let bound: BTreeMap<String, Value> = bound.collect();
        let exposed = container.exposed.iter().map(|port| ports(*port));
        let exposed: BTreeMap<String, Value> = exposed.collect();
        let network = match container.is_on_host_network {
            true => "host",
            false => "bridge",
        };
        let body = json!({
            "Image": container.image,
            "Entrypoint": [],
            "Cmd": container.command,
            "Env": container.env.iter().map(pair).collect::<Vec<_>>(),
            "Labels": container.labels,
            "ExposedPorts": exposed,
            "HostConfig": {
                "Binds": container.mounts.iter().map(bind).collect::<Vec<_>>(),
                "NetworkMode": network,
                "PortBindings": bound,
                "RestartPolicy": { "Name": "unless-stopped" },
            },
        });
        let name = &container.name;
        self.send(machine, &format!("/containers/create?name={name}"), body)
            .await;
        self.send(machine, &format!("/containers/{name}/start"), json!({}))
            .await;
    }

    /// Starts components wherever they were rendered, and lets them settle.
    async fn bring_up(&self, components: &[&str]) {
        for component in components {
            for (address, host) in &self.hosts {
                if let Some(container) = host.containers.get(*component) {
                    self.run(*address, container).await;
                }
            }
        }
        sleep(Duration::from_secs(30)).await;
    }

    fn leader(&self, service: Service) -> Ipv4Addr {
        let leading = self.view.leading(service);
        assert_eq!(leading.len(), 1, "{service:?}: {leading:?}");
        *leading.first().expect("a leader")
    }

    /// What somebody noted on a machine.
    fn notes(&self, machine: Ipv4Addr, who: &str) -> Vec<String> {
        let entries = self.record.entries().into_iter();
        let own = entries.filter(|entry| entry.host == machine.to_string() && entry.who == who);
        own.map(|entry| entry.what).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn rendered_containers_run_on_the_simulated_engines() {
    let cluster = Cluster::new();
    let components = [
        "mesos-master",
        "mesos-slave",
        "marathon",
        "chronos",
        "registrator",
        "consul-template",
        "haproxy",
    ];
    cluster.bring_up(&components).await;
    for service in [Service::MesosMaster, Service::Marathon, Service::Chronos] {
        cluster.leader(service);
    }
    for (service, count) in [
        (Service::MesosMaster, 3),
        (Service::MesosAgent, 1),
        (Service::Registrator, 1),
        (Service::ConsulTemplate, 1),
        (Service::Haproxy, 1),
    ] {
        assert_eq!(cluster.view.serving(service).len(), count, "{service:?}");
    }
    // A stopped leader hands over, and ends as it should.
    let first = cluster.leader(Service::MesosMaster);
    let stop = "/containers/toots-mesos-master/stop";
    cluster.send(first, stop, json!({})).await;
    sleep(Duration::from_secs(30)).await;
    assert_ne!(cluster.leader(Service::MesosMaster), first);
    let notes = cluster.notes(first, "toots-mesos-master");
    assert!(notes.iter().any(|note| note == "leader"), "{notes:?}");
    // A quorum of ZooKeeper blinks: each Marathon ends, and its Engine starts it again.
    for server in [M2, M3] {
        cluster.ensemble.set_up(server, false);
    }
    sleep(Duration::from_secs(1)).await;
    assert!(cluster.view.serving(Service::Marathon).is_empty());
    for server in [M2, M3] {
        cluster.ensemble.set_up(server, true);
    }
    sleep(Duration::from_secs(60)).await;
    cluster.leader(Service::Marathon);
    let starts = cluster.notes(M1, "toots-marathon").into_iter();
    assert!(starts.filter(|note| note == "start").count() >= 2);
}

#[tokio::test(start_paused = true)]
async fn registrator_follows_the_simulated_engine() {
    let cluster = Cluster::new();
    cluster.bring_up(&["registrator"]).await;
    let canary = Container {
        name: "toots-canary".to_owned(),
        image: "hashicorp/http-echo:1.0".to_owned(),
        command: ["-listen=:31999", "-text=toots-canary-1"]
            .map(str::to_owned)
            .to_vec(),
        env: [("SERVICE_NAME".to_owned(), "toots-canary-1".to_owned())].into(),
        published: vec![Published {
            container_port: 31999,
            host_port: 31999,
            is_udp: false,
        }],
        ..Container::default()
    };
    cluster.run(S1, &canary).await;
    until(5, async || cluster.catalog.instances().len() == 1).await;
    let instance = cluster.catalog.instances().remove(0);
    let expected = ("toots-canary-1", "10.0.0.21", 31999);
    let read = (
        instance.name.as_str(),
        instance.address.as_str(),
        instance.port,
    );
    assert_eq!(read, expected);
    let kill = "/containers/toots-canary/kill";
    cluster.send(S1, kill, json!({})).await;
    until(5, async || cluster.catalog.instances().is_empty()).await;
    // With its Engine's stream Registrator ends, and comes back with the Engine.
    cluster.engines[&S1].restart(Duration::from_secs(3)).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.view.serving(Service::Registrator).len(), 1);
}
