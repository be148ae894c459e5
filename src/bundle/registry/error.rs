//! Why a registry did not give what it was asked for.

use std::time::Duration;

use reqwest::Url;

use super::http::ForbiddenRedirect;
use crate::event::escape;

/// Why an image cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Name(#[from] crate::bundle::name::InvalidName),
    #[error("cannot reach {registry}: {why}")]
    Unreachable { registry: String, why: String },
    #[error("cannot trust {registry}: {why}")]
    Untrusted { registry: String, why: String },
    #[error("cannot use {registry} without TLS: {why}")]
    Insecure { registry: String, why: String },
    #[error("cannot fetch {image}: {registry} denied access: {why}")]
    Denied {
        image: String,
        registry: String,
        why: String,
    },
    #[error("cannot fetch {image}: {registry} does not have it")]
    NotFound { image: String, registry: String },
    #[error("cannot fetch {image}: {registry} limits the rate: {why}")]
    RateLimited {
        image: String,
        registry: String,
        why: String,
    },
    #[error("cannot fetch {image}: {url} answered {status}: {why}")]
    Status {
        image: String,
        url: String,
        status: u16,
        why: String,
    },
    #[error("cannot fetch {image}: unexpected answer of {url}: {why}")]
    Malformed {
        image: String,
        url: String,
        why: String,
    },
    #[error("cannot use {image}: {why}")]
    Unusable { image: String, why: String },
    #[error("{image} has no {wanted}, only {}", .has.join(", "))]
    Platform {
        image: String,
        wanted: String,
        has: Vec<String>,
    },
    #[error("{registry} sent wrong content for {image}: {what} must be {expected}, got {got}")]
    Content {
        image: String,
        registry: String,
        /// What was compared.
        what: String,
        expected: String,
        got: String,
    },
    #[error("{registry} stopped in blob {blob} of {image}, {done} of {size} bytes: {why}")]
    ConnectionLost {
        image: String,
        registry: String,
        blob: String,
        done: u64,
        size: u64,
        why: String,
    },
}

impl RegistryError {
    /// The error of a registry that asks for a pause.
    pub(super) fn with_pause(mut self, pause: Duration) -> Self {
        if let Self::RateLimited { why, .. } | Self::Status { why, .. } = &mut self {
            why.push_str(&format!(", try again in {} s", pause.as_secs()));
        }
        self
    }
}

/// An attempt that failed.
#[derive(Debug)]
pub(in crate::bundle) enum AttemptError {
    /// Another attempt would fail too.
    Final(RegistryError),
    /// Another attempt may succeed, after the time that the registry named.
    Transient(RegistryError, Option<Duration>),
}

impl From<RegistryError> for AttemptError {
    fn from(error: RegistryError) -> Self {
        Self::Final(error)
    }
}

/// An error of the HTTP client.
pub(super) fn from_http(registry: &str, error: &reqwest::Error) -> AttemptError {
    let chain = chain(error);
    let mut why = chain
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_timeout() {
        why = "timed out".into();
    }
    let (registry, why) = (registry.to_owned(), escape(&why));
    if error.is_redirect() {
        let forbidden = chain.iter().any(|error| error.is::<ForbiddenRedirect>());
        return match forbidden {
            true => RegistryError::Insecure { registry, why }.into(),
            false => RegistryError::Unreachable { registry, why }.into(),
        };
    }
    match chain.iter().find_map(|error| tls_error(*error)) {
        Some(rustls::Error::InvalidMessage(_)) => {
            let why = "it does not speak TLS".into();
            return RegistryError::Insecure { registry, why }.into();
        }
        Some(tls) => {
            let why = escape(&tls.to_string());
            return RegistryError::Untrusted { registry, why }.into();
        }
        None => {}
    }
    AttemptError::Transient(RegistryError::Unreachable { registry, why }, None)
}

fn chain<'a>(error: &'a reqwest::Error) -> Vec<&'a (dyn std::error::Error + 'static)> {
    let mut chain: Vec<&(dyn std::error::Error + 'static)> = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        chain.push(error);
        next = error.source();
    }
    chain
}

/// An io::Error hides the error that it wraps from its chain, and the layers of a client wrap one
/// in another.
fn tls_error<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    while let Some(io) = error.downcast_ref::<std::io::Error>() {
        error = io.get_ref()?;
    }
    error.downcast_ref()
}

/// The URL for a message: what signs a redirect is in its query.
pub(super) fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{ImageName, InvalidName};
    use crate::spec::ImageRef;
    use crate::testing::snapshot_messages;

    #[test]
    fn messages() {
        let (image, registry) = ("consul:1.22".to_owned(), "docker.io".to_owned());
        let url = "https://docker.io/v2/library/consul/manifests/1.22".to_owned();
        let blob = format!("sha256:{}", "a".repeat(64));
        let wrong: InvalidName = ImageName::new(&ImageRef("A".into())).unwrap_err();
        snapshot_messages!("registry_error", RegistryError, hints: |_| Vec::new(), {
            RegistryError::Name(_) => RegistryError::Name(wrong.clone()),
            RegistryError::Unreachable { .. } => RegistryError::Unreachable {
                registry: registry.clone(),
                why: "connection refused".into(),
            },
            RegistryError::Untrusted { .. } => RegistryError::Untrusted {
                registry: registry.clone(),
                why: "invalid peer certificate: UnknownIssuer".into(),
            },
            RegistryError::Insecure { .. } => RegistryError::Insecure {
                registry: registry.clone(),
                why: "it redirects to http://cdn.example/blob".into(),
            },
            RegistryError::Denied { .. } => RegistryError::Denied {
                image: image.clone(),
                registry: registry.clone(),
                why: "authentication required".into(),
            },
            RegistryError::NotFound { .. } => RegistryError::NotFound {
                image: image.clone(),
                registry: registry.clone(),
            },
            RegistryError::RateLimited { .. } => RegistryError::RateLimited {
                image: image.clone(),
                registry: registry.clone(),
                why: "too many requests, try again in 3600 s".into(),
            },
            RegistryError::Status { .. } => RegistryError::Status {
                image: image.clone(),
                url: url.clone(),
                status: 503,
                why: "Service Unavailable".into(),
            },
            RegistryError::Malformed { .. } => RegistryError::Malformed {
                image: image.clone(),
                url: url.clone(),
                why: "longer than 4194304 bytes".into(),
            },
            RegistryError::Unusable { .. } => RegistryError::Unusable {
                image: image.clone(),
                why: "manifest schema must be 2, got 1".into(),
            },
            RegistryError::Platform { .. } => RegistryError::Platform {
                image: image.clone(),
                wanted: "linux/arm64".into(),
                has: vec!["linux/amd64".into(), "linux/s390x".into()],
            },
            RegistryError::Content { .. } => RegistryError::Content {
                image: image.clone(),
                registry: registry.clone(),
                what: "digest of a blob".into(),
                expected: blob.clone(),
                got: format!("sha256:{}", "b".repeat(64)),
            },
            RegistryError::ConnectionLost { .. } => RegistryError::ConnectionLost {
                image: image.clone(),
                registry: registry.clone(),
                blob: blob.clone(),
                done: 5,
                size: 10,
                why: "connection reset".into(),
            },
        });
    }

    #[test]
    fn signed_redirects_are_shown_without_signature() {
        let url = Url::parse("https://cdn.example/blob?signature=secret").unwrap();
        assert_eq!(without_query(&url), "https://cdn.example/blob");
    }
}
