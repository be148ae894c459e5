//! The last lines of a task, for a person.

use std::sync::Arc;

use crate::host::{HostSession, OperationError, TaskLog};
use crate::spec::shown;

/// The last lines of a task's output, escaped.
///
/// # Errors
/// When the host cannot be queried.
pub async fn task_log(
    session: &Arc<dyn HostSession>,
    task: &str,
) -> Result<Vec<String>, OperationError> {
    let task = task.to_owned();
    let log = session.perform(TaskLog { task }).await?;
    Ok(shown(&log).lines().map(str::to_owned).collect())
}
