//! Reads the last lines of a task from its sandbox on the slave.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::spec::quote;
use crate::spec::shown;
use crate::transport::{Exec, Session, TransportError};

/// The work directory is that of the agents' component; the agent's folders below it are the same
/// for every containerizer.
const SCRIPT: &str = r#"for f in /var/lib/toots/mesos-slave/slaves/*/frameworks/*/executors/"$1"/runs/latest/stdout \
  /var/lib/toots/mesos-slave/slaves/*/frameworks/*/executors/"$1"/runs/latest/stderr; do
  if [ -s "$f" ]; then tail -n 20 "$f" | tail -c 4000; fi
done
"#;

/// The last lines of a task's output, escaped.
///
/// # Errors
/// When the host cannot be queried.
pub async fn task_log(
    session: &Arc<dyn Session>,
    task: &str,
) -> Result<Vec<String>, TransportError> {
    let exec = Exec {
        command: format!("sh -s -- {}", quote(task)),
        stdin: Bytes::from_static(SCRIPT.as_bytes()),
        privileged: true,
        deadline: Duration::from_secs(20),
        max_output: 64 << 10,
    };
    let output = session.exec(exec).await?;
    Ok(shown(&String::from_utf8_lossy(&output.stdout))
        .lines()
        .map(str::to_owned)
        .collect())
}
