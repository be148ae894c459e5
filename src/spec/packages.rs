//! The packages of images that toots built.

use std::collections::BTreeMap;

use super::ImageRef;

/// The versions of the packages that the build of an image installed, as every master records them.
/// They come from hosts and become an argument of other builds, so that nothing but names and versions
/// is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PackageVersions(BTreeMap<String, String>);

/// More than any recipe asks for.
const MAX_PACKAGES: usize = 200;

/// More than the longest name or version that a distribution has.
const MAX_WORD_BYTES: usize = 200;

impl PackageVersions {
    /// The folder of the records on a master.
    const FOLDER: &'static str = "/etc/toots/packages";

    /// Path on a master of the record of an image.
    #[must_use]
    pub fn path(image: &ImageRef) -> String {
        let name = image.repository().rsplit('/').next().unwrap_or_default();
        let hash = image.recipe_hash().unwrap_or_default();
        format!("{}/{name}-{hash}", Self::FOLDER)
    }

    /// Reads a record, or any text with a package a line: its name, one space, its version. Other
    /// lines are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut packages = Self::default();
        for line in text.lines() {
            if let Some((name, version)) = read_package(line) {
                packages.insert(name, version);
            }
        }
        packages
    }

    /// Adds a package, unless it is none, or there are too many.
    pub fn insert(&mut self, name: &str, version: &str) {
        if is_word(name) && is_word(version) && self.0.len() < MAX_PACKAGES {
            self.0.insert(name.to_owned(), version.to_owned());
        }
    }

    #[must_use]
    pub fn version(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the record.
    #[must_use]
    pub fn content(&self) -> String {
        let lines = self.0.iter();
        lines
            .map(|(name, version)| format!("{name} {version}\n"))
            .collect()
    }

    /// `NAME=VERSION …`, for the build that asks for them.
    #[must_use]
    pub fn argument(&self) -> String {
        let words = self.0.iter();
        let words: Vec<String> = words.map(|(name, v)| format!("{name}={v}")).collect();
        words.join(" ")
    }
}

/// Name and version in a line.
#[must_use]
pub fn read_package(line: &str) -> Option<(&str, &str)> {
    let (name, version) = line.split_once(' ')?;
    (is_word(name) && is_word(version)).then_some((name, version))
}

/// What Debian and others allow in names and versions. No shell takes any of it for something else.
fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+-_:~^".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_names_and_versions_alone() {
        let text = "docker.io 26.1.5+dfsg1-9+b6\nkeepalived 1:2.3.3-1\nGet:1 http://x y\n\
                    x $(reboot)\nx *\nx\n-o x\n";
        let packages = PackageVersions::parse(text);
        assert_eq!(
            packages.argument(),
            "docker.io=26.1.5+dfsg1-9+b6 keepalived=1:2.3.3-1"
        );
        assert_eq!(PackageVersions::parse(&packages.content()), packages);
        assert_eq!(packages.version("keepalived"), Some("1:2.3.3-1"));
        assert_eq!(packages.version("x"), None);
        let many: String = (0..1000).map(|n| format!("p{n} 1\n")).collect();
        assert_eq!(PackageVersions::parse(&many).0.len(), MAX_PACKAGES);
    }

    #[test]
    fn each_image_has_its_own_record() {
        let image = ImageRef("toots/dnsmasq:0123456789abcdef".into());
        let path = "/etc/toots/packages/dnsmasq-0123456789abcdef";
        assert_eq!(PackageVersions::path(&image), path);
    }
}
