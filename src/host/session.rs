//! The interface between toots and what is done to hosts.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::operation::{HostAnswer, Operation, OperationError, TypedOperation};
use crate::spec::{HostName, Secret};
use crate::transport::{BoxStream, Cost, TransportError};

/// The far end of a stream. Dropping the stream closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamTarget {
    /// A TCP address as seen from the host.
    Tcp { address: String, port: u16 },
    /// The socket of the host's Engine, as the login user.
    Engine,
    /// The Engine through its own command as root, for a login user who may not open the socket.
    EngineCommand,
    /// Prints the port on which the host listens for the other one, and then gives it the image.
    GiveImage {
        /// Where the host listens.
        address: Ipv4Addr,
        /// From where the other one comes; nobody else is served.
        peer: Ipv4Addr,
        image: String,
        /// Known to both hosts.
        token: Secret,
    },
    /// Takes an image from another host and loads it. Prints the number of bytes so far, by lines, and
    /// what the load prints.
    TakeImage {
        /// Where the other host listens.
        address: Ipv4Addr,
        port: u16,
        token: Secret,
    },
}

/// A request for the host's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldLock {
    /// The holder, as shown to other runs.
    pub holder: String,
    /// After this long without a sign of life the host ends the connection and frees the lock.
    pub silence_limit: Duration,
}

/// The answer to a request for the lock.
pub enum LockAnswer {
    /// Held, until the stream ends. Signs of life: each point that is sent is answered by a point and
    /// the end of its line. The end of the input frees the lock, then the output ends. Anything else
    /// means that the lock is lost.
    Held(BoxStream),
    /// Another run holds it.
    Taken {
        /// As it named itself, escaped; empty while it takes the lock.
        holder: String,
    },
    /// The host cannot lock; why.
    Failed(String),
}

/// One authenticated connection to a host.
#[async_trait]
pub trait HostSession: Send + Sync {
    /// The host it leads to.
    fn host(&self) -> &HostName;

    /// Runs an operation and waits for its end. Callers use [`HostSession::perform`][p], whose answer
    /// is that of the operation.
    ///
    /// # Errors
    /// When it could not be run, failed, or its answer cannot be read.
    ///
    /// [p]: trait.HostSession.html#method.perform
    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError>;

    /// Opens a byte stream.
    ///
    /// # Errors
    /// When the host refuses it or nothing listens there.
    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError>;

    /// Takes the host's lock.
    ///
    /// # Errors
    /// When the connection fails. A lock that is not free is an answer.
    async fn hold_lock(&self, request: HoldLock) -> Result<LockAnswer, TransportError>;

    /// Determines once per session how privileged operations become root, so that a refusal shows
    /// before the first change. Later calls return the cached answer.
    ///
    /// # Errors
    /// When there is no way to become root; the hints say what to allow.
    async fn settle_privilege(&self) -> Result<(), TransportError> {
        Ok(())
    }

    /// How long the login shell took to run its startup files, when that was long.
    fn slow_login(&self) -> Option<Duration> {
        None
    }

    /// Whether the connection is gone.
    fn closed(&self) -> bool;

    /// What the session has cost so far.
    fn cost(&self) -> Cost;

    /// Closes the connection cleanly.
    async fn close(&self);
}

impl dyn HostSession {
    /// Runs an operation; its answer has the operation's own type.
    ///
    /// # Errors
    /// When it could not be run, failed, or its answer cannot be read.
    pub async fn perform<O: TypedOperation>(
        &self,
        operation: O,
    ) -> Result<O::Answer, OperationError> {
        let operation = operation.into();
        let name = operation.name();
        let answer = self.run(operation).await?;
        O::from_answer(answer).ok_or(OperationError::Answer {
            operation: name,
            output: Vec::new(),
        })
    }
}

/// Opens sessions to hosts.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Opens an authenticated connection to a host of the inventory.
    ///
    /// # Errors
    /// When the host is unreachable, untrusted or denies the login.
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError>;
}
