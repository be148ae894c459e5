//! The simulated Engines as Registrator reaches them. The socket that is mounted into its container is a
//! port of the machine here, at which whoever makes the Engine has it listen.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;

use super::engine::{Container, EngineEvent, Engines, LocalEngine, Published};
use super::web::{Client, Lines, Request};
use crate::network::Network;

/// In the place of `/var/run/docker.sock`.
pub const SOCKET: u16 = 2375;
/// `{"type":["container"],"event":["start","die"]}`
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C\
    %22event%22%3A%5B%22start%22%2C%22die%22%5D%7D";
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

pub struct WireEngines(pub Network);

impl Engines for WireEngines {
    fn engine(&self, machine: Ipv4Addr) -> Option<Arc<dyn LocalEngine>> {
        let client = Client {
            network: self.0.clone(),
            from: machine,
            limit: ANSWER_LIMIT,
        };
        let listens = self.0.listens(machine, SOCKET);
        listens.then(|| Arc::new(WireEngine { machine, client }) as _)
    }
}

struct WireEngine {
    machine: Ipv4Addr,
    client: Client,
}

impl WireEngine {
    async fn get(&self, uri: &str) -> io::Result<Value> {
        let request = Request::new("GET", uri);
        let answer = self.client.send(self.machine, SOCKET, request).await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("status {}", answer.status)));
        }
        Ok(answer.json())
    }
}

#[async_trait]
impl LocalEngine for WireEngine {
    async fn running(&self) -> io::Result<Vec<Container>> {
        let list = self.get("/containers/json").await?;
        let mut running = Vec::new();
        for listed in list.as_array().into_iter().flatten() {
            let id = listed["Id"].as_str().unwrap_or_default();
            // One that has gone meanwhile is none of them.
            if let Ok(inspected) = self.get(&format!("/containers/{id}/json")).await {
                running.push(parse(&inspected));
            }
        }
        Ok(running)
    }

    async fn events(&self) -> io::Result<mpsc::UnboundedReceiver<EngineEvent>> {
        let request = Request::new("GET", EVENTS);
        let lines = self.client.follow(self.machine, SOCKET, request).await?;
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(lines, sender));
        Ok(events)
    }
}

/// Ends with the Engine's stream, or with whoever reads the events.
async fn pass_on(mut lines: Lines, sender: mpsc::UnboundedSender<EngineEvent>) {
    loop {
        let line = tokio::select! {
            biased;
            () = sender.closed() => return,
            line = lines.next() => line,
        };
        let Some(line) = line else { return };
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let name = event["Actor"]["Attributes"]["name"].as_str();
        let name = name.unwrap_or_default().to_owned();
        // After the reader's end nobody asks.
        let _ = match event["Action"].as_str() {
            Some("start") => sender.send(EngineEvent::Started(name)),
            Some("die") => sender.send(EngineEvent::Died(name)),
            _ => Ok(()),
        };
    }
}

/// `PORT/PROTOCOL`
fn port(text: &str) -> Option<(u16, bool)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((port.parse().ok()?, protocol == "udp"))
}

fn parse(inspected: &Value) -> Container {
    let config = &inspected["Config"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let env = config["Env"].as_array().into_iter().flatten();
    let env = env.filter_map(|pair| pair.as_str()?.split_once('='));
    let labels = config["Labels"].as_object().into_iter().flatten();
    let exposed = config["ExposedPorts"].as_object().into_iter().flatten();
    let host = &inspected["HostConfig"];
    let bound = host["PortBindings"].as_object().into_iter().flatten();
    let published = bound.filter_map(|(inside, bindings)| {
        let (container_port, is_udp) = port(inside)?;
        let host_port = bindings[0]["HostPort"].as_str()?.parse().ok()?;
        Some(Published {
            container_port,
            host_port,
            is_udp,
        })
    });
    Container {
        name: text(&inspected["Name"]).trim_start_matches('/').to_owned(),
        image: text(&config["Image"]),
        env: env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        labels: labels
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
        published: published.collect(),
        exposed: exposed
            .filter_map(|(text, _)| Some(port(text)?.0))
            .collect(),
        is_on_host_network: host["NetworkMode"] == "host",
        ..Container::default()
    }
}
