//! The last lines of a task, for a person.

use std::sync::Arc;

use crate::host::{HostSession, OperationError, TaskLog};
use crate::spec::shown;

/// That of the agents' component.
const WORK_DIR: &str = "/var/lib/toots/mesos-slave";

/// The last lines of a task's output, escaped.
///
/// # Errors
/// When the host cannot be queried.
pub async fn task_log(
    session: &Arc<dyn HostSession>,
    task: &str,
) -> Result<Vec<String>, OperationError> {
    let request = TaskLog {
        work_dir: WORK_DIR.to_owned(),
        task: task.to_owned(),
    };
    let log = session.perform(request).await?;
    Ok(shown(&log).lines().map(str::to_owned).collect())
}
