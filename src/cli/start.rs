//! A run on hosts, from its log to its end. The commands differ in their scope, their options, their
//! question, and in what the engine does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{ConnectionArgs, OutputArgs, SourceArgs};
use super::console::{Console, ask_yes};
use super::context::{self, Loaded, RunRequest};
use super::error::CliError;
use super::{log, signals};
use crate::engine::{self, Cancel, RunContext, RunOptions};
use crate::env::StandardStream;
use crate::report::{self, ReporterHandle};
use crate::spec::{ExitCode, HostName, shown};

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
pub(super) fn run_id(console: &Console) -> String {
    console.machine().random.hex32()
}

/// Opens the log and the reporter, and listens to signals.
pub(super) fn begin(
    console: &Console,
    loaded: Loaded,
    request: StartRequest<'_>,
) -> Result<Started, CliError> {
    let run_id = run_id(console);
    let log = log::begin(console, &run_id);
    let (events, handle) = console.reporter(request.shown.output, request.source, log.as_deref());
    let cancel = Cancel::default();
    signals::watch(console, cancel.clone(), Arc::clone(&events));
    let question = request.question;
    let wanted = RunRequest {
        command: request.command,
        connection: request.connection,
        events,
        scope: request.scope,
        mode: RunOptions {
            confirm: question.map(|question| confirm(console, handle.pauser(), question)),
            ..request.options
        },
        timeout: request.shown.timeout,
        run_id,
        cancel,
        pauser: Some(handle.pauser()),
    };
    let cx = context::run_context(console, loaded, wanted)?;
    Ok(Started { cx, handle, log })
}

impl Started {
    /// Shows the end of the run, and the log of one that failed.
    pub(super) async fn finish(self, console: &Console, exit: ExitCode) -> ExitCode {
        self.handle.finish().await;
        show_log_path(console, exit, self.log.as_deref());
        exit
    }
}

/// Tells where the log of a failed run is.
pub(super) fn show_log_path(console: &Console, exit: ExitCode, log: Option<&Path>) {
    if let (false, Some(path)) = ([ExitCode::DONE, ExitCode::CHANGES].contains(&exit), log) {
        console.message(&format!("log: {}", path.display()));
    }
}

/// A run that brings hosts to their desired state.
pub(super) async fn change_hosts(
    console: &Console,
    loaded: Loaded,
    request: StartRequest<'_>,
) -> Result<ExitCode, CliError> {
    let run = begin(console, loaded, request)?;
    let result = engine::up(&run.cx).await;
    Ok(run.finish(console, ExitCode(result.exit_code)).await)
}

/// Asks before running containers are interrupted.
fn confirm(console: &Console, pauser: report::Pauser, question: &'static str) -> engine::Confirm {
    let (machine, streams) = (console.machine().clone(), console.streams.clone());
    Box::new(move |changes: Vec<String>| {
        let (machine, streams, pauser) = (machine.clone(), streams.clone(), pauser.clone());
        Box::pin(async move {
            if !machine.terminal.is_terminal(StandardStream::Input) {
                return engine::Consent::NotAsked;
            }
            let _pause = pauser.paused().await;
            for line in changes {
                streams.write_message(&shown(&format!("  {line}")));
            }
            match ask_yes(&machine, &streams, question).await {
                Some(true) => engine::Consent::Given,
                Some(false) => engine::Consent::Declined,
                None => engine::Consent::NotAsked,
            }
        })
    })
}
