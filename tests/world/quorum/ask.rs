//! Questions to the services of a lab, and their answers in a short form.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::lab::{Lab, address};
use crate::services::web::{Client, Request};

/// No answer comes later than that.
const QUESTION_LIMIT: Duration = Duration::from_millis(1_500);

impl Lab {
    /// A four-letter word, asked on the machine itself.
    pub async fn word(&self, machine: u8, word: &str) -> Option<String> {
        let at = address(machine);
        let asked = async {
            let mut stream = self.network.connect(at, at, 2181).await.ok()?;
            stream.write_all(word.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            Some(text)
        };
        tokio::time::timeout(QUESTION_LIMIT, asked).await.ok()?
    }

    /// An HTTP answer, asked on the machine itself: the status and the body.
    pub async fn http(
        &self,
        machine: u8,
        port: u16,
        method: &str,
        uri: &str,
        body: &str,
        limit: Duration,
    ) -> Option<(u16, String)> {
        let at = address(machine);
        let client = Client {
            network: self.network.clone(),
            from: at,
            limit,
        };
        let request = Request {
            body: body.as_bytes().to_vec(),
            ..Request::new(method, uri)
        };
        let answer = client.send(at, port, request).await.ok()?;
        Some((answer.status, answer.text()))
    }

    /// A command of ZooKeeper's AdminServer.
    pub async fn command(&self, machine: u8, name: &str) -> Option<Value> {
        let uri = format!("/commands/{name}");
        let answer = self
            .http(machine, 2182, "GET", &uri, "", QUESTION_LIMIT)
            .await;
        let (status, body) = answer?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    /// The modes of some ZooKeeper members in short: `L3/2` leads three of whom it counts two synced,
    /// `F3` follows, `S` runs alone, `-` serves nobody, `x` is not reached.
    pub async fn zk_modes(&self, machines: &[u8]) -> String {
        let mut modes = Vec::new();
        for machine in machines {
            modes.push(self.zk_mode(*machine).await);
        }
        modes.join(" ")
    }

    async fn zk_mode(&self, machine: u8) -> String {
        // A process that just ended may still accept, and says nothing.
        let text = self.word(machine, "mntr").await.unwrap_or_default();
        if text.is_empty() {
            return "x".into();
        }
        let value = |key: &str| {
            let key = format!("zk_{key}\t");
            text.lines()
                .find_map(|line| line.strip_prefix(&key))
                .unwrap_or_default()
        };
        match value("server_state") {
            "leader" => format!("L{}/{}", value("quorum_size"), value("synced_followers")),
            "follower" => format!("F{}", value("quorum_size")),
            "standalone" => "S".into(),
            _ => "-".into(),
        }
    }

    /// Waits until the modes are as wanted.
    pub async fn until_zk(&self, machines: &[u8], wanted: &[&str], limit: Duration) -> Duration {
        let began = tokio::time::Instant::now();
        loop {
            let modes = self.zk_modes(machines).await;
            if wanted.contains(&modes.as_str()) {
                return began.elapsed();
            }
            assert!(began.elapsed() < limit, "{modes} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A question to an agent's HTTP interface.
    pub async fn ask(&self, machine: u8, uri: &str) -> Option<(u16, String)> {
        self.http(machine, 8500, "GET", uri, "", QUESTION_LIMIT)
            .await
    }

    /// The answers of an agent that toots reads, in short: the leader's number, raft's servers
    /// (`*` leads, `n` does not vote), autopilot's status with the failure tolerance and the servers
    /// that are not healthy, a consistent read, and the members that are not alive. `-` is no answer
    /// in time, `x` a connection that is refused.
    pub async fn consul_state(&self, machine: u8) -> String {
        let Some((_, leader)) = self.ask(machine, "/v1/status/leader").await else {
            return "x".into();
        };
        let number = |address: &str| {
            let host = address.split(':').next().unwrap_or_default();
            let last = host.rsplit('.').next().and_then(|n| n.parse::<u8>().ok());
            last.map_or_else(|| "?".to_owned(), |n| n.saturating_sub(10).to_string())
        };
        let leader: String = serde_json::from_str(&leader).unwrap_or_default();
        let leader = if leader.is_empty() {
            "none".into()
        } else {
            number(&leader)
        };
        let raft = self
            .ask(machine, "/v1/operator/raft/configuration?stale")
            .await;
        let servers = |body: &str| {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let servers = body["Servers"].as_array().cloned().unwrap_or_default();
            let mut servers: Vec<String> = servers
                .iter()
                .map(|server| {
                    let mark = if server["Leader"] == true { "*" } else { "" };
                    let vote = if server["Voter"] == true { "" } else { "n" };
                    format!(
                        "{}{mark}{vote}",
                        number(server["Address"].as_str().unwrap_or_default())
                    )
                })
                .collect();
            servers.sort();
            servers.join(",")
        };
        let raft = match raft {
            Some((200, body)) => servers(&body),
            Some((status, _)) => status.to_string(),
            None => "-".into(),
        };
        let health = self.ask(machine, "/v1/operator/autopilot/health").await;
        let health = match health {
            Some((status @ (200 | 429), body)) => {
                let body: Value = serde_json::from_str(&body).unwrap_or_default();
                let servers = body["Servers"].as_array().cloned().unwrap_or_default();
                let unhealthy = servers.iter().filter(|server| server["Healthy"] != true);
                let unhealthy: Vec<&str> = unhealthy
                    .filter_map(|server| server["Name"].as_str())
                    .collect();
                format!(
                    "{status}/{}/{}",
                    body["FailureTolerance"],
                    unhealthy.join(",")
                )
            }
            Some((status, _)) => status.to_string(),
            None => "-".into(),
        };
        let read = self.ask(machine, "/v1/kv/toots/proof?consistent").await;
        let read = read.map_or("-".to_owned(), |(status, _)| status.to_string());
        let members = self.ask(machine, "/v1/agent/members").await;
        let members: Value = members
            .and_then(|(_, body)| serde_json::from_str(&body).ok())
            .unwrap_or_default();
        let members = members.as_array().cloned().unwrap_or_default();
        let words = ["none", "alive", "leaving", "left", "failed"];
        let gone = members
            .iter()
            .filter(|member| member["Status"] != 1)
            .map(|member| {
                let status = member["Status"]
                    .as_u64()
                    .and_then(|s| usize::try_from(s).ok());
                let word = words.get(status.unwrap_or(0)).unwrap_or(&"?");
                format!("{} {word}", member["Name"].as_str().unwrap_or_default())
            });
        let gone: Vec<String> = gone.collect();
        format!("{leader} [{raft}] {health} {read} ({})", gone.join(", "))
    }
}
