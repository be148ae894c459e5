//! The Docker Engine of a host, through its API over a session.
//!
//! Owns: [`Engine`] and the few typed answers that other rooms need. Must not decide what a
//! container should be. May import: `host`, `spec`; only it may name bollard. To add a
//! request: a method in `engine.rs` that takes and returns toots' own types.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod answer_lines;
mod archive;
mod build;
mod build_context;
mod connection;
mod content;
mod create;
mod direct;
mod engine;
mod error;
mod limited;
mod local;
mod proxies;
mod pull;
mod saved;
mod transfer;
mod types;

pub use archive::{ArchivePart, ImageArchive};
pub use build::BuildRequest;
pub use content::{ImageContent, ImageDetail, ImageSettings};
pub use direct::DirectRoute;
pub use engine::Engine;
pub use error::DockerError;
pub use proxies::Proxies;
pub use saved::{SavedImage, SavedLayers};
pub use types::{
    ContainerDetail, ContainerStatus, EngineInfo, EngineStatus, ImageStatus, RegistryAuth,
};
