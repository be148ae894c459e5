//! What the Engine answers to a request.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The body of an answer.
pub enum Body {
    Empty,
    Json(Value),
    /// Bytes that are there already, with their type.
    Bytes(&'static str, Bytes),
    /// Pieces that come while the Engine works.
    Stream(&'static str, mpsc::Receiver<Bytes>),
}

pub struct Reply {
    pub status: u16,
    pub body: Body,
}

impl Reply {
    pub fn done(status: u16) -> Self {
        Self {
            status,
            body: Body::Empty,
        }
    }

    pub fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Body::Json(body),
        }
    }

    pub fn failed(status: u16, message: impl Into<String>) -> Self {
        Self::json(status, json!({ "message": message.into() }))
    }

    pub fn full_disk(path: &str) -> Self {
        Self::failed(500, no_space(path))
    }
}

/// The message of a write to a full disk.
pub fn no_space(path: &str) -> String {
    format!("write /var/lib/docker/{path}: no space left on device")
}

/// Sends JSON objects, each as a line, to a client that may go away meanwhile.
#[derive(Clone)]
pub struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    pub fn new() -> (Self, Reply) {
        let (sender, receiver) = mpsc::channel(16);
        let body = Body::Stream("application/json", receiver);
        (Self(sender), Reply { status: 200, body })
    }

    pub async fn send(&self, line: Value) {
        // Whoever must end with the client waits for `closed`.
        drop(self.0.send(Bytes::from(format!("{line}\r\n"))).await);
    }

    pub async fn error(&self, message: &str) {
        let detail = json!({ "message": message });
        self.send(json!({ "errorDetail": detail, "error": message }))
            .await;
    }

    /// The client is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
