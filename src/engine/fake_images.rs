//! Images of Engines that tests of this room play. Compiled for tests only.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::spec::digest;

pub(super) fn sha(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

pub(super) fn digest_of(name: &str) -> String {
    sha(name.as_bytes())
}

/// An image in a store.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub id: String,
    pub config: Vec<u8>,
    /// Unpacked content, the lowest first.
    pub layers: Vec<Vec<u8>>,
    pub tags: BTreeSet<String>,
    pub digests: Vec<String>,
}

impl Stored {
    pub fn new(layers: &[&[u8]], user: &str) -> Self {
        let layers: Vec<Vec<u8>> = layers.iter().map(|layer| layer.to_vec()).collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha(layer)).collect();
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {"User": user},
            "rootfs": {"diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        Self {
            id: sha(&config),
            config,
            layers,
            ..Self::default()
        }
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.id == name || self.tags.contains(name)
    }
}

pub(super) fn listed(image: &Stored) -> Value {
    let config: Value = serde_json::from_slice(&image.config).unwrap();
    let labels = config["config"]["Labels"].clone();
    let labels = if labels.is_null() { json!({}) } else { labels };
    json!({
        "Id": image.id, "ParentId": "", "RepoTags": image.tags, "RepoDigests": image.digests,
        "Created": 0, "Size": 0, "SharedSize": -1, "Labels": labels, "Containers": -1,
    })
}

pub(super) fn inspected(image: &Stored) -> Value {
    let config: Value = serde_json::from_slice(&image.config).unwrap();
    let layers: Vec<String> = image.layers.iter().map(|layer| sha(layer)).collect();
    json!({
        "Id": image.id, "Os": config["os"], "Architecture": config["architecture"],
        "Config": config["config"], "RootFS": {"Type": "layers", "Layers": layers},
    })
}

/// The archive of an image that was asked for by this name or id: it has the name.
pub(super) fn save(image: &Stored, asked: &str, has_containerd_store: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    };
    let mut names = Vec::new();
    for (at, layer) in image.layers.iter().enumerate() {
        names.push(format!("{at}/layer.tar"));
        add(&names[at], layer);
    }
    if !image.config.is_empty() {
        add("config.json", &image.config);
    }
    let tags = image.tags.contains(asked).then_some([asked]);
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]);
    add("manifest.json", manifest.to_string().as_bytes());
    if has_containerd_store {
        let index = json!({"manifests": [{"digest": image.id}]});
        add("index.json", index.to_string().as_bytes());
    }
    tar.into_inner().unwrap()
}
