//! Creates a bundle: asks the registries what the images are, plans the archive, fetches what is
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::digest::BlobDigest;
use super::documents;
use super::download::{Download, fetch_blob};
use super::error::{ArchiveError, CreateError};
use super::image::BundleImage;
use super::local::{LocalImage, resolve_local};
use super::name::ImageName;
use super::part::{PartFile, check_target};
use super::plan::ArchivePlan;
use super::platform::ImagePlatform;
use super::registry::{Registries, RegistryError, RegistryOptions};
use super::resolve::{ResolvedImage, resolve_image};
use crate::env;
use crate::event::{Event, EventSink};
use crate::spec::{ImageRef, Phase};

/// What to put into a bundle, and where.
#[derive(Clone)]
pub struct CreateRequest {
    pub file: PathBuf,
    pub images: BTreeSet<ImageRef>,
    /// Images that no registry has, each for every platform.
    pub local: Vec<LocalImage>,
    /// The first one's images take the names when an Engine loads the file as it is.
    pub platforms: Vec<ImagePlatform>,
    pub registries: RegistryOptions,
    pub events: Arc<dyn EventSink>,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedBundle {
    pub images: Vec<BundleImage>,
    /// Length of the file.
    pub length: u64,
    /// Bytes of blobs that registries sent, without what was repeated.
    pub fetched: u64,
}

/// Images and blobs that are asked for at the same time.
const MAX_PARALLEL: usize = 4;

/// Pause between two events of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Creates a bundle. What an earlier attempt has completed is kept. Dropping the future ends it.
///
/// # Errors
/// When an image cannot be fetched, or the file cannot be written.
pub async fn create_bundle(request: CreateRequest) -> Result<CreatedBundle, CreateError> {
    let target = request.file.clone();
    on_thread(move || check_target(&target)).await?;
    let registries = Registries::new(request.registries.clone(), Arc::clone(&request.events));
    let resolve = async {
        let mut images = resolve_images(&request, &registries).await?;
        images.extend(resolve_local_images(&request).await?);
        images.sort_by(|a, b| a.image.name.cmp(&b.image.name));
        Ok::<_, CreateError>(images)
    };
    let resolved = in_phase(&request, Phase::Resolve, resolve).await?;
    let images: Vec<BundleImage> = resolved.iter().map(|r| r.image.clone()).collect();
    warn_of_zstd(&request, &images);
    let blobs = blobs(&images)?;
    let documents = documents::render(&images, &request.platforms);
    let plan = ArchivePlan::new(&blobs, &documents)
        .ok_or_else(|| ArchiveError::TooLarge(request.file.clone()))?;
    let (length, total) = (plan.length, blobs.values().sum());
    let progress = Arc::new(ByteProgress::new(Arc::clone(&request.events), total));

    let open = progress.report_while(open_part(&request, plan, Arc::clone(&progress)));
    let (part, complete) = in_phase(&request, Phase::Prepare, open).await?;
    let part = Arc::new(part);
    let pending = Pending::new(&request, &resolved, &complete, &part)?;
    let fetch = progress.report_while(pending.fetch(&registries, &progress));
    let fetched = in_phase(&request, Phase::Download, fetch).await?;
    let finish = on_thread(move || part.finish());
    in_phase(&request, Phase::Finish, finish).await?;
    Ok(CreatedBundle {
        images,
        length,
        fetched,
    })
}

/// Runs one phase between its events.
async fn in_phase<T, E>(
    request: &CreateRequest,
    phase: Phase,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, CreateError>
where
    CreateError: From<E>,
{
    let started = Instant::now();
    request.events.send(Event::PhaseStarted {
        phase: phase.clone(),
    });
    let result = work.await;
    request.events.send(Event::PhaseFinished {
        phase,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    result.map_err(CreateError::from)
}

/// Runs what blocks (files, hashes) on a thread of its own.
pub(super) async fn on_thread<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match env::run_blocking(work).await {
        Some(result) => result,
        // The runtime is ending, and with it the run.
        None => std::future::pending().await,
    }
}

/// Asks for all images; the reasons of all that fail are reported together.
async fn resolve_images(
    request: &CreateRequest,
    registries: &Registries,
) -> Result<Vec<ResolvedImage>, CreateError> {
    let mut errors: Vec<RegistryError> = Vec::new();
    let mut names = BTreeSet::new();
    for image in &request.images {
        match ImageName::new(image) {
            Ok(name) => drop(names.insert(name)),
            Err(error) => errors.push(error.into()),
        }
    }
    let results: Vec<Result<ResolvedImage, RegistryError>> = futures::stream::iter(names)
        .map(|name| async move {
            let resolved = resolve_image(registries, &name, &request.platforms).await?;
            request.events.send(resolved.event(request));
            Ok(resolved)
        })
        .buffered(MAX_PARALLEL)
        .collect()
        .await;
    let mut images: BTreeMap<ImageName, ResolvedImage> = BTreeMap::new();
    for result in results {
        match result {
            Ok(resolved) => insert(&mut images, resolved),
            Err(error) if errors.contains(&error) => {}
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(images.into_values().collect()),
        false => Err(CreateError::Registry(errors)),
    }
}

/// Reads the layers of images that an Engine saved.
async fn resolve_local_images(request: &CreateRequest) -> Result<Vec<ResolvedImage>, CreateError> {
    let (local, platforms) = (request.local.clone(), request.platforms.clone());
    let images = on_thread(move || resolve_local(&local, &platforms)).await?;
    for image in &images {
        request.events.send(image.event(request));
    }
    Ok(images)
}

/// Engines before 23.0 fail in the middle of a load.
fn warn_of_zstd(request: &CreateRequest, images: &[BundleImage]) {
    let is_zstd = |image: &&BundleImage| {
        let mut layers = image.variants.iter().flat_map(|variant| &variant.layers);
        layers.any(|layer| layer.media_type.ends_with("+zstd"))
    };
    let names = images.iter().filter(is_zstd).map(|i| i.name.to_string());
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        let names = names.join(", ");
        let text = format!("Docker Engines before 23.0 cannot load zstd layers: {names}");
        request.events.send(Event::warning(None, text));
    }
}

/// Adds an image. A reference with a tag and a digest keeps its tag, unless the tag alone is wanted
/// too and means another image.
fn insert(images: &mut BTreeMap<ImageName, ResolvedImage>, mut resolved: ResolvedImage) {
    let known = images.get(&resolved.image.name.without_digest());
    let taken = known.is_some_and(|known| known.image.root != resolved.image.root);
    resolved.image.name = match taken {
        true => resolved.image.name.without_tag(),
        false => resolved.image.name.without_digest(),
    };
    images.insert(resolved.image.name.clone(), resolved);
}

/// Every blob with its size.
fn blobs(images: &[BundleImage]) -> Result<BTreeMap<BlobDigest, u64>, RegistryError> {
    let mut blobs = BTreeMap::new();
    for (image, blob) in images.iter().flat_map(|i| i.blobs().map(move |b| (i, b))) {
        let size = *blobs.entry(blob.digest.clone()).or_insert(blob.size);
        if size != blob.size {
            return Err(RegistryError::Unusable {
                image: image.name.to_string(),
                why: format!(
                    "blob {} has two sizes: {size} and {}",
                    blob.digest, blob.size
                ),
            });
        }
    }
    Ok(blobs)
}

async fn open_part(
    request: &CreateRequest,
    plan: ArchivePlan,
    progress: Arc<ByteProgress>,
) -> Result<(PartFile, BTreeSet<BlobDigest>), ArchiveError> {
    let target = request.file.clone();
    on_thread(move || {
        let part = PartFile::open(&target, plan)?;
        let complete = part.keep_complete(|bytes| progress.add(bytes))?;
        Ok::<_, ArchiveError>((part, complete))
    })
    .await
}

/// Bytes that are there, of all.
pub(super) struct ByteProgress {
    events: Arc<dyn EventSink>,
    bytes: AtomicU64,
    total: u64,
}

impl ByteProgress {
    fn new(events: Arc<dyn EventSink>, total: u64) -> Self {
        Self {
            events,
            bytes: AtomicU64::new(0),
            total,
        }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back bytes that have to be fetched again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn send(&self) {
        self.events.send(Event::TransferProgress {
            bytes: self.bytes.load(Ordering::Relaxed),
            total: self.total,
        });
    }

    /// Reports while something is done, and where it ended.
    async fn report_while<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.send();
            if let Ok(result) = tokio::time::timeout(PROGRESS_INTERVAL, &mut work).await {
                self.send();
                return result;
            }
        }
    }
}

/// The blobs that are still to be fetched, in the order of the images.
struct Pending<'a> {
    events: &'a Arc<dyn EventSink>,
    downloads: Vec<Download>,
    /// Missing blobs of each image that is not complete.
    missing: std::sync::Mutex<Vec<(&'a ResolvedImage, BTreeSet<BlobDigest>)>>,
}

impl<'a> Pending<'a> {
    /// Writes the documents of images, which are known already, and lists the rest.
    fn new(
        request: &'a CreateRequest,
        resolved: &'a [ResolvedImage],
        complete: &BTreeSet<BlobDigest>,
        part: &Arc<PartFile>,
    ) -> Result<Self, ArchiveError> {
        let mut done = complete.clone();
        let mut downloads = Vec::new();
        let mut missing = Vec::new();
        for image in resolved {
            let mut blobs = BTreeSet::new();
            for blob in image.image.blobs() {
                if !complete.contains(&blob.digest) {
                    blobs.insert(blob.digest.clone());
                }
                if done.insert(blob.digest.clone()) {
                    downloads.push(Download {
                        name: image.requested.clone(),
                        blob: blob.clone(),
                        known: image.documents.get(&blob.digest).cloned(),
                        local: image.local.get(&blob.digest).cloned(),
                        part: Arc::clone(part),
                    });
                }
            }
            missing.push((image, blobs));
        }
        let pending = Self {
            events: &request.events,
            downloads,
            missing: std::sync::Mutex::new(missing),
        };
        pending.report_complete(None);
        Ok(pending)
    }

    /// Fetches everything; returns the bytes that registries sent.
    async fn fetch(
        &self,
        registries: &Registries,
        progress: &Arc<ByteProgress>,
    ) -> Result<u64, CreateError> {
        let fetched = AtomicU64::new(0);
        futures::stream::iter(&self.downloads)
            .map(Ok::<_, CreateError>)
            .try_for_each_concurrent(MAX_PARALLEL, |download| async {
                fetch_blob(registries, download, progress).await?;
                if download.local.is_none() {
                    fetched.fetch_add(download.blob.size, Ordering::Relaxed);
                }
                self.report_complete(Some(&download.blob.digest));
                Ok(())
            })
            .await?;
        Ok(fetched.into_inner())
    }

    /// Reports the images that need nothing more.
    fn report_complete(&self, arrived: Option<&BlobDigest>) {
        let mut missing = self
            .missing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        missing.retain_mut(|(image, blobs)| {
            if let Some(digest) = arrived {
                blobs.remove(digest);
            }
            if blobs.is_empty() {
                self.events.send(Event::ImageFetched {
                    image: image.image.name.to_string(),
                    bytes: image.image.bytes(),
                });
            }
            !blobs.is_empty()
        });
    }
}
