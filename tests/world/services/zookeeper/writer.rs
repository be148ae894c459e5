//! A client that writes numbered values as long as it lives, and knows which of them were
//! acknowledged: those must be found later.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::client::{Client, Failure, Mode};
use super::tree::code;
use crate::network::Network;
use crate::record::Record;
use crate::services::written::Written;

const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Without an answer for so long a client tries another server.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);
/// Between two tries; a write follows the other at once.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
const PARENT: &str = "/writer";

#[derive(Clone)]
pub struct Writer {
    network: Network,
    record: Record,
    from: Ipv4Addr,
    servers: Vec<(Ipv4Addr, u16)>,
    /// Between two writes.
    pause: Duration,
    written: Written,
}

impl Writer {
    pub fn new(
        network: &Network,
        record: &Record,
        from: Ipv4Addr,
        servers: Vec<(Ipv4Addr, u16)>,
    ) -> Self {
        Self {
            network: network.clone(),
            record: record.clone(),
            from,
            servers,
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

    /// The path of a write.
    pub fn path(number: u64) -> String {
        format!("{PARENT}/{number}")
    }

    /// Writes until it is dropped.
    pub async fn run(&self) {
        let mut server = 0;
        loop {
            let to = self.servers[server % self.servers.len()];
            let _ = self.write_through(to).await;
            server += 1;
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn write_through(&self, to: (Ipv4Addr, u16)) -> Result<(), Failure> {
        let connect = Client::connect(&self.network, self.from, to, SESSION_TIMEOUT, 0);
        let mut client = limited(connect).await?;
        match limited(client.create(PARENT, b"", Mode::Persistent)).await {
            Ok(_) | Err(Some(code::NODE_EXISTS)) => {}
            Err(failure) => return Err(failure),
        }
        loop {
            let number = self.written.begin();
            let path = Self::path(number);
            limited(client.create(&path, b"", Mode::Persistent)).await?;
            self.written.acknowledge(number);
            let what = format!("acknowledged {path}");
            self.record
                .note(&self.from.to_string(), "zookeeper-writer", what);
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Acknowledged writes that a server does not show after a sync.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn lost_at(&self, to: (Ipv4Addr, u16)) -> Result<BTreeSet<u64>, Failure> {
        let connect = Client::connect(&self.network, self.from, to, SESSION_TIMEOUT, 0);
        let mut client = limited(connect).await?;
        limited(client.sync("/")).await?;
        let there = match limited(client.children(PARENT)).await {
            Ok(children) => children,
            Err(Some(code::NO_NODE)) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let there: BTreeSet<u64> = there.iter().filter_map(|name| name.parse().ok()).collect();
        client.close().await;
        Ok(self.written.lost(&there))
    }
}

async fn limited<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(REQUEST_LIMIT, call).await;
    answer.unwrap_or(Err(None))
}
