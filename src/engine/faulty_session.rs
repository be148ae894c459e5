//! Sessions on which toots panics, for tests of this room. Compiled for tests only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::fake_engine::FakeEngine;
use crate::spec::HostName;
use crate::transport::fake::{FakeSession, output};
use crate::transport::{BoxStream, Cost, Dial, Exec, ExecOutput, Session, Target, TransportError};

/// A host on which toots panics: in a command once it is asked to, or at the n-th stream to its
/// Engine.
struct Faulty {
    inner: FakeSession,
    bug: Arc<Bug>,
    streams: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Bug {
    /// Commands wait until this is notified.
    pub in_command: Option<Notify>,
    /// Whether they succeed then; else they panic.
    pub commands_succeed: bool,
    pub is_reached: AtomicBool,
    pub at_stream: Option<usize>,
}

#[async_trait]
impl Session for Faulty {
    fn host(&self) -> &HostName {
        self.inner.host()
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        if let Some(trigger) = &self.bug.in_command {
            trigger.notified().await;
            assert!(self.bug.commands_succeed, "a bug");
            return Ok(output(0, "", ""));
        }
        self.inner.exec(exec).await
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        let is_of_engine = matches!(target, Target::Unix { .. });
        let number = self
            .streams
            .fetch_add(is_of_engine.into(), Ordering::SeqCst);
        if is_of_engine && self.bug.at_stream == Some(number) {
            self.bug.is_reached.store(true, Ordering::SeqCst);
            panic!("a bug");
        }
        self.inner.open(target).await
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.inner.settle_privilege().await
    }

    fn closed(&self) -> bool {
        self.inner.closed()
    }

    fn cost(&self) -> Cost {
        self.inner.cost()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// The hosts h1, h2, … with their bugs.
pub(super) struct Dialed(pub Vec<(FakeEngine, Arc<Bug>)>);

#[async_trait]
impl Dial for Dialed {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn Session>, TransportError> {
        let n: usize = host.as_str()[1..].parse().unwrap();
        let (engine, bug) = &self.0[n - 1];
        Ok(Arc::new(Faulty {
            inner: engine.session(host.clone()),
            bug: Arc::clone(bug),
            streams: AtomicUsize::default(),
        }))
    }
}
