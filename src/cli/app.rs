//! `toots app …`: applications, through any host of the cluster to Marathon's leader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::args::Output;
use super::args::app::{AppCommand as Command, Follow, Reach};
use super::error::{AppFailure, CliError};
use super::output;
use super::reach::{Reached, failed, reach};
use crate::app::{
    self, App, AppError, AppId, Change, Definition, Marathon, Program, Progress, TaskFailure,
};
use crate::host::Dial as _;
use crate::report;
use crate::spec::{ExitCode, Remedy, shown};

/// Runs a command.
pub(super) async fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Deploy {
            files,
            dry_run,
            no_schema,
            follow,
            reach,
        } => deploy(&files, dry_run, no_schema, &follow, &reach).await,
        Command::List { output, reach } => list(output, &reach).await,
        Command::Show {
            name,
            output,
            reach,
        } => show(&name, output, &reach).await,
        Command::Scale {
            name,
            instances,
            follow,
            reach,
        } => {
            let wanted = serde_json::json!({ "instances": instances });
            change(
                &name,
                &follow,
                &reach,
                &format!("scale to {instances}"),
                async |marathon, id| {
                    // A PUT to an application that does not exist would create it.
                    marathon.show(id).await?;
                    marathon.put(id, &wanted).await
                },
            )
            .await
        }
        Command::Restart {
            name,
            follow,
            reach,
        } => {
            change(&name, &follow, &reach, "restart", async |marathon, id| {
                marathon.restart(id).await
            })
            .await
        }
        Command::Rollback {
            name,
            to,
            follow,
            reach,
        } => {
            change(&name, &follow, &reach, "roll back", async |marathon, id| {
                roll_back(marathon, id, to.as_deref()).await
            })
            .await
        }
        Command::Weight {
            name,
            weight,
            follow,
            reach,
        } => {
            change(
                &name,
                &follow,
                &reach,
                &format!("weight {weight}"),
                async |marathon, id| {
                    let app = marathon.show(id).await?;
                    let env =
                        app::weighted(&app.raw, weight).map_err(|error| AppError::Failed {
                            why: error.to_string(),
                            task: None,
                        })?;
                    marathon.put(id, &serde_json::json!({ "env": env })).await
                },
            )
            .await
        }
        Command::Delete {
            names,
            yes,
            follow,
            reach,
        } => delete(&names, yes, &follow, &reach).await,
    }
}

fn id(name: &str) -> Result<AppId, CliError> {
    Ok(AppId::new(name)?)
}

fn marathon(reached: &Reached, force: bool) -> Marathon {
    Marathon::new(Arc::clone(&reached.session), reached.masters.clone()).force(force)
}

/// Reads definitions and checks their fields, before anything is contacted.
pub(super) async fn read_definitions(
    files: &[PathBuf],
    program: Program,
    no_schema: bool,
) -> Result<Vec<Definition>, CliError> {
    // On a thread of its own, so that a signal is heard while standard input is awaited.
    let files = files.to_vec();
    let environment = |name: &str| std::env::var(name).ok();
    let definitions = tokio::task::spawn_blocking(move || app::read(&files, program, environment))
        .await
        .map_err(|error| CliError::Start(std::io::Error::other(error)))??;
    if !no_schema {
        for warning in app::check(&definitions, program)? {
            output::message(&format!("warning: {warning}"));
        }
    }
    Ok(definitions)
}

async fn deploy(
    files: &[PathBuf],
    dry_run: bool,
    no_schema: bool,
    follow: &Follow,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let definitions = read_definitions(files, Program::Marathon, no_schema).await?;
    let reached = reach(to).await?;
    let marathon = marathon(&reached, follow.force);
    let mut begun = Vec::new();
    for definition in &definitions {
        let id = id(&definition.name)?;
        let changes = changes(&marathon, &id, definition)
            .await
            .map_err(failed(format!("read {id}")))?;
        match &changes {
            Some(lines) if lines.is_empty() => {
                output::print(&format!("{id}: up to date\n"));
                // Up to date does not mean running.
                if follow.wait && !dry_run {
                    let now = marathon
                        .show(&id)
                        .await
                        .map_err(failed(format!("read {id}")))?;
                    let deployment_id = now
                        .deployments
                        .first()
                        .map(|deployment| deployment.id.clone())
                        .unwrap_or_default();
                    begun.push((
                        id,
                        Change {
                            deployment_id,
                            version: now.version,
                        },
                    ));
                }
                continue;
            }
            Some(lines) => {
                output::print(&shown(&format!("{id}: change\n  {}\n", lines.join("\n  "))))
            }
            None => output::print(&format!("{id}: new\n")),
        }
        if dry_run {
            continue;
        }
        match marathon.put(&id, &definition.value).await {
            Ok(change) => begun.push((id, change)),
            Err(source) => {
                return Err(CliError::App(Box::new(AppFailure {
                    action: format!("deploy {id}"),
                    source,
                    started: begun.iter().map(|(id, _)| id.to_string()).collect(),
                    rollback: None,
                })));
            }
        }
    }
    if dry_run {
        output::message("dry run: nothing was changed");
    }
    if follow.wait {
        for (id, change) in &begun {
            wait(&reached, &marathon, id, change, follow.timeout).await?;
        }
    }
    Ok(ExitCode::DONE)
}

/// What a definition would change; `None` when the application does not exist yet.
async fn changes(
    marathon: &Marathon,
    id: &AppId,
    definition: &Definition,
) -> Result<Option<Vec<String>>, AppError> {
    match marathon.show(id).await {
        Ok(app) => Ok(Some(app::changes(&app.raw, &definition.value))),
        Err(AppError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Applies one change to one application.
async fn change(
    name: &str,
    follow: &Follow,
    to: &Reach,
    what: &str,
    make: impl AsyncFnOnce(&Marathon, &AppId) -> Result<Change, AppError>,
) -> Result<ExitCode, CliError> {
    let id = id(name)?;
    let reached = reach(to).await?;
    let marathon = marathon(&reached, follow.force);
    let change = make(&marathon, &id)
        .await
        .map_err(failed(format!("{what}: {id}")))?;
    if follow.wait {
        wait(&reached, &marathon, &id, &change, follow.timeout).await?;
    } else {
        output::print(&shown(&format!(
            "{id}: {what}; deployment {}\n",
            change.deployment_id
        )));
    }
    Ok(ExitCode::DONE)
}

async fn roll_back(marathon: &Marathon, id: &AppId, to: Option<&str>) -> Result<Change, AppError> {
    let now = marathon.show(id).await?.version;
    let versions = marathon.versions(id).await?;
    let wrong = |why: String| AppError::Failed { why, task: None };
    let version = match to {
        Some(to) => versions
            .iter()
            .find(|version| *version == to)
            .ok_or_else(|| {
                wrong(format!(
                    "no version {} of it; versions: {}",
                    shown(to),
                    shown(&versions.join(", "))
                ))
            })?,
        None => versions
            .iter()
            .rfind(|version| **version < now)
            .ok_or_else(|| wrong("it has no previous version".into()))?,
    };
    marathon.rollback(id, version).await
}

async fn delete(
    names: &[String],
    yes: bool,
    follow: &Follow,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let ids = names
        .iter()
        .map(|name| id(name))
        .collect::<Result<Vec<_>, _>>()?;
    let reached = reach(to).await?;
    let marathon = marathon(&reached, follow.force);
    // All of them exist, or nothing is removed.
    for id in &ids {
        marathon
            .show(id)
            .await
            .map_err(failed(format!("remove {id}")))?;
    }
    let listed: Vec<String> = ids.iter().map(ToString::to_string).collect();
    output::confirm_deletion(&listed, yes).await?;
    for id in &ids {
        let change = marathon
            .delete(id)
            .await
            .map_err(failed(format!("remove {id}")))?;
        if follow.wait {
            let done = app::follow_removal(&marathon, id, &change, follow.timeout).await;
            done.map_err(failed(format!("remove {id}")))?;
        }
        output::print(&format!(
            "{id}: {}\n",
            if follow.wait {
                "removed"
            } else {
                "being deleted"
            }
        ));
    }
    Ok(ExitCode::DONE)
}

/// Follows a deployment and shows its progress until it ends or the user interrupts.
async fn wait(
    reached: &Reached,
    marathon: &Marathon,
    id: &AppId,
    change: &Change,
    limit: Duration,
) -> Result<(), CliError> {
    let mut tell = |progress: Progress| output::message(&format!("{id}: {}", words(&progress)));
    let result = tokio::select! {
        biased;
        result = app::follow(marathon, id, change, limit, &mut tell) => result,
        _ = tokio::signal::ctrl_c() => {
            let show = Remedy::ShowApp { id: id.to_string() };
            output::message(&format!("\n{id}: no longer followed; {show}"));
            return Err(CliError::Interrupted);
        }
    };
    match result {
        Ok(app) => {
            output::print(&format!(
                "{id}: {} of {} running\n",
                app.tasks_running, app.instances
            ));
            Ok(())
        }
        Err(error) => {
            let last = match &error {
                AppError::Failed {
                    task: Some(task), ..
                } => Some((**task).clone()),
                // Timed out: a task may have failed all the same.
                _ => marathon
                    .show(id)
                    .await
                    .ok()
                    .and_then(|app| app.last_task_failure)
                    .filter(|f| f.timestamp > change.version),
            };
            if let Some(task) = last {
                last_words(reached, &task).await;
            }
            Err(CliError::App(Box::new(AppFailure {
                action: format!("deploy {id}"),
                source: error,
                started: Vec::new(),
                rollback: Some(id.to_string()),
            })))
        }
    }
}

fn words(progress: &Progress) -> String {
    match progress {
        Progress::Tasks {
            instances,
            staged,
            running,
            healthy,
        } => {
            let healthy = healthy
                .map(|n| format!(", {n} healthy"))
                .unwrap_or_default();
            format!("{running} of {instances} running{healthy}, {staged} starting")
        }
        Progress::Failure(task) => format!(
            "a task failed on {}: {} ({})",
            task.host, task.message, task.state
        ),
        Progress::Waiting(why) => format!("searching Marathon's leader: {why}"),
    }
}

/// Shows why a task failed, and its last log lines.
async fn last_words(reached: &Reached, task: &TaskFailure) {
    output::message(&format!(
        "{} on {}: {} ({})",
        task.task_id, task.host, task.message, task.state
    ));
    let log = match reached.host_at(&task.host) {
        Some(host) => match reached.dial.dial(host).await {
            Ok(session) => app::task_log(&session, &task.task_id).await,
            Err(error) => Err(error.into()),
        },
        None => Ok(Vec::new()),
    };
    match log {
        Ok(lines) if lines.is_empty() => output::message("  it wrote nothing"),
        Ok(lines) => {
            output::message("  last lines:");
            for line in lines {
                output::message(&format!("  | {line}"));
            }
        }
        Err(error) => output::message(&format!("  cannot read its log: {error}")),
    }
}

async fn list(form: Option<Output>, to: &Reach) -> Result<ExitCode, CliError> {
    let reached = reach(to).await?;
    let apps = marathon(&reached, false)
        .list()
        .await
        .map_err(failed("list the applications"))?;
    if form == Some(Output::Json) {
        let raw: Vec<_> = apps.iter().map(|app| &app.raw).collect();
        output::print(&format!("{}\n", serde_json::json!(raw)));
        return Ok(ExitCode::DONE);
    }
    let rows = apps.iter().map(|app| {
        vec![
            app.id.clone(),
            format!("{} of {}", app.tasks_running, app.instances),
            health(app),
            state(app).to_owned(),
            image(app),
        ]
    });
    output::print(&report::listing(
        &[
            "application",
            "running",
            "healthy",
            "state",
            "image or command",
        ],
        rows,
        &output::options(),
    ));
    Ok(ExitCode::DONE)
}

fn health(app: &App) -> String {
    if app.health_checks.is_empty() {
        "–".into()
    } else {
        app.tasks_healthy.to_string()
    }
}

fn state(app: &App) -> &'static str {
    if !app.deployments.is_empty() {
        "deploying"
    } else if app.tasks_running < app.instances {
        "waiting"
    } else if app.instances == 0 {
        "suspended"
    } else {
        "running"
    }
}

fn image(app: &App) -> String {
    let image = app.raw["container"]["docker"]["image"].as_str();
    image
        .or(app.raw["cmd"].as_str())
        .unwrap_or_default()
        .to_owned()
}

async fn show(name: &str, form: Option<Output>, to: &Reach) -> Result<ExitCode, CliError> {
    let id = id(name)?;
    let reached = reach(to).await?;
    let marathon = marathon(&reached, false);
    let action = format!("show {id}");
    let app = marathon.show(&id).await.map_err(failed(&action))?;
    if form == Some(Output::Json) {
        output::print(&format!("{}\n", app.raw));
        return Ok(ExitCode::DONE);
    }
    let versions = marathon.versions(&id).await.map_err(failed(&action))?;
    let waits = marathon.waits_for(&id).await.map_err(failed(&action))?;
    let mut text = format!(
        "{id} is {}: {} of {} running",
        state(&app),
        app.tasks_running,
        app.instances
    );
    if !app.health_checks.is_empty() {
        text.push_str(&format!(", {} healthy", app.tasks_healthy));
    }
    text.push_str(&format!("; {}\n", image(&app)));
    if let Some(why) = waits {
        text.push_str(&format!("  waiting: {why}\n"));
    }
    for (key, value) in app.raw["env"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("SERVICE_"))
    {
        text.push_str(&format!(
            "  {key}: {}\n",
            value.as_str().unwrap_or_default()
        ));
    }
    output::print(&shown(&text));
    let host = |address: &str| {
        reached
            .host_at(address)
            .map_or_else(|| address.to_owned(), ToString::to_string)
    };
    let rows = app.tasks.iter().map(|task| {
        let ports: Vec<String> = task.ports.iter().map(ToString::to_string).collect();
        vec![
            host(&task.host),
            ports.join(" "),
            task.state.clone(),
            task.version.clone(),
            task.id.clone(),
        ]
    });
    output::print(&report::listing(
        &["host", "ports", "state", "version", "task"],
        rows,
        &output::options(),
    ));
    output::print(&shown(&format!(
        "  versions: {}\n",
        versions
            .iter()
            .rev()
            .take(10)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    )));
    if let Some(failure) = &app.last_task_failure {
        output::print(&shown(&format!(
            "  last failure: {} on {}, {} ({})\n",
            failure.timestamp,
            host(&failure.host),
            failure.message,
            failure.state
        )));
    }
    Ok(ExitCode::DONE)
}
