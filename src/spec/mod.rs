//! Plain types that every room uses: names, the specifications of files, containers, images and
//! probes, and the hash that tells whether a running container is up to date.
//!
//! Owns: data without behaviour that reaches outside. May import: std, serde and the digest crates
//! only. To add one: a new file with one type and its tests, re-exported here.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod container;
mod exit_code;
mod file;
mod id;
mod image;
mod membership;
mod node;
mod order;
mod package;
mod packages;
mod phase;
mod port;
mod probe;
mod quote;
mod recipe;
mod record;
mod remedy;
mod requirement;
mod role;
mod secret;
mod shown;
mod versions;

pub use container::{ContainerSpec, Mount, SpecHash};
pub use exit_code::ExitCode;
pub use file::{DirSpec, FileSpec, Placement, digest, digest_of_reader};
pub use id::{ClusterName, ComponentName, HostName, IdError};
pub use image::{ImageDigest, ImageRef};
pub use membership::{MemberRecord, Membership};
pub use node::NodeRecord;
pub use order::ComponentOrder;
pub use package::{Package, PackageManager};
pub use packages::{PackageVersions, read_package};
pub use phase::Phase;
pub use port::{Port, Protocol};
pub use probe::{ProbeLogin, ProbeSpec, WebSpec};
pub use quote::quote;
pub use recipe::{DefaultImage, DefaultImages, LocalFile, Recipe};
pub use record::RecordError;
pub use remedy::{Part, Remedy};
pub use requirement::Requirement;
pub use role::Role;
pub use secret::Secret;
pub use shown::shown;
pub use versions::{RefusedVersion, VersionChange, VersionRefusal, Versions};
