//! Plain types that every room speaks: names, what a file, a container, an image and a probe must be, and the hash that tells
//! whether a running container still is what is wanted.
//!
//! Owns: data without behaviour that reaches outside. May import: std, serde and the digest crates only.
//! To add one: a new file with one type and its tests, re-exported here.

mod container;
mod file;
mod id;
mod image;
mod node;
mod probe;
mod requirement;
mod role;
mod secret;
mod shown;

pub use container::{ContainerSpec, Mount, SpecHash};
pub use file::{DirSpec, FileSpec, Place, digest};
pub use id::{ClusterName, ComponentName, HostName, IdError};
pub use image::ImageRef;
pub use node::NodeRecord;
pub use probe::{ProbeSpec, WebSpec};
pub use requirement::Requirement;
pub use role::Role;
pub use secret::Secret;
pub use shown::shown;
