//! The documents of an archive: `oci-layout` and `index.json` of the OCI image layout, and the
//! `manifest.json` that Engines without containerd's image store read.
//!
//! They follow from the images alone, byte for byte: a reader renders them again and compares. Two
//! Engines read them differently: containerd's store takes `index.json`, names images by its
//! annotations and keeps the index; the classic store takes `manifest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::BlobDigest;
use super::image::BundleImage;
use super::manifest::BlobDescriptor;
use super::platform::ImagePlatform;

/// Version of the archive's format; incremented when an older toots would misread a newer archive.
pub const BUNDLE_FORMAT: &str = "1";

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

const IMAGE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotations of the index that only toots reads.
const FORMAT: &str = "toots.bundle.format";
const PLATFORMS: &str = "toots.bundle.platforms";
/// Digest of the index without this annotation: nothing else covers the names of images.
const CHECKSUM: &str = "toots.bundle.checksum";

/// The rendered documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Documents {
    pub index: Vec<u8>,
    pub manifest: Vec<u8>,
    pub layout: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexJson {
    schema_version: u8,
    media_type: String,
    manifests: Vec<NamedDescriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct NamedDescriptor {
    #[serde(flatten)]
    descriptor: BlobDescriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoadedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The path of a blob in the archive.
pub(super) fn blob_path(digest: &BlobDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Renders the documents of one image on one platform, without its name.
pub(super) fn render_unnamed(image: &BundleImage) -> Documents {
    let index = IndexJson {
        schema_version: 2,
        media_type: OCI_INDEX.into(),
        manifests: vec![NamedDescriptor {
            descriptor: image.root.clone(),
            annotations: BTreeMap::new(),
        }],
        annotations: BTreeMap::new(),
    };
    let without_name = |loaded: LoadedImage| LoadedImage {
        repo_tags: None,
        ..loaded
    };
    let manifest: Vec<LoadedImage> = loaded(image).into_iter().map(without_name).collect();
    Documents {
        index: to_json(&index),
        manifest: to_json(&manifest),
        layout: LAYOUT.to_vec(),
    }
}

/// Renders the documents of these images, which are sorted by name.
pub(super) fn render(images: &[BundleImage], platforms: &[ImagePlatform]) -> Documents {
    let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let mut index = IndexJson {
        schema_version: 2,
        media_type: OCI_INDEX.into(),
        manifests: images.iter().map(named).collect(),
        annotations: BTreeMap::from([
            (FORMAT.into(), BUNDLE_FORMAT.into()),
            (PLATFORMS.into(), platforms.join(",")),
        ]),
    };
    let checksum = BlobDigest::of_bytes(&to_json(&index)).to_string();
    index.annotations.insert(CHECKSUM.into(), checksum);
    let manifest: Vec<LoadedImage> = images.iter().flat_map(loaded).collect();
    Documents {
        index: to_json(&index),
        manifest: to_json(&manifest),
        layout: LAYOUT.to_vec(),
    }
}

fn named(image: &BundleImage) -> NamedDescriptor {
    let mut annotations = BTreeMap::from([(IMAGE_NAME.to_owned(), image.name.canonical())]);
    if let Some(tag) = image.name.tag() {
        annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    }
    NamedDescriptor {
        descriptor: image.root.clone(),
        annotations,
    }
}

/// The classic store has one image per name, whatever its platform: only the first platform's takes
/// the name, or the last one loaded would.
fn loaded(image: &BundleImage) -> Vec<LoadedImage> {
    let entry = |(at, variant): (usize, &super::image::ImageVariant)| LoadedImage {
        config: blob_path(&variant.config.digest),
        repo_tags: image
            .name
            .repo_tag()
            .filter(|_| at == 0)
            .map(|name| vec![name]),
        layers: variant
            .layers
            .iter()
            .map(|layer| blob_path(&layer.digest))
            .collect(),
    };
    image.variants.iter().enumerate().map(entry).collect()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Only a map with keys that are not text can fail, and there is none.
    serde_json::to_vec(value).unwrap_or_default()
}

/// What `index.json` says.
#[derive(Debug)]
pub(super) struct IndexContent {
    /// The text of [`BUNDLE_FORMAT`] of the toots that wrote it.
    pub format: String,
    pub platforms: Vec<String>,
    /// Canonical names and roots.
    pub images: Vec<(String, BlobDescriptor)>,
}

/// Reads `index.json`; `None` when toots did not write it.
pub(super) fn read_index(bytes: &[u8]) -> Option<IndexContent> {
    let mut index: IndexJson = serde_json::from_slice(bytes).ok()?;
    let format = index.annotations.remove(FORMAT)?;
    let platforms = index.annotations.remove(PLATFORMS)?;
    let image = |mut entry: NamedDescriptor| {
        let name = entry.annotations.remove(IMAGE_NAME)?;
        Some((name, entry.descriptor))
    };
    Some(IndexContent {
        format,
        platforms: platforms.split(',').map(str::to_owned).collect(),
        images: index
            .manifests
            .into_iter()
            .map(image)
            .collect::<Option<_>>()?,
    })
}
