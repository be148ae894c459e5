//! Plays recorded answers back: a network of addresses, each with its questions and answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    ServiceState, StreamTarget, TransportError,
};
use toots::probe::Member;
use toots::spec::HostName;

#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Answers of one server by question.
pub type Server = BTreeMap<String, Reply>;

/// Reads a recording: its servers by number.
pub fn recorded(name: &str) -> BTreeMap<u8, Server> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recorded")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut servers: BTreeMap<u8, Server> = BTreeMap::new();
    for part in format!("\n{text}").split("\n=== ").skip(1) {
        let (title, rest) = part.split_once('\n').unwrap();
        let (server, question) = title.split_once(' ').unwrap();
        let (head, body) = rest.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .strip_prefix("status ")
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|l| {
                l.split_once(": ")
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .unwrap()
            })
            .collect();
        let reply = Reply {
            status,
            headers,
            body: body.trim_end().to_owned(),
        };
        servers
            .entry(server.parse().unwrap())
            .or_default()
            .insert(question.to_owned(), reply);
    }
    assert!(!servers.is_empty(), "{name} holds no answer");
    servers
}

/// A server with every text replaced.
pub fn renamed(server: &Server, from: &[(&str, &str)]) -> Server {
    let change = |text: &str| {
        from.iter()
            .fold(text.to_owned(), |t, (a, b)| t.replace(a, b))
    };
    server
        .iter()
        .map(|(question, r)| {
            let headers = r
                .headers
                .iter()
                .map(|(n, v)| (n.clone(), change(v)))
                .collect();
            (
                question.clone(),
                Reply {
                    status: r.status,
                    headers,
                    body: change(&r.body),
                },
            )
        })
        .collect()
}

#[derive(Default)]
pub struct World {
    /// By address.
    pub servers: BTreeMap<String, Server>,
    /// Keys written into Consul.
    kv: Mutex<BTreeMap<String, String>>,
    /// Questions in the order of their arrival: `address question`.
    pub asked: Mutex<Vec<String>>,
}

pub struct Play {
    host: HostName,
    address: String,
    world: Arc<World>,
    pub streams: AtomicU32,
}

#[async_trait]
impl HostSession for Play {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        let Operation::ReadState(request) = operation else {
            panic!("{operation:?} is not played")
        };
        let reply = &self.world.servers[&self.address][&request.path];
        let (record, now) = reply.body.trim_end().rsplit_once('\n').unwrap_or_default();
        match now.parse() {
            _ if reply.status != 0 => Err(OperationError::Failed {
                status: u32::from(reply.status),
                stdout: Vec::new(),
                stderr: reply.body.clone().into(),
            }),
            Ok(now) => Ok(HostAnswer::ReadState(ServiceState {
                record: record.into(),
                now,
            })),
            Err(_) => Err(OperationError::Answer {
                operation: "ReadState",
                output: reply.body.clone().into(),
            }),
        }
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        panic!("a probe takes no lock")
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        let StreamTarget::Tcp { address, port } = target else {
            panic!("only TCP is expected")
        };
        assert!(
            address == self.address || address == "127.0.0.1",
            "{address} asked through {}",
            self.host
        );
        if !self.world.servers.contains_key(&self.address) {
            return Err(TransportError::Refused {
                what: format!("{address}:{port}"),
                why: "connection refused".into(),
            });
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(Arc::clone(&self.world), self.address.clone(), theirs));
        Ok(Box::new(ours))
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost {
            streams: self.streams.load(Ordering::Relaxed),
            ..Cost::default()
        }
    }

    async fn close(&self) {}
}

async fn serve(world: Arc<World>, address: String, mut stream: DuplexStream) {
    let server = &world.servers[&address];
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else {
                return;
            };
            head.push(byte);
            if head.len() == 4
                && let Some(reply) = std::str::from_utf8(&head)
                    .ok()
                    .and_then(|word| server.get(word))
            {
                let _ = stream.write_all(reply.body.as_bytes()).await;
                return;
            }
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|l| {
                l.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(|n| n.parse().unwrap())
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let host = head
            .lines()
            .find_map(|l| l.strip_prefix("host: "))
            .unwrap_or_default();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        // A question without a recorded answer was not answered: the connection ends.
        let Some(reply) = answer(
            &world,
            &address,
            method,
            path,
            host,
            &String::from_utf8(body).unwrap(),
        ) else {
            return;
        };
        let mut text = format!(
            "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&reply.body);
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(
    world: &World,
    address: &str,
    method: &str,
    path: &str,
    host: &str,
    body: &str,
) -> Option<Reply> {
    if let Some(key) = path.strip_prefix("/v1/kv/toots/proof-") {
        return Some(key_value(world, method, key, body));
    }
    let mut question = format!("{method} {path}");
    if path == "/api/v1" {
        let call: serde_json::Value = serde_json::from_str(body).unwrap();
        question = format!("{question} {}", call["type"].as_str().unwrap());
    }
    world
        .asked
        .lock()
        .unwrap()
        .push(format!("{address} {question}"));
    let server = &world.servers[address];
    let by_host = format!("{question} for {host}");
    server
        .get(&by_host)
        .or_else(|| server.get(&question))
        .cloned()
}

fn key_value(world: &World, method: &str, key: &str, body: &str) -> Reply {
    let name = key.split('?').next().unwrap().to_owned();
    let mut kv = world.kv.lock().unwrap();
    let (status, body) = match method {
        "PUT" => (
            200,
            kv.insert(name, body.to_owned())
                .map_or("true", |_| "false")
                .to_owned(),
        ),
        "DELETE" => (200, kv.remove(&name).map_or("false", |_| "true").to_owned()),
        _ => kv
            .get(&name)
            .map_or((404, String::new()), |v| (200, v.clone())),
    };
    Reply {
        status,
        headers: vec![("X-Consul-Index".into(), "41".into())],
        body,
    }
}

impl World {
    pub fn new(servers: impl IntoIterator<Item = (String, Server)>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            ..Self::default()
        }
    }

    pub fn written(&self) -> usize {
        self.kv.lock().unwrap().len()
    }
}

/// Members `<name><number>` at `<net><number>`; those in `down` have no session.
pub fn members(
    world: &Arc<World>,
    name: &str,
    net: &str,
    count: u8,
    down: &[u8],
) -> (Vec<Member>, Vec<Arc<Play>>) {
    let mut sessions = Vec::new();
    let members = (1..=count)
        .map(|i| {
            let address = format!("{net}{i}");
            let host = HostName::new(format!("{name}{i}")).unwrap();
            let play = Arc::new(Play {
                host: host.clone(),
                address: address.clone(),
                world: Arc::clone(world),
                streams: AtomicU32::new(0),
            });
            sessions.push(Arc::clone(&play));
            let session = (!down.contains(&i)).then_some(play as Arc<dyn HostSession>);
            Member {
                host,
                address: address.parse().unwrap(),
                member: Some(i),
                session,
            }
        })
        .collect();
    (members, sessions)
}
