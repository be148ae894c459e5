//! The Engine of this machine, through its socket. A host's Engine is asked over a session; here, the
//! session only opens the socket, so that both get the same requests.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::UnixStream;

use super::engine::Engine;
use crate::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use crate::spec::HostName;

impl Engine {
    /// The Engine behind a socket of this machine. Opens nothing before the first call.
    #[must_use]
    pub fn local(socket: PathBuf) -> Self {
        Self::over(Arc::new(SocketSession {
            // Shown nowhere.
            host: HostName::new("localhost").unwrap_or_else(|_| unreachable!()),
            socket,
        }))
    }
}

/// A session that leads to one socket.
struct SocketSession {
    host: HostName,
    socket: PathBuf,
}

#[async_trait]
impl HostSession for SocketSession {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        Err(refused(operation.name()).into())
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        Err(refused("hold the lock"))
    }

    /// Whatever socket is asked for: where the Engine's is on a host says nothing about this machine.
    #[expect(
        clippy::disallowed_methods,
        reason = "it stands for this machine's own Engine"
    )]
    async fn open(&self, _: StreamTarget) -> Result<BoxStream, TransportError> {
        match UnixStream::connect(&self.socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(TransportError::Unreachable {
                address: self.socket.display().to_string(),
                why: error.to_string(),
            }),
        }
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {}
}

fn refused(what: &str) -> TransportError {
    TransportError::Refused {
        what: what.to_owned(),
        why: "this is done to hosts only".into(),
    }
}
