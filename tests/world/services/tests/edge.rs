//! The way from a container over Consul and the edge to a client, and the address that edges share.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::rig::{E1, Rig, S1, THREE, until};
use crate::services::coordination::{Catalog as _, Instance};
use crate::services::engine::{Container, Published};
use crate::services::memory::Restart;
use crate::services::view::Service;
use crate::services::web::{Answer, Handler, Reply, Request, serve};

pub const EDGE: [&str; 2] = ["consul-template", "haproxy"];

pub async fn through(rig: &Rig, edge: Ipv4Addr, host: &str, path: &str) -> Answer {
    let request = Request {
        headers: [("host".to_owned(), host.to_owned())].into(),
        ..Request::new("GET", path)
    };
    rig.ask(edge, 80, request).await.expect("an answer")
}

pub async fn statistics(rig: &Rig, edge: Ipv4Addr, path: &str) -> Answer {
    let request = Request {
        // admin and the password as it is rendered: ***
        headers: [("authorization".to_owned(), "Basic YWRtaW46Kioq".to_owned())].into(),
        ..Request::new("GET", path)
    };
    rig.ask(edge, 81, request).await.expect("an answer")
}

pub fn state(rig: &Rig, edge: Ipv4Addr) -> String {
    rig.files(edge)
        .text("/var/lib/toots/haproxy/state")
        .expect("a state")
}

/// An instance that is the agent itself, as toots' canary of the edges registers it.
fn canary(name: &str, at: Ipv4Addr, port: u16) -> Instance {
    Instance {
        id: name.to_owned(),
        name: name.to_owned(),
        address: at.to_string(),
        port,
        tags: vec!["haproxy".to_owned()],
        meta: std::collections::BTreeMap::new(),
    }
}

struct Leader;

#[async_trait]
impl Handler for Leader {
    async fn answer(&self, request: Request) -> Reply {
        let is_asked = request.path == "/v1/status/leader";
        Reply::text(if is_asked { 200 } else { 404 }, "\"10.0.0.11:8300\"")
    }
}

#[tokio::test(start_paused = true)]
async fn the_edges_canary_answers_through_them() {
    let rig = Rig::new(THREE);
    let agent = rig.network.listen(E1, 8500).expect("a port");
    tokio::spawn(serve(agent, Arc::new(Leader)));
    rig.bring_up(&EDGE).await;
    let name = "toots-canary-0a0b0c0d";
    let host = format!("{name}.service.consul");
    assert_eq!(
        through(&rig, E1, &host, "/v1/status/leader").await.status,
        503
    );
    rig.catalog
        .register(E1, E1, canary(name, E1, 8500))
        .await
        .expect("registered");
    let is_there = async || through(&rig, E1, &host, "/v1/status/leader").await.status == 200;
    let took = until(40, is_there).await;
    assert!(took < 4.0, "{took}");
    let answer = through(&rig, E1, &host, "/v1/status/leader").await;
    assert!(answer.text().contains(":8300"), "{}", answer.text());
    // The newest configuration is the one that is served, and its record says so.
    let generation = statistics(&rig, E1, "/generation").await.text();
    assert!(
        state(&rig, E1).ends_with(&format!(" taken {generation}\n")),
        "{}",
        state(&rig, E1)
    );
    let csv = statistics(&rig, E1, "/;csv").await.text();
    assert!(csv.starts_with("# pxname,svname"), "{csv}");
    assert!(csv.contains(&format!("http_{name},BACKEND")), "{csv}");
    assert_eq!(
        rig.get(E1, 81, "/;csv").await.expect("an answer").status,
        401
    );
    rig.catalog
        .deregister(E1, E1, name)
        .await
        .expect("deregistered");
    until(40, async || {
        through(&rig, E1, &host, "/").await.status == 503
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn toots_canary_is_registered_and_deregistered_on_a_slave() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["registrator"]).await;
    let canary = Container {
        name: "toots-canary".to_owned(),
        image: "hashicorp/http-echo:1.0".to_owned(),
        command: vec![
            "-listen=:31999".to_owned(),
            "-text=toots-canary-1".to_owned(),
        ],
        env: [("SERVICE_NAME".to_owned(), "toots-canary-1".to_owned())].into(),
        published: vec![Published {
            container_port: 31999,
            host_port: 31999,
            is_udp: false,
        }],
        ..Container::default()
    };
    rig.run(S1, canary).await;
    until(5, async || !rig.catalog.instances().is_empty()).await;
    let items = rig.catalog.instances();
    assert_eq!(
        (items[0].name.as_str(), items[0].address.as_str()),
        ("toots-canary-1", "10.0.0.21")
    );
    assert_eq!(
        rig.get(S1, 31999, "/").await.expect("an answer").text(),
        "toots-canary-1"
    );
    rig.engines.kill(S1, "toots-canary", Restart::No);
    until(5, async || rig.catalog.instances().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn registrator_ends_with_the_events_and_cleans_up_at_its_start() {
    let rig = Rig::new(THREE);
    rig.bring_up(&["registrator"]).await;
    let container = Container {
        name: "c-dangle".to_owned(),
        image: "debian:12".to_owned(),
        published: vec![Published {
            container_port: 80,
            host_port: 18801,
            is_udp: false,
        }],
        ..Container::default()
    };
    rig.run(S1, container).await;
    let foreign = canary("foreign", S1, 1);
    rig.catalog
        .register(S1, S1, foreign)
        .await
        .expect("registered");
    until(5, async || rig.catalog.instances().len() == 2).await;
    rig.kill(S1, "registrator", Restart::No);
    rig.engines.kill(S1, "c-dangle", Restart::No);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.catalog.instances().len(), 2);
    rig.start(S1, "registrator").await;
    sleep(Duration::from_secs(1)).await;
    // Only its own are removed.
    let ids: Vec<String> = rig
        .catalog
        .instances()
        .into_iter()
        .map(|service| service.id)
        .collect();
    assert_eq!(ids, ["foreign"]);
    rig.engines.close_events(S1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.exits(S1, "registrator"), [1]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.world.view.serving(Service::Registrator).len(), 1);
}

#[tokio::test(start_paused = true)]
pub async fn an_edge_goes_on_with_what_it_has_when_consul_or_a_configuration_fails() {
    let rig = Rig::new(THREE);
    rig.bring_up(&EDGE).await;
    let web = canary("web", S1, 31000);
    rig.catalog.register(S1, S1, web).await.expect("registered");
    let serves = rig.network.listen(S1, 31000).expect("a port");
    tokio::spawn(serve(serves, Arc::new(Leader)));
    let path = "/v1/status/leader";
    until(10, async || {
        through(&rig, E1, "web.consul", path).await.status == 200
    })
    .await;
    rig.catalog.set_leader(false);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(through(&rig, E1, "web.consul", path).await.status, 200);
    rig.catalog.set_leader(true);
    // Something that HAProxy refuses.
    let bundle = "/var/lib/toots/edge/bundle";
    let text = rig.files(E1).text(bundle).expect("a bundle");
    rig.files(E1).write(
        bundle,
        text.replace("balance roundrobin", "nonsense"),
        0o600,
    );
    sleep(Duration::from_secs(2)).await;
    let said = state(&rig, E1);
    assert!(
        said.contains(" refused ") && said.contains("unknown keyword"),
        "{said}"
    );
    assert_eq!(through(&rig, E1, "web.consul", path).await.status, 200);
    // A bundle that was not written to its end.
    let cut = text.replace("==== end", "");
    rig.files(E1).write(bundle, cut, 0o600);
    sleep(Duration::from_secs(2)).await;
    assert!(state(&rig, E1).ends_with(" refused incomplete\n"));
    rig.files(E1).write(bundle, text, 0o600);
    sleep(Duration::from_secs(2)).await;
    assert!(state(&rig, E1).contains(" taken "));
    // After a restart of the container too.
    rig.kill(E1, "haproxy", Restart::Yes);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(through(&rig, E1, "web.consul", path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn tcp_ports_go_to_whoever_claimed_them_first() {
    let rig = Rig::new(THREE);
    rig.bring_up(&EDGE).await;
    let tcp = |name: &str, port: u16| Instance {
        tags: vec![
            " haproxy_tcp=7000".to_owned(),
            "haproxy_tcp=8300".to_owned(),
        ],
        ..canary(name, S1, port)
    };
    let serves = rig.network.listen(S1, 31001).expect("a port");
    tokio::spawn(serve(serves, Arc::new(Leader)));
    rig.catalog
        .register(S1, S1, tcp("zebra", 31001))
        .await
        .expect("registered");
    until(10, async || rig.network.listens(E1, 7000)).await;
    rig.catalog
        .register(S1, S1, tcp("ant", 31002))
        .await
        .expect("registered");
    sleep(Duration::from_secs(5)).await;
    let claims = rig
        .files(E1)
        .text("/var/lib/toots/haproxy/claims")
        .expect("claims");
    assert_eq!(claims, "7000 zebra\n");
    // A reserved port is nobody's.
    assert!(!rig.network.listens(E1, 8300));
    let answer = rig
        .get(E1, 7000, "/v1/status/leader")
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200);
    // A port that another program of the host took meanwhile.
    let _taken = rig.network.listen(E1, 7001).expect("a port");
    let other = Instance {
        tags: vec!["haproxy_tcp=7001".to_owned(), "haproxy".to_owned()],
        ..canary("other", S1, 31001)
    };
    rig.catalog
        .register(S1, S1, other)
        .await
        .expect("registered");
    until(10, async || {
        through(&rig, E1, "other.consul", "/v1/status/leader")
            .await
            .status
            == 200
    })
    .await;
}

/// Two edges with a shared address.
pub const TWO_EDGES: &str = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
    edges = [\"10.0.0.31\", \"10.0.0.32\"]\n[network]\nvip = \"10.0.0.100\"\nnic = \"eth0\"\n";
pub const E2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 32);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

pub fn holders(rig: &Rig) -> Vec<Ipv4Addr> {
    let edges = [E1, E2].into_iter();
    edges
        .filter(|edge| rig.world.view.held(*edge).contains(&VIP))
        .collect()
}

#[tokio::test(start_paused = true)]
pub async fn a_single_edge_holds_the_address_and_another_takes_it_over() {
    let rig = Rig::new(TWO_EDGES);
    rig.bring_up(&["consul-template", "haproxy", "keepalived"])
        .await;
    assert_eq!(holders(&rig), [E1]);
    // HAProxy gone: recorded, 1.4 s until it is released and 0.5 s until it is taken.
    rig.kill(E1, "haproxy", Restart::No);
    let took = until(10, async || holders(&rig) == [E2]).await;
    assert!((1.0..5.0).contains(&took), "{took}");
    // Who holds it keeps it.
    rig.start(E1, "haproxy").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(holders(&rig), [E2]);
    // A stop hands it over at once.
    rig.term(E2, "keepalived");
    let took = until(10, async || holders(&rig) == [E1]).await;
    assert!(took <= 2.0, "recorded: 0.8 s; {took}");
    // Edges that do not hear each other both hold it.
    sleep(Duration::from_secs(10)).await;
    rig.network.cut(E1, E2, true);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(holders(&rig), [E1, E2]);
    rig.network.cut(E1, E2, false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(holders(&rig), [E1]);
}
