//! The content of a bundle as a table and as JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Options;
use super::json::to_json;
use super::listing::listing;
use super::text::{bytes, clean, count};
use crate::event::VERSION;

/// A bundle whose every byte was verified.
#[derive(Debug, Clone)]
pub struct BundleReport {
    pub file: String,
    /// Version of the archive's format.
    pub format: String,
    /// Length of the file.
    pub bytes: u64,
    pub platforms: Vec<String>,
    /// Sorted by name.
    pub images: Vec<BundleImageView>,
}

/// An image.
#[derive(Debug, Clone, Serialize)]
pub struct BundleImageView {
    pub image: String,
    /// The digest of its index or manifest.
    pub digest: String,
    /// The recipe by which it was built, in place of a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// One per platform.
    pub variants: Vec<BundleVariantView>,
}

/// An image on one platform.
#[derive(Debug, Clone, Serialize)]
pub struct BundleVariantView {
    pub platform: String,
    /// Digest of its manifest.
    pub manifest: String,
    /// Digest of its configuration: its Id in the classic image store.
    pub config: String,
    /// Bytes of its blobs.
    pub bytes: u64,
    /// The packages that the build installed, `NAME VERSION`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    pub layers: Vec<BundleLayerView>,
}

/// A layer.
#[derive(Debug, Clone, Serialize)]
pub struct BundleLayerView {
    pub digest: String,
    /// Digest of the uncompressed layer.
    pub diff_id: String,
    pub bytes: u64,
    /// Whether another image has it too.
    pub shared: bool,
}

#[derive(Serialize)]
struct BundleObject<'a> {
    v: u8,
    r#type: &'static str,
    file: &'a str,
    format: &'a str,
    bytes: u64,
    platforms: &'a [String],
    images: &'a [BundleImageView],
}

/// The JSON object of `bundle inspect --output json`, with its newline.
#[must_use]
pub fn bundle_json(report: &BundleReport) -> String {
    let object = BundleObject {
        v: VERSION,
        r#type: "bundle",
        file: &report.file,
        format: &report.format,
        bytes: report.bytes,
        platforms: &report.platforms,
        images: &report.images,
    };
    to_json(&object) + "\n"
}

/// The bundle as text.
#[must_use]
pub fn bundle_table(report: &BundleReport, options: &Options) -> String {
    let platforms: Vec<String> = report.platforms.iter().map(|p| clean(p)).collect();
    let title = format!(
        "{}: {} for {}, {}, verified\n\n",
        clean(&report.file),
        count(report.images.len(), "image"),
        platforms.join(" and "),
        bytes(report.bytes, None),
    );
    let rows = report.images.iter().flat_map(|image| {
        image.variants.iter().map(|variant| {
            let shared = variant.layers.iter().filter(|layer| layer.shared).count();
            vec![
                image.image.clone(),
                variant.platform.clone(),
                bytes(variant.bytes, None),
                variant.layers.len().to_string(),
                shared.to_string(),
                image.digest.clone(),
            ]
        })
    });
    let headings = ["image", "platform", "size", "layers", "shared", "digest"];
    let built = report.images.iter().filter_map(|image| {
        let recipe = clean(image.recipe.as_ref()?);
        let packages = image.variants.iter().flat_map(|variant| &variant.packages);
        let packages: BTreeSet<String> = packages.map(|package| clean(package)).collect();
        let packages: Vec<String> = packages.into_iter().collect();
        let packages = match packages.is_empty() {
            true => String::new(),
            false => format!(" ({})", packages.join(", ")),
        };
        let image = clean(&image.image);
        Some(format!("\n{image}: built from recipe {recipe}{packages}"))
    });
    let built: String = built.collect();
    let end = if built.is_empty() { "" } else { "\n" };
    title + &listing(&headings, rows, options) + &built + end
}
