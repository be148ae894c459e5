//! A run: what it was asked for, and what it knows so far. Each stage reads what earlier ones found,
//! and adds its own.

use std::sync::Arc;

use tokio::time::Instant;

use super::host_run::Hosts;
use super::ledger::{EarlyExit, Ledger};
use super::outcomes::ComponentOutcomes;
use super::phases::OpenPhase;
use super::planned::Planned;
use super::run_context::RunContext;
use super::work::Work;
use crate::event::{Event, RunResult};
use crate::spec::ExitCode;

/// A run under way.
pub(super) struct Run<'a> {
    pub cx: &'a RunContext,
    pub ledger: Arc<Ledger>,
    pub started: Instant,
    /// The connected hosts.
    pub hosts: Hosts,
    /// What is desired, observed and planned.
    pub planned: Planned,
    /// Preflight, from the records to the end of planning.
    pub preflight: Option<OpenPhase>,
    /// What became of the components.
    pub ended: ComponentOutcomes,
    /// The exit code of a run that proved something and could not record it.
    pub unrecorded: Option<ExitCode>,
    /// The exit code, once it came to its end.
    pub exit_code: ExitCode,
    has_changes: Option<bool>,
}

impl<'a> Run<'a> {
    /// Begins a run, with its first event.
    pub fn begin(cx: &'a RunContext) -> Self {
        let hosts = cx
            .hosts
            .iter()
            .map(|host| (host.name.clone(), host.roles.iter().copied().collect()))
            .collect();
        cx.events.send(Event::RunStarted {
            command: cx.command.clone(),
            cluster: cx.cluster.clone(),
            hosts,
        });
        let hosts = cx.hosts.iter().map(|host| host.name.clone());
        let ledger = Arc::new(Ledger::new(hosts, Arc::clone(&cx.events)));
        Self::with(cx, ledger)
    }

    /// A run that did nothing yet.
    pub fn with(cx: &'a RunContext, ledger: Arc<Ledger>) -> Self {
        Self {
            cx,
            ledger,
            started: Instant::now(),
            hosts: Hosts::new(),
            planned: Planned::nothing(cx.cluster.clone()),
            preflight: None,
            ended: ComponentOutcomes::default(),
            unrecorded: None,
            exit_code: ExitCode::DONE,
            has_changes: None,
        }
    }

    /// Decides by the first plan whether the run changes anything. What another run did before this
    /// one held the locks does not end it early: its services are proven by writing, too.
    pub fn decide_changes(&mut self) {
        let has_changes = !self.work().is_idle();
        self.has_changes.get_or_insert(has_changes);
    }

    /// Whether the run changes anything.
    pub fn has_changes(&self) -> bool {
        self.has_changes.unwrap_or(false)
    }

    /// Warns about the run as a whole.
    pub fn warn(&self, text: &str) {
        self.cx.events.send(Event::warning(None, text));
    }

    /// What its steps share.
    pub fn work(&self) -> Work<'_> {
        Work {
            cx: self.cx,
            ledger: &self.ledger,
            hosts: &self.hosts,
            planned: &self.planned,
        }
    }

    /// Ends the run with its last event.
    pub fn finish(&mut self, outcome: Result<ExitCode, EarlyExit>) -> RunResult {
        self.preflight = None;
        let (Ok(code) | Err(EarlyExit(code))) = outcome;
        let result = self.ledger.result(code);
        self.cx.events.send(Event::Result(result.clone()));
        result
    }
}
