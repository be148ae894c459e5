//! What a machine does for one request. It goes on when the connection that brought it is gone.

use std::sync::Arc;
use std::time::Duration;

use toots::host::OperationError;

use super::disk::{Disk, Errno};
use super::faults::PointKind;
use super::link::Link;
use super::machine::Machine;

/// The longest pause between two steps.
const STEP_MS: u64 = 20;

pub struct HostTask {
    pub machine: Arc<Machine>,
    pub link: Arc<Link>,
    /// The name of the operation.
    pub name: &'static str,
}

impl HostTask {
    pub fn disk(&self) -> &Disk {
        &self.machine.disk
    }

    /// Notes what the machine did for a run.
    pub fn note(&self, what: impl Into<String>) {
        let run = self.link.controller.name();
        self.machine.record.note(&self.machine.name, run, what);
    }

    /// Comes to the next step, at a time that the seed chooses.
    pub async fn step(&self, what: &str) {
        let pause = Duration::from_millis(self.machine.draw(STEP_MS));
        tokio::time::sleep(pause).await;
        let name = format!("{} {what}", self.name);
        if let Some(fault) = self.link.pass(PointKind::Step, name) {
            tokio::time::sleep(self.link.suffer(fault)).await;
        }
        // Without power it never comes to it: the process is gone.
        self.machine.awake().await;
    }

    /// Works for some time: between the shortest and twice as long.
    pub async fn work(&self, shortest: Duration) {
        let ms = u64::try_from(shortest.as_millis()).unwrap_or(u64::MAX);
        let more = Duration::from_millis(self.machine.draw(ms.max(1)));
        tokio::time::sleep(shortest + more).await;
    }
}

/// The end of a script that failed.
pub fn failed(status: u32, stderr: impl Into<String>) -> OperationError {
    OperationError::Failed {
        status,
        stdout: Vec::new(),
        stderr: format!("{}\n", stderr.into()).into_bytes(),
    }
}

/// The end of a script one of whose programs failed.
pub fn refused(doing: &str, path: &str, error: Errno) -> OperationError {
    failed(1, format!("{doing} '{path}': {}", error.text()))
}
