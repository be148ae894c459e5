//! Bundles: all images of a cluster in one file, for hosts without a way to a registry.
//!
//! Owns: the client of registries, the archive and its reader. Must not know inventories, hosts or
//! Engines: it gets references, and images that an Engine saved, and writes a file. May import: `event`, `spec`; only it may name
//! reqwest, rustls and http-auth. To put something else into the archive: `documents` and `plan`,
//! which the reader renders again, and a new `BUNDLE_FORMAT`.
//!
//! The archive is an OCI image layout with a `manifest.json`: the classic image store of Engines
//! reads `manifest.json` (gzip layers since 1.10, zstd layers since 23.0), containerd's reads
//! `index.json`. Blobs are byte for byte what the registry served, so the digest of an image stays
//! what its registry calls it; an archive of `docker save` has none, or another one. An index keeps
//! the entries of platforms that the archive does not have: without them it would have another
//! digest, and the Engine's import skips what is missing. What an Engine built has no registry's
//! digest: it gets a manifest here.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod create;
mod digest;
mod documents;
mod download;
mod error;
mod image;
mod local;
mod manifest;
mod name;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "gigabytes are written in place, locked and with holes: this needs the file system itself"
)]
mod part;
mod plan;
mod platform;
mod read;
#[expect(
    clippy::disallowed_methods,
    reason = "registries answer over HTTPS, for `bundle create` alone, which contacts no host"
)]
mod registry;
mod resolve;
#[cfg(test)]
pub(crate) mod sample;
mod single;
mod table;

pub use create::{CreateRequest, CreatedBundle, create_bundle};
pub use digest::{BlobDigest, InvalidDigest};
pub use documents::BUNDLE_FORMAT;
pub use error::{ArchiveError, CreateError};
pub use image::{BundleImage, ImageVariant};
pub use local::LocalImage;
pub use manifest::BlobDescriptor;
pub use name::{ImageName, InvalidName};
pub use part::check_target;
pub use platform::{ImagePlatform, InvalidPlatform};
pub use read::{BlobReader, Bundle};
pub use registry::{OwnRegistry, RegistryError, RegistryOptions};
pub use single::BundlePart;

/// The largest manifest or configuration that is read; registries accept 4 MiB.
const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;
