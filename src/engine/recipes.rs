//! Images that no registry has are built, each on one host.

use std::sync::Arc;

use super::connect::HostRun;
use super::images::login;
use super::{failure, run_context::RunContext};
use crate::docker::BuildRequest;
use crate::event::{Event, Failure};
use crate::spec::{Recipe, Remedy};

/// Lines of a build that are shown when it fails.
const SHOWN_LINES: usize = 20;

/// Builds one image on one host.
pub(super) async fn build(
    cx: &RunContext,
    host: &HostRun,
    phase: &str,
    recipe: &Recipe,
    base_digest: Option<&str>,
) -> Result<(), Box<Failure>> {
    // One after the other: what a former build left is removed first, and a build that runs beside it
    // would look the same.
    let _turn = host.building.lock().await;
    let title = format!("build {}", recipe.image());
    remove_leftovers(host).await;
    let base = base_digest.map_or_else(
        || recipe.base.to_string(),
        |digest| recipe.base.pinned(digest),
    );
    let auth = login(cx, &recipe.base);
    let mut last: Vec<String> = Vec::new();
    let line = |line: &str| {
        let line = crate::event::escape(line);
        tracing::info!(host = %host.info.name, image = %recipe.image(), %line, "build");
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
    let engine = host.engine.version().await.ok();
    let proxies = engine.and_then(|engine| engine.info).unwrap_or_default();
    let proxies = proxies.proxies;
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
    Ok(())
}

/// Removes what builds left that did not come to their end.
async fn remove_leftovers(host: &HostRun) {
    if let Err(error) = host.engine.prune_builds().await {
        tracing::warn!(host = %host.info.name, %error, "cannot remove what builds left");
    }
}
