//! Image references.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An image reference as Docker writes it: `[registry[:port]/]name[:tag][@sha256:…]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRef(pub String);

impl ImageRef {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference without tag and digest: the repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or(&self.0);
        match name.rfind(':') {
            Some(at) if !name[at..].contains('/') => &name[..at],
            _ => name,
        }
    }

    /// The tag, `latest` when none is written.
    #[must_use]
    pub fn tag(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or(&self.0);
        match name.rfind(':') {
            Some(at) if !name[at..].contains('/') => &name[at + 1..],
            _ => "latest",
        }
    }

    /// The digest written in the reference itself.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    /// The registry host with its port when the reference names one, else `None` (the public one).
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        (first.contains('.') || first.contains(':') || first == "localhost").then_some(first)
    }

    /// `repository@digest`.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_references_apart() {
        let r = |s: &str| ImageRef(s.to_owned());
        assert_eq!(r("zookeeper:3.9").repository(), "zookeeper");
        assert_eq!(r("zookeeper").tag(), "latest");
        assert_eq!(r("host:5000/a/b").repository(), "host:5000/a/b");
        assert_eq!(r("host:5000/a/b:1@sha256:ab").tag(), "1");
        assert_eq!(r("host:5000/a/b:1").registry(), Some("host:5000"));
        assert_eq!(r("library/a").registry(), None);
        assert_eq!(r("a:1@sha256:ab").digest(), Some("sha256:ab"));
        assert_eq!(r("a:1").pinned("sha256:cd"), "a@sha256:cd");
    }
}
