//! The Docker Engine of a host, through its API over a session.
//!
//! Owns: [`Engine`] and the few typed answers that other rooms need. May import: `transport`, `spec`; only it may name bollard.
//! To add a call: a method in `engine.rs` that takes and gives toots' own types.

mod connection;
mod create;
mod engine;
mod error;
mod pull;
mod types;

pub use engine::Engine;
pub use error::DockerError;
pub use types::{ContainerDetail, ContainerStatus, EngineStatus, ImageStatus, RegistryAuth};
