//! States and courses of the edge that were recorded, brought about in the world.

use std::time::Duration;

use tokio::time::sleep;

use super::edge::{E2, EDGE, TWO_EDGES, holders};
use super::rig::{E1, Rig, THREE, until};
use crate::process::Signal;
use crate::services::coordination::{Catalog as _, Instance};
use crate::services::edge::config::Config;
use crate::services::edge::worker::{Served, parse_map};
use crate::services::memory::Restart;
use crate::services::web::Request;

const BUNDLE: &str = "/var/lib/toots/edge/bundle";

fn instance(name: &str, tags: &[&str]) -> Instance {
    Instance {
        id: name.to_owned(),
        name: name.to_owned(),
        address: "10.0.0.21".to_owned(),
        port: 31000,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        meta: std::collections::BTreeMap::new(),
    }
}

/// Consul is away at the start, then it comes.
pub async fn consul_away_at_the_start() -> usize {
    let rig = Rig::new(THREE);
    rig.catalog.set_away(E1, true);
    rig.start(E1, "consul-template").await;
    sleep(Duration::from_secs(400)).await;
    assert!(rig.files(E1).text(BUNDLE).is_none());
    assert!(
        rig.exits(E1, "consul-template").is_empty(),
        "toots has it try for ever"
    );
    rig.catalog.set_away(E1, false);
    let took = until(10, async || rig.files(E1).text(BUNDLE).is_some()).await;
    assert!(took < 7.0, "recorded: 6 s; {took}");
    3
}

/// The servers are gone for minutes: the bundle stays, and the next change is rendered.
pub async fn servers_gone() -> usize {
    let rig = Rig::new(THREE);
    rig.bring_up(&EDGE).await;
    rig.catalog
        .register(E1, E1, instance("web", &["haproxy"]))
        .await
        .expect("registered");
    until(5, async || {
        rig.files(E1)
            .text(BUNDLE)
            .is_some_and(|text| text.contains("http_web"))
    })
    .await;
    let before = rig.files(E1).text(BUNDLE);
    rig.catalog.set_leader(false);
    sleep(Duration::from_secs(139)).await;
    assert_eq!(rig.files(E1).text(BUNDLE), before);
    rig.catalog.set_leader(true);
    rig.catalog
        .register(E1, E1, instance("more", &["haproxy"]))
        .await
        .expect("registered");
    let took = until(20, async || {
        rig.files(E1)
            .text(BUNDLE)
            .is_some_and(|t| t.contains("http_more"))
    })
    .await;
    assert!(took < 8.0, "recorded: 6 s; {took}");
    3
}

pub async fn signals() -> usize {
    let rig = Rig::new(THREE);
    rig.start(E1, "consul-template").await;
    sleep(Duration::from_secs(1)).await;
    rig.engines.signal(E1, "toots-consul-template", Signal::Hup);
    sleep(Duration::from_secs(1)).await;
    assert!(rig.exits(E1, "consul-template").is_empty());
    rig.term(E1, "consul-template");
    sleep(Duration::from_millis(100)).await;
    // What toots sets makes SIGTERM what SIGINT is.
    assert_eq!(rig.exits(E1, "consul-template"), [12]);
    let config = "/etc/toots/consul-template/consul-template.hcl";
    let text = rig.files(E1).text(config).expect("a configuration");
    rig.files(E1)
        .write(config, text.replace("kill_signal = \"SIGTERM\"", ""), 0o644);
    sleep(Duration::from_secs(3)).await;
    rig.term(E1, "consul-template");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        rig.exits(E1, "consul-template"),
        [12],
        "without it SIGTERM is ignored"
    );
    3
}

pub async fn broken_template() -> usize {
    let rig = Rig::new(THREE);
    rig.files(E1).write(BUNDLE, "old", 0o600);
    rig.files(E1).write(
        "/etc/toots/consul-template/edge.ctmpl",
        "{{ broken } }}",
        0o600,
    );
    let mut container = rig.container(E1, "consul-template");
    container.restarts = false;
    rig.run(E1, container).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.exits(E1, "consul-template"), [14]);
    assert_eq!(rig.files(E1).text(BUNDLE).as_deref(), Some("old"));
    2
}

/// Names and tags that would break a configuration.
pub async fn hostile_names() -> usize {
    let rig = Rig::new(THREE);
    rig.bring_up(&EDGE).await;
    let hostile = [
        "dots.in.name",
        "sp ace",
        "ünïcode",
        "-dash",
        "quote\"name",
        "new\nline",
        "{{broken}}",
        "a/b",
        "a|b",
        "a~b",
        "a@b",
        "#x",
        "$HOME",
        "%[path]",
    ];
    for name in hostile {
        rig.catalog
            .register(E1, E1, instance(name, &["haproxy"]))
            .await
            .expect("registered");
    }
    let tags = [
        " haproxy ",
        "weight=abc",
        "weight=99999",
        "haproxy_route=/a b",
        "haproxy_tcp=0",
    ];
    for name in ["Bad_Name", "my_service"] {
        rig.catalog
            .register(E1, E1, instance(name, &tags))
            .await
            .expect("registered");
    }
    sleep(Duration::from_secs(10)).await;
    let text = rig.files(E1).text(BUNDLE).expect("a bundle");
    let served = text
        .lines()
        .filter(|line| line.starts_with("backend http_"));
    assert!(
        served.eq(["backend http_Bad_Name", "backend http_my_service"]),
        "{text}"
    );
    assert!(text.contains(" weight 256 check"), "{text}");
    assert!(super::edge::state(&rig, E1).contains(" taken "));
    hostile.len() + 2
}

/// Which backend a path and a host lead to, in toots' maps.
pub async fn maps() -> usize {
    let map = |name: &str, text: &str| (name.to_owned(), parse_map(text));
    let served = Served {
        maps: [
            map("exact", "/api/v2 exact\n"),
            map("prefix", "/x/ one\n/api/ short\n/api/v2/ long\n"),
            map("hosts", "app.service.consul host\n"),
            map("root", "/ root\n"),
        ]
        .into(),
        ..Served::default()
    };
    // The recorded rows, with the segment borders that toots adds to the prefixes.
    let rows = [
        ("/x/", "", "one"),
        ("/xyz", "", "root"),
        ("/api/", "", "short"),
        ("/api/v2", "", "exact"),
        ("/api/v2/", "", "long"),
        ("/api/v2/z", "", "long"),
        ("/api/v2extra", "", "short"),
        ("//x", "", "root"),
        ("/./x", "", "root"),
        ("/X", "", "root"),
        ("/", "app.service.consul", "host"),
        ("/", "app.service.consul.", "host"),
        ("/", "APP.SERVICE.CONSUL:8080", "host"),
        ("/", "xapp.service.consul", "root"),
        ("/", "app.service.consul.evil.example", "root"),
        ("/", "[::1]:80", "root"),
    ];
    for (path, host, backend) in rows {
        let request = Request {
            headers: [("host".to_owned(), host.to_owned())].into(),
            ..Request::new("GET", path)
        };
        assert_eq!(served.route(&request), Some(backend), "{path} {host}");
    }
    rows.len()
}

/// What `haproxy -c` lets through and what it refuses.
pub async fn checks() -> usize {
    let server = |rest: &str| format!("listen l\n  bind :80\nbackend b\n  server s {rest}\n");
    let words = "x ".repeat(70);
    let rows = [
        (
            "listen a\n  bind :80\nlisten b\n  bind :80\n".to_owned(),
            true,
        ),
        ("listen a\n  bind :80abc\n".to_owned(), true),
        ("listen a\n  bind :99999\n".to_owned(), false),
        ("listen a\n  bind :0\n".to_owned(), false),
        ("listen a\n  bind 10.9.9.9:80\n".to_owned(), true),
        (server("10.0.0.1:80 weight 0"), true),
        (server("10.0.0.1:80 weight 256"), true),
        (server("10.0.0.1:80 weight 257"), false),
        (server("10.0.0.1:80 weight -5"), false),
        (server("10.0.0.1:80 weight abc"), true),
        (server("10.0.0.1:80 weight 1abc"), true),
        (server("10.0.0.1:0"), true),
        (server("10.0.0.1:70000"), false),
        (server("no-such.invalid:80"), false),
        (server("10.0.0.1:80") + "  server s 10.0.0.2:80\n", false),
        (server("10.0.0.1:80") + "  server t 10.0.0.1:80\n", true),
        (server("10.0.0.1:80") + "backend b\n", false),
        (server("10.0.0.1:80") + "backend B\n", true),
        (server(&format!("10.0.0.1:80 {words}")), false),
        ("listen a\n  bind :80\n  nonsense\n".to_owned(), false),
    ];
    for (text, is_accepted) in &rows {
        assert_eq!(Config::parse(text).is_ok(), *is_accepted, "{text}");
    }
    rows.len()
}

/// keepalived is killed and comes back.
pub async fn keepalived_killed() -> usize {
    let rig = Rig::new(TWO_EDGES);
    rig.bring_up(&["haproxy", "keepalived"]).await;
    assert_eq!(holders(&rig), [E1]);
    rig.kill(E1, "keepalived", Restart::No);
    let took = until(10, async || holders(&rig) == [E1, E2]).await;
    assert!((2.0..5.0).contains(&took), "recorded: 3.2 s; {took}");
    rig.start(E1, "keepalived").await;
    let took = until(10, async || holders(&rig) == [E2]).await;
    assert!(took < 1.0, "recorded: 0.4 s; {took}");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(holders(&rig), [E2]);
    3
}

/// A password that differs: each holds the address.
pub async fn keepalived_passwords() -> usize {
    let rig = Rig::new(TWO_EDGES);
    let path = "/etc/toots/keepalived/keepalived.conf";
    let text = rig.files(E2).text(path).expect("a configuration");
    rig.files(E2).write(
        path,
        text.replace("auth_pass ***", "auth_pass other"),
        0o600,
    );
    rig.bring_up(&["haproxy", "keepalived"]).await;
    assert_eq!(holders(&rig), [E1, E2]);
    // HAProxy down on both: nobody holds it.
    for edge in [E1, E2] {
        rig.kill(edge, "haproxy", Restart::No);
    }
    sleep(Duration::from_secs(5)).await;
    assert!(holders(&rig).is_empty());
    2
}
