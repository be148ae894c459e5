//! From where an image is loaded, and what brings it when that source lost it or gives what cannot be
//! used.

use super::failure;
use super::host_run::HostRun;
use super::loads::{ImageHolder, ImageLoad, LoadError};
use crate::event::Failure;
use crate::plan::{self, LoadSource};
use crate::spec::HostName;

impl<'a> ImageLoad<'a> {
    /// Pulls it. When its digest cannot be pulled and another host has it, loads it from there.
    pub async fn pull_or_load(&self) -> Result<(), Box<Failure>> {
        let Err(mut failure) = self.at.pull(self.image, self.digest).await else {
            return Ok(());
        };
        let is_lost = self.at.host.session.closed();
        if self.digest.is_none() || is_lost || failure::is_file_system_full(&failure) {
            return Err(failure);
        }
        match self.instead_of_pull(&failure).await {
            Some(Ok(())) => Ok(()),
            Some(Err(load)) => {
                failure.cause.extend(load.cause);
                Err(failure)
            }
            None => Err(failure),
        }
    }

    /// Loads it. Where no host gives it, an image of a registry is pulled, and one of a recipe is taken
    /// from the bundle, else built.
    pub async fn run(&self, from: &LoadSource) -> Result<(), Box<Failure>> {
        let from = match from {
            LoadSource::Bundle(_) => return self.load_from_bundle().await,
            LoadSource::Host(from) => from,
        };
        let mut unusable = Vec::new();
        let holder = self.find_holder(Some(from), &unusable).await;
        if let Some(done) = self.load_from_hosts(holder, &mut unusable).await {
            return done;
        }
        let Some(first) = unusable.first().copied() else {
            return self.bring_otherwise(from).await;
        };
        // Others fail on the same host: the first of them brings the image and gives it to the rest.
        let _turn = first.saved.replacing.lock().await;
        let holder = self.find_holder(None, &unusable).await;
        match self.load_from_hosts(holder, &mut unusable).await {
            Some(done) => done,
            None => self.bring_otherwise(from).await,
        }
    }

    /// Loads it from any host that has it, because it cannot be pulled. `None` when no host gives it.
    pub async fn instead_of_pull(&self, why: &Failure) -> Option<Result<(), Box<Failure>>> {
        let holder = self.find_holder(None, &[]).await?;
        self.at.warn(format!(
            "cannot pull {}: {}; loading it from {}, which has it",
            self.image,
            why.cause.join(": "),
            holder.host.info.name
        ));
        self.load_from_hosts(Some(holder), &mut Vec::new()).await
    }

    /// Loads it from this host or the next one that gives it; hosts that have it and do not are added
    /// to `unusable`. `None` when no other has it.
    async fn load_from_hosts(
        &self,
        mut next: Option<ImageHolder<'a>>,
        unusable: &mut Vec<&'a HostRun>,
    ) -> Option<Result<(), Box<Failure>>> {
        while let Some(holder) = next {
            let source = holder.host;
            let failure = match self.load_from(holder).await {
                Err(LoadError::Source(failure)) => failure,
                Err(LoadError::Host(failure)) => return Some(Err(failure)),
                Ok(()) => return Some(Ok(())),
            };
            self.at.warn(format!(
                "cannot use {} of {}: {}",
                self.image,
                source.info.name,
                failure.cause.join(": ")
            ));
            unusable.push(source);
            next = self.find_holder(None, unusable).await;
        }
        None
    }

    /// A host of the same architecture that has the image now: this one, else any but these.
    async fn find_holder(
        &self,
        preferred: Option<&HostName>,
        unusable: &[&HostRun],
    ) -> Option<ImageHolder<'a>> {
        let is_usable = |host: &&HostRun| unusable.iter().all(|other| !std::ptr::eq(*other, *host));
        let candidates = self.candidates(preferred).into_iter().filter(is_usable);
        self.ask_for_image(candidates).await
    }

    /// Without another host.
    async fn bring_otherwise(&self, from: &HostName) -> Result<(), Box<Failure>> {
        let (image, at) = (self.image, &self.at);
        let missing = format!("no other host that takes part gives {image}");
        if image.recipe_hash().is_none() {
            at.warn(format!("{missing}; pulling it"));
            return at.pull(image, self.digest).await;
        }
        if self.find_in_bundle().is_some() {
            return self.load_from_bundle().await;
        }
        let planned = at.work.planned;
        let Some(wanted) = planned.desired.recipes.get(image) else {
            let hints = vec![format!("run again when {from} is back").into()];
            return Err(at.fail_with(missing, hints));
        };
        at.warn(format!("{missing}; building it"));
        let packages = plan::find_packages(image, &planned.desired, &planned.observed);
        let base = wanted.base_digest.as_deref();
        at.build(&wanted.recipe, base, &packages).await?;
        at.host.saved.record_loaded(image);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::desired::RecipeDesired;
    use crate::engine::fake_engine::FakeEngine;
    use crate::engine::fake_images::Stored;
    use crate::engine::test_run::{TestRun, host, recipe};
    use crate::plan::Step;
    use crate::spec::Recipe;

    fn built() -> Stored {
        let mut image = Stored::new(&[b"base", b"mesos"], "");
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        let recipe = recipe();
        let wanted = recipe.image();
        let hash = wanted.recipe_hash().unwrap();
        config["config"] = serde_json::json!({"Labels": {Recipe::LABEL: hash}});
        image.config = config.to_string().into_bytes();
        image.id = crate::engine::fake_images::sha(&image.config);
        image.tags = [wanted.0].into();
        image
    }

    /// h1 has the image of the recipe and gives what nobody can use.
    async fn run_beside_a_bad_source(engines: &[FakeEngine]) -> TestRun {
        engines[0].play().images = vec![built()];
        engines[0].play().saves_incompletely = true;
        let mut run = TestRun::on(engines, None).await;
        let wanted = RecipeDesired {
            recipe: recipe(),
            base_digest: None,
            changed: BTreeSet::new(),
        };
        run.planned.desired.recipes.insert(recipe().image(), wanted);
        run
    }

    fn load(n: usize) -> (usize, Step) {
        let step = Step::Load {
            image: recipe().image(),
            digest: None,
            from: LoadSource::Host(host(1)),
        };
        (n, step)
    }

    const UNUSABLE: &str = "cannot save {image} on h1";

    /// Besides those about Perl, which these hosts lack.
    fn warnings(run: &TestRun) -> Vec<String> {
        let mut warnings = run.warnings();
        warnings.retain(|warning| !warning.contains("directly"));
        warnings
    }

    fn is_unusable(warning: &str) -> bool {
        let image = recipe().image();
        warning.starts_with(&format!("cannot use {image} of h1: "))
            && warning.contains(&UNUSABLE.replace("{image}", image.as_str()))
            && warning.contains("the archive has no configuration")
    }

    #[tokio::test]
    async fn the_next_host_gives_an_image_that_the_former_cannot_give() {
        let engines = [(); 3].map(|()| FakeEngine::with(false, Vec::new()));
        engines[1].play().images = vec![built()];
        let mut run = run_beside_a_bad_source(&engines).await;
        assert_eq!(run.bring(vec![load(3)]).await, []);
        assert_eq!(engines[2].play().images[0].tags, built().tags);
        assert_eq!(engines[2].play().builds, [""; 0]);
        let warnings = warnings(&run);
        assert!(
            warnings.len() == 1 && is_unusable(&warnings[0]),
            "{warnings:?}"
        );
    }

    /// One host builds it, the others load that.
    #[tokio::test]
    async fn an_image_that_no_host_gives_is_built_once() {
        let engines = [(); 4].map(|()| FakeEngine::with(false, Vec::new()));
        for engine in &engines[1..] {
            engine.play().built = Some(built());
        }
        let mut run = run_beside_a_bad_source(&engines).await;
        assert_eq!(run.bring(vec![load(2), load(3), load(4)]).await, []);
        let builds: usize = engines
            .iter()
            .map(|engine| engine.play().builds.len())
            .sum();
        assert_eq!(builds, 1);
        for engine in &engines[1..] {
            assert_eq!(engine.play().images[0].tags, built().tags);
        }
        let mut warnings = warnings(&run);
        warnings.retain(|warning| !is_unusable(warning));
        let image = recipe().image();
        let building = format!("no other host that takes part gives {image}; building it");
        assert_eq!(warnings, [building]);
    }

    /// A recipe of an earlier toots.
    #[tokio::test]
    async fn an_unknown_recipe_is_not_built() {
        let engines = [(); 2].map(|()| FakeEngine::with(false, Vec::new()));
        let mut run = run_beside_a_bad_source(&engines).await;
        run.planned.desired.recipes.clear();
        let image = recipe().image();
        let why = format!("no other host that takes part gives {image}");
        assert_eq!(run.bring(vec![load(2)]).await, [(host(2), why)]);
        assert_eq!(engines[1].play().builds, [""; 0]);
    }
}
