//! `toots cluster up`, `plan`, `status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args::{Connection, Output, Plan, Status, Up};
use super::context::{self, Loaded, Wanted};
use super::exit::Exit;
use super::{log, output, signals};
use crate::engine::{self, Cancel, Mode, StatusView};
use crate::event::{Event, EventSink};
use crate::plan::{SavedPlan, Step};
use crate::report::{
    self, ComponentView, HostStatusView, PlanChange, PlanHostView, ServiceView, StatusReport,
};
use crate::spec::ClusterName;

/// A new run's id.
pub(super) fn run_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// `toots cluster up`
pub(super) async fn up(args: Up) -> Exit {
    let loaded = match context::load(&args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    context::warn_open(&loaded);
    let scope = match context::scope(&loaded.inventory, &args.limit) {
        Ok(scope) => scope,
        Err(exit) => return exit,
    };
    let saved = match args.plan.as_deref().map(read_plan).transpose() {
        Ok(saved) => saved,
        Err(exit) => return exit,
    };
    let run_id = run_id();
    let log = log::begin(&run_id);
    let (events, handle) = output::reporter(args.shown.output);
    let cancel = Cancel::default();
    signals::watch(cancel.clone());
    let confirm: Option<engine::Confirm> =
        (!args.yes && args.plan.is_none()).then(|| confirm(handle.pauser()));
    let wanted = Wanted {
        command: "cluster up",
        connection: &args.connection,
        events,
        scope,
        mode: Mode {
            prove: args.prove,
            saved,
            inventory_text: String::new(),
            confirm,
        },
        timeout: args.shown.timeout,
        run_id,
        cancel,
    };
    let cx = match context::context(loaded, wanted) {
        Ok(cx) => cx,
        Err(exit) => return exit,
    };
    let result = engine::up(&cx).await;
    handle.finish();
    say_log(result.exit_code, log.as_deref());
    Exit(result.exit_code)
}

/// Asks before running containers are interrupted; nobody to ask means yes, since a script has no terminal and said `up`.
fn confirm(pauser: report::Pauser) -> engine::Confirm {
    Box::new(move |what: &[String]| {
        let _pause = pauser.pause();
        for line in what {
            eprintln!("  {line}");
        }
        output::yes("replace or remove these running containers?").unwrap_or(true)
    })
}

/// Where everything of a failed run can be read.
pub(super) fn say_log(code: u8, log: Option<&std::path::Path>) {
    if let (true, Some(path)) = (code != 0, log) {
        eprintln!("log: {}", path.display());
    }
}

fn read_plan(path: &std::path::Path) -> Result<SavedPlan, Exit> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        eprintln!("{}: cannot be read: {error}", path.display());
        Exit::USAGE
    })?;
    SavedPlan::parse(&text).map_err(|error| {
        eprintln!("{}: failed to {error}", path.display());
        Exit::USAGE
    })
}

/// `toots cluster plan`
pub(super) async fn plan(args: Plan) -> Exit {
    let loaded = match context::load(&args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    context::warn_open(&loaded);
    let scope = match context::scope(&loaded.inventory, &args.limit) {
        Ok(scope) => scope,
        Err(exit) => return exit,
    };
    let text = loaded.text.clone();
    let run_id = run_id();
    let log = log::begin(&run_id);
    let (events, handle) = output::reporter(args.shown.output);
    let json = output::mode(args.shown.output) == report::Mode::Json;
    let cancel = Cancel::default();
    signals::watch(cancel.clone());
    let wanted = Wanted {
        command: "cluster plan",
        connection: &args.connection,
        events: Arc::clone(&events),
        scope: scope.clone(),
        mode: Mode::default(),
        timeout: args.shown.timeout,
        run_id,
        cancel,
    };
    let cx = match context::context(loaded, wanted) {
        Ok(cx) => cx,
        Err(exit) => return exit,
    };
    let mut planned = match engine::observe_and_plan(&cx).await {
        Ok(planned) => planned,
        Err(result) => {
            handle.finish();
            say_log(result.exit_code, log.as_deref());
            return Exit(result.exit_code);
        }
    };
    planned.plan.hosts.retain(|host| scope.contains(&host.host));
    let changes = planned.plan.changes();
    let saved = SavedPlan::of(cx.cluster.as_str(), &text, &planned.plan);
    let exit = if args.exit_code && changes > 0 {
        Exit::CHANGES
    } else {
        Exit::DONE
    };
    if json {
        events.send(Event::Planned {
            changes: saved.changes.clone(),
        });
        events.send(Event::Result(planned.result(exit.0)));
    }
    handle.finish();
    if !json {
        output::print(&report::plan_text(
            &views(&planned.plan),
            output::options().out_colour,
        ));
    }
    if let Some(path) = &args.out
        && let Err(exit) = write_plan(path, &saved)
    {
        return exit;
    }
    exit
}

fn write_plan(path: &std::path::Path, saved: &SavedPlan) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(saved).unwrap_or_default() + "\n";
    std::fs::write(path, text).map_err(|error| {
        eprintln!("{}: cannot be written: {error}", path.display());
        Exit::INTERNAL
    })
}

fn views(plan: &crate::plan::Plan) -> Vec<PlanHostView> {
    let view = |host: &crate::plan::HostPlan| PlanHostView {
        host: host.host.clone(),
        roles: host.roles.clone(),
        changes: host.steps().flat_map(changes).collect(),
    };
    plan.hosts.iter().map(view).collect()
}

fn changes(step: &Step) -> Vec<PlanChange> {
    let change = |symbol, what: String, reason: &str, diff| PlanChange {
        symbol,
        what,
        reason: reason.to_owned(),
        diff,
    };
    match step {
        Step::Place {
            dirs,
            files,
            hosts_entries,
        } => {
            let sign = |why: &str| if why == "new" { '+' } else { '~' };
            let dirs = dirs
                .iter()
                .map(|(dir, why)| change(sign(why), format!("directory {}", dir.path), why, None));
            let files = files.iter().map(|f| {
                // The record of a container repeats what its own line says.
                let diff = f.diff.clone().filter(|_| {
                    !f.file.path.starts_with("/etc/toots/containers/") || f.reason != "new"
                });
                change(
                    sign(&f.reason),
                    format!("file {}", f.file.path),
                    &f.reason,
                    diff,
                )
            });
            let entries = hosts_entries.iter().map(|entries| {
                let lines: Vec<String> = entries
                    .iter()
                    .map(|(address, name)| format!("{address} {name}"))
                    .collect();
                change(
                    '~',
                    format!("/etc/hosts: {}", lines.join(", ")),
                    "registry's name",
                    None,
                )
            });
            dirs.chain(files).chain(entries).collect()
        }
        Step::Install { package, manager } => {
            vec![change(
                '+',
                package.as_str().to_owned(),
                &format!("absent, installed by {manager}"),
                None,
            )]
        }
        Step::Pull { image, digest } => {
            let reason = digest
                .as_deref()
                .unwrap_or("digest resolved when the registry can be asked");
            vec![change('+', format!("image {image}"), reason, None)]
        }
        Step::Create { spec } => vec![change(
            '+',
            format!("container {}", spec.name()),
            spec.image.as_str(),
            None,
        )],
        Step::Replace { spec, reason } => vec![change(
            '!',
            format!("container {}", spec.name()),
            reason,
            None,
        )],
        Step::Start { container, state } => vec![change(
            '~',
            format!("container {container}"),
            &format!("it is {state}"),
            None,
        )],
        Step::Signal {
            container,
            signal,
            files,
        } => {
            vec![change(
                '~',
                format!("container {container}"),
                &format!("{signal} for {}", files.join(", ")),
                None,
            )]
        }
        Step::Unit { unit, reason } => vec![change(
            if reason == "new" { '+' } else { '~' },
            format!("unit {unit}"),
            reason,
            None,
        )],
        Step::RemoveUnit { unit } => vec![change(
            '-',
            format!("unit {unit}"),
            "no longer wanted here",
            None,
        )],
        Step::Remove { container, reason } => {
            vec![change('-', format!("container {container}"), reason, None)]
        }
    }
}

/// Takes what a status does not show; its failures are in the table.
struct Quiet;

impl EventSink for Quiet {
    fn send(&self, event: Event) {
        tracing::debug!(?event);
    }
}

/// Reads the cluster once.
pub(super) async fn look(
    loaded: Loaded,
    connection: &Connection,
) -> Result<(ClusterName, StatusView), Exit> {
    let scope = loaded
        .inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .collect();
    let wanted = Wanted {
        command: "cluster status",
        connection,
        events: Arc::new(Quiet),
        scope,
        mode: Mode::default(),
        timeout: None,
        run_id: run_id(),
        cancel: Cancel::default(),
    };
    let cx = context::context(loaded, wanted)?;
    let view = engine::status(&cx).await;
    Ok((cx.cluster, view))
}

/// `toots cluster status`
pub(super) async fn status(args: Status) -> Exit {
    loop {
        let loaded = match context::load(&args.source) {
            Ok(loaded) => loaded,
            Err(exit) => return exit,
        };
        let (cluster, view) = match look(loaded, &args.connection).await {
            Ok(seen) => seen,
            Err(exit) => return exit,
        };
        let healthy = view.healthy;
        let report = status_report(&cluster, view);
        if args.watch && args.output != Some(Output::Json) {
            // The screen is cleared only where there is one.
            use std::io::IsTerminal as _;
            if std::io::stdout().is_terminal() {
                output::print("\x1b[2J\x1b[H");
            }
        }
        match args.output {
            Some(Output::Json) => output::print(&(report::status_json(&report) + "\n")),
            _ => output::print(&report::status_table(
                &report,
                output::options().width(),
                output::options().out_colour,
            )),
        }
        if !args.watch {
            return if healthy { Exit::DONE } else { Exit::GATE };
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(2)) => {}
            _ = tokio::signal::ctrl_c() => return Exit::INTERRUPTED,
        }
    }
}

fn status_report(cluster: &ClusterName, view: StatusView) -> StatusReport {
    let mut hosts: Vec<HostStatusView> = Vec::new();
    let unread: BTreeMap<_, _> = view.unread;
    for (host, components) in view.hosts {
        let components = components
            .into_iter()
            .map(|(name, state)| ComponentView {
                component: name.to_string(),
                health: Some(if state.as_wanted {
                    "ok".to_owned()
                } else {
                    "not as wanted".to_owned()
                }),
                state: state.state,
                role: state.role,
                version: state.version,
                image: Some(state.image),
            })
            .collect();
        hosts.push(HostStatusView {
            host,
            error: None,
            components,
        });
    }
    for (host, why) in unread {
        hosts.push(HostStatusView {
            host,
            error: Some(why),
            components: Vec::new(),
        });
    }
    let services = view
        .services
        .into_iter()
        .map(|(row, verdict)| ServiceView {
            row,
            members: verdict.members,
            quorum: (verdict.quorum > 0).then_some(verdict.quorum),
        })
        .collect();
    StatusReport {
        cluster: cluster.clone(),
        healthy: view.healthy,
        services,
        hosts,
        web: view.web,
    }
}
