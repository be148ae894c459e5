//! Platforms of images: `OS/ARCHITECTURE[/VARIANT]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in the form that registries use (`amd64`, `arm64`, `arm/v7`), with the variant that an
/// architecture has by default left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform must be OS/ARCH or OS/ARCH/VARIANT such as linux/amd64, got {0:?}")]
pub struct InvalidPlatform(String);

impl ImagePlatform {
    /// Names of an architecture that mean the same become one, as in containerd.
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            "armhf" => "arm",
            other => other,
        };
        let default = match architecture {
            "amd64" => "v1",
            "arm64" => "v8",
            "arm" => "v7",
            _ => "",
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant
                .filter(|variant| !variant.is_empty() && *variant != default)
                .map(str::to_owned),
        }
    }

    /// Operating system and architecture, without a variant.
    #[must_use]
    pub fn without_variant(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }

    /// As an index names it.
    pub(super) fn written(&self) -> WrittenPlatform<'_> {
        WrittenPlatform {
            os: &self.os,
            architecture: &self.architecture,
            variant: self.variant.as_deref(),
        }
    }

    /// What most servers are.
    #[must_use]
    pub fn linux_amd64() -> Self {
        Self::new("linux", "amd64", None)
    }
}

impl FromStr for ImagePlatform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.chars().take(100).collect());
        let is_word = |word: &&str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        let words: Vec<&str> = text.split('/').collect();
        if !words.iter().all(is_word) {
            return Err(invalid());
        }
        match words[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for ImagePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A platform in an index that toots writes.
#[derive(Debug, Serialize)]
pub(super) struct WrittenPlatform<'a> {
    os: &'a str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

/// A platform as it stands in an index or in the configuration of an image.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ServedPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl ServedPlatform {
    /// `None` for entries that are no image: attestations are of the platform `unknown/unknown`.
    pub(super) fn of_image(&self) -> Option<ImagePlatform> {
        let known = self.os != "unknown" && self.architecture != "unknown";
        known.then(|| ImagePlatform::new(&self.os, &self.architecture, self.variant.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_that_mean_the_same_are_equal() {
        let platform = |text: &str| text.parse::<ImagePlatform>().unwrap();
        assert_eq!(platform("linux/x86_64"), ImagePlatform::linux_amd64());
        assert_eq!(platform("linux/arm64/v8"), platform("linux/aarch64"));
        assert_eq!(platform("linux/arm").to_string(), "linux/arm");
        assert_ne!(platform("linux/arm/v6"), platform("linux/arm"));
        assert_eq!(platform("linux/arm/v6").to_string(), "linux/arm/v6");
        for wrong in [
            "",
            "amd64",
            "linux/",
            "linux/a/b/c",
            "Linux/amd64",
            "linux/a b",
        ] {
            assert!(wrong.parse::<ImagePlatform>().is_err(), "{wrong}");
        }
    }
}
