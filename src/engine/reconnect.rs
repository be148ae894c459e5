//! The connection to one host during a run. A lost connection is reopened under the same session,
//! so that every holder of the session continues on the new one.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::event::Outcome;
use crate::guard::{Lock, LockError, Owner};
use crate::host::{
    BoxStream, Cost, Dial, HoldLock, HostAnswer, HostSession, LockAnswer, Operation,
    OperationError, StreamTarget, TransportError,
};
use crate::spec::HostName;

/// A host that is lost more often than this in one run is given up.
const MAX_RECONNECTS: u32 = 3;

/// A session that survives its connection, with the host's lock.
pub(super) struct ReconnectingSession {
    host: HostName,
    now: RwLock<Arc<dyn HostSession>>,
    state: tokio::sync::Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    renewed: u32,
    /// The owner and the lock, when taken.
    lock: Option<(Owner, Lock)>,
}

/// Why a lost connection could not be reopened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconnectError {
    #[error("connection lost {MAX_RECONNECTS} times")]
    TooOften,
    #[error("cannot reconnect")]
    Connect(#[from] TransportError),
    #[error("cannot take the lock again")]
    Lock(#[from] LockError),
}

impl ReconnectError {
    /// Whether the host answers, but its lock is lost for good.
    pub fn is_lock_lost(&self) -> bool {
        matches!(
            self,
            Self::Lock(LockError::Held { .. } | LockError::Host(_))
        )
    }

    /// The outcome of the host.
    pub fn outcome(&self) -> Outcome {
        if self.is_lock_lost() {
            Outcome::Failed
        } else {
            Outcome::Unreachable
        }
    }
}

impl ReconnectingSession {
    pub fn new(session: Arc<dyn HostSession>) -> Self {
        Self {
            host: session.host().clone(),
            now: RwLock::new(session),
            state: tokio::sync::Mutex::default(),
        }
    }

    fn session(&self) -> Arc<dyn HostSession> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the host's lock. The lock follows the session to a new connection.
    pub async fn lock(&self, owner: Owner) -> Result<(), LockError> {
        let lock = Lock::acquire(&self.session(), &owner).await?;
        self.state.lock().await.lock = Some((owner, lock));
        Ok(())
    }

    /// Gives the lock back, when it is held.
    pub async fn unlock(&self) {
        if let Some((_, lock)) = self.state.lock().await.lock.take() {
            lock.release().await;
        }
    }

    /// Reconnects when the connection is gone, and takes the lock again when it was held. Does
    /// nothing otherwise. Safe to call concurrently.
    pub async fn renew(&self, dial: &dyn Dial) -> Result<(), ReconnectError> {
        let mut state = self.state.lock().await;
        if !self.session().closed() {
            return Ok(());
        }
        if state.renewed == MAX_RECONNECTS {
            return Err(ReconnectError::TooOften);
        }
        state.renewed += 1;
        let session = dial.dial(&self.host).await?;
        // Without the lock, nobody may use the new connection.
        if let Some((owner, lock)) = &mut state.lock {
            *lock = Lock::acquire(&session, owner).await?;
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = session;
        Ok(())
    }
}

#[async_trait]
impl HostSession for ReconnectingSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        self.session().run(operation).await
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        self.session().open(target).await
    }

    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError> {
        self.session().hold_lock(request).await
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.session().settle_privilege().await
    }

    fn slow_login(&self) -> Option<std::time::Duration> {
        self.session().slow_login()
    }

    fn closed(&self) -> bool {
        self.session().closed()
    }

    /// The cost of the current connection.
    fn cost(&self) -> Cost {
        self.session().cost()
    }

    async fn close(&self) {
        self.unlock().await;
        self.session().close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("reconnect_error", ReconnectError, hints: |_| Vec::new(), {
            ReconnectError::TooOften => ReconnectError::TooOften,
            ReconnectError::Connect(_) => ReconnectError::Connect(TransportError::Lost("closed by the host".into())),
            ReconnectError::Lock(_) => ReconnectError::Lock(LockError::Held { holder: "ann@desk".into() }),
        });
    }
}
