//! `toots job …`: jobs, through any host of the cluster to Chronos' leader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::app::read_definitions;
use super::args::Output;
use super::args::app::{JobCommand as Command, Reach};
use super::console::Console;
use super::error::CliError;
use super::reach::{Reached, failed, reach};
use crate::app::{self, AppError, Chronos, Job, Program};
use crate::report;
use crate::spec::{ExitCode, shown};

/// Pause between two checks of a running job.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a command.
pub(super) async fn run(console: &Console, command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Deploy {
            files,
            dry_run,
            no_schema,
            reach,
        } => deploy(console, &files, dry_run, no_schema, &reach).await,
        Command::List { output, reach } => list(console, output, &reach).await,
        Command::Show { name, reach } => show(console, &name, &reach).await,
        Command::Run {
            name,
            wait,
            timeout,
            reach,
        } => run_now(console, &name, wait.then_some(timeout), &reach).await,
        Command::Delete { names, yes, reach } => delete(console, &names, yes, &reach).await,
    }
}

fn chronos(reached: &Reached) -> Chronos {
    Chronos::new(Arc::clone(&reached.session), reached.masters.clone())
}

async fn deploy(
    console: &Console,
    files: &[PathBuf],
    dry_run: bool,
    no_schema: bool,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let definitions = read_definitions(console, files, Program::Chronos, no_schema).await?;
    let reached = reach(console, to).await?;
    let chronos = chronos(&reached);
    let now = chronos.list().await.map_err(failed("read the jobs"))?;
    for definition in &definitions {
        let name = &definition.name;
        match now
            .iter()
            .find(|job| job.name == *name)
            .map(|job| app::changes(&job.raw, &definition.value))
        {
            Some(lines) if lines.is_empty() => {
                console.print(&format!("{name}: up to date\n"));
                continue;
            }
            Some(lines) => console.print(&shown(&format!(
                "{name}: change\n  {}\n",
                lines.join("\n  ")
            ))),
            None => console.print(&format!("{name}: new\n")),
        }
        if !dry_run {
            chronos
                .put(name, &definition.value)
                .await
                .map_err(failed(format!("deploy {name}")))?;
        }
    }
    if dry_run {
        console.message("dry run: nothing was changed");
    }
    Ok(ExitCode::DONE)
}

async fn list(console: &Console, form: Option<Output>, to: &Reach) -> Result<ExitCode, CliError> {
    let reached = reach(console, to).await?;
    let jobs = chronos(&reached)
        .list()
        .await
        .map_err(failed("list the jobs"))?;
    if form == Some(Output::Json) {
        let raw: Vec<_> = jobs.iter().map(|job| &job.raw).collect();
        console.print(&format!("{}\n", serde_json::json!(raw)));
        return Ok(ExitCode::DONE);
    }
    let rows = jobs.iter().map(|job| {
        let when = job
            .schedule
            .clone()
            .unwrap_or_else(|| format!("after {}", job.parents.join(", ")));
        let last = |time: &String| {
            if time.is_empty() {
                "–".to_owned()
            } else {
                time.clone()
            }
        };
        let state = if job.disabled { "disabled" } else { "enabled" };
        let runs = format!(
            "{} succeeded, {} failed",
            job.success_count, job.error_count
        );
        vec![
            job.name.clone(),
            state.to_owned(),
            runs,
            last(&job.last_success),
            last(&job.last_error),
            when,
        ]
    });
    console.print(&report::listing(
        &["job", "state", "runs", "last success", "last error", "when"],
        rows,
        &console.options(),
    ));
    Ok(ExitCode::DONE)
}

async fn show(console: &Console, name: &str, to: &Reach) -> Result<ExitCode, CliError> {
    let reached = reach(console, to).await?;
    let job = chronos(&reached)
        .show(name)
        .await
        .map_err(failed(format!("show {}", shown(name))))?;
    console.print(&shown(&format!("{:#}\n", job.raw)));
    Ok(ExitCode::DONE)
}

async fn run_now(
    console: &Console,
    name: &str,
    wait: Option<Duration>,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let reached = reach(console, to).await?;
    let chronos = chronos(&reached);
    let failed = |error| failed(format!("run {name}"))(error);
    let before = chronos.show(name).await.map_err(failed)?;
    chronos.run(name).await.map_err(failed)?;
    let Some(limit) = wait else {
        console.print(&format!("{name}: started\n"));
        return Ok(ExitCode::DONE);
    };
    let began = Instant::now();
    let ended = |job: &Job| {
        (job.success_count, job.error_count) != (before.success_count, before.error_count)
    };
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = console.machine().signals.interrupted() => return Err(CliError::Interrupted),
        }
        match chronos.show(name).await {
            Ok(job) if ended(&job) && job.success_count > before.success_count => {
                console.print(&format!("{name}: done\n"));
                return Ok(ExitCode::DONE);
            }
            Ok(job) if ended(&job) => {
                let why = format!("the run failed at {}", shown(&job.last_error));
                return Err(failed(AppError::Failed { why, task: None }));
            }
            Err(error @ AppError::Missing(_)) => return Err(failed(error)),
            // A new leader may be in election: it answers later.
            _ if began.elapsed() >= limit => {
                return Err(failed(AppError::Deadline {
                    limit,
                    why: "the run has not ended".into(),
                }));
            }
            _ => {}
        }
    }
}

async fn delete(
    console: &Console,
    names: &[String],
    yes: bool,
    to: &Reach,
) -> Result<ExitCode, CliError> {
    let reached = reach(console, to).await?;
    let chronos = chronos(&reached);
    for name in names {
        chronos
            .show(name)
            .await
            .map_err(failed(format!("remove {}", shown(name))))?;
    }
    console.confirm_deletion(names, yes).await?;
    for name in names {
        chronos
            .delete(name)
            .await
            .map_err(failed(format!("remove {name}")))?;
        console.print(&format!("{name}: deleted\n"));
    }
    Ok(ExitCode::DONE)
}
