//! Manifests, indexes and configurations of images, as far as a bundle reads them: Docker's schema 2
//! and OCI's. To accept another kind: its media type in [`ACCEPTED`], and a case in
//! [`ManifestDocument::parse`].

use serde::{Deserialize, Serialize};

use super::digest::BlobDigest;
use super::platform::{ImagePlatform, ServedPlatform};
use crate::spec::PackageVersions;

/// Media types that a registry may answer with, for the `Accept` header.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Annotation of a manifest that toots wrote: what the build of the image installed.
pub(super) const PACKAGES: &str = "toots.packages";

/// More layers than Docker creates.
const MAX_LAYERS: usize = 1000;

/// A blob that a document names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobDescriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: BlobDigest,
    /// Bytes.
    pub size: u64,
}

/// A manifest that an index names.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct IndexEntry {
    #[serde(flatten)]
    pub descriptor: BlobDescriptor,
    #[serde(default)]
    platform: Option<ServedPlatform>,
}

/// A document that is not what an image needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentFault(String);

/// What a registry has under a reference.
#[derive(Debug, Clone)]
pub(super) enum ManifestDocument {
    /// One manifest per platform.
    Index(Vec<IndexEntry>),
    /// One image.
    Image {
        config: BlobDescriptor,
        layers: Vec<BlobDescriptor>,
        packages: PackageVersions,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    #[serde(default)]
    schema_version: u64,
    manifests: Option<Vec<IndexEntry>>,
    config: Option<BlobDescriptor>,
    layers: Option<Vec<BlobDescriptor>>,
    /// Of any shape: others are not read.
    #[serde(default)]
    annotations: serde_json::Value,
}

impl ManifestDocument {
    /// Reads a document. Its own fields decide what it is: a media type beside it could make one
    /// document two things for two readers.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        let raw: RawManifest = serde_json::from_slice(bytes)
            .map_err(|error| DocumentFault(format!("unexpected JSON: {error}")))?;
        if raw.schema_version != 2 {
            return Err(DocumentFault(format!(
                "manifest schema must be 2, got {}",
                raw.schema_version
            )));
        }
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(_), Some(layers)) if layers.len() > MAX_LAYERS => Err(DocumentFault(
                format!("too many layers: {} (limit {MAX_LAYERS})", layers.len()),
            )),
            (None, Some(config), Some(layers)) => {
                let packages = raw.annotations[PACKAGES].as_str();
                Ok(Self::Image {
                    config,
                    layers,
                    packages: packages.map(PackageVersions::parse).unwrap_or_default(),
                })
            }
            _ => Err(DocumentFault(
                "document must be an index or an image manifest".into(),
            )),
        }
    }

    /// The media type of a document that was served without one.
    pub(super) fn default_media_type(&self) -> &'static str {
        match self {
            Self::Index(_) => OCI_INDEX,
            Self::Image { .. } => OCI_MANIFEST,
        }
    }
}

/// The manifest of a platform in an index.
pub(super) fn select<'a>(
    index: &'a [IndexEntry],
    platform: &ImagePlatform,
) -> Option<&'a BlobDescriptor> {
    let fits = |entry: &&IndexEntry| image_platform(entry).as_ref() == Some(platform);
    index.iter().find(fits).map(|entry| &entry.descriptor)
}

/// The platforms of an index, for a message.
pub(super) fn platforms(index: &[IndexEntry]) -> Vec<String> {
    let mut names: Vec<String> = index
        .iter()
        .filter_map(image_platform)
        .map(|platform| platform.to_string())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn image_platform(entry: &IndexEntry) -> Option<ImagePlatform> {
    entry.platform.as_ref().and_then(ServedPlatform::of_image)
}

/// The part of an image's configuration that identifies its content.
#[derive(Debug, Clone)]
pub(super) struct ImageConfig {
    pub platform: ImagePlatform,
    /// Digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<BlobDigest>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(flatten)]
    platform: ServedPlatform,
    rootfs: RawRootFs,
}

#[derive(Deserialize)]
struct RawRootFs {
    diff_ids: Vec<BlobDigest>,
}

impl ImageConfig {
    /// Reads a configuration. `layers`: their number in the manifest.
    pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<Self, DocumentFault> {
        let raw: RawConfig = serde_json::from_slice(bytes)
            .map_err(|error| DocumentFault(format!("not a container image: {error}")))?;
        let platform = raw
            .platform
            .of_image()
            .ok_or_else(|| DocumentFault("the configuration names no platform".into()))?;
        let diff_ids = raw.rootfs.diff_ids;
        if diff_ids.len() != layers {
            return Err(DocumentFault(format!(
                "manifest and configuration contradict each other: {layers} layers, {} diff ids",
                diff_ids.len()
            )));
        }
        Ok(Self { platform, diff_ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn a_document_is_an_index_or_an_image() {
        let blob = format!(r#"{{"digest":"{}","size":2}}"#, hex('a'));
        let image = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{blob}]}}"#);
        let parse = |text: &str| ManifestDocument::parse(text.as_bytes());
        assert!(matches!(parse(&image), Ok(ManifestDocument::Image { .. })));
        assert!(matches!(parse(&index), Ok(ManifestDocument::Index(_))));
        for (wrong, why) in [
            (
                format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[],"manifests":[]}}"#),
                "must be an index or an image manifest",
            ),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
                "schema must be 2, got 1",
            ),
            (image.replace("sha256", "sha512"), "digest must be"),
            (image.replace(":2}", ":-2}"), "unexpected JSON"),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{blob},"layers":[{}]}}"#,
                    vec![blob.as_str(); MAX_LAYERS + 1].join(",")
                ),
                "too many layers: 1001",
            ),
            ("[".to_owned(), "unexpected JSON"),
        ] {
            let error = parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn attestations_are_no_platform() {
        let entry = |digit, os: &str, arch: &str| {
            format!(
                r#"{{"digest":"{}","size":2,"platform":{{"os":"{os}","architecture":"{arch}"}}}}"#,
                hex(digit)
            )
        };
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{}]}}"#,
            entry('a', "unknown", "unknown"),
            entry('b', "linux", "arm64"),
            entry('c', "linux", "amd64"),
        );
        let Ok(ManifestDocument::Index(index)) = ManifestDocument::parse(text.as_bytes()) else {
            panic!("{text}");
        };
        assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
        let amd64 = select(&index, &ImagePlatform::linux_amd64()).unwrap();
        assert_eq!(amd64.digest.to_string(), hex('c'));
        assert!(select(&index, &"linux/riscv64".parse().unwrap()).is_none());
    }

    #[test]
    fn configurations_match_their_manifests() {
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{{"diff_ids":["{}"]}}}}"#,
            hex('a')
        );
        let config = ImageConfig::parse(text.as_bytes(), 1).unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm64");
        let error = ImageConfig::parse(text.as_bytes(), 2).unwrap_err();
        assert!(error.to_string().contains("2 layers, 1 diff ids"));
        assert!(ImageConfig::parse(b"{}", 0).is_err());
    }
}
