//! dnsmasq, openvpn, supervisord, and the canary that answers its own text.

use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::network::Listener;
use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::view::Service;
use crate::services::web::{Handler, Reply, Request, serve};

pub struct Dnsmasq(pub Surroundings);
pub struct Openvpn(pub Surroundings);
pub struct Supervisord(pub Surroundings);
pub struct Echo(pub Surroundings);

/// Keys of dnsmasq's configuration that toots writes.
const DNSMASQ_KEYS: [&str; 16] = [
    "port",
    "user",
    "bind-interfaces",
    "listen-address",
    "cache-size",
    "dns-forward-max",
    "edns-packet-max",
    "no-negcache",
    "no-hosts",
    "host-record",
    "address",
    "server",
    "rebind-domain-ok",
    "no-resolv",
    "resolv-file",
    "strict-order",
];

/// A configuration's lines without comments, as key and value.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with(['#', ';']));
    lines
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .collect()
}

/// Runs until a signal ends it; everything else is done by `tasks`.
async fn wait(process: &mut Process, mut tasks: JoinSet<()>, on_term: Option<i64>) -> i64 {
    loop {
        tokio::select! {
            biased;
            Some(signal) = process.signals.recv() => if signal == Signal::Term
                && let Some(code) = on_term
            {
                return code;
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn fail(process: &Process, code: i64, why: &str) -> i64 {
    process.log.line(why);
    code
}

async fn hold_connections(mut listener: Listener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            (mut stream, _) = listener.accept() => drop(connections.spawn(async move {
                let mut question = [0; 512];
                while stream.read(&mut question).await.is_ok_and(|read| read > 0) {}
            })),
            Some(_) = connections.join_next() => {}
        }
    }
}

#[async_trait]
impl Program for Dnsmasq {
    async fn run(&self, mut process: Process) -> i64 {
        let path = process
            .command
            .iter()
            .find_map(|word| word.strip_prefix("--conf-file="));
        let Some(text) = path.and_then(|path| process.text(path)) else {
            return fail(&process, 3, "dnsmasq: cannot read its configuration");
        };
        let pairs = pairs(&text);
        if let Some((key, _)) = pairs.iter().find(|(key, _)| !DNSMASQ_KEYS.contains(key)) {
            return fail(&process, 1, &format!("dnsmasq: bad option: {key}"));
        }
        let value = |key: &str| {
            pairs
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, value)| *value)
        };
        let address = value("listen-address").and_then(|text| text.parse::<Ipv4Addr>().ok());
        let port = value("port")
            .and_then(|port| port.parse().ok())
            .unwrap_or(53);
        let listener = process.network.listen(process.address, port);
        let (true, Ok(listener)) = (address == Some(process.address), listener) else {
            return fail(&process, 2, "dnsmasq: failed to create listening socket");
        };
        let seat = self
            .0
            .view
            .sit(Service::Other, process.address, &process.name);
        seat.set(|row| row.serves = true);
        let mut tasks = JoinSet::new();
        tasks.spawn(hold_connections(listener));
        wait(&mut process, tasks, Some(0)).await
    }
}

#[async_trait]
impl Program for Openvpn {
    async fn run(&self, mut process: Process) -> i64 {
        let path = process.command.get(2);
        let Some(text) = path.and_then(|path| process.text(path)) else {
            return fail(
                &process,
                1,
                "Options error: In [CMD-LINE]: Error opening configuration",
            );
        };
        for key in ["ca", "cert", "key"] {
            let mut lines = text.lines();
            let path = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            if path
                .and_then(|path| process.text(path))
                .is_none_or(|text| text.trim().is_empty())
            {
                return fail(&process, 1, &format!("Options error: --{key} fails"));
            }
        }
        let seat = self
            .0
            .view
            .sit(Service::Other, process.address, &process.name);
        seat.set(|row| row.serves = true);
        wait(&mut process, JoinSet::new(), Some(0)).await
    }
}

struct Text(String);

#[async_trait]
impl Handler for Text {
    async fn answer(&self, _: Request) -> Reply {
        Reply::text(200, self.0.clone())
    }
}

#[async_trait]
impl Program for Echo {
    async fn run(&self, mut process: Process) -> i64 {
        let value = |flag: &str| {
            let mut words = process.command.iter();
            words.find_map(|word| word.strip_prefix(flag))
        };
        let port = value("-listen=:").map_or(Some(5678), |port| port.parse().ok());
        let text = value("-text=").unwrap_or_default().to_owned();
        let listener = port.map(|port| process.network.listen(process.address, port));
        let Some(Ok(listener)) = listener else {
            return fail(&process, 1, "cannot listen");
        };
        let _seat = self
            .0
            .view
            .sit(Service::Other, process.address, &process.name);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(Text(text))));
        wait(&mut process, tasks, Some(143)).await
    }
}

/// Answers whoever has the login.
struct Page {
    login: String,
}

#[async_trait]
impl Handler for Page {
    async fn answer(&self, request: Request) -> Reply {
        if request.header("authorization") == self.login {
            Reply::text(200, "Supervisor Status")
        } else {
            Reply::text(401, "").with("WWW-Authenticate", "Basic realm=\"default\"")
        }
    }
}

#[async_trait]
impl Program for Supervisord {
    async fn run(&self, mut process: Process) -> i64 {
        let path = process
            .command
            .iter()
            .find_map(|word| word.strip_prefix("--configuration="));
        let Some(text) = path.and_then(|path| process.text(path)) else {
            return fail(&process, 2, "Error: could not find config file");
        };
        let (_, http) = text.split_once("[inet_http_server]").unwrap_or_default();
        let pairs = pairs(http);
        let value = |key: &str| {
            pairs
                .iter()
                .find(|(k, _)| *k == key)
                .map_or("", |(_, value)| *value)
        };
        let port = value("port")
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let listener = port.map(|port| process.network.listen(process.address, port));
        let Some(Ok(listener)) = listener else {
            return fail(
                &process,
                2,
                "Error: Another program is already listening on a port",
            );
        };
        let login = STANDARD.encode(format!("{}:{}", value("username"), value("password")));
        let page = Page {
            login: format!("Basic {login}"),
        };
        let seat = self
            .0
            .view
            .sit(Service::Other, process.address, &process.name);
        seat.set(|row| row.serves = true);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(page)));
        wait(&mut process, tasks, Some(0)).await
    }
}
