//! Names of images, with everything that people leave out.

use std::fmt;

use super::digest::BlobDigest;
use crate::spec::ImageRef;

/// The registry of references that name none.
const PUBLIC_REGISTRY: &str = "docker.io";

/// A reference by Docker's rules: `consul` is `docker.io/library/consul:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
}

/// A text that is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image reference must be [REGISTRY/]NAME[:TAG][@sha256:DIGEST], got {0:?}")]
pub struct InvalidName(String);

impl ImageName {
    /// Completes a reference.
    ///
    /// # Errors
    /// When it does not follow Docker's grammar.
    pub fn new(image: &ImageRef) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(image.as_str().chars().take(300).collect());
        if !ImageRef::is_valid(image.as_str()) {
            return Err(invalid());
        }
        let digest = image.digest().map(str::parse).transpose();
        let digest = digest.map_err(|_| invalid())?;
        let path = image.repository();
        let (registry, path) = match image.registry() {
            Some(registry) => (registry, &path[registry.len() + 1..]),
            None => (PUBLIC_REGISTRY, path),
        };
        let registry = own_name(registry);
        let official = registry == PUBLIC_REGISTRY && !path.contains('/');
        let repository = if official {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let named = image.as_str().split('@').next().unwrap_or_default();
        let has_tag = named.len() > image.repository().len();
        let tag = (has_tag || digest.is_none()).then(|| image.tag().to_owned());
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }

    /// `host[:port]`, or `docker.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    #[must_use]
    pub fn digest(&self) -> Option<&BlobDigest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, else the tag.
    pub(super) fn requested(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The name without its digest, when it has a tag: a store knows an image by one of them.
    pub(super) fn without_digest(&self) -> Self {
        let digest = self.digest.clone().filter(|_| self.tag.is_none());
        Self {
            digest,
            ..self.clone()
        }
    }

    /// The name without its tag, when it has a digest.
    pub(super) fn without_tag(&self) -> Self {
        let tag = self.tag.clone().filter(|_| self.digest.is_none());
        Self {
            tag,
            ..self.clone()
        }
    }

    /// The complete name, as containerd stores it.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.registry, self.repository, self.suffix())
    }

    /// The name and tag as `docker images` shows them; `None` without a tag.
    #[must_use]
    pub fn repo_tag(&self) -> Option<String> {
        self.tag.as_ref()?;
        Some(self.without_digest().to_string())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}"));
        [tag, digest].into_iter().flatten().collect()
    }
}

/// The short form that people write.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &*self.registry {
            PUBLIC_REGISTRY => self
                .repository
                .strip_prefix("library/")
                .unwrap_or(&self.repository)
                .to_owned(),
            registry => format!("{registry}/{}", self.repository),
        };
        f.pad(&format!("{path}{}", self.suffix()))
    }
}

/// The one name of a registry that has several.
pub(super) fn own_name(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => PUBLIC_REGISTRY,
        other => other,
    }
}

/// The host that serves a registry's interface.
pub(super) fn interface_host(registry: &str) -> &str {
    match registry {
        PUBLIC_REGISTRY => "registry-1.docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        ImageName::new(&ImageRef(text.to_owned())).unwrap()
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        for (written, canonical, short) in [
            ("consul", "docker.io/library/consul:latest", "consul:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("docker.io/b:1", "docker.io/library/b:1", "b:1"),
            ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "r.example:5000/a:1",
                "r.example:5000/a:1",
                "r.example:5000/a:1",
            ),
        ] {
            assert_eq!(name(written).canonical(), canonical);
            assert_eq!(name(written).to_string(), short);
            assert_eq!(name(canonical), name(written));
        }
        assert_eq!(interface_host(name("a").registry()), "registry-1.docker.io");
    }

    #[test]
    fn a_digest_decides_what_is_requested() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let both = name(&format!("a:1@{digest}"));
        assert_eq!(both.requested(), digest);
        assert_eq!(both.without_digest(), name("a:1"));
        assert_eq!(both.without_tag(), name(&format!("a@{digest}")));
        assert_eq!(both.repo_tag().as_deref(), Some("a:1"));
        let pinned = name(&format!("a@{digest}"));
        assert_eq!((pinned.tag(), pinned.repo_tag()), (None, None));
        assert_eq!(pinned.without_digest(), pinned);
        assert_eq!(name("a:1").without_tag(), name("a:1"));
        assert_eq!(name("a").requested(), "latest");
    }

    #[test]
    fn other_texts_are_refused() {
        let upper = format!("a@sha256:{}", "A".repeat(64));
        for wrong in ["", "A", "a/../b", "r.example:x/a", &upper] {
            assert!(
                ImageName::new(&ImageRef(wrong.to_owned())).is_err(),
                "{wrong}"
            );
        }
    }
}
