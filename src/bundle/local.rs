//! Images that no registry has: an Engine built them here and saved them to a file. They get a
//! manifest of their own, because the archives of most Engines have none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::MAX_DOCUMENT_BYTES;
use super::digest::BlobDigest;
use super::error::CreateError;
use super::image::{BundleImage, ImageVariant};
use super::manifest::{BlobDescriptor, ImageConfig, OCI_INDEX, OCI_MANIFEST, PACKAGES};
use super::name::ImageName;
use super::part::BlobWriter;
use super::platform::ImagePlatform;
use super::resolve::ResolvedImage;
use super::table::hash_region;
use crate::env::ReadAt;
use crate::spec::{ImageRef, PackageVersions};

/// An image on one platform, in a file that an Engine saved.
#[derive(Debug, Clone)]
pub struct LocalImage {
    pub name: ImageRef,
    pub platform: ImagePlatform,
    pub config: Bytes,
    pub file: Arc<dyn ReadAt>,
    /// Where its layers are in the file, the lowest first.
    pub layers: Vec<Range<u64>>,
    /// What its build installed, where that is known.
    pub packages: PackageVersions,
}

/// The content of a blob that is not fetched.
#[derive(Debug, Clone)]
pub(super) enum LocalBlob {
    Bytes(Bytes),
    /// From this offset of a file.
    File(Arc<dyn ReadAt>, u64),
}

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenManifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: &'a BlobDescriptor,
    layers: &'a [BlobDescriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenIndex<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<WrittenIndexEntry<'a>>,
}

#[derive(Serialize)]
struct WrittenIndexEntry<'a> {
    #[serde(flatten)]
    manifest: &'a BlobDescriptor,
    platform: super::platform::WrittenPlatform<'a>,
}

/// The images of these files, one for each name, with all platforms. Reads the layers, which takes
/// long.
pub(super) fn resolve_local(
    images: &[LocalImage],
    platforms: &[ImagePlatform],
) -> Result<Vec<ResolvedImage>, CreateError> {
    let names: BTreeSet<&ImageRef> = images.iter().map(|image| &image.name).collect();
    let resolve = |name: &ImageRef| {
        let variants = platforms.iter().map(|platform| {
            let fits = |image: &&LocalImage| image.name == *name && image.platform == *platform;
            let found = images.iter().find(fits);
            found.ok_or_else(|| unusable(name, format!("it is not there for {platform}")))
        });
        let variants: Vec<&LocalImage> = variants.collect::<Result<_, _>>()?;
        resolve_image(name, &variants)
    };
    names.into_iter().map(resolve).collect()
}

fn unusable(image: &ImageRef, why: impl Into<String>) -> CreateError {
    CreateError::Local {
        image: image.to_string(),
        why: why.into(),
    }
}

fn resolve_image(name: &ImageRef, images: &[&LocalImage]) -> Result<ResolvedImage, CreateError> {
    let mut local = BTreeMap::new();
    let mut variants = Vec::new();
    for image in images {
        variants.push(read_variant(image, &mut local)?);
    }
    let root = match variants.as_slice() {
        [variant] => variant.manifest.clone(),
        _ => {
            let manifests = variants.iter().map(|variant| WrittenIndexEntry {
                manifest: &variant.manifest,
                platform: variant.platform.written(),
            });
            let index = WrittenIndex {
                schema_version: 2,
                media_type: OCI_INDEX,
                manifests: manifests.collect(),
            };
            add_document(OCI_INDEX, to_json(&index), &mut local)
        }
    };
    let name = ImageName::new(name).map_err(|error| unusable(name, error.to_string()))?;
    Ok(ResolvedImage {
        requested: name.clone(),
        image: BundleImage {
            name,
            root,
            variants,
        },
        documents: BTreeMap::new(),
        local,
    })
}

fn read_variant(
    image: &LocalImage,
    local: &mut BTreeMap<BlobDigest, LocalBlob>,
) -> Result<ImageVariant, CreateError> {
    let fail = |why: String| unusable(&image.name, why);
    if image.config.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(fail("its configuration is too large".into()));
    }
    let read = ImageConfig::parse(&image.config, image.layers.len());
    let read = read.map_err(|fault| fail(crate::event::escape(&fault.to_string())))?;
    if read.platform != image.platform {
        let (expected, got) = (&image.platform, read.platform);
        return Err(fail(format!("it must be for {expected}, got {got}")));
    }
    let config = add_document(OCI_CONFIG, image.config.clone(), local);
    let mut layers = Vec::new();
    for (range, diff_id) in image.layers.iter().zip(&read.diff_ids) {
        let layer = read_layer(image, range).map_err(|error| fail(error.to_string()))?;
        // Whether a compressed one is right shows when an Engine unpacks it.
        if layer.media_type == OCI_LAYER && layer.digest != *diff_id {
            let got = &layer.digest;
            return Err(fail(format!("layer {diff_id} has the content of {got}")));
        }
        let blob = LocalBlob::File(Arc::clone(&image.file), range.start);
        local.insert(layer.digest.clone(), blob);
        layers.push(layer);
    }
    let packages = (!image.packages.is_empty()).then(|| (PACKAGES, image.packages.content()));
    let manifest = WrittenManifest {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: &config,
        layers: &layers,
        annotations: packages.into_iter().collect(),
    };
    let manifest = add_document(OCI_MANIFEST, to_json(&manifest), local);
    Ok(ImageVariant {
        platform: image.platform.clone(),
        manifest,
        config,
        diff_ids: read.diff_ids,
        layers,
        packages: image.packages.clone(),
    })
}

/// A layer as the Engine saved it: the classic store unpacked, containerd's as it has it.
fn read_layer(image: &LocalImage, range: &Range<u64>) -> std::io::Result<BlobDescriptor> {
    let size = range.end - range.start;
    let mut start = [0; 4];
    let known = usize::try_from(size.min(4)).unwrap_or_default();
    image.file.fill_from(&mut start[..known], range.start)?;
    let compression = match start {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    Ok(BlobDescriptor {
        media_type: format!("{OCI_LAYER}{compression}"),
        digest: hash_region(&*image.file, range.start, size, |_, _| Ok(()))?,
        size,
    })
}

fn add_document(
    media_type: &str,
    content: Bytes,
    local: &mut BTreeMap<BlobDigest, LocalBlob>,
) -> BlobDescriptor {
    let digest = BlobDigest::of_bytes(&content);
    let size = content.len() as u64;
    local.insert(digest.clone(), LocalBlob::Bytes(content));
    BlobDescriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
    }
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Only a map with keys that are not text can fail, and there is none.
    serde_json::to_vec(value).unwrap_or_default().into()
}

impl LocalBlob {
    /// Writes all of it, and returns its digest. `progress` receives the bytes of each piece.
    pub(super) fn copy_to(
        &self,
        mut writer: BlobWriter,
        size: u64,
        progress: impl Fn(u64),
    ) -> Result<BlobDigest, CreateError> {
        match self {
            Self::Bytes(bytes) => {
                writer.append(bytes)?;
                progress(bytes.len() as u64);
            }
            Self::File(file, start) => {
                let mut buffer = vec![0; usize::try_from(size.min(COPY_BYTES)).unwrap_or_default()];
                while writer.bytes() < size {
                    let left = usize::try_from(size - writer.bytes()).unwrap_or(usize::MAX);
                    let length = left.min(buffer.len());
                    let piece = &mut buffer[..length];
                    let read = file.fill_from(piece, start + writer.bytes());
                    read.map_err(CreateError::SavedImage)?;
                    writer.append(piece)?;
                    progress(piece.len() as u64);
                }
            }
        }
        Ok(writer.finish())
    }
}
