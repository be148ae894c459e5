//! One build on one Engine, of a host or of the operator's machine: what both do alike.

use super::failure;
use crate::docker::{BuildRequest, Engine, RegistryAuth};
use crate::env::FileAccess;
use crate::event::Failure;
use crate::plan;
use crate::spec::{PackageVersions, Phase, Recipe, Remedy, read_package};

/// A build may be silent for so many times as long as a pull: apt says nothing while it tries a file
/// of a slow mirror four times, 30 s each, and packages.sh tries again after that.
const MORE_SILENCE: u32 = 3;

/// Lines of a build that are shown when it fails.
const SHOWN_LINES: usize = 20;

/// What is built, and on which Engine.
pub(super) struct RecipeBuild<'a> {
    pub engine: &'a Engine,
    pub recipe: &'a Recipe,
    /// The digest to which its base is pinned, once known.
    pub base_digest: Option<&'a str>,
    /// The login of the base's registry.
    pub auth: Option<&'a RegistryAuth>,
    /// The versions that are asked for.
    pub packages: &'a PackageVersions,
    pub files: &'a dyn FileAccess,
    /// How long nothing may move in a pull.
    pub idle: std::time::Duration,
}

/// What a build installed.
#[derive(Debug, Default)]
pub(super) struct BuiltRecipe {
    pub packages: PackageVersions,
    /// Sentences about versions that were asked for and cannot be had any more.
    pub lost: Vec<String>,
}

impl RecipeBuild<'_> {
    /// Builds the image, a step of this phase. `sent` receives the bytes of local files that were sent
    /// and their total, `shown` each line of the build, escaped.
    ///
    /// Builds on one Engine go one after the other: what a former one left is removed first, and a
    /// build that runs beside it would look the same.
    pub(super) async fn run(
        &self,
        phase: &Phase,
        sent: impl Fn(u64, u64) + Send + 'static,
        mut shown: impl FnMut(String),
    ) -> Result<BuiltRecipe, Box<Failure>> {
        let Self { engine, recipe, .. } = *self;
        let title = format!("build {}", recipe.image());
        let status = engine.version().await.ok();
        // One that was just installed is not known to preflight.
        if let Some(status) = status.as_ref().filter(|s| !plan::can_build(&s.version)) {
            let why = format!(
                "cannot build {}: Docker must be 20.10.10 or later, got {}",
                recipe.image(),
                crate::event::escape(&status.version)
            );
            let hints = vec![Remedy::BuildElsewhere];
            return Err(Box::new(failure::from_text(phase, &title, why, hints)));
        }
        remove_leftovers(engine).await;
        let base = recipe.base.reference(self.base_digest);
        let proxies = status.and_then(|s| s.info).unwrap_or_default().proxies;
        let mut lines: Vec<String> = Vec::new();
        let mut output = BuildOutput::default();
        let line = |line: &str| {
            let line = crate::event::escape(line);
            output.read(&line);
            if lines.len() == SHOWN_LINES {
                lines.remove(0);
            }
            lines.push(line.clone());
            shown(line);
        };
        let request = BuildRequest {
            recipe,
            base: &base,
            packages: self.packages,
            auth: self.auth,
            proxies: &proxies,
            files: self.files,
            idle: self.idle * MORE_SILENCE,
        };
        let built = engine.build(request, sent, line).await;
        if let Err(error) = built {
            remove_leftovers(engine).await;
            let mut failure = failure::from_error(phase, &title, &error);
            failure.log = failure::tail(lines.join("\n").as_bytes());
            let recipe = recipe.name.clone();
            if proxies.hides_login() {
                failure.hints.push(Remedy::ReachWithoutLogin {
                    recipe: recipe.clone(),
                });
            }
            failure.hints.push(Remedy::ChangeRecipe { recipe });
            return Err(Box::new(failure));
        }
        Ok(output.finish())
    }
}

/// What packages.sh says in its output.
#[derive(Default)]
struct BuildOutput {
    packages: PackageVersions,
    /// Why each version that was asked for is not installed.
    lost: Vec<(String, &'static str)>,
}

impl BuildOutput {
    fn read(&mut self, line: &str) {
        let after = |word: &str| {
            line.strip_prefix(word)
                .filter(|rest| read_package(rest).is_some())
        };
        if let Some((name, version)) = after("toots-package ").and_then(read_package) {
            self.packages.insert(name, version);
        } else if let Some(lost) = after("toots-package-gone ") {
            self.lost
                .push((lost.to_owned(), "is gone from the repository"));
        } else if let Some(lost) = after("toots-package-refused ") {
            self.lost
                .push((lost.to_owned(), "cannot be installed any more"));
        }
    }

    fn finish(self) -> BuiltRecipe {
        let lost = self.lost.iter().map(|(lost, why)| {
            let name = lost.split(' ').next().unwrap_or_default();
            let installed = self.packages.version(name).unwrap_or("another version");
            format!("{lost} {why}; {installed} is installed")
        });
        BuiltRecipe {
            lost: lost.collect(),
            packages: self.packages,
        }
    }
}

/// Removes what builds left that did not come to their end.
async fn remove_leftovers(engine: &Engine) {
    if let Err(error) = engine.prune_builds().await {
        tracing::warn!(%error, "cannot remove what builds left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_lines() {
        let mut output = BuildOutput::default();
        for line in [
            "toots-package docker.io 26.1.5+dfsg1-9+b6",
            "toots-package-gone dnsmasq-base 2.91-1",
            "toots-package-refused x 1",
            "toots-package dnsmasq-base 2.92-1",
            "toots-package a",
            "toots-package a b c",
            "toots-package a $(b)",
            "Get:1 http://x",
        ] {
            output.read(line);
        }
        let built = output.finish();
        assert_eq!(
            built.packages.argument(),
            "dnsmasq-base=2.92-1 docker.io=26.1.5+dfsg1-9+b6"
        );
        assert_eq!(
            built.lost,
            [
                "dnsmasq-base 2.91-1 is gone from the repository; 2.92-1 is installed",
                "x 1 cannot be installed any more; another version is installed"
            ]
        );
    }
}
