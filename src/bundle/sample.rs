//! Bundles that tests of other rooms write without a registry; compiled for tests only.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::digest::BlobDigest;
use super::documents;
use super::image::{BundleImage, ImageVariant};
use super::manifest::BlobDescriptor;
use super::name::ImageName;
use super::plan::ArchivePlan;
use super::platform::ImagePlatform;
use crate::spec::{ImageRef, PackageVersions};

/// Writes a bundle with one image for linux/amd64 whose layers are stored unpacked. Returns the digest
/// of the image.
pub(crate) fn write_bundle(path: &Path, image: &str, layers: &[Vec<u8>]) -> String {
    let mut blobs: BTreeMap<BlobDigest, Vec<u8>> = BTreeMap::new();
    let mut add = |media_type: &str, content: Vec<u8>| {
        let digest = BlobDigest::of_bytes(&content);
        let size = content.len() as u64;
        blobs.insert(digest.clone(), content);
        BlobDescriptor {
            media_type: format!("application/vnd.oci.image.{media_type}"),
            digest,
            size,
        }
    };
    let layers: Vec<BlobDescriptor> = layers
        .iter()
        .map(|layer| add("layer.v1.tar", layer.clone()))
        .collect();
    let diff_ids: Vec<BlobDigest> = layers.iter().map(|layer| layer.digest.clone()).collect();
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64", "config": {"Cmd": ["serve"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = add("config.v1+json", config.to_string().into_bytes());
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
    let root = add("manifest.v1+json", manifest.to_string().into_bytes());
    let platform = ImagePlatform::linux_amd64();
    let name = ImageName::new(&ImageRef(image.to_owned())).unwrap();
    let image = BundleImage {
        name,
        root: root.clone(),
        variants: vec![ImageVariant {
            platform: platform.clone(),
            manifest: root.clone(),
            config,
            diff_ids,
            layers,
            packages: PackageVersions::default(),
        }],
    };
    let sizes = blobs
        .iter()
        .map(|(digest, content)| (digest.clone(), content.len() as u64));
    let documents = documents::render(&[image], &[platform]);
    let plan = ArchivePlan::new(&sizes.collect(), &documents).unwrap();
    let file = std::fs::File::create(path).unwrap();
    file.set_len(plan.length).unwrap();
    for (at, bytes) in &plan.fixed {
        file.write_all_at(bytes, *at).unwrap();
    }
    for (digest, (at, _)) in &plan.blobs {
        file.write_all_at(&blobs[digest], *at).unwrap();
    }
    root.digest.to_string()
}
