//! The Docker Engine of a host, through its API over a session.
//!
//! Owns: the client and the few typed answers that other rooms need. May import: `transport`, `spec`; only it may name bollard.

mod types;

pub use types::{ContainerStatus, EngineStatus, ImageStatus};
