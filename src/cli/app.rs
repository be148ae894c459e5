//! `toots app …`: applications, through any host of the cluster to Marathon's leader.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::Output;
use super::args::app::{AppCommand as Command, Follow, Reach};
use super::console::Console;
use super::error::{AppFailure, CliError};
use super::reach::{Reached, failed, reach};
use crate::app::{
    self, App, AppError, AppId, Change, Definition, MAX_DEFINITION_BYTES, Marathon, Program,
    Progress, TaskFailure,
};
use crate::env;
use crate::host::Dial as _;
use crate::report;
use crate::spec::{ExitCode, Remedy, shown};

/// Runs a command.
pub(super) async fn run(console: &Console, command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Deploy {
            files,
            dry_run,
            no_schema,
            follow,
            reach,
        } => deploy(console, &files, dry_run, no_schema, &follow, &reach).await,
        Command::List { output, reach } => list(console, output, &reach).await,
        Command::Show {
            name,
            output,
            reach,
        } => show(console, &name, output, &reach).await,
        Command::Scale {
            name,
            instances,
            follow,
            reach,
        } => {
            let wanted = serde_json::json!({ "instances": instances });
            change(
                console,
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
            change(
                console,
                &name,
                &follow,
                &reach,
                "restart",
                async |marathon, id| marathon.restart(id).await,
            )
            .await
        }
        Command::Rollback {
            name,
            to,
            follow,
            reach,
        } => {
            change(
                console,
                &name,
                &follow,
                &reach,
                "roll back",
                async |marathon, id| roll_back(marathon, id, to.as_deref()).await,
            )
            .await
        }
        Command::Weight {
            name,
            weight,
            follow,
            reach,
        } => {
            change(
                console,
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
        } => delete(console, &names, yes, &follow, &reach).await,
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
    console: &Console,
    files: &[PathBuf],
    program: Program,
    no_schema: bool,
) -> Result<Vec<Definition>, CliError> {
    let limit = MAX_DEFINITION_BYTES + 1;
    let is_input = |file: &PathBuf| file.as_os_str() == "-";
    let mut input = None;
    if files.iter().any(is_input) {
        input = Some(console.machine().terminal.read_input(limit).await);
    }
    let (files, machine) = (files.to_vec(), console.machine().clone());
    let read = move || {
        let content = |file: &Path| match file.as_os_str() == "-" {
            // It is read once.
            true => input.take().unwrap_or_else(|| Ok(Vec::new())),
            false => machine.files.read_up_to(file, limit),
        };
        app::read(&files, program, content, |name| {
            machine.variables.text(name)
        })
    };
    // So that a signal is heard while a pipe is awaited.
    let definitions = env::run_blocking(read)
        .await
        .ok_or_else(|| CliError::Start(std::io::Error::other("the definitions were not read")))??;
    if !no_schema {
        for warning in app::check(&definitions, program)? {
            console.message(&format!("warning: {warning}"));
        }
    }
    Ok(definitions)
}

async fn deploy(
    console: &Console,
    files: &[PathBuf],
    dry_run: bool,
    no_schema: bool,
    follow: &Follow,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let definitions = read_definitions(console, files, Program::Marathon, no_schema).await?;
    let reached = reach(console, to).await?;
    let marathon = marathon(&reached, follow.force);
    let mut begun = Vec::new();
    for definition in &definitions {
        let id = id(&definition.name)?;
        let changes = changes(&marathon, &id, definition)
            .await
            .map_err(failed(format!("read {id}")))?;
        match &changes {
            Some(lines) if lines.is_empty() => {
                console.print(&format!("{id}: up to date\n"));
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
                console.print(&shown(&format!("{id}: change\n  {}\n", lines.join("\n  "))))
            }
            None => console.print(&format!("{id}: new\n")),
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
        console.message("dry run: nothing was changed");
    }
    if follow.wait {
        for (id, change) in &begun {
            wait(console, &reached, &marathon, id, change, follow.timeout).await?;
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
    console: &Console,
    name: &str,
    follow: &Follow,
    to: &Reach,
    what: &str,
    make: impl AsyncFnOnce(&Marathon, &AppId) -> Result<Change, AppError>,
) -> Result<ExitCode, CliError> {
    let id = id(name)?;
    let reached = reach(console, to).await?;
    let marathon = marathon(&reached, follow.force);
    let change = make(&marathon, &id)
        .await
        .map_err(failed(format!("{what}: {id}")))?;
    if follow.wait {
        wait(console, &reached, &marathon, &id, &change, follow.timeout).await?;
    } else {
        console.print(&shown(&format!(
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
    console: &Console,
    names: &[String],
    yes: bool,
    follow: &Follow,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let ids = names
        .iter()
        .map(|name| id(name))
        .collect::<Result<Vec<_>, _>>()?;
    let reached = reach(console, to).await?;
    let marathon = marathon(&reached, follow.force);
    // All of them exist, or nothing is removed.
    for id in &ids {
        marathon
            .show(id)
            .await
            .map_err(failed(format!("remove {id}")))?;
    }
    let listed: Vec<String> = ids.iter().map(ToString::to_string).collect();
    console.confirm_deletion(&listed, yes).await?;
    for id in &ids {
        let change = marathon
            .delete(id)
            .await
            .map_err(failed(format!("remove {id}")))?;
        if follow.wait {
            let done = app::follow_removal(&marathon, id, &change, follow.timeout).await;
            done.map_err(failed(format!("remove {id}")))?;
        }
        console.print(&format!(
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
    console: &Console,
    reached: &Reached,
    marathon: &Marathon,
    id: &AppId,
    change: &Change,
    limit: Duration,
) -> Result<(), CliError> {
    let mut tell = |progress: Progress| console.message(&format!("{id}: {}", words(&progress)));
    let result = tokio::select! {
        biased;
        result = app::follow(marathon, id, change, limit, &mut tell) => result,
        () = console.machine().signals.interrupted() => {
            let show = Remedy::ShowApp { id: id.to_string() };
            console.message(&format!("\n{id}: no longer followed; {show}"));
            return Err(CliError::Interrupted);
        }
    };
    match result {
        Ok(app) => {
            console.print(&format!(
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
                last_words(console, reached, &task).await;
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
async fn last_words(console: &Console, reached: &Reached, task: &TaskFailure) {
    console.message(&format!(
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
        Ok(lines) if lines.is_empty() => console.message("  it wrote nothing"),
        Ok(lines) => {
            console.message("  last lines:");
            for line in lines {
                console.message(&format!("  | {line}"));
            }
        }
        Err(error) => console.message(&format!("  cannot read its log: {error}")),
    }
}

async fn list(console: &Console, form: Option<Output>, to: &Reach) -> Result<ExitCode, CliError> {
    let reached = reach(console, to).await?;
    let apps = marathon(&reached, false)
        .list()
        .await
        .map_err(failed("list the applications"))?;
    if form == Some(Output::Json) {
        let raw: Vec<_> = apps.iter().map(|app| &app.raw).collect();
        console.print(&format!("{}\n", serde_json::json!(raw)));
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
    console.print(&report::listing(
        &[
            "application",
            "running",
            "healthy",
            "state",
            "image or command",
        ],
        rows,
        &console.options(),
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

async fn show(
    console: &Console,
    name: &str,
    form: Option<Output>,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let id = id(name)?;
    let reached = reach(console, to).await?;
    let marathon = marathon(&reached, false);
    let action = format!("show {id}");
    let app = marathon.show(&id).await.map_err(failed(&action))?;
    if form == Some(Output::Json) {
        console.print(&format!("{}\n", app.raw));
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
    console.print(&shown(&text));
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
    console.print(&report::listing(
        &["host", "ports", "state", "version", "task"],
        rows,
        &console.options(),
    ));
    console.print(&shown(&format!(
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
        console.print(&shown(&format!(
            "  last failure: {} on {}, {} ({})\n",
            failure.timestamp,
            host(&failure.host),
            failure.message,
            failure.state
        )));
    }
    Ok(ExitCode::DONE)
}
