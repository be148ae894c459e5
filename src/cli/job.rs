//! `toots job …`: jobs, through a host of the cluster to Chronos' leader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::Output;
use super::args::app::{Job as Command, Reach};
use super::exit::Exit;
use super::output;
use super::reach::{Reached, fail, reach, usage};
use crate::app::{self, AppError, Chronos, Job, Program};
use crate::report;
use crate::spec::shown;

/// Between two looks at a job that runs.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a command.
pub(super) async fn run(command: Command) -> Exit {
    let result = match command {
        Command::Deploy {
            files,
            dry_run,
            reach,
        } => deploy(&files, dry_run, &reach).await,
        Command::List { output, reach } => list(output, &reach).await,
        Command::Show { name, reach } => show(&name, &reach).await,
        Command::Run {
            name,
            wait,
            timeout,
            reach,
        } => run_now(&name, wait.then_some(timeout), &reach).await,
        Command::Delete { names, yes, reach } => delete(&names, yes, &reach).await,
    };
    result.unwrap_or_else(|exit| exit)
}

fn chronos(reached: &Reached) -> Chronos {
    Chronos::new(Arc::clone(&reached.session), reached.masters.clone())
}

async fn deploy(files: &[PathBuf], dry_run: bool, to: &Reach) -> Result<Exit, Exit> {
    let definitions = app::read(files, Program::Chronos, |name| std::env::var(name).ok())
        .map_err(|wrong| usage(&wrong.join("\n")))?;
    let reached = reach(to).await?;
    let chronos = chronos(&reached);
    let now = chronos
        .list()
        .await
        .map_err(|error| fail("look at the jobs", &error))?;
    for definition in &definitions {
        let name = &definition.name;
        match now
            .iter()
            .find(|job| job.name == *name)
            .map(|job| app::changes(&job.raw, &definition.value))
        {
            Some(lines) if lines.is_empty() => {
                output::print(&format!("{name}: as it is wanted\n"));
                continue;
            }
            Some(lines) => output::print(&shown(&format!(
                "{name}: change\n  {}\n",
                lines.join("\n  ")
            ))),
            None => output::print(&format!("{name}: new\n")),
        }
        if !dry_run {
            chronos
                .put(name, &definition.value)
                .await
                .map_err(|error| fail(&format!("deploy {name}"), &error))?;
        }
    }
    if dry_run {
        eprintln!("nothing was changed");
    }
    Ok(Exit::DONE)
}

async fn list(form: Option<Output>, to: &Reach) -> Result<Exit, Exit> {
    let reached = reach(to).await?;
    let jobs = chronos(&reached)
        .list()
        .await
        .map_err(|error| fail("list the jobs", &error))?;
    if form == Some(Output::Json) {
        let all: Vec<_> = jobs.iter().map(|job| &job.raw).collect();
        output::print(&format!("{}\n", serde_json::json!(all)));
        return Ok(Exit::DONE);
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
        let runs = format!("{} well, {} not", job.success_count, job.error_count);
        vec![
            job.name.clone(),
            state.to_owned(),
            runs,
            last(&job.last_success),
            last(&job.last_error),
            when,
        ]
    });
    output::print(&report::listing(
        &["job", "state", "runs", "last success", "last error", "when"],
        rows,
        &output::options(),
    ));
    Ok(Exit::DONE)
}

async fn show(name: &str, to: &Reach) -> Result<Exit, Exit> {
    let reached = reach(to).await?;
    let job = chronos(&reached)
        .show(name)
        .await
        .map_err(|error| fail(&format!("show {}", shown(name)), &error))?;
    output::print(&shown(&format!("{:#}\n", job.raw)));
    Ok(Exit::DONE)
}

async fn run_now(name: &str, wait: Option<Duration>, to: &Reach) -> Result<Exit, Exit> {
    let reached = reach(to).await?;
    let chronos = chronos(&reached);
    let failed = |error: AppError| fail(&format!("run {}", shown(name)), &error);
    let before = chronos.show(name).await.map_err(failed)?;
    chronos.run(name).await.map_err(failed)?;
    let Some(limit) = wait else {
        output::print(&format!("{name}: begun\n"));
        return Ok(Exit::DONE);
    };
    let began = Instant::now();
    let ended = |job: &Job| {
        (job.success_count, job.error_count) != (before.success_count, before.error_count)
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = tokio::signal::ctrl_c() => return Err(Exit::INTERRUPTED),
        }
        match chronos.show(name).await {
            Ok(job) if ended(&job) && job.success_count > before.success_count => {
                output::print(&format!("{name}: done\n"));
                return Ok(Exit::DONE);
            }
            Ok(job) if ended(&job) => {
                let why = format!("its run failed at {}", shown(&job.last_error));
                return Err(failed(AppError::Failed { why, task: None }));
            }
            Err(error @ AppError::Missing(_)) => return Err(failed(error)),
            // A leader that is being elected answers later.
            _ if began.elapsed() >= limit => {
                return Err(failed(AppError::Deadline {
                    limit,
                    why: "it has not ended".into(),
                }));
            }
            _ => {}
        }
    }
}

async fn delete(names: &[String], yes: bool, to: &Reach) -> Result<Exit, Exit> {
    let reached = reach(to).await?;
    let chronos = chronos(&reached);
    for name in names {
        chronos
            .show(name)
            .await
            .map_err(|error| fail(&format!("remove {}", shown(name)), &error))?;
    }
    if !yes && output::yes(&format!("remove {}?", names.join(", "))) == Some(false) {
        return Err(Exit::INTERRUPTED);
    }
    for name in names {
        chronos
            .delete(name)
            .await
            .map_err(|error| fail(&format!("remove {name}"), &error))?;
        output::print(&format!("{name}: removed\n"));
    }
    Ok(Exit::DONE)
}
