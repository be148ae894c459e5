//! Consul's catalogue as programs use it, by requests to the agent of a machine.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::network::Network;
use crate::services::coordination::{Catalog, Instance};
use crate::services::web::{Answer, Client, Request};

const HTTP_PORT: u16 = 8500;
/// How long an answer takes at most, besides a wait that was asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long a question waits for a change.
const WAIT: Duration = Duration::from_secs(60);

/// Asks the simulated agents of a network.
#[derive(Clone)]
pub struct AgentCatalog {
    network: Network,
}

impl AgentCatalog {
    pub fn new(network: &Network) -> Self {
        Self {
            network: network.clone(),
        }
    }

    async fn ask(
        &self,
        (from, agent): (Ipv4Addr, Ipv4Addr),
        request: Request,
        limit: Duration,
    ) -> io::Result<Answer> {
        let client = Client {
            network: self.network.clone(),
            from,
            limit,
        };
        let answer = client.send(agent, HTTP_PORT, request).await?;
        match answer.status {
            200 => Ok(answer),
            _ => Err(io::Error::other(answer.text())),
        }
    }

    async fn get(&self, ends: (Ipv4Addr, Ipv4Addr), uri: &str) -> io::Result<Value> {
        let request = Request::new("GET", uri);
        let answer = self.ask(ends, request, ANSWER_LIMIT).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// A service as the answers of an agent show it.
fn instance(value: &Value) -> Option<Instance> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Instance {
        id: text("ID")?,
        name: text("Service")?,
        address: text("Address").unwrap_or_default(),
        port: u16::try_from(value["Port"].as_u64().unwrap_or(0)).ok()?,
        tags: serde_json::from_value(value["Tags"].clone()).unwrap_or_default(),
        meta: serde_json::from_value(value["Meta"].clone()).unwrap_or_default(),
    })
}

#[async_trait]
impl Catalog for AgentCatalog {
    async fn register(
        &self,
        from: Ipv4Addr,
        agent: Ipv4Addr,
        instance: Instance,
    ) -> io::Result<()> {
        let body = json!({
            "ID": instance.id,
            "Name": instance.name,
            "Address": instance.address,
            "Port": instance.port,
            "Tags": instance.tags,
            "Meta": instance.meta,
        });
        let request = Request {
            body: body.to_string().into_bytes(),
            ..Request::new("PUT", "/v1/agent/service/register")
        };
        let reply = self.ask((from, agent), request, ANSWER_LIMIT);
        reply.await.map(drop)
    }

    async fn deregister(&self, from: Ipv4Addr, agent: Ipv4Addr, id: &str) -> io::Result<()> {
        let uri = format!("/v1/agent/service/deregister/{id}");
        let reply = self.ask((from, agent), Request::new("PUT", &uri), ANSWER_LIMIT);
        reply.await.map(drop)
    }

    async fn of_agent(&self, from: Ipv4Addr, agent: Ipv4Addr) -> io::Result<Vec<Instance>> {
        let services = self.get((from, agent), "/v1/agent/services").await?;
        let services = services.as_object().into_iter().flatten();
        Ok(services.filter_map(|(_, value)| instance(value)).collect())
    }

    async fn passing(
        &self,
        from: Ipv4Addr,
        agent: Ipv4Addr,
        after: u64,
    ) -> io::Result<(u64, BTreeMap<String, Vec<Instance>>)> {
        let ends = (from, agent);
        let uri = format!(
            "/v1/catalog/services?index={after}&wait={}s",
            WAIT.as_secs()
        );
        let limit = WAIT + ANSWER_LIMIT;
        let answer = self.ask(ends, Request::new("GET", &uri), limit).await?;
        let index = answer.headers.get("x-consul-index");
        let index = index.and_then(|value| value.parse().ok());
        let names: BTreeMap<String, Value> = serde_json::from_slice(&answer.body)?;
        let mut found = BTreeMap::new();
        for name in names.into_keys() {
            let uri = format!("/v1/health/service/{name}?passing");
            let entries = self.get(ends, &uri).await?;
            let entries = entries.as_array().cloned().unwrap_or_default();
            let services = entries.iter().map(|entry| &entry["Service"]);
            let instances: Vec<Instance> = services.filter_map(instance).collect();
            if !instances.is_empty() {
                found.insert(name, instances);
            }
        }
        Ok((index.unwrap_or(1), found))
    }
}
