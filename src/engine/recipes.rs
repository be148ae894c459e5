//! Images that no registry has are built, each on one host.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::connect::HostRun;
use super::images::login;
use super::work::Work;
use super::{apply, failure};
use crate::docker::BuildRequest;
use crate::event::{Event, Failure};
use crate::plan;
use crate::spec::{FileSpec, ImageRef, Placement, Recipe, Remedy, Role};

/// Lines of a build that are shown when it fails.
const SHOWN_LINES: usize = 20;

/// Packages that are recorded: more than any recipe asks for.
const MAX_PACKAGES: usize = 200;

/// Builds one image on one host, and records the versions of its packages on the masters.
pub(super) async fn build(
    work: &Work<'_>,
    host: &HostRun,
    phase: &str,
    recipe: &Recipe,
    base_digest: Option<&str>,
) -> Result<(), Box<Failure>> {
    let cx = work.cx;
    // One after the other: what a former build left is removed first, and a build that runs beside it
    // would look the same.
    let _turn = host.building.lock().await;
    let title = format!("build {}", recipe.image());
    let engine = host.engine.version().await.ok();
    // One that was just installed is not known to preflight.
    if let Some(engine) = engine
        .as_ref()
        .filter(|engine| !plan::can_build(&engine.version))
    {
        let why = format!(
            "cannot build {}: Docker must be 20.10.10 or later, got {}",
            recipe.image(),
            crate::event::escape(&engine.version)
        );
        let hints = vec![Remedy::BuildElsewhere];
        return Err(Box::new(failure::from_text(phase, &title, why, hints)));
    }
    remove_leftovers(host).await;
    let base = base_digest.map_or_else(
        || recipe.base.to_string(),
        |digest| recipe.base.pinned(digest),
    );
    let auth = login(cx, &recipe.base);
    let mut last: Vec<String> = Vec::new();
    let mut packages = BTreeMap::new();
    let line = |line: &str| {
        let line = crate::event::escape(line);
        tracing::info!(host = %host.info.name, image = %recipe.image(), %line, "build");
        if let Some((name, version)) = read_package(&line)
            && packages.len() < MAX_PACKAGES
        {
            packages.insert(name.to_owned(), version.to_owned());
        }
        if last.len() == SHOWN_LINES {
            last.remove(0);
        }
        last.push(line.clone());
        cx.events.send(Event::StepProgress {
            host: host.info.name.clone(),
            bytes: 0,
            total: None,
            line: Some(line),
        });
    };
    let events = Arc::clone(&cx.events);
    let name = host.info.name.clone();
    let sent = move |bytes, total| {
        events.send(Event::StepProgress {
            host: name.clone(),
            bytes,
            total: Some(total),
            line: None,
        });
    };
    let info = engine.and_then(|engine| engine.info).unwrap_or_default();
    let proxies = info.proxies;
    let request = BuildRequest {
        recipe,
        base: &base,
        auth: auth.as_ref(),
        proxies: &proxies,
        idle: cx.timeouts.pull_idle,
    };
    let built = host.engine.build(request, sent, line);
    if let Err(error) = built.await {
        remove_leftovers(host).await;
        let mut failure = failure::from_error(phase, &title, &error);
        failure.log = failure::tail(last.join("\n").as_bytes());
        let recipe = recipe.name.clone();
        if proxies.hides_login() {
            failure.hints.push(Remedy::ReachWithoutLogin {
                recipe: recipe.clone(),
            });
        }
        failure.hints.push(Remedy::ChangeRecipe { recipe });
        return Err(Box::new(failure));
    }
    if !packages.is_empty() {
        record_packages(work, &recipe.image(), &packages).await;
    }
    Ok(())
}

/// Name and version of a package, in a line of packages.sh.
fn read_package(line: &str) -> Option<(&str, &str)> {
    let (name, version) = line.strip_prefix("toots-package ")?.split_once(' ')?;
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    (is_word(name) && is_word(version)).then_some((name, version))
}

/// Writes which versions an image was built of, for operators: the image itself is what later runs go
/// by, so a master that misses the file is only warned of.
async fn record_packages(work: &Work<'_>, image: &ImageRef, packages: &BTreeMap<String, String>) {
    let hash = image.recipe_hash().unwrap_or_default();
    let name = image.repository().rsplit('/').next().unwrap_or_default();
    let lines = packages
        .iter()
        .map(|(name, version)| format!("{name} {version}\n"));
    let file = FileSpec {
        path: format!("/etc/toots/packages/{name}-{hash}"),
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: lines.collect::<String>().into_bytes(),
        secret: false,
        place: Placement::Always,
    };
    let Work { cx, ledger, .. } = *work;
    let is_master = |host: &&Arc<HostRun>| {
        host.info.roles.contains(&Role::Master) && ledger.alive(&host.info.name)
    };
    let masters = work.hosts.values().filter(is_master);
    join_all(masters.map(|master| async {
        let written = apply::write_files(
            cx,
            master,
            ("images", "record packages"),
            &[],
            &[&file],
            None,
        )
        .await;
        if let Err(failure) = written {
            let text = format!("cannot write {}: {}", file.path, failure.cause.join(": "));
            ledger.warn(Some(master.info.name.clone()), text);
        }
    }))
    .await;
}

/// Removes what builds left that did not come to their end.
async fn remove_leftovers(host: &HostRun) {
    if let Err(error) = host.engine.prune_builds().await {
        tracing::warn!(host = %host.info.name, %error, "cannot remove what builds left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake_engine::FakeEngine;
    use crate::engine::test_run::{Run, host};
    use crate::plan::Step;

    /// Debian 11 installs an Engine that preflight could not know, and that does not build.
    #[tokio::test]
    async fn an_engine_that_was_just_installed_may_be_too_old() {
        let engine = FakeEngine::default();
        engine.play().version = Some("20.10.5+dfsg1".into());
        let mut run = Run::on(&[engine], None).await;
        let recipe = Recipe {
            name: "mesos".into(),
            base: ImageRef("ubuntu:24.04".into()),
            arguments: BTreeMap::new(),
            files: BTreeMap::new(),
            local_files: BTreeMap::new(),
        };
        let why = format!(
            "cannot build {}: Docker must be 20.10.10 or later, got 20.10.5+dfsg1",
            recipe.image()
        );
        let build = Step::Build {
            recipe: Box::new(recipe),
            base_digest: None,
            changed: std::collections::BTreeSet::new(),
        };
        assert_eq!(run.bring(vec![(1, build)]).await, [(host(1), why)]);
    }

    #[test]
    fn packages_are_read_from_lines() {
        let line = "toots-package docker.io 26.1.5+dfsg1-9+b6";
        assert_eq!(read_package(line), Some(("docker.io", "26.1.5+dfsg1-9+b6")));
        for other in [
            "toots-package docker.io",
            "toots-package a b c",
            "Get:1 http://x",
        ] {
            assert_eq!(read_package(other), None, "{other}");
        }
    }
}
