//! A client that writes numbered keys as long as it lives, and knows which of them were acknowledged:
//! those must be found later.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::network::Network;
use crate::record::Record;
use crate::services::web::{Answer, Client, Request};
use crate::services::written::Written;

/// Without an answer for so long a client tries another agent.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);
/// Between two tries; a write follows the other at once.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
const PREFIX: &str = "writer/";

#[derive(Clone)]
pub struct Writer {
    network: Network,
    record: Record,
    from: Ipv4Addr,
    agents: Vec<(Ipv4Addr, u16)>,
    /// Between two writes.
    pause: Duration,
    written: Written,
}

impl Writer {
    pub fn new(
        network: &Network,
        record: &Record,
        from: Ipv4Addr,
        agents: Vec<(Ipv4Addr, u16)>,
    ) -> Self {
        Self {
            network: network.clone(),
            record: record.clone(),
            from,
            agents,
            pause: Duration::ZERO,
            written: Written::default(),
        }
    }

    /// Waits between two writes, so that a long life has fewer of them.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Numbers of the writes that were acknowledged.
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.written.acknowledged()
    }

    /// The key of a write.
    pub fn key(number: u64) -> String {
        format!("{PREFIX}{number}")
    }

    async fn ask(&self, to: (Ipv4Addr, u16), method: &str, uri: &str) -> Option<Answer> {
        let client = Client {
            network: self.network.clone(),
            from: self.from,
            limit: REQUEST_LIMIT,
        };
        let asked = client.send(to.0, to.1, Request::new(method, uri));
        asked.await.ok()
    }

    /// Writes until it is dropped.
    pub async fn run(&self) {
        let mut agent = 0;
        loop {
            let number = self.written.begin();
            let to = self.agents[agent % self.agents.len()];
            let uri = format!("/v1/kv/{PREFIX}{number}");
            let reply = self.ask(to, "PUT", &uri).await;
            if reply.is_some_and(|reply| reply.status == 200 && reply.body == b"true") {
                self.written.acknowledge(number);
                let what = format!("acknowledged {PREFIX}{number}");
                self.record
                    .note(&self.from.to_string(), "consul-writer", what);
                tokio::time::sleep(self.pause).await;
            } else {
                agent += 1;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// Acknowledged writes that a consistent read does not show; `None` when there is no answer.
    pub async fn lost_at(&self, to: (Ipv4Addr, u16)) -> Option<BTreeSet<u64>> {
        let uri = format!("/v1/kv/{PREFIX}?consistent&keys");
        let reply = self.ask(to, "GET", &uri).await?;
        let there: BTreeSet<u64> = match reply.status {
            200 => {
                let keys = reply.json();
                let keys = keys.as_array()?.iter().filter_map(Value::as_str);
                let numbers = keys.filter_map(|key| key.strip_prefix(PREFIX)?.parse().ok());
                numbers.collect()
            }
            404 => BTreeSet::new(),
            _ => return None,
        };
        Some(self.written.lost(&there))
    }
}
