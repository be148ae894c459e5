//! An archive of one image on one platform, read from the file of a bundle: what is sent to an
//! Engine. The image has no name in it, because a name would be given before anything was verified.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::digest::BlobDigest;
use super::documents;
use super::image::{BundleImage, ImageVariant};
use super::plan::ArchivePlan;
use super::read::Bundle;

/// A piece of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundlePart {
    Bytes(Vec<u8>),
    /// This range of the bundle's file.
    File(Range<u64>),
}

impl BundlePart {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

impl Bundle {
    /// The archive of an image on one of its platforms, without its lowest `shared` layers. `None` for
    /// an image of another bundle.
    #[must_use]
    pub fn image_archive(
        &self,
        image: &BundleImage,
        variant: &ImageVariant,
        shared: usize,
    ) -> Option<Vec<BundlePart>> {
        let single = BundleImage {
            variants: vec![variant.clone()],
            ..image.clone()
        };
        let (known, needed) = variant.layers.split_at(shared.min(variant.layers.len()));
        let needed: BTreeSet<&BlobDigest> = needed.iter().map(|layer| &layer.digest).collect();
        let is_left_out = |digest: &BlobDigest| {
            !needed.contains(digest) && known.iter().any(|layer| layer.digest == *digest)
        };
        let blobs: BTreeMap<BlobDigest, u64> = single
            .blobs()
            .filter(|blob| !is_left_out(&blob.digest))
            .map(|blob| (blob.digest.clone(), blob.size))
            .collect();
        let plan = ArchivePlan::new(&blobs, &documents::render_unnamed(&single))?;
        let mut parts: Vec<(u64, BundlePart)> = plan
            .fixed
            .into_iter()
            .map(|(at, bytes)| (at, BundlePart::Bytes(bytes)))
            .collect();
        for (digest, (at, size)) in &plan.blobs {
            let (start, _) = self.place(digest)?;
            parts.push((*at, BundlePart::File(start..start + size)));
        }
        parts.sort_by_key(|(at, _)| *at);
        Some(with_padding(parts, plan.length))
    }
}

/// The parts in order, with zeros between them and up to the end.
fn with_padding(parts: Vec<(u64, BundlePart)>, length: u64) -> Vec<BundlePart> {
    let mut out = Vec::new();
    let mut end = 0;
    let zeros = |from: u64, to: u64| {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or_default();
        (length > 0).then(|| BundlePart::Bytes(vec![0; length]))
    };
    for (at, part) in parts {
        out.extend(zeros(end, at));
        end = at + part.length();
        out.push(part);
    }
    out.extend(zeros(end, length));
    out
}
