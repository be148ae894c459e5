//! What reaches the load balancer by tags: the real Consul, consul-template and HAProxy of the lab,
//! with services that answer from this machine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{Edge, Lab, http, image, local, on, until};

const EDGE: &str = "10.42.7.31";
const CONSUL: &str = "http://10.42.7.11:8500";
/// The address of this machine in the lab's network.
pub const HERE: &str = "10.42.7.1";

/// A web server that answers every request with its name and the path.
fn server(name: &'static str) -> u16 {
    let listener = TcpListener::bind((HERE, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answers(stream, name)));
        }
    });
    port
}

fn answers(stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let body = format!("{name} {}", first.split(' ').nth(1).unwrap_or_default());
        write!(
            reader.get_mut(),
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// Services of a node without an agent; removed when this is dropped.
struct Catalogue(&'static str);

impl Catalogue {
    fn put(path: &str, body: &Value) {
        let (status, text) = http(&[
            "-X",
            "PUT",
            "-d",
            &body.to_string(),
            &format!("{CONSUL}{path}"),
        ]);
        assert_eq!(status, 200, "{text}");
    }

    fn new(node: &'static str) -> Self {
        Self::put(
            "/v1/catalog/register",
            &json!({ "Node": node, "Address": HERE }),
        );
        Self(node)
    }

    /// Registers many services in a few requests, each (id, name, tags, port).
    fn set(&self, services: &[(String, String, Vec<String>, u16)]) {
        for part in services.chunks(60) {
            let operations: Vec<Value> = part
                .iter()
                .map(|(id, name, tags, port)| {
                    json!({ "Service": { "Verb": "set", "Node": self.0,
                        "Service": { "ID": id, "Service": name, "Tags": tags, "Address": HERE, "Port": port } } })
                })
                .collect();
            Self::put("/v1/txn", &json!(operations));
        }
    }

    fn register(&self, name: &str, tags: &[&str], port: u16) {
        self.set(&[(
            name.to_owned(),
            name.to_owned(),
            tags.iter().map(ToString::to_string).collect(),
            port,
        )]);
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        http(&[
            "-X",
            "PUT",
            "-d",
            &json!({ "Node": self.0 }).to_string(),
            &format!("{CONSUL}/v1/catalog/deregister"),
        ]);
    }
}

/// The answer to a request to the edge; the status when it is not 200.
fn asked(host: &str, path: &str) -> String {
    match Edge::new(EDGE, host).get(path) {
        Ok((200, body)) => body,
        Ok((status, _)) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

pub fn tags(_lab: &Lab) {
    let (shop, gru, deep, db) = (server("shop"), server("gru"), server("deep"), server("db"));
    let catalogue = Catalogue::new("tests-tags");
    // Invalid services come first, so that the valid ones after them show that those broke nothing.
    for (n, name) in [
        "Bad Name_1",
        "a/../b",
        "{{ key \"x\" }}",
        "new\nline",
        "quo\"te",
        "dots.in.name",
        "a@b",
        "#",
        "ü",
        "$HOME",
        "a~b|passing",
    ]
    .iter()
    .enumerate()
    {
        catalogue.set(&[(
            format!("hostile-{n}"),
            (*name).to_owned(),
            vec!["haproxy".into()],
            shop,
        )]);
    }
    let long = format!("haproxy_route=/{}", "x".repeat(400));
    let hostile = [
        "haproxy_route=/a b",
        "haproxy_route=/x\n  use_backend http_shop",
        "haproxy_route=no-slash",
        "haproxy_route=/#",
        "haproxy_route=/\"q",
        &long,
        "haproxy_tcp=0",
        "haproxy_tcp=99999",
        "haproxy_tcp=80",
        "haproxy_tcp=22",
        "haproxy_tcp=1e4",
        "haproxy_tcp=-5",
        "weight=abc",
        "weight=-1",
        "weight=99999999999999999999",
        "weight=",
        "{{ range services }}",
        "haproxy_tcp=10200 \n",
    ];
    for (n, tag) in hostile.iter().enumerate() {
        catalogue.register(&format!("odd-{n}"), &["haproxy", tag], shop);
    }
    catalogue.register("Shop", &[" haproxy ", "weight=1000"], shop);
    catalogue.register("gru", &["haproxy_route=/minions"], gru);
    catalogue.register("gru-deep", &["haproxy_route=/minions/deep/"], deep);
    catalogue.register("greedy", &["haproxy_route=/"], db);
    catalogue.register("drained", &["haproxy", "weight=0"], shop);
    catalogue.register("unlisted", &["other"], shop);
    catalogue.register("db", &["haproxy_tcp=10100"], db);
    // The last of them is there.
    until("the services are there", Duration::from_secs(30), || {
        asked("shop.service.consul", "/").starts_with("shop")
            && http(&[&format!("http://{EDGE}:10100/")]).0 == 200
    });

    for host in [
        "shop.service.consul",
        "SHOP.Service.Consul",
        "shop.service.consul:80",
        "shop.service.consul.",
        "shop.service.lab.consul:80",
        "shop.consul",
    ] {
        assert_eq!(asked(host, "/a?b=c"), "shop /a?b=c", "{host}");
    }
    for (n, tag) in hostile.iter().enumerate() {
        let said = asked(&format!("odd-{n}.service.consul"), "/");
        assert!(
            said.starts_with("shop"),
            "a broken tag {tag:?} leaves the rest of its service: {said}"
        );
    }
    assert_eq!(
        asked("any.example.org", "/minions/say/banana"),
        "gru /minions/say/banana",
        "by its path, any host, not rewritten"
    );
    assert_eq!(asked("any.example.org", "/minions"), "gru /minions");
    assert_eq!(
        asked("shop.service.consul", "/minions"),
        "gru /minions",
        "another service's name is any host too"
    );
    assert_eq!(
        asked("any.example.org", "/minions/deep/x"),
        "deep /minions/deep/x",
        "the longest prefix wins"
    );
    assert_eq!(
        asked("any.example.org", "/minionsx"),
        "db /minionsx",
        "a longer segment is another path, and the root's service gets the rest"
    );
    catalogue.register("greedy", &["other"], db);
    until("no root any more", Duration::from_secs(30), || {
        asked("any.example.org", "/minionsx") == "503"
    });
    assert_eq!(
        asked("drained.service.consul", "/"),
        "503",
        "weight 0 drains"
    );
    assert_eq!(asked("unlisted.service.consul", "/"), "503");
    assert_eq!(asked("evil.example.org.shop.service.consul", "/"), "503");
    let (_, page) = http(&[
        "-H",
        "Host: nobody.service.consul",
        &format!("http://{EDGE}/where"),
    ]);
    assert!(
        page.contains("nobody.service.consul") && page.contains("where") && page.contains("lab"),
        "{page}"
    );
    assert_eq!(
        http(&[&format!("http://{EDGE}:10100/x")]),
        (200, "db /x".to_owned()),
        "TCP"
    );

    // The first service with a port keeps it.
    catalogue.register("aaa-late", &["haproxy_tcp=10100"], shop);
    catalogue.register("zzz", &["haproxy_tcp=10101"], gru);
    until("a port beside it", Duration::from_secs(30), || {
        http(&[&format!("http://{EDGE}:10101/")])
            .1
            .starts_with("gru")
    });
    assert_eq!(
        http(&[&format!("http://{EDGE}:10100/x")]),
        (200, "db /x".to_owned())
    );
    let log = on("e1", "docker logs --tail 400 toots-haproxy 2>&1");
    for said in [
        "tcp port 10100 of aaa-late: db had it first",
        "tcp port 80 is reserved",
        "tcp port 22 is reserved",
        "tcp port 99999 is no port",
        "a weight of Shop is over 256; 256 is used",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }

    // Statistics and Prometheus, with credentials.
    let login = format!(
        "admin:{}",
        on("m1", "cat /etc/toots/secrets/haproxy_stats").trim()
    );
    let (_, csv) = http(&["-u", &login, &format!("http://{EDGE}:81/;csv")]);
    let line = csv
        .lines()
        .find(|line| line.starts_with("http_Shop,s_"))
        .expect("a line");
    assert_eq!(
        line.split(',').nth(18),
        Some("256"),
        "a weight over 256 is 256: {line}"
    );
    let (_, metrics) = http(&["-u", &login, &format!("http://{EDGE}:81/metrics")]);
    assert!(
        metrics.contains("haproxy_server_weight{proxy=\"http_Shop\""),
        "Prometheus"
    );
    assert_eq!(http(&[&format!("http://{EDGE}:81/metrics")]).0, 401);
}

/// With `ex_domain` in the inventory.
pub fn additional_domain() {
    let port = server("outside");
    let catalogue = Catalogue::new("tests-domain");
    catalogue.register("outside", &["haproxy"], port);
    for host in [
        "outside.apps.lab",
        "OUTSIDE.Apps.Lab:80",
        "outside.service.consul",
    ] {
        until(host, Duration::from_secs(30), || {
            asked(host, "/x") == "outside /x"
        });
    }
}

/// A thousand services, each reached by its name.
pub fn thousand(_lab: &Lab) {
    const N: usize = 1000;
    let port = server("many");
    let catalogue = Catalogue::new("tests-many");
    let services: Vec<_> = (0..N)
        .map(|n| {
            (
                format!("many-{n}"),
                format!("many-{n}"),
                vec![String::from("haproxy")],
                port,
            )
        })
        .collect();
    let began = Instant::now();
    catalogue.set(&services);
    let last = format!("many-{}.service.consul", N - 1);
    until("the last of them answers", Duration::from_secs(60), || {
        asked(&last, "/").starts_with("many")
    });
    println!(
        "  {N} services, the last answers after {:.1} s",
        began.elapsed().as_secs_f32()
    );
    for n in (0..N).step_by(37) {
        assert_eq!(
            asked(&format!("many-{n}.service.consul"), "/x"),
            "many /x",
            "{n}"
        );
    }
    // One more is registered while they exist.
    let began = Instant::now();
    catalogue.register("one-more", &["haproxy"], port);
    until("one more", Duration::from_secs(30), || {
        asked("one-more.service.consul", "/").starts_with("many")
    });
    println!("  one more after {:.1} s", began.elapsed().as_secs_f32());
    drop(catalogue);
    until("they are gone", Duration::from_secs(60), || {
        asked(&last, "/") == "503"
    });
}

/// Requests on kept and on new connections, and a TCP connection, while the load balancer reloads
/// repeatedly.
pub fn reloads(_lab: &Lab) {
    let port = server("steady");
    let catalogue = Catalogue::new("tests-reloads");
    catalogue.register("steady", &["haproxy", "haproxy_tcp=10300"], port);
    until("it answers", Duration::from_secs(30), || {
        asked("steady.service.consul", "/").starts_with("steady")
            && http(&[&format!("http://{EDGE}:10300/")]).0 == 200
    });
    let pause = || std::thread::sleep(Duration::from_millis(3));
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = [true, true, false, false]
        .into_iter()
        .map(|kept| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let (mut edge, mut answers) = (
                    Edge::new(EDGE, "steady.service.consul"),
                    BTreeMap::<u16, usize>::new(),
                );
                while !over.load(Ordering::SeqCst) {
                    if !kept {
                        edge = Edge::new(EDGE, "steady.service.consul");
                    }
                    *answers
                        .entry(edge.get("/").map_or(0, |(status, _)| status))
                        .or_default() += 1;
                    pause();
                }
                answers
            })
        })
        .collect();
    let mut long = TcpStream::connect((EDGE, 10300)).expect("a TCP connection");
    let generations = || {
        on(
            "e1",
            "docker logs toots-haproxy 2>&1 | grep -c 'edge: reloading' || true",
        )
        .trim()
        .parse::<u32>()
        .unwrap_or(0)
    };
    let (before, began) = (generations(), Instant::now());
    let mut n = 0;
    while generations() < before + 8 && began.elapsed() < Duration::from_secs(90) {
        n += 1;
        catalogue.register("changing", &["haproxy", &format!("weight={n}")], port);
        std::thread::sleep(Duration::from_millis(1500));
    }
    over.store(true, Ordering::SeqCst);
    let answers: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().expect("a client"))
        .collect();
    let (reloads, total) = (
        generations() - before,
        answers.iter().flat_map(BTreeMap::values).sum::<usize>(),
    );
    println!("  {reloads} reloads under {total} requests: {answers:?}");
    assert!(
        reloads >= 8
            && total > 2000
            && answers
                .iter()
                .all(|by| by.keys().all(|status| *status == 200)),
        "{answers:?}"
    );
    long.write_all(b"GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("the connection of before the reloads");
    let mut answer = [0; 15];
    long.read_exact(&mut answer).expect("is still there");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

/// An edge that cannot load its newest configuration serves the previous one and is reported as
/// unhealthy; a port that is in use delays nobody else.
pub fn frozen(lab: &Lab) {
    let port = server("kept");
    let catalogue = Catalogue::new("tests-frozen");
    catalogue.register("kept", &["haproxy"], port);
    let answers = |name: &str| asked(&format!("{name}.service.consul"), "/").starts_with("kept");
    until("it answers", Duration::from_secs(30), || answers("kept"));
    let healthy = || lab.toots(&["cluster", "status"]).code == 0;

    let bundle = "/var/lib/toots/edge/bundle";
    on(
        "e1",
        &format!(
            "printf '==== file haproxy.cfg\\nnonsense\\n==== end\\n' > {bundle}.new && mv {bundle}.new {bundle}"
        ),
    );
    until("it is named", Duration::from_secs(20), || {
        let status = lab.toots(&["cluster", "status"]);
        status.code == 6
            && status.stdout.contains(
                "e1: refused its newest configuration and continues with the previous one",
            )
    });
    assert!(answers("kept"), "the former configuration serves");
    on("e1", "docker restart -t 2 toots-haproxy");
    until("after a restart too", Duration::from_secs(20), || {
        answers("kept")
    });
    on("e1", "docker restart -t 2 toots-consul-template");
    until(
        "healthy with the right one",
        Duration::from_secs(40),
        healthy,
    );

    // A connection of another program holds the port: HAProxy's own check does not see that.
    let peer = TcpListener::bind((HERE, 0)).expect("a port");
    peer.set_nonblocking(true).expect("a listener");
    let url = format!("http://{}/", peer.local_addr().expect("its address"));
    let connection =
        format!("while :; do curl -s --local-port 10500 {url}; [ $? = 45 ] || exit; sleep 1; done");
    local(&[
        "docker",
        "exec",
        "-d",
        "toots-lab-e1",
        "sh",
        "-c",
        &connection,
    ]);
    let mut holder = None;
    until("the port is in use", Duration::from_secs(90), || {
        holder = peer.accept().ok();
        holder.is_some()
    });
    catalogue.register("held", &["haproxy_tcp=10500"], port);
    catalogue.register("other", &["haproxy"], port);
    until("the others are taken up", Duration::from_secs(60), || {
        answers("other")
    });
    until("healthy without it", Duration::from_secs(30), healthy);
    let log = on("e1", "docker logs --tail 1000 toots-haproxy 2>&1");
    assert!(
        log.contains("no worker started") && log.contains("tcp port 10500 is in use on this host"),
        "{log}"
    );
    assert_ne!(http(&[&format!("http://{EDGE}:10500/")]).0, 200);
    // With unread input, so that the connection is reset and nothing of it lingers.
    drop(holder);
    until(
        "the port is used once it is free",
        Duration::from_secs(60),
        || http(&[&format!("http://{EDGE}:10500/")]).0 == 200,
    );
}

/// The same template with the other HAProxy release of this lab.
pub fn other_version(lab: &Lab) {
    let version = || on("e1", "docker exec toots-haproxy haproxy -v | head -n 1");
    let (own, other) = (image(lab, "haproxy"), image(lab, "haproxy-other"));
    let inventory = lab.changed("other-haproxy", |text| text.replace(&own, &other));
    let before = version();
    lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    println!("  {} after {}", version().trim(), before.trim());
    assert_ne!(version(), before);
    tags(lab);
    reloads(lab);
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
}
