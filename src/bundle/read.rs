//! Reads a bundle. Nothing of it is believed: every byte of the archive either belongs to a blob,
//! which has a digest, or follows from the images and is rendered again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MAX_DOCUMENT_BYTES;
use super::digest::BlobDigest;
use super::documents::{self, BUNDLE_FORMAT, IndexContent};
use super::error::ArchiveError;
use super::image::{BundleImage, ImageVariant};
use super::manifest::{BlobDescriptor, ImageConfig, ManifestDocument, select};
use super::name::ImageName;
use super::plan::{ArchivePlan, BLOCK, padded};
use super::platform::ImagePlatform;
use super::table::{TableEnd, TarEntry, hash_region, read_table};
use crate::env::{FileAccess, ReadAt};
use crate::spec::ImageRef;

/// A bundle whose structure, documents and references are right.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: Arc<dyn ReadAt>,
    images: Vec<BundleImage>,
    platforms: Vec<ImagePlatform>,
    /// Blob → offset of its content and its size.
    blobs: BTreeMap<BlobDigest, (u64, u64)>,
    length: u64,
}

impl Bundle {
    /// Opens a bundle and checks everything but the content of layers; [`Bundle::verify`] reads
    /// those.
    ///
    /// # Errors
    /// When the file cannot be read, is no bundle, or differs in any byte from what toots writes
    /// for its images.
    pub fn open(files: &dyn FileAccess, path: &Path) -> Result<Self, ArchiveError> {
        let unreadable = |source| ArchiveError::read(path, source);
        let file = files.open(path).map_err(unreadable)?;
        let length = file.length().map_err(unreadable)?;
        let (entries, end) = read_table(&*file, length);
        check_end(path, end)?;
        let archive = Archive {
            path,
            file: &*file,
            entries: entries.iter().map(|e| (e.name.as_str(), e)).collect(),
        };
        let index = archive.index()?;
        let platforms = archive.platforms(&index)?;
        let images: Vec<BundleImage> = index
            .images
            .iter()
            .map(|(name, root)| archive.image(name, root, &platforms))
            .collect::<Result<_, _>>()?;
        let plan = archive.expected_plan(&images, &platforms)?;
        archive.compare(&plan, length)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            images,
            platforms,
            blobs: plan.blobs,
            length,
        })
    }

    /// Reads every blob and compares its digest. `progress` receives the bytes of each piece.
    ///
    /// # Errors
    /// When the file cannot be read, or a blob's content has another digest.
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        for (digest, (at, size)) in &self.blobs {
            let got = hash_region(&*self.file, *at, *size, |_, piece| {
                progress(piece.len() as u64);
                Ok(())
            });
            let got = got.map_err(|source| ArchiveError::read(&self.path, source))?;
            if got != *digest {
                return Err(wrong_content(&self.path, self.owner(digest), digest, &got));
            }
        }
        Ok(())
    }

    /// Its images, sorted by name.
    #[must_use]
    pub fn images(&self) -> &[BundleImage] {
        &self.images
    }

    /// The platforms that it has of every image.
    #[must_use]
    pub fn platforms(&self) -> &[ImagePlatform] {
        &self.platforms
    }

    /// Length of the file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The image of a reference: of its digest when it has one, else of its tag.
    #[must_use]
    pub fn find(&self, image: &ImageRef) -> Option<&BundleImage> {
        let wanted = ImageName::new(image).ok()?;
        self.images.iter().find(|image| {
            let same_repository = (image.name.registry(), image.name.repository())
                == (wanted.registry(), wanted.repository());
            same_repository
                && match wanted.digest() {
                    Some(digest) => image.root.digest == *digest,
                    None => image.name.tag() == wanted.tag(),
                }
        })
    }

    /// Its path, as it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that was verified, whatever has its path by now.
    #[must_use]
    pub fn file(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.file)
    }

    /// Offset and size of a blob's content.
    pub(super) fn place(&self, digest: &BlobDigest) -> Option<(u64, u64)> {
        self.blobs.get(digest).copied()
    }

    /// The content of a blob.
    #[must_use]
    pub fn blob(&self, digest: &BlobDigest) -> Option<BlobReader<'_>> {
        let (at, left) = *self.blobs.get(digest)?;
        Some(BlobReader {
            file: &*self.file,
            at,
            left,
        })
    }

    fn owner(&self, digest: &BlobDigest) -> Option<&ImageName> {
        let has_it = |image: &&BundleImage| image.blobs().any(|blob| blob.digest == *digest);
        self.images.iter().find(has_it).map(|image| &image.name)
    }
}

/// Reads one blob.
#[derive(Debug)]
pub struct BlobReader<'a> {
    file: &'a dyn ReadAt,
    at: u64,
    left: u64,
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let n = self.file.read_at(&mut buffer[..room], self.at)?;
        if n == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

fn check_end(path: &Path, end: TableEnd) -> Result<(), ArchiveError> {
    let path = path.to_owned();
    match end {
        TableEnd::Complete => Ok(()),
        TableEnd::Foreign => Err(ArchiveError::NotABundle {
            path,
            why: "it does not begin as one",
        }),
        TableEnd::Truncated(entry) => Err(ArchiveError::Truncated {
            path,
            why: format!("it ends at {entry}"),
        }),
        TableEnd::Damaged(at) => Err(ArchiveError::Damaged {
            path,
            why: format!("unexpected header at byte {at}"),
        }),
        TableEnd::Unreadable(source) => Err(ArchiveError::Read { path, source }),
    }
}

fn wrong_content(
    path: &Path,
    image: Option<&ImageName>,
    digest: &BlobDigest,
    got: &BlobDigest,
) -> ArchiveError {
    let image = image
        .map(|image| format!(" of {image}"))
        .unwrap_or_default();
    ArchiveError::damaged(
        path,
        format!("the content of blob {digest}{image} is {got}"),
    )
}

/// An archive whose headers are right, while it is checked.
struct Archive<'a> {
    path: &'a Path,
    file: &'a dyn ReadAt,
    entries: BTreeMap<&'a str, &'a TarEntry>,
}

impl Archive<'_> {
    fn damaged(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::damaged(self.path, why)
    }

    fn read_at(&self, at: u64, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file
            .fill_from(&mut content, at)
            .map_err(|source| ArchiveError::read(self.path, source))?;
        Ok(content)
    }

    /// A document by its name.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        match self.entries.get(name) {
            None => Ok(None),
            Some(entry) if entry.size > MAX_DOCUMENT_BYTES => {
                Err(self.damaged(format!("{name} is too large: {} bytes", entry.size)))
            }
            Some(entry) => self.read_at(entry.at, entry.size).map(Some),
        }
    }

    fn index(&self) -> Result<IndexContent, ArchiveError> {
        let content = self.document("index.json")?;
        let index = content.as_deref().and_then(documents::read_index);
        let index = index.ok_or_else(|| ArchiveError::NotABundle {
            path: self.path.to_owned(),
            why: "toots did not write its index.json",
        })?;
        if index.format == BUNDLE_FORMAT {
            Ok(index)
        } else {
            Err(ArchiveError::Format {
                path: self.path.to_owned(),
                got: index.format.chars().take(20).collect(),
            })
        }
    }

    fn platforms(&self, index: &IndexContent) -> Result<Vec<ImagePlatform>, ArchiveError> {
        let platforms = index.platforms.iter().map(|text| text.parse());
        platforms
            .collect::<Result<_, _>>()
            .map_err(|error| self.damaged(format!("index.json: {error}")))
    }

    /// A blob that is a document, with its digest checked.
    fn blob(&self, image: &ImageName, blob: &BlobDescriptor) -> Result<Vec<u8>, ArchiveError> {
        let path = documents::blob_path(&blob.digest);
        let content = self
            .document(&path)?
            .ok_or_else(|| self.damaged(format!("blob {} of {image} is missing", blob.digest)))?;
        let got = BlobDigest::of_bytes(&content);
        if got == blob.digest {
            Ok(content)
        } else {
            Err(wrong_content(self.path, Some(image), &blob.digest, &got))
        }
    }

    fn image(
        &self,
        canonical: &str,
        root: &BlobDescriptor,
        platforms: &[ImagePlatform],
    ) -> Result<BundleImage, ArchiveError> {
        let name = ImageName::new(&ImageRef(canonical.to_owned()));
        let name = name.map_err(|error| self.damaged(format!("index.json: {error}")))?;
        let document = self.manifest(&name, root)?;
        let variants = platforms.iter().map(|platform| match &document {
            ManifestDocument::Image { .. } => self.variant(&name, platform, root, &document),
            ManifestDocument::Index(entries) => {
                let manifest = select(entries, platform)
                    .ok_or_else(|| self.damaged(format!("{name} has no {platform}")))?;
                let document = self.manifest(&name, manifest)?;
                self.variant(&name, platform, manifest, &document)
            }
        });
        let variants = variants.collect::<Result<_, _>>()?;
        Ok(BundleImage {
            name,
            root: root.clone(),
            variants,
        })
    }

    fn manifest(
        &self,
        name: &ImageName,
        blob: &BlobDescriptor,
    ) -> Result<ManifestDocument, ArchiveError> {
        ManifestDocument::parse(&self.blob(name, blob)?)
            .map_err(|error| self.damaged(format!("{name}: {error}")))
    }

    fn variant(
        &self,
        name: &ImageName,
        platform: &ImagePlatform,
        manifest: &BlobDescriptor,
        document: &ManifestDocument,
    ) -> Result<ImageVariant, ArchiveError> {
        let ManifestDocument::Image {
            config,
            layers,
            packages,
        } = document
        else {
            return Err(self.damaged(format!("{name}: the index contains an index")));
        };
        let read = ImageConfig::parse(&self.blob(name, config)?, layers.len())
            .map_err(|error| self.damaged(format!("{name}: {error}")))?;
        if read.platform != *platform {
            let got = read.platform;
            return Err(self.damaged(format!("{name} must be for {platform}, got {got}")));
        }
        Ok(ImageVariant {
            platform: platform.clone(),
            manifest: manifest.clone(),
            config: config.clone(),
            diff_ids: read.diff_ids,
            layers: layers.clone(),
            packages: packages.clone(),
        })
    }

    /// The plan of the archive that toots writes for these images.
    fn expected_plan(
        &self,
        images: &[BundleImage],
        platforms: &[ImagePlatform],
    ) -> Result<ArchivePlan, ArchiveError> {
        let mut blobs = BTreeMap::new();
        for (image, blob) in images.iter().flat_map(|i| i.blobs().map(move |b| (i, b))) {
            let path = documents::blob_path(&blob.digest);
            match self.entries.get(path.as_str()) {
                Some(entry) if entry.size == blob.size => {
                    blobs.insert(blob.digest.clone(), blob.size);
                }
                Some(entry) => {
                    let (digest, name) = (&blob.digest, &image.name);
                    let (expected, got) = (blob.size, entry.size);
                    return Err(self.damaged(format!(
                        "blob {digest} of {name} must have {expected} bytes, got {got}"
                    )));
                }
                None => {
                    let (digest, name) = (&blob.digest, &image.name);
                    return Err(self.damaged(format!("blob {digest} of {name} is missing")));
                }
            }
        }
        let used: BTreeSet<String> = blobs.keys().map(documents::blob_path).collect();
        let unused = self.entries.keys().find(|name| {
            name.starts_with("blobs/sha256/") && name.len() > 13 && !used.contains(**name)
        });
        if let Some(name) = unused {
            return Err(self.damaged(format!("no image uses {name}")));
        }
        ArchivePlan::new(&blobs, &documents::render(images, platforms))
            .ok_or_else(|| self.damaged("its blobs are larger than a file can be"))
    }

    /// Compares everything but the content of blobs.
    fn compare(&self, plan: &ArchivePlan, length: u64) -> Result<(), ArchiveError> {
        for (at, expected) in &plan.fixed {
            let end = at.checked_add(expected.len() as u64);
            let same = end.is_some_and(|end| end <= length)
                && self.read_at(*at, expected.len() as u64)? == *expected;
            if !same {
                let entry = self.entries.values().rfind(|entry| entry.at <= *at);
                let entry = entry.map_or("its first entry", |entry| &entry.name);
                return Err(self.damaged(format!("{entry} is not what its images need")));
            }
        }
        if plan.length != length {
            return Err(self.damaged(format!("it must have {} bytes, got {length}", plan.length)));
        }
        for entry in self.entries.values() {
            let padding = padded(entry.size).unwrap_or(entry.size) - entry.size;
            let content = self.read_at(entry.at + entry.size, padding)?;
            if content.iter().any(|byte| *byte != 0) {
                return Err(self.damaged(format!("unexpected bytes after {}", entry.name)));
            }
        }
        let trailer = self.read_at(length - BLOCK, BLOCK)?;
        if trailer.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("unexpected bytes at its end"));
        }
        Ok(())
    }
}
