//! What identifies an image in every store: a loaded image is compared with what was sent, because a
//! load that the Engine reports as a success proves nothing.

use std::collections::BTreeMap;

use bollard::models::{ImageConfig, ImageInspect};
use serde::Deserialize;

/// The content of an image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContent {
    /// Digest of its configuration: its id in the classic store.
    pub config: String,
    /// Digest of its index or manifest, where the archive has one: its id in containerd's store.
    pub target: Option<String>,
    /// Digests of its unpacked layers, the lowest first.
    pub layers: Vec<String>,
    /// `OS/ARCH`
    pub platform: String,
    /// What its configuration says about containers; `None` where its digest is enough.
    pub settings: Option<ImageSettings>,
}

/// What an image's configuration says about containers, as far as both stores repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSettings {
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub env: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
}

impl ImageSettings {
    /// Engines leave out what is empty, or write it as null or as empty.
    #[must_use]
    pub fn without_empty(self) -> Self {
        let list = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            entrypoint: list(self.entrypoint),
            cmd: list(self.cmd),
            env: list(self.env),
            user: text(self.user),
            working_dir: text(self.working_dir),
            labels: self.labels.filter(|labels| !labels.is_empty()),
        }
    }

    /// The first setting that is not the same.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("entrypoint", self.entrypoint == other.entrypoint),
            ("command", self.cmd == other.cmd),
            ("environment", self.env == other.env),
            ("user", self.user == other.user),
            ("working directory", self.working_dir == other.working_dir),
            ("labels", self.labels == other.labels),
        ]
        .into_iter()
        .find(|(_, is_same)| !is_same)
        .map(|(name, _)| name)
    }
}

impl From<ImageConfig> for ImageSettings {
    fn from(config: ImageConfig) -> Self {
        Self {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            user: config.user,
            working_dir: config.working_dir,
            labels: config.labels.map(|labels| labels.into_iter().collect()),
        }
        .without_empty()
    }
}

/// An image as the Engine describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDetail {
    pub id: String,
    /// Digests of its unpacked layers, the lowest first.
    pub layers: Vec<String>,
    /// `OS/ARCH`
    pub platform: String,
    pub settings: ImageSettings,
}

impl From<ImageInspect> for ImageDetail {
    fn from(image: ImageInspect) -> Self {
        let [os, architecture] = [image.os, image.architecture].map(Option::unwrap_or_default);
        Self {
            id: image.id.unwrap_or_default(),
            layers: image
                .root_fs
                .and_then(|root| root.layers)
                .unwrap_or_default(),
            platform: format!("{os}/{architecture}"),
            settings: image.config.map(ImageSettings::from).unwrap_or_default(),
        }
    }
}

impl ImageContent {
    /// In what a loaded image is not this one. In containerd's store, an archive of the classic store
    /// gets a manifest that depends on the host: there the configuration is compared field by field.
    #[must_use]
    pub fn difference(&self, loaded: &ImageDetail, has_containerd_store: bool) -> Option<String> {
        let must_be = |what: &str, expected: &str, got: &str| {
            Some(format!("{what} must be {expected}, got {got}"))
        };
        if loaded.platform != self.platform {
            return must_be("platform", &self.platform, &loaded.platform);
        }
        if loaded.layers.len() != self.layers.len() {
            let [expected, got] = [&self.layers, &loaded.layers].map(|list| list.len().to_string());
            return must_be("number of layers", &expected, &got);
        }
        let mut layers = self.layers.iter().zip(&loaded.layers).enumerate();
        if let Some((at, (expected, got))) = layers.find(|(_, (expected, got))| expected != got) {
            return must_be(&format!("layer {}", at + 1), expected, got);
        }
        let expected = match &self.target {
            Some(target) if has_containerd_store => Some(target),
            None if has_containerd_store => None,
            _ => Some(&self.config),
        };
        match (expected, &self.settings) {
            (Some(expected), _) if loaded.id == *expected => None,
            (Some(expected), _) => must_be("id", expected, &loaded.id),
            (None, Some(settings)) => settings
                .difference(&loaded.settings)
                .map(|what| format!("its {what} is another one")),
            (None, None) => Some("its configuration cannot be compared".into()),
        }
    }

    /// How many of its lowest layers another image has as well.
    #[must_use]
    pub fn shared_layers(&self, other: &[String]) -> usize {
        let both = self.layers.iter().zip(other);
        both.take_while(|(own, other)| own == other).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(user: &str) -> ImageSettings {
        ImageSettings {
            user: Some(user.into()),
            ..ImageSettings::default()
        }
    }

    fn content() -> ImageContent {
        ImageContent {
            config: "sha256:c".into(),
            target: Some("sha256:t".into()),
            layers: vec!["sha256:1".into(), "sha256:2".into()],
            platform: "linux/amd64".into(),
            settings: Some(settings("root")),
        }
    }

    fn loaded(id: &str) -> ImageDetail {
        ImageDetail {
            id: id.into(),
            layers: content().layers,
            platform: content().platform,
            settings: settings("root"),
        }
    }

    #[test]
    fn each_store_gives_another_id() {
        let sent = content();
        assert_eq!(sent.difference(&loaded("sha256:c"), false), None);
        assert_eq!(sent.difference(&loaded("sha256:t"), true), None);
        for (id, has_containerd_store, expected) in [
            ("sha256:t", false, "sha256:c"),
            ("sha256:c", true, "sha256:t"),
        ] {
            let text = format!("id must be {expected}, got {id}");
            let got = sent.difference(&loaded(id), has_containerd_store);
            assert_eq!(got, Some(text));
        }
        // An archive of the classic store: its manifest is made by the host that loads it.
        let classic = ImageContent {
            target: None,
            ..content()
        };
        assert_eq!(classic.difference(&loaded("sha256:x"), true), None);
        let other = ImageDetail {
            settings: settings("nobody"),
            ..loaded("sha256:x")
        };
        let got = classic.difference(&other, true);
        assert_eq!(got.as_deref(), Some("its user is another one"));
        assert!(classic.difference(&loaded("sha256:x"), false).is_some());
    }

    #[test]
    fn what_differs_is_named() {
        let change = |change: fn(&mut ImageDetail)| {
            let mut image = loaded("sha256:c");
            change(&mut image);
            content().difference(&image, false).unwrap()
        };
        assert_eq!(
            change(|image| image.platform = "linux/arm64".into()),
            "platform must be linux/amd64, got linux/arm64"
        );
        assert_eq!(
            change(|image| drop(image.layers.pop())),
            "number of layers must be 2, got 1"
        );
        assert_eq!(
            change(|image| image.layers[1] = "sha256:3".into()),
            "layer 2 must be sha256:2, got sha256:3"
        );
    }

    #[test]
    fn layers_are_shared_from_the_lowest() {
        let shared = |other: &[&str]| {
            let other: Vec<String> = other.iter().map(|d| format!("sha256:{d}")).collect();
            content().shared_layers(&other)
        };
        assert_eq!((shared(&["1", "3"]), shared(&["1", "2", "3"])), (1, 2));
        assert_eq!(shared(&["2", "1"]), 0, "the order counts");
    }

    /// Fields as Engines 20.10 and 29 answer them.
    #[test]
    fn empty_settings_are_the_same_in_every_engine() {
        let former =
            r#"{"User":"","Env":["A=1"],"Cmd":null,"WorkingDir":"","Entrypoint":[],"Labels":null}"#;
        let current = r#"{"Env":["A=1"]}"#;
        let read = |text: &str| -> ImageSettings {
            ImageSettings::from(serde_json::from_str::<ImageConfig>(text).unwrap())
        };
        assert_eq!(read(former), read(current));
        let archived: ImageSettings = serde_json::from_str(former).unwrap();
        assert_eq!(archived.without_empty(), read(current));
    }
}
