//! The HTTP client of one registry.

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};

use super::error::RegistryError;
use super::options::{OwnRegistry, RegistryOptions};
use super::origin::{RegistryOrigin, RegistryResolver};

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;

/// A redirect to an address that the registry may not refer to.
#[derive(Debug, thiserror::Error)]
#[error("it redirects to {0}")]
pub(super) struct ForbiddenRedirect(String);

/// Builds the client. reqwest removes the `Authorization` header when a redirect changes the
/// scheme, host or port.
pub(super) fn client(
    origin: &RegistryOrigin,
    registry: &str,
    own: Option<&OwnRegistry>,
    options: &RegistryOptions,
) -> Result<Client, RegistryError> {
    // Another part of the process may have chosen the same one before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let untrusted = |why: String| RegistryError::Untrusted {
        registry: registry.to_owned(),
        why,
    };
    let resolver = RegistryResolver {
        own: own.and_then(|own| Some((own.host().to_owned(), own.address?))),
    };
    let referring = origin.clone();
    let policy = Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if referring.may_refer_to(attempt.url()) {
            attempt.follow()
        } else {
            let url = super::error::without_query(attempt.url());
            attempt.error(ForbiddenRedirect(url))
        }
    });
    let mut builder = Client::builder()
        .user_agent(concat!("toots/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.idle_timeout)
        .referer(false)
        .redirect(policy)
        .dns_resolver(resolver);
    if origin.is_loopback() {
        // A proxy would be another machine.
        builder = builder.no_proxy();
    }
    if origin.is_plain() {
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = own.and_then(|own| own.ca.as_deref()) {
        let certificates = Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| untrusted("its certificate authority is not a PEM file".into()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        untrusted(source.unwrap_or_else(|| error.to_string()))
    })
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum BodyError {
    TooLong,
    Http(reqwest::Error),
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body(mut response: Response, limit: u64) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(BodyError::Http)? {
        if (body.len() + piece.len()) as u64 > limit {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
