//! Writes a bundle as `toots bundle create` does: toots compares each byte with what it would write.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use toots::spec::digest;

use crate::docker::{Engine, Image};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The name that an Engine has of a digest belongs to the Engine.
const OF_DIGEST: &str = "toots-image";
/// 1980-01-01
const MODIFIED: u64 = 315_532_800;
const TRAILER: [u8; 1024] = [0; 1024];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Named>,
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    media_type: &'static str,
    digest: String,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Loaded {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The archive under way.
#[derive(Default)]
struct Archive {
    blobs: BTreeMap<String, Bytes>,
    named: Vec<Named>,
    loaded: Vec<Loaded>,
}

/// A bundle of every image of an Engine that has a name.
pub fn write_bundle(engine: &Engine) -> Vec<u8> {
    let mut images = BTreeMap::new();
    for stored in engine.images() {
        let names = stored.tags.iter();
        for name in names.filter(|name| !name.starts_with(OF_DIGEST)) {
            let is_pulled = !stored.pulled.is_empty();
            images.insert(
                canonical(name),
                (name.clone(), is_pulled, stored.image.clone()),
            );
        }
    }
    assert!(images.len() >= 5, "{:?}", images.keys());
    let mut archive = Archive::default();
    for (canonical, (name, is_pulled, image)) in images {
        archive.add_image(canonical, name, is_pulled, &image);
    }
    archive.write()
}

/// The whole name, with the public registry's.
fn canonical(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((registry, _)) if registry.contains(['.', ':']) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

impl Archive {
    fn add_blob(&mut self, bytes: &Bytes) -> String {
        let path = format!("blobs/sha256/{}", digest(bytes));
        self.blobs.insert(path.clone(), bytes.clone());
        path
    }

    /// What an Engine built has no index of a registry.
    fn add_image(&mut self, canonical: String, name: String, is_pulled: bool, image: &Image) {
        let manifest = image.manifest();
        self.add_blob(&manifest);
        let (media_type, root) = match is_pulled {
            true => (OCI_INDEX, image.index()),
            false => (OCI_MANIFEST, manifest),
        };
        self.add_blob(&root);
        let tag = name.rsplit_once(':').map(|(_, tag)| tag.to_owned());
        let mut annotations = BTreeMap::from([("io.containerd.image.name", canonical)]);
        annotations.extend(tag.map(|tag| ("org.opencontainers.image.ref.name", tag)));
        self.named.push(Named {
            media_type,
            digest: format!("sha256:{}", digest(&root)),
            size: root.len() as u64,
            annotations,
        });
        let layers = image.layers.iter();
        let loaded = Loaded {
            config: self.add_blob(&image.config),
            repo_tags: Some(vec![name]),
            layers: layers.map(|layer| self.add_blob(layer)).collect(),
        };
        self.loaded.push(loaded);
    }

    fn write(self) -> Vec<u8> {
        let mut index = Index {
            schema_version: 2,
            media_type: OCI_INDEX,
            manifests: self.named,
            annotations: BTreeMap::from([
                ("toots.bundle.format", "1".to_owned()),
                ("toots.bundle.platforms", "linux/amd64".to_owned()),
            ]),
        };
        let checksum = format!("sha256:{}", digest(&to_json(&index)));
        index.annotations.insert("toots.bundle.checksum", checksum);
        let mut bytes = Vec::new();
        for folder in ["blobs/", "blobs/sha256/"] {
            bytes.extend(header(folder, 0));
        }
        let documents = [
            ("index.json", to_json(&index)),
            ("manifest.json", to_json(&self.loaded)),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ];
        let blobs = self.blobs.iter();
        let blobs = blobs.map(|(path, content)| (path.as_str(), content.as_ref()));
        let documents = documents.iter();
        let documents = documents.map(|(name, content)| (*name, content.as_slice()));
        for (name, content) in blobs.chain(documents) {
            bytes.extend(header(name, content.len() as u64));
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend(TRAILER);
        bytes
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a document")
}

fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).expect("a short name");
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    let is_folder = name.ends_with('/');
    header.set_entry_type(match is_folder {
        true => tar::EntryType::Directory,
        false => tar::EntryType::Regular,
    });
    header.set_mode(if is_folder { 0o755 } else { 0o644 });
    header.set_cksum();
    *header.as_bytes()
}
