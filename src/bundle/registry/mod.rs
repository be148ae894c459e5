//! A client of the OCI distribution interface, as far as a download needs it: manifests and blobs
//! by name, with login, redirects and patience.
//!
//! Owns: everything that is sent to registries. Must not know of archives. It stands on reqwest
//! (TLS, proxies, redirects without credentials, connection pools). oci-client, which stands on it
//! too, hides `Retry-After`, reads answers without a limit and asks for a token before every image;
//! what is left of it for a download are the requests below. To reach another kind of registry:
//! its rule in [`origin::RegistryOrigin`].

mod answer;
mod auth;
mod client;
mod error;
mod http;
mod options;
mod origin;

pub use error::RegistryError;
pub use options::{OwnRegistry, RegistryOptions};

pub(super) use client::{Registries, RegistryClient};
pub(super) use error::AttemptError;
