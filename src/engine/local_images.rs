//! Images of recipes for a bundle. No registry has them, so the Engine of the operator's machine
//! builds them, by the same requests as a host's, and saves them to files without a name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::build::RecipeBuild;
use super::failure;
use super::phases::OpenPhase;
use super::pull::registry_login;
use super::run_context::RegistryLogin;
use crate::bundle::{ImagePlatform, LocalImage};
use crate::docker::{DockerError, Engine};
use crate::env::FileAccess;
use crate::event::{Event, EventSink, Failure};
use crate::plan;
use crate::spec::{ImageRef, PackageVersions, Phase, Recipe, Remedy};

/// The images of recipes, for each of these platforms.
pub struct LocalBuilds {
    /// The socket of the Engine.
    pub socket: PathBuf,
    /// Each once.
    pub recipes: Vec<Recipe>,
    pub platforms: Vec<ImagePlatform>,
    pub registry: Option<RegistryLogin>,
    /// The folder in which the packages of builds are noted.
    pub notes: Option<PathBuf>,
    pub files: Arc<dyn FileAccess>,
    /// Limit of one answer.
    pub answer: Duration,
    /// How long nothing may move.
    pub idle: Duration,
    pub events: Arc<dyn EventSink>,
}

/// An image that this machine does not have and cannot build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingBuild {
    pub recipe: String,
    pub platform: String,
    pub why: String,
}

/// Why there are no images of recipes.
#[derive(Debug, thiserror::Error)]
pub enum LocalBuildError {
    /// Found before anything was built.
    #[error("{}", missing_lines(.0))]
    Missing(Vec<MissingBuild>),
    #[error("cannot {}: {}", .0.step, failure_lines(.0))]
    Failed(Box<Failure>),
}

fn missing_lines(missing: &[MissingBuild]) -> String {
    let line = |missing: &MissingBuild| {
        let MissingBuild {
            recipe,
            platform,
            why,
        } = missing;
        format!("cannot build recipe {recipe} for {platform}: {why}")
    };
    match missing {
        [missing] => line(missing),
        _ => {
            let lines = missing
                .iter()
                .map(|missing| format!("\n  {}", line(missing)));
            format!("{} errors:{}", missing.len(), lines.collect::<String>())
        }
    }
}

/// The causes, then the last lines of the build.
fn failure_lines(failure: &Failure) -> String {
    let log = failure.log.iter().map(|line| format!("\n  {line}"));
    failure.cause.join(": ") + &log.collect::<String>()
}

impl LocalBuildError {
    /// What to do.
    #[must_use]
    pub fn hints(&self) -> Vec<Remedy> {
        match self {
            Self::Failed(failure) => failure.hints.clone(),
            Self::Missing(missing) => {
                let mut platforms: Vec<String> = Vec::new();
                for MissingBuild { platform, .. } in missing {
                    if !platforms.contains(platform) {
                        platforms.push(platform.clone());
                    }
                }
                vec![Remedy::BuildWithEngine {
                    platforms: platforms.join(" and "),
                }]
            }
        }
    }
}

/// One image to put into the bundle.
struct LocalBuild<'a> {
    recipe: &'a Recipe,
    platform: &'a ImagePlatform,
    /// Its id in the Engine, when it is there.
    present: Option<String>,
}

impl LocalBuilds {
    /// Builds what the Engine does not have, and saves all images.
    ///
    /// # Errors
    /// Before anything is built, when an image is neither there nor can be built; else when a build
    /// or a save fails.
    pub async fn run(&self) -> Result<Vec<LocalImage>, LocalBuildError> {
        let engine = Engine::local(self.socket.clone()).answering_within(self.answer);
        let wanted = self.find(&engine).await?;
        let mut images = Vec::new();
        // Those that are there first: before a build, leftovers without a name are removed.
        for wanted in wanted.iter().filter(|wanted| wanted.present.is_some()) {
            images.push(self.save(&engine, wanted, None).await?);
        }
        for wanted in wanted.iter().filter(|wanted| wanted.present.is_none()) {
            let packages = self.build(&engine, wanted.recipe).await?;
            images.push(self.save(&engine, wanted, Some(packages)).await?);
        }
        Ok(images)
    }

    /// The images, and which of them are there. Refuses those that cannot be built.
    async fn find(&self, engine: &Engine) -> Result<Vec<LocalBuild<'_>>, LocalBuildError> {
        let (present, obstacle) = match self.look_up(engine).await {
            Ok(found) => found,
            Err(error) => (BTreeMap::new(), Obstacle::Always(self.no_answer(&error))),
        };
        let pairs = self.recipes.iter().flat_map(|recipe| {
            let platforms = self.platforms.iter();
            platforms.map(move |platform| (recipe, platform))
        });
        let mut missing = Vec::new();
        let mut wanted = Vec::new();
        for (recipe, platform) in pairs {
            let key = (recipe.hash(), platform.clone());
            let present = present.get(&key).cloned();
            if present.is_none()
                && let Some(why) = obstacle.to_build_for(platform)
            {
                missing.push(MissingBuild {
                    recipe: recipe.name.clone(),
                    platform: platform.to_string(),
                    why,
                });
            }
            wanted.push(LocalBuild {
                recipe,
                platform,
                present,
            });
        }
        match missing.is_empty() {
            true => Ok(wanted),
            false => Err(LocalBuildError::Missing(missing)),
        }
    }

    fn no_answer(&self, error: &DockerError) -> String {
        let causes = failure::chain(error);
        let why = causes.last().map_or("", String::as_str);
        let socket = self.socket.display().to_string();
        // The last cause mostly names the socket.
        let why = why.replace(&format!("cannot reach {socket}: "), "");
        format!("no Docker Engine answers at {socket}: {why}")
    }

    /// Ids of finished images by the hash of their recipe and their platform, and what keeps the
    /// Engine from building more.
    async fn look_up(
        &self,
        engine: &Engine,
    ) -> Result<(BTreeMap<(String, ImagePlatform), String>, Obstacle), DockerError> {
        let status = engine.version().await?;
        let socket = self.socket.display();
        let obstacle = if status.is_podman {
            Obstacle::Always(format!("Podman answers at {socket}, not a Docker Engine"))
        } else if !plan::can_build(&status.version) {
            let version = crate::event::escape(&status.version);
            Obstacle::Always(format!(
                "the Docker Engine at {socket} must be 20.10.10 or later, got {version}"
            ))
        } else {
            let platform = crate::event::escape(&status.platform);
            Obstacle::Others {
                platform: status.platform.parse().ok(),
                why: format!("the Docker Engine at {socket} builds for {platform}"),
            }
        };
        let hashes: Vec<String> = self.recipes.iter().map(Recipe::hash).collect();
        let images = engine.images().await?;
        // A build labels its image at its very end.
        let labelled = images.iter().filter_map(|image| {
            let hash = image.labels.get(Recipe::LABEL)?;
            hashes.contains(hash).then_some((hash, image))
        });
        let details = labelled.map(|(hash, image)| async move {
            let detail = engine.image_detail(&image.id).await.ok()?;
            let platform = detail.platform.parse().ok()?;
            Some(((hash.clone(), platform), image.id.clone()))
        });
        let present = join_all(details).await.into_iter().flatten();
        Ok((present.collect(), obstacle))
    }

    /// Builds one image; returns what the build installed.
    async fn build(
        &self,
        engine: &Engine,
        recipe: &Recipe,
    ) -> Result<PackageVersions, LocalBuildError> {
        let image = recipe.image();
        let phase = Phase::Build(image.to_string());
        let _open = OpenPhase::start(&self.events, phase.clone());
        let auth = registry_login(self.registry.as_ref(), &recipe.base);
        let base_digest = self.pin(engine, &recipe.base).await;
        let build = RecipeBuild {
            engine,
            recipe,
            base_digest: base_digest.as_deref(),
            auth: auth.as_ref(),
            packages: &PackageVersions::default(),
            files: &*self.files,
            idle: self.idle,
        };
        let line = |line: String| tracing::info!(%image, %line, "build");
        let built = build.run(&phase, |_, _| {}, line).await;
        let built = built.map_err(LocalBuildError::Failed)?;
        Ok(built.packages)
    }

    /// The digest of a recipe's base, as its registry says.
    async fn pin(&self, engine: &Engine, base: &ImageRef) -> Option<String> {
        if let Some(digest) = base.digest() {
            return Some(digest.to_owned());
        }
        let auth = registry_login(self.registry.as_ref(), base);
        match engine
            .distribution_digest(base.as_str(), auth.as_ref())
            .await
        {
            Ok(digest) => Some(digest),
            Err(error) => {
                let why = failure::chain(&error).join(": ");
                let text = format!("cannot pin {base} to a digest, using its tag: {why}");
                self.events.send(Event::warning(None, text));
                None
            }
        }
    }

    /// Saves one image. `installed`: by its build, if that was just now.
    async fn save(
        &self,
        engine: &Engine,
        wanted: &LocalBuild<'_>,
        installed: Option<PackageVersions>,
    ) -> Result<LocalImage, LocalBuildError> {
        let recipe = wanted.recipe;
        let name = recipe.image();
        let phase = Phase::Save(name.to_string());
        let step = phase.to_string();
        let fail = |error: &(dyn std::error::Error + 'static)| {
            LocalBuildError::Failed(Box::new(failure::from_error(&phase, &step, error)))
        };
        let _open = OpenPhase::start(&self.events, phase.clone());
        let id = wanted.present.as_ref().unwrap_or(&name.0);
        let saved = engine.save(id, &*self.files, self.idle, |_| {}).await;
        let saved = saved.map_err(|error| {
            let mut failure = failure::from_error(&phase, &step, &error);
            if matches!(error, DockerError::TemporaryFile { .. }) {
                failure.hints = vec!["free space there, or set TMPDIR to another folder".into()];
            }
            LocalBuildError::Failed(Box::new(failure))
        })?;
        if saved.recipe() != Some(recipe.hash().as_str()) {
            return Err(fail(&std::io::Error::other("it is another image")));
        }
        let (file, layers) = saved.layers().map_err(|error| fail(&error))?;
        Ok(LocalImage {
            packages: self.packages(&name, &saved.content().config, installed),
            name,
            platform: wanted.platform.clone(),
            config: saved.config(),
            file,
            layers,
        })
    }

    /// What the build of an image installed: noted after a build, read later. Without a folder, or when
    /// the Engine has the image from elsewhere, nobody knows.
    fn packages(
        &self,
        image: &ImageRef,
        config: &str,
        installed: Option<PackageVersions>,
    ) -> PackageVersions {
        let hash = image.recipe_hash().unwrap_or_default();
        let id = config.trim_start_matches("sha256:");
        let path = self.notes.as_ref().map(|folder| {
            // Another build of the recipe is another image.
            folder.join(format!("{hash}-{}.packages", &id[..id.len().min(16)]))
        });
        match installed {
            Some(packages) => {
                if let Some(Err(error)) =
                    path.map(|path| self.files.write(&path, packages.content().as_bytes()))
                {
                    tracing::warn!(%error, "cannot note the packages of a build");
                }
                packages
            }
            None => {
                let text = path.and_then(|path| self.files.read_text(&path).ok());
                text.map(|text| PackageVersions::parse(&text))
                    .unwrap_or_default()
            }
        }
    }
}

/// What keeps the Engine from building.
enum Obstacle {
    Always(String),
    /// It builds for its own platform only.
    Others {
        platform: Option<ImagePlatform>,
        why: String,
    },
}

impl Obstacle {
    fn to_build_for(&self, wanted: &ImagePlatform) -> Option<String> {
        match self {
            Self::Always(why) => Some(why.clone()),
            Self::Others { platform, why } => {
                (platform.as_ref() != Some(wanted)).then(|| why.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::snapshot_messages;

    #[test]
    fn messages() {
        let missing = |platform: &str| MissingBuild {
            recipe: "mesos".into(),
            platform: platform.into(),
            why: "the Docker Engine at /run/docker.sock builds for linux/s390x".into(),
        };
        let hints =
            |error: &LocalBuildError| error.hints().iter().map(ToString::to_string).collect();
        snapshot_messages!("local_build_error", LocalBuildError, hints: hints, {
            LocalBuildError::Missing(_) => {
                LocalBuildError::Missing(vec![missing("linux/amd64"), missing("linux/arm64")])
            },
            LocalBuildError::Failed(_) => {
                let mut failure = failure::from_text(
                    &Phase::Build("toots/mesos:ab".into()),
                    "build toots/mesos:ab",
                    "exit code 100",
                    vec![Remedy::ChangeRecipe { recipe: "mesos".into() }],
                );
                failure.log = vec!["E: Unable to locate package".into()];
                LocalBuildError::Failed(Box::new(failure))
            },
        });
    }
}
