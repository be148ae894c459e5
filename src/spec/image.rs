//! Image references.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// An image reference as Docker writes it: `[registry[:port]/]name[:tag][@sha256:…]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRef(pub String);

/// The digest of an image's index or manifest: `sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageDigest(String);

impl Deref for ImageDigest {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ImageDigest {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for ImageDigest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl ImageRef {
    /// Whether a text is `[registry[:port]/]path[:tag][@sha256:…]` by the grammar of Docker's
    /// reference package (distribution/reference): the path is lower case, a registry contains a
    /// dot or a port or is `localhost`.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        let (name, digest) = text
            .split_once('@')
            .map_or((text, None), |(name, digest)| (name, Some(digest)));
        let digest = digest.is_none_or(|digest| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
        });
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let tag = tag.is_none_or(|tag| {
            tag.len() <= 128
                && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        });
        let path = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                if !is_registry(first) {
                    return false;
                }
                rest
            }
            _ => name,
        };
        digest && tag && text.len() < 256 && path.split('/').all(is_path_part)
    }

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

    /// The tag, `latest` when the reference has none.
    #[must_use]
    pub fn tag(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or(&self.0);
        match name.rfind(':') {
            Some(at) if !name[at..].contains('/') => &name[at + 1..],
            _ => "latest",
        }
    }

    /// The digest in the reference itself.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    /// The registry host with its port, or `None` for the public registry.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        (first.contains('.') || first.contains(':') || first == "localhost").then_some(first)
    }

    /// The hash of the recipe by which toots builds it; `None` for an image of a registry.
    #[must_use]
    pub fn recipe_hash(&self) -> Option<&str> {
        self.recipe_and_hash().map(|(_, hash)| hash)
    }

    /// The name of that recipe.
    #[must_use]
    pub fn recipe(&self) -> Option<&str> {
        self.recipe_and_hash().map(|(name, _)| name)
    }

    fn recipe_and_hash(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix(super::Recipe::PREFIX)?;
        rest.split_once(':')
    }

    /// How the names of verified images begin.
    pub const VERIFIED: &'static str = "toots-image:";

    /// The name that toots gives to an image after it loaded and verified it: it repeats the digest to
    /// which the reference is pinned, because the classic store learns a registry's digest only from
    /// the registry. No registry serves it.
    #[must_use]
    pub fn verified(digest: &str) -> Self {
        Self(format!("{}{}", Self::VERIFIED, digest.replace(':', "-")))
    }

    /// `repository@digest`.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }

    /// The reference to pull: pinned once its digest is known, else as written.
    #[must_use]
    pub fn reference(&self, digest: Option<&str>) -> String {
        digest.map_or_else(|| self.0.clone(), |digest| self.pinned(digest))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A host name or an IPv4 address, with or without a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain)
        && part.ends_with(plain)
        && part.chars().all(|c| plain(c) || "._-".contains(c))
        && part.split(plain).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.trim_matches('-').is_empty()
        })
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
        assert_eq!(r("toots/dnsmasq:ab12").recipe_hash(), Some("ab12"));
        assert_eq!(r("host:5000/toots/dnsmasq:1").recipe_hash(), None);
        assert_eq!(r("a:1").pinned("sha256:cd"), "a@sha256:cd");
    }

    #[test]
    fn references_follow_dockers_grammar() {
        let hex = "a".repeat(64);
        let verified = ImageRef::verified(&format!("sha256:{hex}"));
        assert_eq!(verified.as_str(), format!("toots-image:sha256-{hex}"));
        assert_eq!(verified.recipe_hash(), None);
        for good in [
            verified.as_str(),
            "zookeeper",
            "zookeeper:3.9.5",
            "library/zookeeper:V3_x",
            "hashicorp/consul-template:0.42.1",
            "localhost/a/b",
            "Registry.Example.com:5000/team/a__b.c--d:1",
            "10.0.0.1:5000/x",
            &format!("x@sha256:{hex}"),
            &format!("r.example/x:1@sha256:{hex}"),
        ] {
            assert!(ImageRef::is_valid(good), "{good}");
        }
        for bad in [
            "",
            ":1",
            "UPPER/Case:tag",
            "a:b:c",
            "a//b",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:",
            "a:.x",
            "a b",
            "registry.example:0/x",
            "-r.example/x",
            "x@sha256:12",
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(!ImageRef::is_valid(bad), "{bad}");
        }
    }
}
