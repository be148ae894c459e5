//! Loads images that are not pulled: from a host that has them, directly or through a file on this
//! machine, or from a bundle. Each is verified before it gets the names by which later runs know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::join_all;
use tokio::sync::{OnceCell, Semaphore};

use super::connect::HostRun;
use super::work::{CLOSE_DELAY, Work};
use super::{failure, recipes};
use crate::bundle::{Bundle, BundleImage, BundlePart, ImageVariant};
use crate::desired::{BundleContents, Desired};
use crate::docker::{
    ArchivePart, DockerError, ImageArchive, ImageContent, ImageDetail, SavedImage,
};
use crate::event::{Event, Failure};
use crate::plan;
use crate::spec::{HostName, ImageRef, Recipe};

/// Parallel loads: they share this machine's line, and one that ends is worth more than two halves.
pub(super) const MAX_LOADS: usize = 2;

/// Hosts that are asked for an image. Thousands may miss the same image when a registry is down, and
/// each of them asks.
const MAX_ASKED: usize = 5;

/// The images that a host's Engine saved for others and that are still being loaded.
#[derive(Debug)]
pub(super) struct SavedImages {
    /// By the name or id under which the Engine was asked for them.
    saved: Mutex<BTreeMap<String, Weak<OnceCell<SavedImage>>>>,
    pub(super) turns: Semaphore,
    has_containerd_store: OnceCell<bool>,
    /// What the host itself loaded in this run.
    loaded: Mutex<BTreeSet<ImageRef>>,
    /// Whether the host could not give an image to another one directly.
    pub(super) is_indirect: AtomicBool,
    /// Held by who brings an image otherwise, because the host does not give it.
    pub(super) replacing: tokio::sync::Mutex<()>,
}

impl Default for SavedImages {
    fn default() -> Self {
        Self {
            saved: Mutex::default(),
            turns: Semaphore::new(MAX_LOADS),
            has_containerd_store: OnceCell::new(),
            loaded: Mutex::default(),
            is_indirect: AtomicBool::new(false),
            replacing: tokio::sync::Mutex::default(),
        }
    }
}

impl SavedImages {
    fn get(&self, name: &str) -> Arc<OnceCell<SavedImage>> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = saved.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::default();
        saved.insert(name.to_owned(), Arc::downgrade(&cell));
        cell
    }
}

impl SavedImages {
    fn has_loaded(&self, image: &ImageRef) -> bool {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.contains(image)
    }

    pub(super) fn record_loaded(&self, image: &ImageRef) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(image.clone());
    }
}

/// A host that has an image, and the name or id under which its Engine saves it.
pub(super) struct ImageHolder<'a> {
    pub host: &'a HostRun,
    pub name: String,
}

/// Why an image was not loaded from another host.
pub(super) enum LoadError {
    /// What the other host gave cannot be used.
    Source(Box<Failure>),
    /// This host could not load it.
    Host(Box<Failure>),
}

/// One image to be loaded on one host.
pub(super) struct ImageLoad<'a> {
    pub work: &'a Work<'a>,
    pub host: &'a HostRun,
    pub phase: &'a str,
    /// The title of the step.
    pub title: &'a str,
    pub image: &'a ImageRef,
    /// The digest to which it is pinned.
    pub digest: Option<&'a str>,
}

impl<'a> ImageLoad<'a> {
    /// Whether the host had the image when it was observed, or loaded it in this run.
    fn had_image(&self, other: &HostRun) -> bool {
        let status = self.work.planned.observed.get(&other.info.name);
        let before = |status| plan::is_present(status, self.image, self.digest);
        status.is_some_and(before) || other.saved.has_loaded(self.image)
    }

    /// Other hosts of the same architecture, the likeliest first.
    pub(super) fn candidates(&self, preferred: Option<&HostName>) -> Vec<&'a HostRun> {
        let Work { hosts, ledger, .. } = *self.work;
        let arch = |name| {
            let status = self.work.planned.observed.get(name);
            status.map(|status| status.facts.arch.as_str())
        };
        let own = &self.host.info.name;
        let mut others: Vec<&HostRun> = hosts
            .values()
            .map(AsRef::as_ref)
            .filter(|other| {
                let name = &other.info.name;
                name != own && arch(name) == arch(own) && ledger.alive(name)
            })
            .collect();
        others.sort_by_key(|other| {
            let name = &other.info.name;
            (Some(name) != preferred, !self.had_image(other))
        });
        others
    }

    /// The first that has the image now; few are asked.
    pub(super) async fn ask_for_image(
        &self,
        hosts: impl Iterator<Item = &'a HostRun>,
    ) -> Option<ImageHolder<'a>> {
        for other in hosts.take(MAX_ASKED) {
            let images = other.engine.images().await.unwrap_or_default();
            let found = images
                .iter()
                .find(|here| here.provides(self.image, self.digest));
            if let Some(found) = found {
                let is_built = self.image.recipe_hash().is_some();
                let name = if is_built { &self.image.0 } else { &found.id };
                let name = name.clone();
                return Some(ImageHolder { host: other, name });
            }
        }
        None
    }

    pub(super) async fn load_from(&self, holder: ImageHolder<'_>) -> Result<(), LoadError> {
        if let Some(done) = self.load_directly(&holder, None).await {
            return done.map_err(LoadError::Source);
        }
        let ImageHolder { host: source, name } = holder;
        let from = &source.info.name;
        let cell = source.saved.get(&name);
        let saved = self.save(source, &name, &cell).await.map_err(|error| {
            let mut failure = failure::from_error(self.phase, self.title, &error);
            let cause = format!("cannot save {} on {from}", self.image);
            failure.cause.insert(0, cause);
            if matches!(error, DockerError::TemporaryFile { .. }) {
                failure.hints = vec!["free space there, or set TMPDIR to another folder".into()];
            }
            LoadError::Source(Box::new(failure))
        })?;
        let content = saved.content();
        let is_built = self.image.recipe_hash().is_some();
        let is_wanted = if is_built {
            saved.recipe() == self.image.recipe_hash()
        } else {
            content.config == name || content.target.as_ref() == Some(&name)
        };
        if !is_wanted {
            let text = format!("{from} saved another image than {}", self.image);
            return Err(LoadError::Source(self.fail(text)));
        }
        // Never closed.
        let _turn = source.saved.turns.acquire().await;
        let archive = |shared| Ok(saved.archive(shared));
        let sent = self.send(content, from.as_str(), is_built, archive).await;
        sent.map_err(LoadError::Host)
    }

    pub(super) async fn load_from_bundle(&self) -> Result<(), Box<Failure>> {
        let (bundle, image, variant) = self
            .find_in_bundle()
            .ok_or_else(|| self.fail("the bundle does not have the image".into()))?;
        let content = ImageContent {
            config: variant.config.digest.to_string(),
            target: Some(image.root.digest.to_string()),
            layers: variant.diff_ids.iter().map(ToString::to_string).collect(),
            platform: variant.platform.without_variant(),
            settings: None,
        };
        // Another host of this run has it by now, or had it before.
        let has_it = |other: &&HostRun| self.had_image(other);
        let others = self.candidates(None).into_iter().filter(has_it);
        if let Some(holder) = self.ask_for_image(others).await
            && let Some(done) = self.load_directly(&holder, Some(&content)).await
        {
            return done;
        }
        let file = bundle.path().display().to_string();
        let archive = |shared| archive_of(bundle, image, variant, shared);
        self.send(&content, &file, false, archive).await?;
        if !variant.packages.is_empty() && self.image.recipe_hash().is_some() {
            recipes::record_packages(self.work, self.image, &variant.packages).await;
        }
        Ok(())
    }

    /// The image in the run's bundle, for the platform of the host.
    pub(super) fn find_in_bundle(&self) -> Option<(&'a Bundle, &'a BundleImage, &'a ImageVariant)> {
        let Work { cx, planned, .. } = *self.work;
        let bundle = cx.mode.bundle.as_deref()?;
        let status = planned.observed.get(&self.host.info.name)?;
        let platform = status.facts.platform()?;
        let image = bundle.find(self.image)?;
        let digest = image.root.digest.to_string();
        // The name of an image that toots built says what it is.
        if self.image.recipe_hash().is_none() && self.digest != Some(digest.as_str()) {
            return None;
        }
        let mut variants = image.variants.iter();
        let variant = variants.find(|variant| variant.platform.to_string() == platform)?;
        Some((bundle, image, variant))
    }

    /// Saves it once for each host that loads it; again after its host's connection was lost.
    async fn save<'c>(
        &self,
        source: &HostRun,
        name: &str,
        cell: &'c OnceCell<SavedImage>,
    ) -> Result<&'c SavedImage, DockerError> {
        let idle = self.work.cx.timeouts.pull_idle;
        let progress = |bytes| self.progress(bytes, None);
        let save = || cell.get_or_try_init(|| source.engine.save(name, idle, progress));
        let saved = save().await;
        if saved.is_ok() {
            return saved;
        }
        tokio::time::sleep(CLOSE_DELAY).await;
        let is_lost = source.session.closed();
        if is_lost && source.line.renew(&*self.work.cx.dial).await.is_ok() {
            return save().await;
        }
        saved
    }

    /// How many of its lowest layers the host has.
    async fn shared_layers(&self, content: &ImageContent) -> usize {
        let engine = &self.host.engine;
        let images = engine.images().await.unwrap_or_default();
        let images = join_all(images.iter().map(|image| engine.image_detail(&image.id))).await;
        let shared = images
            .iter()
            .flatten()
            .map(|image| content.shared_layers(&image.layers));
        shared.max().unwrap_or(0)
    }

    /// Sends what the host lacks of an archive, verifies what the Engine made of it, and names it.
    /// `is_named`: the archive has the name of the image.
    async fn send(
        &self,
        content: &ImageContent,
        from: &str,
        is_named: bool,
        archive: impl FnOnce(usize) -> std::io::Result<ImageArchive>,
    ) -> Result<(), Box<Failure>> {
        let engine = &self.host.engine;
        let has_containerd_store = has_containerd_store(self.host).await;
        if let Some(named) = self.name_loaded(content, has_containerd_store).await {
            return named;
        }
        let shared = match has_containerd_store {
            // The classic store alone takes an archive without layers that it has.
            Some(false) => self.shared_layers(content).await,
            _ => 0,
        };
        let archive = archive(shared).map_err(|error| self.fail_with(&error))?;
        let (events, name) = (
            Arc::clone(&self.work.cx.events),
            self.host.info.name.clone(),
        );
        let progress = move |bytes, total| {
            events.send(Event::StepProgress {
                host: name.clone(),
                bytes,
                total,
                line: None,
            });
        };
        let idle = self.work.cx.timeouts.pull_idle;
        let loaded = engine.load(archive, idle, progress).await;
        let loaded = loaded.map_err(|error| self.fail_with(&error))?;
        let loaded = if is_named {
            Some(self.image.0.clone())
        } else {
            loaded
        };
        self.accept(content, from, loaded, has_containerd_store)
            .await
    }

    /// Names an image that a load which ended early left without a name. `None` when there is none.
    pub(super) async fn name_loaded(
        &self,
        content: &ImageContent,
        has_containerd_store: Option<bool>,
    ) -> Option<Result<(), Box<Failure>>> {
        let expected = expected_id(content, has_containerd_store);
        let detail = self.host.engine.image_detail(expected).await.ok()?;
        let difference = self.difference(content, &detail, has_containerd_store);
        match difference {
            Some(_) => None,
            None => Some(self.give_names(expected).await),
        }
    }

    /// Verifies what the Engine made of an image that it loaded under this name or id, and names it.
    pub(super) async fn accept(
        &self,
        content: &ImageContent,
        from: &str,
        loaded: Option<String>,
        has_containerd_store: Option<bool>,
    ) -> Result<(), Box<Failure>> {
        let expected = || expected_id(content, has_containerd_store).to_owned();
        let id = loaded.unwrap_or_else(expected);
        let detail = self.host.engine.image_detail(&id).await;
        let detail = detail.map_err(|error| self.fail_with(&error))?;
        if let Some(what) = self.difference(content, &detail, has_containerd_store) {
            let image = self.image;
            let mut failure = self.fail(format!(
                "loaded another image than {image} from {from}: {what}"
            ));
            failure.hints = vec![
                "on the host, run: journalctl -u docker -n 50; docker system df; then run again"
                    .into(),
            ];
            return Err(failure);
        }
        if id != self.image.0 {
            self.give_names(&id).await?;
        }
        self.host.saved.record_loaded(self.image);
        Ok(())
    }

    /// An Engine that does not tell its store is held to the classic one's id.
    fn difference(
        &self,
        content: &ImageContent,
        loaded: &ImageDetail,
        has_containerd_store: Option<bool>,
    ) -> Option<String> {
        let labels = loaded.settings.labels.as_ref();
        let recipe = labels.and_then(|labels| labels.get(Recipe::LABEL));
        let is_other = |hash: &str| recipe.map(String::as_str) != Some(hash);
        let difference = content.difference(loaded, has_containerd_store.unwrap_or(false));
        difference.or_else(|| {
            let other = self.image.recipe_hash().filter(|hash| is_other(hash));
            other.map(|hash| format!("its recipe must be {hash}"))
        })
    }

    /// Names a verified image. The second name comes last: it says that everything before was done.
    async fn give_names(&self, id: &str) -> Result<(), Box<Failure>> {
        let verified = self.digest.map(ImageRef::verified);
        for name in std::iter::once(self.image).chain(&verified) {
            let tagged = self.host.engine.tag(id, name.repository(), name.tag());
            tagged.await.map_err(|error| self.fail_with(&error))?;
        }
        Ok(())
    }

    pub(super) fn progress(&self, bytes: u64, total: Option<u64>) {
        self.work.cx.events.send(Event::StepProgress {
            host: self.host.info.name.clone(),
            bytes,
            total,
            line: None,
        });
    }

    pub(super) fn warn(&self, text: String) {
        let host = Some(self.host.info.name.clone());
        self.work.ledger.warn(host, text);
    }

    fn fail_with(&self, error: &(dyn std::error::Error + 'static)) -> Box<Failure> {
        Box::new(failure::from_error(self.phase, self.title, error))
    }

    fn fail(&self, text: String) -> Box<Failure> {
        Box::new(failure::from_text(self.phase, self.title, text, Vec::new()))
    }
}

/// `None` when the Engine does not tell. Asked once: it does not change while the Engine runs.
pub(super) async fn has_containerd_store(host: &HostRun) -> Option<bool> {
    let ask = || async {
        let engine = host.engine.version().await.map_err(drop)?;
        Ok(engine.info.ok_or(())?.has_containerd_store)
    };
    let known: Result<_, ()> = host.saved.has_containerd_store.get_or_try_init(ask).await;
    known.ok().copied()
}

/// The id by which a store knows this content.
fn expected_id(content: &ImageContent, has_containerd_store: Option<bool>) -> &str {
    match (&content.target, has_containerd_store) {
        (Some(target), Some(true)) => target,
        _ => &content.config,
    }
}

/// The archive that a host needs which has this many of the lowest layers.
fn archive_of(
    bundle: &Bundle,
    image: &BundleImage,
    variant: &ImageVariant,
    shared: usize,
) -> std::io::Result<ImageArchive> {
    let parts = bundle
        .image_archive(image, variant, shared)
        .ok_or_else(|| std::io::Error::other("the image is not in the bundle"))?;
    let parts = parts.into_iter().map(|part| match part {
        BundlePart::Bytes(bytes) => ArchivePart::Bytes(bytes.into()),
        BundlePart::File(range) => ArchivePart::File(range),
    });
    Ok(ImageArchive::new(Arc::new(bundle.file()?), parts.collect()))
}

/// What a bundle has of the images that a cluster needs.
pub(super) fn find_contents(bundle: &Bundle, desired: &Desired) -> BundleContents {
    let images = desired.images().map(|(image, _)| image);
    let found = images.filter_map(|image| Some((image, bundle.find(image)?)));
    let platforms = bundle.platforms().iter();
    BundleContents {
        file: bundle.path().to_owned(),
        platforms: platforms.map(ToString::to_string).collect(),
        digests: found
            .map(|(image, found)| (image.clone(), found.root.digest.to_string()))
            .collect(),
    }
}

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
