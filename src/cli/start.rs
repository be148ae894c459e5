//! A run on hosts, from its log to its end. The commands differ in their scope, their options, their
//! question, and in what the engine does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{ConnectionArgs, OutputArgs, SourceArgs};
use super::context::{self, Loaded, RunRequest};
use super::error::CliError;
use super::{log, output, signals};
use crate::engine::{self, Cancel, RunContext, RunOptions};
use crate::report::{self, ReporterHandle};
use crate::spec::{ExitCode, HostName};

/// What a command gives to its run.
pub(super) struct StartRequest<'a> {
    /// The command's name for events (`cluster up`).
    pub command: &'static str,
    /// Names the inventory in hints; `None` when there is none.
    pub source: Option<&'a SourceArgs>,
    pub connection: &'a ConnectionArgs,
    pub shown: &'a OutputArgs,
    /// Hosts that may be changed.
    pub scope: BTreeSet<HostName>,
    pub options: RunOptions,
    /// Asked before running containers are interrupted; `None` when the operator agreed before.
    pub question: Option<&'static str>,
}

/// A run that can begin: its input, and what shows it.
pub(super) struct Started {
    pub cx: RunContext,
    handle: ReporterHandle,
    log: Option<PathBuf>,
}

/// Draws the id of a new run.
pub(super) fn run_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Opens the log and the reporter, and listens to signals.
pub(super) fn begin(loaded: Loaded, request: StartRequest<'_>) -> Result<Started, CliError> {
    let run_id = run_id();
    let log = log::begin(&run_id);
    let (events, handle) = output::reporter(request.shown.output, request.source, log.as_deref());
    let cancel = Cancel::default();
    signals::watch(cancel.clone(), Arc::clone(&events));
    let question = request.question;
    let wanted = RunRequest {
        command: request.command,
        connection: request.connection,
        events,
        scope: request.scope,
        mode: RunOptions {
            confirm: question.map(|question| confirm(handle.pauser(), question)),
            ..request.options
        },
        timeout: request.shown.timeout,
        run_id,
        cancel,
        pauser: Some(handle.pauser()),
    };
    let cx = context::run_context(loaded, wanted)?;
    Ok(Started { cx, handle, log })
}

impl Started {
    /// Shows the end of the run, and the log of one that failed.
    pub(super) fn finish(self, exit: ExitCode) -> ExitCode {
        self.handle.finish();
        show_log_path(exit, self.log.as_deref());
        exit
    }
}

/// Tells where the log of a failed run is.
pub(super) fn show_log_path(exit: ExitCode, log: Option<&Path>) {
    if let (false, Some(path)) = ([ExitCode::DONE, ExitCode::CHANGES].contains(&exit), log) {
        output::message(&format!("log: {}", path.display()));
    }
}

/// A run that brings hosts to their desired state.
pub(super) async fn change_hosts(
    loaded: Loaded,
    request: StartRequest<'_>,
) -> Result<ExitCode, CliError> {
    let run = begin(loaded, request)?;
    let result = engine::up(&run.cx).await;
    Ok(run.finish(ExitCode(result.exit_code)))
}

/// Asks before running containers are interrupted.
fn confirm(pauser: report::Pauser, question: &'static str) -> engine::Confirm {
    use std::io::IsTerminal as _;
    Box::new(move |changes: Vec<String>| {
        let pauser = pauser.clone();
        Box::pin(async move {
            if !std::io::stdin().is_terminal() {
                return engine::Consent::NotAsked;
            }
            let _pause = pauser.paused().await;
            for line in changes {
                output::message(&format!("  {line}"));
            }
            match output::yes(question).await {
                Some(true) => engine::Consent::Given,
                Some(false) => engine::Consent::Declined,
                None => engine::Consent::NotAsked,
            }
        })
    })
}
