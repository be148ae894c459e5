//! Loads an image from a host that has it, directly or through a file on this machine, or from the
//! run's bundle.

use tokio::sync::OnceCell;

use super::host_run::{CLOSE_DELAY, HostRun};
use super::loads::{ImageHolder, ImageLoad, LoadError};
use super::recipes;
use super::work::Work;
use crate::bundle::{Bundle, BundleImage, BundlePart, ImageVariant};
use crate::docker::{ArchivePart, DockerError, ImageArchive, ImageContent, SavedImage};
use crate::event::Failure;

impl<'a> ImageLoad<'a> {
    /// Loads it from a host that has it.
    pub async fn load_from(&self, holder: ImageHolder<'_>) -> Result<(), LoadError> {
        if let Some(done) = self.load_directly(&holder, None).await {
            return done.map_err(LoadError::Source);
        }
        let ImageHolder { host: source, name } = holder;
        let from = &source.info.name;
        let cell = source.saved.get(&name);
        let saved = self.save(source, &name, &cell).await.map_err(|error| {
            let mut failure = self.at.fail(&error);
            let cause = format!("cannot save {} on {from}", self.image);
            failure.cause.insert(0, cause);
            if matches!(error, DockerError::TemporaryFile { .. }) {
                failure.hints = vec!["free space there, or set TMPDIR to another folder".into()];
            }
            LoadError::Source(failure)
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
            return Err(LoadError::Source(self.at.fail_with(text, Vec::new())));
        }
        // Never closed.
        let _turn = source.saved.turns.acquire().await;
        let archive = |shared| Ok(saved.archive(shared));
        let sent = self.send(content, from.as_str(), is_built, archive).await;
        sent.map_err(LoadError::Host)
    }

    /// Loads it from the run's bundle, or from a host that has it by now.
    pub async fn load_from_bundle(&self) -> Result<(), Box<Failure>> {
        let (bundle, image, variant) = self.find_in_bundle().ok_or_else(|| {
            self.at
                .fail_with("the bundle does not have the image", Vec::new())
        })?;
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
            recipes::record_packages(&self.at.work, self.image, &variant.packages).await;
        }
        Ok(())
    }

    /// The image in the run's bundle, for the platform of the host.
    pub fn find_in_bundle(&self) -> Option<(&'a Bundle, &'a BundleImage, &'a ImageVariant)> {
        let Work { cx, planned, .. } = self.at.work;
        let bundle = cx.mode.bundle.as_deref()?;
        let status = planned.observed.get(&self.at.host.info.name)?;
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
        let idle = self.at.work.cx.timeouts.pull_idle;
        let progress = self.at.progress();
        let progress = |bytes| progress(bytes, None);
        let files = &*self.at.work.cx.files;
        let save = || cell.get_or_try_init(|| source.engine.save(name, files, idle, progress));
        let saved = save().await;
        if saved.is_ok() {
            return saved;
        }
        tokio::time::sleep(CLOSE_DELAY).await;
        let is_lost = source.session.closed();
        if is_lost && source.line.renew(&*self.at.work.cx.dial).await.is_ok() {
            return save().await;
        }
        saved
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
    Ok(ImageArchive::new(bundle.file(), parts.collect()))
}
