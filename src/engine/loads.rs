//! Loads one image that is not pulled, and verifies it before it gets the names by which later runs
//! know it. Where it comes from, `load_sources` decides.

use futures::future::join_all;

use super::host_run::HostRun;
use super::work::{StepRun, Work};
use crate::docker::{ImageArchive, ImageContent, ImageDetail};
use crate::event::Failure;
use crate::plan;
use crate::spec::{HostName, ImageRef, Recipe};

/// Hosts that are asked for an image. Thousands may miss the same image when a registry is down, and
/// each of them asks.
const MAX_ASKED: usize = 5;

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
    /// The step.
    pub at: StepRun<'a>,
    pub image: &'a ImageRef,
    /// The digest to which it is pinned.
    pub digest: Option<&'a str>,
}

impl<'a> ImageLoad<'a> {
    /// Whether the host had the image when it was observed, or loaded it in this run.
    pub fn had_image(&self, other: &HostRun) -> bool {
        let status = self.at.work.planned.observed.get(&other.info.name);
        let before = |status| plan::is_present(status, self.image, self.digest);
        status.is_some_and(before) || other.saved.has_loaded(self.image)
    }

    /// Other hosts of the same architecture, the likeliest first.
    pub fn candidates(&self, preferred: Option<&HostName>) -> Vec<&'a HostRun> {
        let Work { hosts, ledger, .. } = self.at.work;
        let arch = |name| {
            let status = self.at.work.planned.observed.get(name);
            status.map(|status| status.facts.arch.as_str())
        };
        let own = &self.at.host.info.name;
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
    pub async fn ask_for_image(
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

    /// How many of its lowest layers the host has.
    async fn shared_layers(&self, content: &ImageContent) -> usize {
        let engine = &self.at.host.engine;
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
    pub async fn send(
        &self,
        content: &ImageContent,
        from: &str,
        is_named: bool,
        archive: impl FnOnce(usize) -> std::io::Result<ImageArchive>,
    ) -> Result<(), Box<Failure>> {
        let engine = &self.at.host.engine;
        let has_containerd_store = self.at.host.has_containerd_store().await;
        if let Some(named) = self.name_loaded(content, has_containerd_store).await {
            return named;
        }
        let shared = match has_containerd_store {
            // The classic store alone takes an archive without layers that it has.
            Some(false) => self.shared_layers(content).await,
            _ => 0,
        };
        let archive = archive(shared).map_err(|error| self.at.fail(&error))?;
        let progress = self.at.progress();
        let idle = self.at.work.cx.timeouts.pull_idle;
        let loaded = engine.load(archive, idle, progress).await;
        let loaded = loaded.map_err(|error| self.at.fail(&error))?;
        let loaded = if is_named {
            Some(self.image.0.clone())
        } else {
            loaded
        };
        self.accept(content, from, loaded, has_containerd_store)
            .await
    }

    /// Names an image that a load which ended early left without a name. `None` when there is none.
    pub async fn name_loaded(
        &self,
        content: &ImageContent,
        has_containerd_store: Option<bool>,
    ) -> Option<Result<(), Box<Failure>>> {
        let expected = expected_id(content, has_containerd_store);
        let detail = self.at.host.engine.image_detail(expected).await.ok()?;
        let difference = self.difference(content, &detail, has_containerd_store);
        match difference {
            Some(_) => None,
            None => Some(self.give_names(expected).await),
        }
    }

    /// Verifies what the Engine made of an image that it loaded under this name or id, and names it.
    pub async fn accept(
        &self,
        content: &ImageContent,
        from: &str,
        loaded: Option<String>,
        has_containerd_store: Option<bool>,
    ) -> Result<(), Box<Failure>> {
        let expected = || expected_id(content, has_containerd_store).to_owned();
        let id = loaded.unwrap_or_else(expected);
        let detail = self.at.host.engine.image_detail(&id).await;
        let detail = detail.map_err(|error| self.at.fail(&error))?;
        if let Some(what) = self.difference(content, &detail, has_containerd_store) {
            let image = self.image;
            let why = format!("loaded another image than {image} from {from}: {what}");
            let hint =
                "on the host, run: journalctl -u docker -n 50; docker system df; then run again";
            return Err(self.at.fail_with(why, vec![hint.into()]));
        }
        if id != self.image.0 {
            self.give_names(&id).await?;
        }
        self.at.host.saved.record_loaded(self.image);
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
            let tagged = self.at.host.engine.tag(id, name.repository(), name.tag());
            tagged.await.map_err(|error| self.at.fail(&error))?;
        }
        Ok(())
    }
}

/// The id by which a store knows this content.
fn expected_id(content: &ImageContent, has_containerd_store: Option<bool>) -> &str {
    match (&content.target, has_containerd_store) {
        (Some(target), Some(true)) => target,
        _ => &content.config,
    }
}

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
