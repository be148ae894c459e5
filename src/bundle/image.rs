//! What a bundle knows about an image.

use std::collections::BTreeMap;

use super::digest::BlobDigest;
use super::manifest::BlobDescriptor;
use super::name::ImageName;
use super::platform::ImagePlatform;
use crate::spec::PackageVersions;

/// An image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleImage {
    /// With a tag or a digest, not both: what a host's store will call it.
    pub name: ImageName,
    /// The index or manifest that its registry has under this name; its digest is the pin.
    pub root: BlobDescriptor,
    /// One per platform of the bundle, in the bundle's order.
    pub variants: Vec<ImageVariant>,
}

/// An image on one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVariant {
    pub platform: ImagePlatform,
    /// The image's root, or a manifest in it.
    pub manifest: BlobDescriptor,
    pub config: BlobDescriptor,
    /// Digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<BlobDigest>,
    /// As the registry served them, the lowest first.
    pub layers: Vec<BlobDescriptor>,
    /// What the build of an image of a recipe installed, where that is known.
    pub packages: PackageVersions,
}

impl BundleImage {
    /// Every blob with its size. The same layer may occur more than once.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &BlobDescriptor> {
        std::iter::once(&self.root).chain(self.variants.iter().flat_map(ImageVariant::blobs))
    }

    /// Bytes of its blobs, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        unique_bytes(self.blobs())
    }
}

impl ImageVariant {
    fn blobs(&self) -> impl Iterator<Item = &BlobDescriptor> {
        [&self.manifest, &self.config]
            .into_iter()
            .chain(&self.layers)
    }

    /// Bytes of its blobs, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        unique_bytes(self.blobs())
    }
}

fn unique_bytes<'a>(blobs: impl Iterator<Item = &'a BlobDescriptor>) -> u64 {
    let unique: BTreeMap<&BlobDigest, u64> = blobs.map(|blob| (&blob.digest, blob.size)).collect();
    unique.values().copied().fold(0, u64::saturating_add)
}
