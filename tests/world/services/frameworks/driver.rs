//! The scheduler driver of a framework: finds the leading Mesos master by ZooKeeper and stays
//! registered with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Member;
use crate::changes::Watched;
use crate::services::flags::zookeepers;
use crate::services::mesos::{Peer, SESSION, detect};
use crate::services::web::{Client, Request};

const RETRY: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What a framework learns of its masters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Registered under this id.
    Registered(String),
    /// The leading master is gone, or another one leads.
    Disconnected,
    /// Another process registered under its id.
    FailedOver,
}

struct Driver {
    member: Arc<Member>,
    name: &'static str,
    master: Watched<Option<Peer>>,
    events: mpsc::UnboundedSender<Event>,
}

/// Stays registered until it is dropped.
pub async fn stay_registered(
    member: Arc<Member>,
    name: &'static str,
    events: mpsc::UnboundedSender<Event>,
) {
    let (servers, path) = zookeepers(&member.masters);
    let (world, from) = (member.world.clone(), member.address);
    let driver = Driver {
        member,
        name,
        master: Watched::new(None),
        events,
    };
    let find = async {
        loop {
            let session = world.coordination.open(from, &servers, SESSION);
            detect(session, path.clone(), driver.master.clone()).await;
        }
    };
    tokio::join!(find, driver.follow());
}

impl Driver {
    async fn follow(&self) {
        loop {
            let found = self.master.wait_for(Option::is_some).await;
            let Some(master) = found else { return };
            let mut was_registered = false;
            tokio::select! {
                biased;
                _ = self.master.wait_for(|now| now.as_ref() != Some(&master)) => {}
                () = self.subscribe(&master, &mut was_registered) => {}
            }
            if was_registered {
                let _ = self.events.send(Event::Disconnected);
            }
        }
    }

    /// Subscribes to a master again and again, as long as it is the leading one.
    async fn subscribe(&self, master: &Peer, was_registered: &mut bool) {
        let client = Client {
            network: self.member.network.clone(),
            from: self.member.address,
            limit: ANSWER_LIMIT,
        };
        loop {
            let id = self.member.state().framework_id.clone();
            let info = json!({ "id": id, "name": self.name, "hostname": self.member.hostname });
            let subscribe = json!({ "type": "SUBSCRIBE", "framework_info": info });
            let request = Request::post("/master/api/v1/scheduler", &subscribe);
            let lines = client.follow(master.address, master.port, request).await;
            if let Ok(mut lines) = lines {
                while let Some(line) = lines.next().await {
                    *was_registered = true;
                    self.pass_on(&serde_json::from_str(&line).unwrap_or_default());
                }
            }
            sleep(RETRY).await;
        }
    }

    fn pass_on(&self, event: &Value) {
        let event = match event["type"].as_str() {
            Some("SUBSCRIBED") => {
                let id = event["framework_id"].as_str().unwrap_or_default();
                self.member.state().framework_id = Some(id.to_owned());
                Event::Registered(id.to_owned())
            }
            Some("ERROR") => Event::FailedOver,
            _ => return,
        };
        // Whoever no longer listens has ended.
        let _ = self.events.send(event);
    }
}
