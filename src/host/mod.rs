//! What toots does to a host: typed operations and streams, each with a typed answer.
//!
//! Owns: [`Operation`], the list of everything that is done to a host; [`HostSession`], through which
//! it is done; and [`SshHost`], which does it over SSH with one script per operation (`scripts/`).
//! Must not decide what should be done. May import: `transport`, `spec`. Rooms above see no text of a
//! shell and no session of `transport`: what stands in for a host needs neither.
//!
//! To add an operation: its fields in `operation.rs` and a line in the table there, a file in
//! `scripts/`, an arm in `ssh.rs` that renders it, its test in `script_tests.rs`. Limits and privilege
//! belong to the operation; a deadline is a field only where the operator can set it.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod dialler;
#[doc(hidden)]
pub mod fake;
#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod local;
mod observation;
#[cfg(test)]
mod observe_tests;
mod operation;
mod parse;
mod place;
#[cfg(test)]
mod played_host;
#[cfg(test)]
mod script_tests;
mod sections;
mod session;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "below the seam: it talks to real hosts"
)]
mod ssh;

pub use crate::transport::{BoxStream, Cost, Stream, TransportError};
pub use dialler::{Dialler, HostConnector, SshDialler};
#[cfg(test)]
pub(crate) use local::local_host;
pub use observation::{Facts, FileStatus, Listener, Observation};
pub use operation::{
    ComposeHashes, HostAddresses, HostAnswer, Install, MoveAside, MovedFolder, Observe, Operation,
    OperationError, Place, ReadState, RemoveFile, RemoveUnit, ServiceState, StartUnit, TaskLog,
    TypedOperation,
};
pub use parse::ParseError;
pub use place::PlaceError;
pub use session::{Dial, HoldLock, HostSession, LockAnswer, StreamTarget};
pub use ssh::SshHost;
