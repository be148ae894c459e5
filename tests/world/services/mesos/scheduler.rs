//! The frameworks of the leading master. No task is launched: nothing that toots does to a cluster asks
//! for tasks.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::master::Shared;
use crate::services::web::Reply;

/// A framework that has registered with this master.
pub struct Framework {
    pub name: String,
    pub hostname: String,
    /// Its connection is open.
    pub active: bool,
    lines: mpsc::UnboundedSender<String>,
}

impl Framework {
    fn send(&self, event: &Value) {
        // One that has gone subscribes again.
        let _ = self.lines.send(event.to_string());
    }
}

/// Answers a call of a scheduler.
pub fn call(shared: &Arc<Shared>, call: &Value) -> Reply {
    if call["type"] != "SUBSCRIBE" {
        return Reply::text(400, "Failed to validate scheduler::Call");
    }
    let info = &call["framework_info"];
    let (lines, stream) = mpsc::unbounded_channel();
    let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
    let mut state = shared.state();
    let cluster = &mut state.cluster;
    let id = match info["id"].as_str() {
        Some(id) => id.to_owned(),
        None => {
            let number = cluster.next_framework;
            cluster.next_framework += 1;
            format!("{}-{number:04}", shared.me.id)
        }
    };
    let framework = Framework {
        name: text("name"),
        hostname: text("hostname"),
        active: true,
        lines: lines.clone(),
    };
    framework.send(&json!({ "type": "SUBSCRIBED", "framework_id": id }));
    let former = cluster.frameworks.insert(id.clone(), framework);
    if let Some(former) = former.filter(|former| former.active) {
        former.send(&json!({ "type": "ERROR", "message": "Framework failed over" }));
    }
    drop(state);
    shared.note(format!("subscribed {id} {}", text("name")));
    shared.spawn(follow_connection(Arc::clone(shared), id, lines));
    Reply::lines(stream)
}

/// A framework whose connection has ended stays listed, but is not active.
async fn follow_connection(shared: Arc<Shared>, id: String, lines: mpsc::UnboundedSender<String>) {
    lines.closed().await;
    let mut state = shared.state();
    let framework = state.cluster.frameworks.get_mut(&id);
    if let Some(framework) = framework.filter(|f| f.lines.same_channel(&lines)) {
        framework.active = false;
    }
}
