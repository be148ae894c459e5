//! Images that no registry has are built, each on one host.

use futures::future::join_all;

use super::build::RecipeBuild;
use super::pull::login;
use super::work::{StepRun, Work};
use crate::event::{Event, Failure};
use crate::spec::{FileSpec, ImageRef, PackageVersions, Phase, Placement, Recipe};

impl StepRun<'_> {
    /// Builds one image, and records the versions of its packages on the masters. `packages`: the
    /// versions that are asked for.
    pub async fn build(
        &self,
        recipe: &Recipe,
        base_digest: Option<&str>,
        packages: &PackageVersions,
    ) -> Result<(), Box<Failure>> {
        let (cx, host) = (self.work.cx, self.host);
        let _turn = host.building.lock().await;
        let auth = login(cx, &recipe.base);
        let build = RecipeBuild {
            engine: &host.engine,
            recipe,
            base_digest,
            auth: auth.as_ref(),
            packages,
            files: &*cx.files,
            idle: cx.timeouts.pull_idle,
        };
        let image = recipe.image();
        let line = |line: String| {
            tracing::info!(host = %host.info.name, %image, %line, "build");
            cx.events.send(Event::StepProgress {
                host: host.info.name.clone(),
                step: self.title.to_owned(),
                bytes: 0,
                total: None,
                line: Some(line),
            });
        };
        let progress = self.progress();
        let sent = move |bytes, total| progress(bytes, Some(total));
        let built = build.run(self.phase, sent, line).await?;
        for text in built.lost {
            self.warn(text);
        }
        if !built.packages.is_empty() {
            record_packages(&self.work, &image, &built.packages).await;
        }
        Ok(())
    }
}

/// Writes which versions an image was built of: the image itself is what later runs go by, and only
/// one that has to be built anew asks for them. So a master that misses the file is only warned of.
pub(super) async fn record_packages(work: &Work<'_>, image: &ImageRef, packages: &PackageVersions) {
    let file = FileSpec {
        path: PackageVersions::path(image),
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: packages.content().into_bytes(),
        secret: false,
        place: Placement::Always,
    };
    join_all(work.usable_masters().map(|host| async {
        let at = StepRun {
            work: *work,
            host,
            phase: &Phase::Images,
            title: "record packages",
        };
        let files = std::iter::once(&file);
        let written = at.write_files(std::iter::empty(), files, None).await;
        if let Err(failure) = written {
            let why = failure.cause.join(": ");
            at.warn(format!("cannot write {}: {why}", file.path));
        }
    }))
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake_engine::FakeEngine;
    use crate::engine::test_run::{TestRun, host, recipe};
    use crate::plan::Step;

    fn step(packages: &str) -> Step {
        Step::Build {
            recipe: Box::new(recipe()),
            base_digest: None,
            changed: std::collections::BTreeSet::new(),
            packages: PackageVersions::parse(packages),
        }
    }

    /// Debian 11 installs an Engine that preflight could not know, and that does not build.
    #[tokio::test]
    async fn an_engine_that_was_just_installed_may_be_too_old() {
        let engine = FakeEngine::default();
        engine.play().version = Some("20.10.5+dfsg1".into());
        let mut run = TestRun::on(&[engine], None).await;
        let why = format!(
            "cannot build {}: Docker must be 20.10.10 or later, got 20.10.5+dfsg1",
            recipe().image()
        );
        assert_eq!(run.bring(vec![(1, step(""))]).await, [(host(1), why)]);
    }

    #[tokio::test]
    async fn versions_that_are_gone_are_named() {
        let engine = FakeEngine::default();
        engine.play().build_output = Some(
            "Step 1/2 : FROM ${base}\ntoots-package-gone aventer-mesos 1.11.0-0.7.1\n\
             toots-package aventer-mesos 1.11.0-0.7.2\n",
        );
        let mut run = TestRun::on(std::slice::from_ref(&engine), None).await;
        let packages = "aventer-mesos 1.11.0-0.7.1\nlibcurl4 8\n";
        assert_eq!(run.bring(vec![(1, step(packages))]).await, []);
        let warning = "aventer-mesos 1.11.0-0.7.1 is gone from the repository; 1.11.0-0.7.2 is \
                       installed";
        assert_eq!(run.warnings(), [warning]);
        let query = engine.play().builds[0].clone();
        let asked = "%22toots_packages%22%3A%22aventer-mesos%3D1.11.0-0.7.1+libcurl4%3D8%22";
        assert!(query.contains(asked), "{query}");
    }
}
