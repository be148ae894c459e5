//! `toots cluster up`, `plan`, `status`.

use std::sync::Arc;

use super::args::{ConnectionArgs, Output, PlanArgs, StatusArgs, UpArgs};
use super::console::Console;
use super::context::read_text;
use super::context::{self, Loaded, RunRequest};
use super::error::CliError;
use super::start::{self, StartRequest};
use super::{hints, plan_views};
use crate::engine::{self, Cancel, RunOptions};
use crate::env::{FileAccess, StandardStream};
use crate::event::{Event, EventSink, StatusReport};
use crate::plan::SavedPlan;
use crate::report;
use crate::spec::ExitCode;

/// `toots cluster up`
pub(super) async fn up(console: &Console, args: UpArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    context::warn_open(console, &loaded);
    let scope = context::scope(&loaded.inventory, &args.limit)?;
    let saved = args.plan.as_deref();
    let saved = saved.map(|path| read_plan(console.files(), path));
    let saved = saved.transpose()?;
    let request = StartRequest {
        command: "cluster up",
        source: Some(&args.source),
        connection: &args.connection,
        shown: &args.shown,
        scope,
        options: RunOptions {
            prove: args.prove,
            saved,
            lock_wait: args.lock.lock_wait,
            bundle: super::bundle::verify(console, args.images, &args.shown).await?,
            ..RunOptions::default()
        },
        question: (!args.yes && args.plan.is_none()).then_some(REPLACE_QUESTION),
    };
    start::change_hosts(console, loaded, request).await
}

const REPLACE_QUESTION: &str = "replace or remove these running containers?";

fn read_plan(files: &dyn FileAccess, path: &std::path::Path) -> Result<SavedPlan, CliError> {
    let text = read_text(files, path)?;
    SavedPlan::parse(&text).map_err(|source| CliError::SavedPlan {
        path: path.to_owned(),
        source,
    })
}

/// `toots cluster plan`
pub(super) async fn plan(console: &Console, args: PlanArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    context::warn_open(console, &loaded);
    let scope = context::scope(&loaded.inventory, &args.limit)?;
    let text = loaded.text.clone();
    let json = console.mode(args.shown.output) == report::OutputMode::Json;
    let request = StartRequest {
        command: "cluster plan",
        source: Some(&args.source),
        connection: &args.connection,
        shown: &args.shown,
        scope: scope.clone(),
        options: RunOptions {
            bundle: super::bundle::verify(console, args.images, &args.shown).await?,
            ..RunOptions::default()
        },
        question: None,
    };
    let run = start::begin(console, loaded, request)?;
    let cx = &run.cx;
    let mut planned = match engine::observe_and_plan(cx).await {
        Ok(planned) => planned,
        Err(result) => return Ok(run.finish(console, ExitCode(result.exit_code)).await),
    };
    planned.plan.hosts.retain(|host| scope.contains(&host.host));
    let changes = planned.plan.changes();
    let saved = SavedPlan::from_plan(cx.cluster.as_str(), &text, &planned.plan);
    let exit = if planned.missed_a_host() {
        ExitCode::UNREACHABLE
    } else if args.exit_code && changes > 0 {
        ExitCode::CHANGES
    } else {
        ExitCode::DONE
    };
    let outdated = planned
        .plan
        .hosts
        .iter()
        .flat_map(|host| plan_views::records(host).map(move |path| (host.host.clone(), path)));
    cx.events.send(Event::Planned {
        changes: saved.changes.clone(),
        records: outdated.collect(),
    });
    cx.events.send(Event::Result(planned.result(exit)));
    run.finish(console, exit).await;
    if !json {
        console.print(&report::plan_text(
            &plan_views::views(&planned.plan),
            console.options().out_colour,
        ));
    }
    if let Some(path) = &args.out {
        write_plan(console.files(), path, &saved)?;
    }
    Ok(exit)
}

fn write_plan(
    files: &dyn FileAccess,
    path: &std::path::Path,
    saved: &SavedPlan,
) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(saved).unwrap_or_default() + "\n";
    let written = files.write(path, text.as_bytes());
    written.map_err(|source| CliError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Drops the events of a status: its failures are in the table.
struct Quiet;

impl EventSink for Quiet {
    fn send(&self, event: Event) {
        tracing::debug!(?event);
    }
}

/// Observes the cluster once.
pub(super) async fn read_status(
    console: &Console,
    loaded: Loaded,
    connection: &ConnectionArgs,
) -> Result<StatusReport, CliError> {
    let scope = loaded
        .inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .collect();
    let wanted = RunRequest {
        command: "cluster status",
        connection,
        events: Arc::new(Quiet),
        scope,
        mode: RunOptions::default(),
        timeout: None,
        run_id: start::run_id(console),
        cancel: Cancel::default(),
        pauser: None,
    };
    let cx = context::run_context(console, loaded, wanted)?;
    Ok(engine::status(&cx).await)
}

/// Pause between two readings of `status --watch`.
const STATUS_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);

/// `toots cluster status`
pub(super) async fn status(console: &Console, args: StatusArgs) -> Result<ExitCode, CliError> {
    loop {
        let loaded = context::load(console, &args.source)?;
        let mut report = read_status(console, loaded, &args.connection).await?;
        let inventory = hints::named_inventory(&args.source);
        for service in &mut report.services {
            let row = &mut service.row;
            row.hints = hints::with_inventory(&row.hints, inventory.as_deref());
        }
        if args.watch && args.output != Some(Output::Json) {
            // The screen is cleared only where there is one.
            if console.is_terminal(StandardStream::Output) {
                console.print("\x1b[2J\x1b[H");
            }
        }
        match args.output {
            Some(Output::Json) => console.print(&report::status_json(&report)),
            _ => console.print(&report::status_table(
                &report,
                console.options().width(),
                console.options().out_colour,
            )),
        }
        if !args.watch {
            return Ok(report.exit_code());
        }
        tokio::time::sleep(STATUS_INTERVAL).await;
    }
}
