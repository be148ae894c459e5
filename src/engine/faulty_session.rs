//! Sessions on which toots panics, for tests of this room. Compiled for tests only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::fake_engine::FakeEngine;
use crate::host::fake::FakeHost;
use crate::host::{
    BoxStream, Cost, Dial, HoldLock, HostAnswer, HostSession, LockAnswer, Operation,
    OperationError, StreamTarget, TransportError,
};
use crate::spec::HostName;

/// A host on which toots panics: in a command once it is asked to, or at the n-th stream to its
/// Engine.
struct Faulty {
    inner: FakeHost,
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
impl HostSession for Faulty {
    fn host(&self) -> &HostName {
        self.inner.host()
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        if let Some(trigger) = &self.bug.in_command {
            trigger.notified().await;
            assert!(self.bug.commands_succeed, "a bug");
            return Ok(HostAnswer::Place(()));
        }
        self.inner.run(operation).await
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        let is_of_engine = target == StreamTarget::Engine;
        let number = self
            .streams
            .fetch_add(is_of_engine.into(), Ordering::SeqCst);
        if is_of_engine && self.bug.at_stream == Some(number) {
            self.bug.is_reached.store(true, Ordering::SeqCst);
            panic!("a bug");
        }
        self.inner.open(target).await
    }

    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        self.inner.hold_lock(request).await
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
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        let n: usize = host.as_str()[1..].parse().unwrap();
        let (engine, bug) = &self.0[n - 1];
        Ok(Arc::new(Faulty {
            inner: engine.session(host.clone()),
            bug: Arc::clone(bug),
            streams: AtomicUsize::default(),
        }))
    }
}
