//! Asks a registry what an image consists of.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::MAX_DOCUMENT_BYTES;
use super::create::CreateRequest;
use super::digest::BlobDigest;
use super::image::{BundleImage, ImageVariant};
use super::local::LocalBlob;
use super::manifest::{
    BlobDescriptor, DocumentFault, ImageConfig, ManifestDocument, platforms, select,
};
use super::name::ImageName;
use super::platform::ImagePlatform;
use super::registry::{Registries, RegistryClient, RegistryError};
use crate::event::Event;
use crate::spec::PackageVersions;

/// An image whose blobs are known.
#[derive(Debug, Clone)]
pub(super) struct ResolvedImage {
    /// What was asked for.
    pub requested: ImageName,
    pub image: BundleImage,
    /// Manifests and configurations, which were read to know the rest.
    pub documents: BTreeMap<BlobDigest, Bytes>,
    /// All blobs of an image that no registry has.
    pub local: BTreeMap<BlobDigest, LocalBlob>,
}

impl ResolvedImage {
    pub(super) fn event(&self, request: &CreateRequest) -> Event {
        Event::ImageResolved {
            image: self.requested.to_string(),
            digest: self.image.root.digest.to_string(),
            platforms: request.platforms.iter().map(ToString::to_string).collect(),
            bytes: self.image.bytes(),
        }
    }
}

/// Reads index, manifests and configurations of one image.
pub(super) async fn resolve_image(
    registries: &Registries,
    name: &ImageName,
    platforms: &[ImagePlatform],
) -> Result<ResolvedImage, RegistryError> {
    let mut reader = ImageReader {
        client: registries.client(name)?,
        name,
        documents: BTreeMap::new(),
    };
    let (root, document) = reader.manifest(&name.requested(), None).await?;
    let mut variants = Vec::new();
    for platform in platforms {
        variants.push(reader.variant(&root, &document, platform).await?);
    }
    Ok(ResolvedImage {
        requested: name.clone(),
        image: BundleImage {
            name: name.clone(),
            root,
            variants,
        },
        documents: reader.documents,
        local: BTreeMap::new(),
    })
}

struct ImageReader<'a> {
    client: std::sync::Arc<RegistryClient>,
    name: &'a ImageName,
    documents: BTreeMap<BlobDigest, Bytes>,
}

impl ImageReader<'_> {
    fn unusable(&self, fault: DocumentFault) -> RegistryError {
        RegistryError::Unusable {
            image: self.name.to_string(),
            why: crate::event::escape(&fault.to_string()),
        }
    }

    /// A manifest or index; `listed`: how the index names it.
    async fn manifest(
        &mut self,
        reference: &str,
        listed: Option<&BlobDescriptor>,
    ) -> Result<(BlobDescriptor, ManifestDocument), RegistryError> {
        let served = self.client.manifest(self.name, reference).await?;
        let document =
            ManifestDocument::parse(&served.bytes).map_err(|fault| self.unusable(fault))?;
        let media_type = served
            .media_type
            .unwrap_or_else(|| document.default_media_type().to_owned());
        let read = BlobDescriptor {
            media_type,
            digest: BlobDigest::of_bytes(&served.bytes),
            size: served.bytes.len() as u64,
        };
        let descriptor = listed.cloned().unwrap_or(read);
        self.check_size("manifest", &descriptor, served.bytes.len())?;
        self.documents
            .insert(descriptor.digest.clone(), served.bytes.into());
        Ok((descriptor, document))
    }

    fn check_size(
        &self,
        what: &str,
        blob: &BlobDescriptor,
        got: usize,
    ) -> Result<(), RegistryError> {
        if blob.size == got as u64 {
            return Ok(());
        }
        Err(RegistryError::Content {
            image: self.name.to_string(),
            registry: self.client.registry().to_owned(),
            what: format!("size of {what} {}", blob.digest),
            expected: format!("{} bytes", blob.size),
            got: got.to_string(),
        })
    }

    async fn variant(
        &mut self,
        root: &BlobDescriptor,
        document: &ManifestDocument,
        platform: &ImagePlatform,
    ) -> Result<ImageVariant, RegistryError> {
        match document {
            ManifestDocument::Image {
                config,
                layers,
                packages,
            } => self.image(root, (config, layers, packages), platform).await,
            ManifestDocument::Index(entries) => {
                let Some(listed) = select(entries, platform) else {
                    return Err(self.lacks(platform, platforms(entries)));
                };
                let digest = listed.digest.to_string();
                match self.manifest(&digest, Some(listed)).await? {
                    (
                        manifest,
                        ManifestDocument::Image {
                            config,
                            layers,
                            packages,
                        },
                    ) => {
                        let content = (&config, layers.as_slice(), &packages);
                        self.image(&manifest, content, platform).await
                    }
                    (_, ManifestDocument::Index(_)) => Err(RegistryError::Unusable {
                        image: self.name.to_string(),
                        why: format!("its index has another index for {platform}"),
                    }),
                }
            }
        }
    }

    fn lacks(&self, platform: &ImagePlatform, has: Vec<String>) -> RegistryError {
        RegistryError::Platform {
            image: self.name.to_string(),
            wanted: platform.to_string(),
            has,
        }
    }

    async fn image(
        &mut self,
        manifest: &BlobDescriptor,
        (config, layers, packages): (&BlobDescriptor, &[BlobDescriptor], &PackageVersions),
        platform: &ImagePlatform,
    ) -> Result<ImageVariant, RegistryError> {
        if config.size > MAX_DOCUMENT_BYTES {
            return Err(RegistryError::Unusable {
                image: self.name.to_string(),
                why: format!("its configuration is too large: {} bytes", config.size),
            });
        }
        if !self.documents.contains_key(&config.digest) {
            let bytes = self.client.small_blob(self.name, config).await?;
            self.check_size("configuration", config, bytes.len())?;
            self.documents.insert(config.digest.clone(), bytes.into());
        }
        let read = ImageConfig::parse(&self.documents[&config.digest], layers.len())
            .map_err(|fault| self.unusable(fault))?;
        if read.platform != *platform {
            return Err(self.lacks(platform, vec![read.platform.to_string()]));
        }
        Ok(ImageVariant {
            platform: platform.clone(),
            manifest: manifest.clone(),
            config: config.clone(),
            diff_ids: read.diff_ids,
            layers: layers.to_vec(),
            packages: packages.clone(),
        })
    }
}
