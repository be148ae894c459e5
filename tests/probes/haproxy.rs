use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toots::probe::{
    ContainerState, ProbeContext, Proof, Route, ask, ask_ordinary, consul_service_instances,
    registrator,
};
use toots::spec::ProbeSpec;

use super::play::{Reply, Server, World, members};

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: vec![],
        body: body.into(),
    }
}

fn edge() -> Server {
    BTreeMap::from([
        (
            "GET /".to_owned(),
            reply(503, "<html><body><h1>503 Service Unavailable</h1>"),
        ),
        (
            "GET /;csv".to_owned(),
            reply(
                200,
                "# pxname,svname,qcur,\nmain,FRONTEND,,\nstats,FRONTEND,,\n",
            ),
        ),
        (
            "GET /id for canary.service.consul".to_owned(),
            reply(200, "canary 42"),
        ),
    ])
}

fn world(servers: Vec<Server>) -> Arc<World> {
    Arc::new(World::new(
        servers
            .into_iter()
            .enumerate()
            .map(|(i, s)| (format!("10.0.0.{}", i + 1), s)),
    ))
}

#[tokio::test]
async fn edges_answer_each_for_itself_and_lead_to_the_canary() {
    let world = world(vec![edge(), edge()]);
    let (edges, _) = members(&world, "e", "10.0.0.", 2, &[]);
    let verdict = ask("haproxy", &edges, Proof::Read, &ProbeContext::default()).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.proof, "every edge answers");
    let route = Route {
        host: "canary.service.consul".into(),
        path: "/id".into(),
        expect: "canary 42".into(),
    };
    let context = ProbeContext {
        route: Some(route.clone()),
        ..ProbeContext::default()
    };
    let verdict = ask("haproxy", &edges, Proof::Write, &context).await;
    assert!(verdict.healthy, "{verdict:#?}");
    assert_eq!(verdict.proof, "canary answered through e1 and e2");
    let context = ProbeContext {
        route: Some(Route {
            expect: "canary 43".into(),
            ..route
        }),
        ..ProbeContext::default()
    };
    let verdict = ask("haproxy", &edges, Proof::Write, &context).await;
    assert!(!verdict.healthy);
    assert_eq!(
        verdict.faults[0],
        "e1: /id for canary.service.consul: answer is not the canary's: canary 42"
    );
}

#[tokio::test]
async fn an_edge_without_statistics_or_without_haproxy() {
    let mut other = edge();
    other.insert("GET /;csv".into(), reply(200, "<html>hello</html>"));
    let world = world(vec![edge(), other]);
    let (edges, _) = members(&world, "e", "10.0.0.", 3, &[]);
    let verdict = ask("haproxy", &edges, Proof::Read, &ProbeContext::default()).await;
    assert!(!verdict.healthy);
    assert_eq!(verdict.synced.len(), 1);
    assert!(
        verdict
            .faults
            .iter()
            .any(|f| f.starts_with("e2: /;csv: no statistics")),
        "{:?}",
        verdict.faults
    );
    assert!(
        verdict
            .faults
            .iter()
            .any(|f| f.starts_with("e3: GET /: cannot open")),
        "{:?}",
        verdict.faults
    );
    let (edges, _) = members(&world, "e", "10.0.0.", 3, &[2, 3]);
    assert!(
        ask("haproxy", &edges, Proof::Read, &ProbeContext::default())
            .await
            .healthy,
        "one edge is enough when the others are known to be down"
    );
}

/// An edge that could not load its newest configuration answers like a healthy one.
#[tokio::test]
async fn an_edge_that_is_frozen_is_named() {
    let at = |seconds: i64| {
        (jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds)).to_string()
    };
    let verdict = async |record: &str, served: &str| {
        let mut edge = edge();
        edge.insert("GET /generation".into(), reply(200, served));
        edge.insert(
            "/state".into(),
            reply(0, &format!("{record}\n{}\n", at(1000))),
        );
        let world = world(vec![edge]);
        let (edges, _) = members(&world, "e", "10.0.0.", 1, &[]);
        let context = ProbeContext {
            haproxy_state: Some("/state".into()),
            ..ProbeContext::default()
        };
        ask("haproxy", &edges, Proof::Read, &context).await
    };
    assert!(verdict(&format!("{} taken 42", at(10)), "42").await.healthy);
    assert!(
        verdict(&format!("{} taken 43", at(995)), "42")
            .await
            .healthy,
        "being taken up"
    );
    for (record, served, fault) in [
        (
            format!("{} taken 43", at(10)),
            "42",
            "e1: serves configuration 42, but 43 was accepted 990 s ago: the reload failed (docker logs toots-haproxy)",
        ),
        (
            format!(
                "{} refused [ALERT] (7) : unknown keyword \u{1b}[2J",
                at(940)
            ),
            "42",
            "e1: refused its newest configuration and continues with the previous one: [ALERT] (7) : unknown keyword \\x1b[2J",
        ),
        (
            "nonsense".into(),
            "42",
            "e1: newest configuration: no record: nonsense",
        ),
    ] {
        let verdict = verdict(&record, served).await;
        assert!(
            !verdict.healthy && verdict.faults[0].starts_with(fault),
            "{record}: {:?}",
            verdict.faults
        );
    }
}

#[tokio::test]
async fn a_canary_appears_in_consul_and_is_gone() {
    let entry = r#"[{"Node":{"ID":"x","Node":"slave1","Address":"10.0.0.1"},"Service":{"ID":"slave1:canary:80","Service":"canary","Tags":["haproxy"," weight=1"],"Address":"","Port":31000},"Checks":[{"Status":"passing"}]}]"#;
    let there = BTreeMap::from([(
        "GET /v1/health/service/canary".to_owned(),
        reply(200, entry),
    )]);
    let world1 = world(vec![there]);
    let (slaves, sessions) = members(&world1, "slave", "10.0.0.", 2, &[]);
    let session = sessions[0].clone() as Arc<dyn toots::host::HostSession>;
    let found = consul_service_instances(&session, "10.0.0.1", 8500, "canary").await;
    let first = &found.as_ref().unwrap()[0];
    assert_eq!(
        (
            first.address.as_str(),
            first.port,
            first.passing,
            first.tags[1].as_str()
        ),
        ("10.0.0.1", 31000, true, "weight=1")
    );
    assert!(registrator::judge(&slaves[..1], &found, true).healthy);
    assert!(
        !registrator::judge(&slaves, &found, true).healthy,
        "the second slave's is missing"
    );
    assert_eq!(
        registrator::judge(&slaves[..1], &found, false).faults,
        ["slave1: canary is still registered in Consul"]
    );
    let gone = registrator::judge(&slaves, &Ok(Vec::new()), false);
    assert!(gone.healthy && gone.proof == "canary deregistered from Consul");
}

#[tokio::test]
async fn ordinary_probes() {
    let world = world(vec![BTreeMap::from([
        ("GET /ok".to_owned(), reply(204, "")),
        ("ruok".to_owned(), reply(0, "imok")),
    ])]);
    let (hosts, _) = members(&world, "h", "10.0.0.", 1, &[]);
    let limit = Duration::from_secs(5);
    let check = async |spec: ProbeSpec, since: u64| {
        let state = ContainerState {
            running: true,
            since_start_s: since,
            words: "Up".into(),
        };
        ask_ordinary(&spec, &hosts[0], limit, &BTreeMap::new(), || {
            std::future::ready(Ok(state))
        })
        .await
    };
    let http = |status| ProbeSpec::Http {
        address: None,
        port: 80,
        path: "/ok".into(),
        status,
    };
    assert!(check(http(204), 0).await.is_ok());
    assert_eq!(
        check(http(200), 0).await.unwrap_err().to_string(),
        "GET :80/ok: 204 "
    );
    let line = |expect: &str| ProbeSpec::TcpLine {
        address: None,
        port: 2181,
        send: "ruok".into(),
        expect: expect.into(),
    };
    assert!(check(line("imok"), 0).await.is_ok());
    assert!(check(line(""), 0).await.is_ok(), "the connection is enough");
    assert!(check(line("nope"), 0).await.is_err());
    assert!(check(ProbeSpec::Process { stable_s: 5 }, 5).await.is_ok());
    let young = check(ProbeSpec::Process { stable_s: 5 }, 4)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        young,
        "container: started 4 s ago, must run for 5 s without a restart: Up"
    );
    let nobody = ask("redis", &hosts, Proof::Read, &ProbeContext::default()).await;
    assert!(!nobody.healthy && nobody.faults == ["redis: component has no gate"]);
}
