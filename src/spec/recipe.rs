//! Recipes: images that toots builds because nobody publishes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{RecordError, first_format, parse_record};
use super::{ImageRef, digest};

/// What an image is built from. Equal recipes have equal hashes, whoever builds them and when: the
/// hash names the image, and a label in the image repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The name of its folder in the playbook, and its key in `[images]`.
    pub name: String,
    /// The image on which it is built.
    pub base: ImageRef,
    /// Build arguments. Never a secret: they stand in the image's history.
    pub arguments: BTreeMap<String, String>,
    /// The Dockerfile and what it copies, by path.
    pub files: BTreeMap<String, String>,
    /// Files of this machine that are sent with them, by argument. Another operator has them in
    /// other places, so that only their digests count, which are arguments.
    #[serde(skip)]
    pub local_files: BTreeMap<String, LocalFile>,
}

/// A file of this machine. It may be large: it is read in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    pub path: PathBuf,
    /// SHA-256, in lower-case hex.
    pub sha256: String,
}

impl Recipe {
    /// Label of the image: the hash of its recipe.
    pub const LABEL: &'static str = "toots.recipe";
    /// Label of everything that a build makes on its way, so that leftovers are found.
    pub const LABEL_BUILD: &'static str = "toots.build";
    /// How the names of all images begin that toots builds. No registry serves them.
    pub(super) const PREFIX: &'static str = "toots/";

    /// Hash of everything that can change the image, as far as the recipe says.
    #[must_use]
    pub fn hash(&self) -> String {
        // Serialising texts cannot fail; an empty hash would only build once more.
        let json = serde_json::to_vec(self).unwrap_or_default();
        digest(&json)[..16].to_owned()
    }

    /// The image's name on every host.
    #[must_use]
    pub fn image(&self) -> ImageRef {
        ImageRef(format!("{}{}:{}", Self::PREFIX, self.name, self.hash()))
    }
}

/// The image that a cluster uses for a key of `[images]` that names no reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultImage {
    pub image: ImageRef,
    /// What the inventory said about its recipe.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
}

/// The record of the default images with which a cluster was made, on every master. A newer toots
/// keeps them: new defaults must not replace running containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DefaultImages {
    /// Format of the record.
    #[serde(default = "first_format")]
    pub format: u32,
    /// By key of `[images]`.
    pub images: BTreeMap<String, DefaultImage>,
}

impl DefaultImages {
    /// Path on a master.
    pub const PATH: &'static str = "/etc/toots/default-images.json";
    /// The format that this toots writes, and the newest that it reads.
    pub const FORMAT: u32 = 1;

    /// Parses a record.
    ///
    /// # Errors
    /// When the content is not a record, or a newer toots wrote it.
    pub fn parse(content: &[u8]) -> Result<Self, RecordError> {
        parse_record(Self::PATH, Self::FORMAT, content)
    }

    /// The file's content.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).unwrap_or_default();
        content.push(b'\n');
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_everything_that_changes_the_image() {
        let recipe = Recipe {
            name: "dnsmasq".into(),
            base: ImageRef("debian:13-slim".into()),
            arguments: [("version".to_owned(), "2.9*".to_owned())].into(),
            files: [("Dockerfile".to_owned(), "FROM x".to_owned())].into(),
            local_files: BTreeMap::new(),
        };
        let image = recipe.image();
        assert_eq!(image.repository(), "toots/dnsmasq");
        assert_eq!(image.tag(), recipe.hash());
        let change = |change: &dyn Fn(&mut Recipe)| {
            let mut other = recipe.clone();
            change(&mut other);
            other.image()
        };
        for other in [
            change(&|r| r.base.0.push('2')),
            change(&|r| drop(r.arguments.insert("version".into(), "2*".into()))),
            change(&|r| drop(r.files.insert("run.sh".into(), "exit".into()))),
        ] {
            assert_ne!(other, image);
        }
        let file = LocalFile {
            path: "/home/ann/mesos.deb".into(),
            sha256: "ab".into(),
        };
        let elsewhere = change(&|r| drop(r.local_files.insert("deb".into(), file.clone())));
        assert_eq!(elsewhere, image, "another operator's path");
    }
}
