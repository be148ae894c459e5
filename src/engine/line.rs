//! The connection to one host for a whole run. When it is lost it is made anew under the same session, so that whoever holds the session
//! goes on with the new one.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::guard::{Lock, LockError, Owner};
use crate::spec::HostName;
use crate::transport::{BoxStream, Cost, Dial, Exec, ExecOutput, Session, Target, TransportError};

/// A host that is lost this often in one run is left alone: what is done on it is not worth the waiting.
const TIMES: u32 = 3;

/// A session that survives its connection, with the host's lock.
pub(super) struct Line {
    host: HostName,
    now: RwLock<Arc<dyn Session>>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    renewed: u32,
    /// Whose lock was taken, and the lock itself.
    lock: Option<(Owner, Lock)>,
}

/// Why a lost connection could not be made anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error("the connection was lost {TIMES} times")]
    Often,
    #[error("connect again")]
    Connect(#[from] TransportError),
    #[error("lock again")]
    Lock(#[from] LockError),
}

impl Line {
    pub fn new(session: Arc<dyn Session>) -> Self {
        Self {
            host: session.host().clone(),
            now: RwLock::new(session),
            state: tokio::sync::Mutex::default(),
        }
    }

    fn session(&self) -> Arc<dyn Session> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the host's lock, which stays with the line and moves to a new connection.
    pub async fn lock(&self, owner: Owner) -> Result<(), LockError> {
        let lock = Lock::acquire(&self.session(), &owner).await?;
        self.state.lock().await.lock = Some((owner, lock));
        Ok(())
    }

    /// Connects anew when the connection is gone, and takes the lock again where it was held; nothing otherwise. Many may ask at once.
    pub async fn renew(&self, dial: &dyn Dial) -> Result<(), Gone> {
        let mut state = self.state.lock().await;
        if !self.session().closed() {
            return Ok(());
        }
        if state.renewed == TIMES {
            return Err(Gone::Often);
        }
        state.renewed += 1;
        let session = dial.dial(&self.host).await?;
        // Without the lock the new connection is not used, whoever asks next.
        if let Some((owner, lock)) = &mut state.lock {
            *lock = Lock::acquire(&session, owner).await?;
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = session;
        Ok(())
    }
}

#[async_trait]
impl Session for Line {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn exec(&self, exec: Exec) -> Result<ExecOutput, TransportError> {
        self.session().exec(exec).await
    }

    async fn open(&self, target: Target) -> Result<BoxStream, TransportError> {
        self.session().open(target).await
    }

    async fn settle_privilege(&self) -> Result<(), TransportError> {
        self.session().settle_privilege().await
    }

    fn closed(&self) -> bool {
        self.session().closed()
    }

    /// Of the connection that is used now.
    fn cost(&self) -> Cost {
        self.session().cost()
    }

    async fn close(&self) {
        if let Some((_, lock)) = self.state.lock().await.lock.take() {
            lock.release().await;
        }
        self.session().close().await;
    }
}
