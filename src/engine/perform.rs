//! One operation on a host, for a step under way.

use super::failure;
use super::work::StepRun;
use crate::event::Failure;
use crate::host::{OperationError, Place, TypedOperation};
use crate::spec::{DirSpec, FileSpec};

impl StepRun<'_> {
    /// Runs an operation. A failure contains the last lines that it printed.
    pub async fn perform<O: TypedOperation>(
        &self,
        operation: O,
    ) -> Result<O::Answer, Box<Failure>> {
        let result = self.host.session.perform(operation).await;
        result.map_err(|error| match error {
            OperationError::Transport(error) => {
                Box::new(failure::transport(self.phase, self.title, &error))
            }
            OperationError::Failed {
                ref stdout,
                ref stderr,
                ..
            } => {
                let printed = if stderr.is_empty() { stdout } else { stderr };
                let mut failure = self.fail(&error);
                failure.log = failure::tail(printed);
                failure
            }
            other => self.fail(&other),
        })
    }

    /// Writes files and directories in one round trip.
    pub async fn write_files(
        &self,
        dirs: impl Iterator<Item = &DirSpec>,
        files: impl Iterator<Item = &FileSpec>,
        hosts_entries: Option<&[(String, String)]>,
    ) -> Result<(), Box<Failure>> {
        let place = Place {
            dirs: dirs.cloned().collect(),
            files: files.cloned().collect(),
            hosts_entries: hosts_entries.map(<[_]>::to_vec),
            deadline: self.work.cx.timeouts.exec,
        };
        let _turn = self.host.placing.lock().await;
        self.perform(place).await
    }

    /// A failure with the container's last log lines.
    pub async fn fail_with_log(
        &self,
        container: &str,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Box<Failure> {
        let mut failure = self.fail(error);
        if let Ok(log) = self.host.engine.logs_tail(container, 20).await {
            failure.log = failure::tail(log.as_bytes());
        }
        failure
    }
}
