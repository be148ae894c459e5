//! What happened in an Engine, as it tells those who listen.

use std::time::Duration;

use serde_json::{Value, json};

use super::container::Container;
use super::filters::Filters;
use super::lifecycle::until_closed;
use super::reply::{Lines, Reply};
use super::{Engine, EngineState};

/// The events since the Engine started, in order.
#[derive(Default)]
pub struct Events {
    list: Vec<Value>,
}

impl Events {
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Those after the first `count`, once there are any.
    pub fn after(&self, count: usize) -> Option<Vec<Value>> {
        let new = self.list.get(count..)?;
        (!new.is_empty()).then(|| new.to_vec())
    }
}

impl Engine {
    /// Tells of a container, with its labels.
    pub(super) fn tell(
        &self,
        state: &mut EngineState,
        container: &Container,
        action: &str,
        more: Value,
    ) {
        let mut attributes = container.labels();
        attributes["image"] = container.body["Image"].clone();
        attributes["name"] = container.name.clone().into();
        for (key, value) in more.as_object().into_iter().flatten() {
            attributes[key] = value.clone();
        }
        let mut event = self.event("container", action, &container.id, attributes);
        // Engines from 29 on leave these former names out.
        if self.is_before(29) {
            event["status"] = action.into();
            event["id"] = container.id.clone().into();
            event["from"] = container.body["Image"].clone();
        }
        state.events.list.push(event);
        self.bell().ring();
    }

    /// The same by the id; nothing when it is gone.
    pub(super) fn tell_of(&self, state: &mut EngineState, id: &str, action: &str, more: Value) {
        let at = state.containers.iter().position(|other| other.id == id);
        if let Some(at) = at {
            let container = state.containers.remove(at);
            self.tell(state, &container, action, more);
            state.containers.insert(at, container);
        }
    }

    pub(super) fn tell_of_image(
        &self,
        state: &mut EngineState,
        id: &str,
        action: &str,
        name: &str,
    ) {
        let event = self.event("image", action, id, json!({ "name": name }));
        state.events.list.push(event);
        self.bell().ring();
    }

    fn event(&self, kind: &str, action: &str, id: &str, attributes: Value) -> Value {
        let now = self.now();
        json!({
            "Type": kind,
            "Action": action,
            "Actor": { "ID": id, "Attributes": attributes },
            "scope": "local",
            "time": now.as_second(),
            "timeNano": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        })
    }

    /// Events as they happen, from a time on when one is given, until another.
    pub(super) fn events(&self, since: &str, until: &str, filters: Filters) -> Reply {
        let now = self.now();
        let seconds = |text: &str| text.parse::<f64>().ok();
        let since = seconds(since);
        let limit = seconds(until).map(|until| {
            #[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
            let left = until - now.as_second() as f64;
            Duration::from_secs_f64(left.max(0.0))
        });
        let mut next = {
            let is_wished = |event: &Value| event["time"].as_f64() >= since;
            let state = self.lock();
            let mut events = state.events.list.iter();
            let first = since.and_then(|_| events.position(is_wished));
            first.unwrap_or(state.events.count())
        };
        let (lines, reply) = Lines::new();
        let engine = self.clone();
        self.spawn_request(async move {
            let follow = async {
                loop {
                    let new = engine.bell().wait_for(|| engine.lock().events.after(next));
                    let new = new.await;
                    next += new.len();
                    for event in new
                        .into_iter()
                        .filter(|event| is_asked_for(event, &filters))
                    {
                        lines.send(event).await;
                    }
                }
            };
            let limited = async {
                match limit {
                    Some(limit) => drop(tokio::time::timeout(limit, follow).await),
                    None => follow.await,
                }
            };
            until_closed(&lines, limited).await;
        });
        reply
    }
}

fn is_asked_for(event: &Value, filters: &Filters) -> bool {
    let actor = &event["Actor"];
    let name = actor["Attributes"]["name"].as_str().unwrap_or_default();
    let id = actor["ID"].as_str().unwrap_or_default();
    filters.has_labels(&actor["Attributes"])
        && filters.any("type", |wish| event["Type"] == wish)
        && filters.any("event", |wish| event["Action"] == wish)
        && filters.any("container", |wish| wish == name || id.starts_with(wish))
}
