//! Follows a change until it is complete or fails.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{App, AppError, AppId, Change, Marathon, TaskFailure};
use crate::probe::{Poll, show};

/// Pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(700);
/// More failed tasks than this since a change count as a failure; Marathon itself would retry
/// forever.
const MAX_TASK_FAILURES: usize = 3;

/// How long the same tasks must run before an application without health checks counts as running:
/// a task that exits at once runs for a moment too.
const STEADY_TIME: Duration = Duration::from_secs(5);

/// The progress of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Counts of tasks.
    Tasks {
        /// Desired number.
        instances: u64,
        /// Starting.
        staged: u64,
        /// Running.
        running: u64,
        /// Passing their health checks; `None` when there is no check.
        healthy: Option<u64>,
    },
    /// A task failed since the change was made.
    Failure(TaskFailure),
    /// The leader does not answer; it is searched again.
    Waiting(String),
}

/// Follows the change of an application until its deployment is complete and its instances run
/// steadily and are healthy.
///
/// # Errors
/// When tasks keep failing, another deployment took its place, or the limit expires.
pub async fn follow(
    marathon: &Marathon,
    id: &AppId,
    change: &Change,
    limit: Duration,
    tell: &mut dyn FnMut(Progress),
) -> Result<App, AppError> {
    let mut poll = Poll::every(POLL_INTERVAL, limit);
    let mut failed = BTreeSet::new();
    let mut last = None;
    let mut steady: Option<(Instant, BTreeSet<String>)> = None;
    loop {
        match marathon.show(id).await {
            Ok(app) => {
                let now = tasks(&app);
                if last.as_ref() != Some(&now) {
                    tell(now.clone());
                    last = Some(now);
                }
                let under_way = app
                    .deployments
                    .iter()
                    .any(|deployment| deployment.id == change.deployment_id);
                // A change without effect creates no version of its own.
                if !under_way && app.version > change.version {
                    let why = format!(
                        "replaced by another deployment (version {} is wanted now)",
                        show(app.version.as_bytes())
                    );
                    return Err(AppError::Failed { why, task: None });
                }
                if !under_way && settled(&app) {
                    let tasks = running(&app);
                    let since = match steady.take() {
                        Some((since, same)) if same == tasks => since,
                        _ => Instant::now(),
                    };
                    if !app.health_checks.is_empty()
                        || app.instances == 0
                        || since.elapsed() >= STEADY_TIME
                    {
                        return Ok(app);
                    }
                    steady = Some((since, tasks));
                } else {
                    steady = None;
                }
                if let Some(failure) = app
                    .last_task_failure
                    .clone()
                    .filter(|failure| failure.timestamp > change.version)
                    && failed.insert(failure.task_id.clone())
                {
                    tell(Progress::Failure(failure.clone()));
                    if failed.len() >= MAX_TASK_FAILURES {
                        let why = format!("{MAX_TASK_FAILURES} tasks failed since the change");
                        return Err(AppError::Failed {
                            why,
                            task: Some(Box::new(failure)),
                        });
                    }
                }
                if poll.is_over() {
                    return Err(late(marathon, id, &app, limit).await);
                }
            }
            Err(error @ (AppError::NoLeader { .. } | AppError::Question(_))) if !poll.is_over() => {
                tell(Progress::Waiting(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        poll.pause().await;
    }
}

/// Follows a removal until nothing of the application is left.
///
/// # Errors
/// When the limit expires.
pub async fn follow_removal(
    marathon: &Marathon,
    id: &AppId,
    change: &Change,
    limit: Duration,
) -> Result<(), AppError> {
    let mut poll = Poll::every(POLL_INTERVAL, limit);
    loop {
        if let Ok(list) = marathon.deployments().await
            && !list
                .iter()
                .any(|deployment| deployment.id == change.deployment_id)
        {
            return Ok(());
        }
        if !poll.pause().await {
            return Err(AppError::Deadline {
                limit,
                why: format!("tasks of {id} are still being stopped"),
            });
        }
    }
}

fn tasks(app: &App) -> Progress {
    Progress::Tasks {
        instances: app.instances,
        staged: app.tasks_staged,
        running: app.tasks_running,
        healthy: (!app.health_checks.is_empty()).then_some(app.tasks_healthy),
    }
}

fn running(app: &App) -> BTreeSet<String> {
    app.tasks
        .iter()
        .filter(|task| task.state == "TASK_RUNNING")
        .map(|task| task.id.clone())
        .collect()
}

fn settled(app: &App) -> bool {
    app.tasks_running >= app.instances
        && (app.health_checks.is_empty() || app.tasks_healthy >= app.instances)
}

/// What it still waits for, when the limit expired.
async fn late(marathon: &Marathon, id: &AppId, app: &App, limit: Duration) -> AppError {
    let waits = marathon
        .waits_for(id)
        .await
        .ok()
        .flatten()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let healthy = if app.health_checks.is_empty() {
        String::new()
    } else {
        format!(" and {} are healthy", app.tasks_healthy)
    };
    AppError::Deadline {
        limit,
        why: format!(
            "{} of {} instances run{healthy}{waits}",
            app.tasks_running, app.instances
        ),
    }
}
