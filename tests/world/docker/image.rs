//! An image as content: a configuration and layers, from which every digest follows.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The file of a layer that says which program is in it.
const PROGRAM: &str = "program";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Lower-case hexadecimal SHA-256.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// Layers are not compressed: then the digest of a blob is that of its content, in every store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub config: Bytes,
    /// The lowest first.
    pub layers: Vec<Bytes>,
}

impl Image {
    /// The image of a program, on a layer that all have.
    pub fn new(program: &str, version: &str) -> Self {
        Self::on(&[layer("base", b"debian")], json!({}), program, version)
    }

    /// A program's layer on others. `settings` is the part of the configuration that is about
    /// containers.
    pub fn on(lower: &[Bytes], settings: Value, program: &str, version: &str) -> Self {
        let mut layers = lower.to_vec();
        layers.push(layer(PROGRAM, format!("{program} {version}").as_bytes()));
        Self::from_layers(layers, settings, "2026-01-01T00:00:00Z")
    }

    pub fn from_layers(layers: Vec<Bytes>, settings: Value, created: &str) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": "amd64",
            "config": settings,
            "created": created,
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        Self {
            config: config.to_string().into(),
            layers,
        }
    }

    /// The same with other settings for containers.
    pub fn with_settings(self, settings: Value) -> Self {
        Self::from_layers(self.layers, settings, "2026-01-01T00:00:00Z")
    }

    pub fn description(&self) -> Value {
        serde_json::from_slice(&self.config).unwrap_or_default()
    }

    /// What the configuration says about containers.
    pub fn settings(&self) -> Value {
        self.description()["config"].take()
    }

    pub fn config_digest(&self) -> String {
        digest(&self.config)
    }

    pub fn diff_ids(&self) -> Vec<String> {
        serde_json::from_value(self.description()["rootfs"]["diff_ids"].take()).unwrap_or_default()
    }

    pub fn size(&self) -> usize {
        self.layers.iter().map(Bytes::len).sum()
    }

    /// The program in its highest layer that has one, as `NAME VERSION`.
    pub fn program(&self) -> Option<String> {
        let layers = self.layers.iter().rev();
        layers.filter_map(|layer| file_of(layer, PROGRAM)).next()
    }

    pub fn manifest(&self) -> Bytes {
        let layers = self.layers.iter().map(
            |layer| json!({ "mediaType": OCI_LAYER, "digest": digest(layer), "size": layer.len() }),
        );
        let config = json!({
            "mediaType": OCI_CONFIG, "digest": self.config_digest(), "size": self.config.len(),
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": layers.collect::<Vec<_>>(),
        });
        manifest.to_string().into()
    }

    /// An index with this image for one platform.
    pub fn index(&self) -> Bytes {
        let manifest = self.manifest();
        let entry = json!({
            "mediaType": OCI_MANIFEST,
            "digest": digest(&manifest),
            "size": manifest.len(),
            "platform": { "architecture": "amd64", "os": "linux" },
        });
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] });
        index.to_string().into()
    }
}

/// A layer with one file.
pub fn layer(name: &str, content: &[u8]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, name, content);
    tar.into_inner().expect("an archive").into()
}

/// Adds a file to an archive in memory.
pub fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content)
        .expect("an archive");
}

fn file_of(layer: &[u8], name: &str) -> Option<String> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if entry.path().ok()?.as_os_str() == name {
            let mut text = String::new();
            entry.read_to_string(&mut text).ok()?;
            return Some(text);
        }
    }
    None
}
