//! From a command line to its exit code: of this process, or of a run in memory.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use futures::FutureExt as _;

use super::args::bundle::BundleCommand;
use super::args::{Cli, ClusterCommand, Command, DEFAULT_INVENTORY, InventoryCommand, SshCommand};
use super::console::Console;
use super::env::Env;
use super::error::{self, CliError};
use super::{
    add, app, bundle, check, cluster, hints, inventory, job, render, repair, signals, ssh, tunnel,
};
use crate::env::{Blocking, StandardStream, TaskGroup};
use crate::spec::{ExitCode, Role};

/// The process: its own surroundings, a runtime, and the command line that it was started with.
#[must_use]
pub fn main() -> u8 {
    let tasks = TaskGroup::new(Blocking::OnThreads);
    let env = Env::of_process(tasks.spawner());
    let console = Console::new(env.clone());
    report_panics_to_log(&console);
    #[expect(clippy::disallowed_methods, reason = "the real process's arguments")]
    let argv = std::env::args_os();
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(argv, env));
            tasks.end();
            // A thread that still waits for a terminal or a name must not hold the process.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            let (error, argv): (_, Vec<OsString>) = (CliError::Start(error), argv.collect());
            error.show(&console, wants_json(&argv), None);
            error.exit_code().0
        }
    }
}

/// Runs a command line, program name first, and returns the exit code. Never panics on an
/// operator's mistake. Everything that it starts belongs to the tasks of `env`; the run itself is
/// polled by the caller, as a rule through [`TaskGroup::contain`].
pub async fn run<T: Into<OsString>>(argv: impl IntoIterator<Item = T>, env: Env) -> u8 {
    let argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    let tasks = env.machine.tasks.clone();
    tasks.scope(run_in_scope(&argv, env).boxed_local()).await.0
}

async fn run_in_scope(argv: &[OsString], env: Env) -> ExitCode {
    let console = Console::new(env);
    let json = wants_json(argv);
    let mut cli = match parse(argv, &console) {
        Ok(cli) => cli,
        Err(error) => return refuse(&console, &error, json),
    };
    let source = cli.command.source_mut();
    let inventory = source.and_then(|source| hints::named_inventory(source));
    let dispatched = dispatch_until_signal(&console, cli.command).boxed_local();
    let dispatched = AssertUnwindSafe(dispatched).catch_unwind();
    let result = dispatched.await.unwrap_or(Err(CliError::Panicked));
    console.reporters_ended().await;
    let exit = result.unwrap_or_else(|error| {
        error.show(&console, json, inventory.as_deref());
        error.exit_code()
    });
    if exit == ExitCode::DONE && console.streams.data_was_lost() {
        return ExitCode::INTERNAL;
    }
    exit
}

/// Parses the command line. Variables are those of `console`; clap itself knows the process's alone.
fn parse(argv: &[OsString], console: &Console) -> Result<Cli, clap::Error> {
    let machine = console.machine();
    let terminal = [StandardStream::Output, StandardStream::Error]
        .into_iter()
        .find_map(|stream| machine.terminal.size(stream));
    let columns = terminal.map(|(columns, _)| columns).or_else(|| {
        let columns = machine.variables.text("COLUMNS")?;
        columns.parse().ok()
    });
    let command = Cli::command().term_width(columns.unwrap_or(100));
    let mut matches = command.try_get_matches_from(argv)?;
    let is_given = |id: &str| {
        let mut matches = &matches;
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        let is_known = matches.try_contains_id(id).is_ok();
        is_known && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let (has_inventory, has_playbooks) = (is_given("inventory"), is_given("playbooks"));
    let mut cli = Cli::from_arg_matches_mut(&mut matches)
        .map_err(|error| error.format(&mut Cli::command()))?;
    if let Some(source) = cli.command.source_mut() {
        if !has_inventory {
            let variable = machine.variables.path("TOOTS_INVENTORY");
            source.inventory = variable.unwrap_or_else(|| DEFAULT_INVENTORY.into());
        }
        if !has_playbooks {
            source.playbooks = machine.variables.path("TOOTS_PLAYBOOKS");
        }
    }
    Ok(cli)
}

/// Writes the report of a panic to the log of the run: an operator cannot do anything with it, and a
/// terminal that went away must not make it worse.
fn report_panics_to_log(console: &Console) {
    let (panics, errors) = color_eyre::config::HookBuilder::new()
        .display_env_section(false)
        .into_hooks();
    if let Err(error) = errors.install() {
        console.message(&format!("warning: {error}"));
    }
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("internal error: {}", panics.panic_report(panic));
    }));
}

/// Shows help, the version or a usage error.
fn refuse(console: &Console, error: &clap::Error, json: bool) -> ExitCode {
    let terminal = &console.machine().terminal;
    let styled = error.render();
    let text = |stream, colour: bool| match terminal.is_terminal(stream) && colour {
        true => styled.ansi().to_string(),
        false => styled.to_string(),
    };
    let options = console.options();
    // Help and version are answers, not mistakes.
    if !error.use_stderr() {
        let text = text(StandardStream::Output, options.out_colour);
        return match terminal.write_output(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::INTERNAL,
            _ => ExitCode::DONE,
        };
    }
    if json {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let what = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        let hints = lines.map(Into::into).collect();
        error::show_json(console, ExitCode::USAGE, what, hints);
    } else {
        let text = text(StandardStream::Error, options.colour);
        // A message that cannot be written cannot be reported either.
        let _ = terminal.write_error(text.as_bytes());
    }
    ExitCode::USAGE
}

/// Whether JSON was requested, even when the rest of the command line is invalid.
fn wants_json(argv: &[OsString]) -> bool {
    let options = argv.split(|arg| arg == "--").next().unwrap_or_default();
    options.iter().any(|arg| arg == "--output=json")
        || options
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json")
}

/// Runs a command to its end, or to the first signal when it has no order of its own to end in.
/// Dropping it gives back the terminal and closes its connections.
async fn dispatch_until_signal(console: &Console, command: Command) -> Result<ExitCode, CliError> {
    if ends_in_order(&command) {
        return dispatch(console, command).boxed_local().await;
    }
    let signal = signals::first(console);
    tokio::select! {
        // First, so that a command that answers Ctrl-C itself does so.
        biased;
        result = dispatch(console, command).boxed_local() => result,
        cause = signal => {
            console.message(&format!("\n{}", cause.as_str()));
            Ok(cause.exit_code(false))
        }
    }
}

/// Whether the command's run watches signals by itself.
fn ends_in_order(command: &Command) -> bool {
    use ClusterCommand::{AddEdge, AddSlave, Check, Plan, Repair, Up};
    matches!(
        command,
        Command::Cluster(Up(_) | Check(_) | Plan(_) | Repair(_) | AddSlave(_) | AddEdge(_))
            | Command::Bundle(BundleCommand::Create(_))
    )
}

async fn dispatch(console: &Console, command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Cluster(ClusterCommand::Up(args)) => cluster::up(console, args).await,
        Command::Cluster(ClusterCommand::Check(args)) => check::check_hosts(console, args).await,
        Command::Cluster(ClusterCommand::Plan(args)) => cluster::plan(console, args).await,
        Command::Cluster(ClusterCommand::Status(args)) => cluster::status(console, args).await,
        Command::Cluster(ClusterCommand::Repair(args)) => {
            repair::repair_member(console, args).await
        }
        Command::Cluster(ClusterCommand::AddSlave(args)) => {
            add::add_host(console, args, Role::Slave).await
        }
        Command::Cluster(ClusterCommand::AddEdge(args)) => {
            add::add_host(console, args, Role::Edge).await
        }
        Command::Inventory(InventoryCommand::Check(source)) => inventory::check(console, &source),
        Command::Inventory(InventoryCommand::Import { file }) => inventory::import(console, &file),
        Command::Render(args) => render::render_hosts(console, &args),
        Command::Ssh(SshCommand::Explain { host, source }) => {
            ssh::explain(console, &host, &source).await
        }
        Command::Ssh(SshCommand::Trust { hosts, source, yes }) => {
            ssh::trust(console, &hosts, &source, yes).await
        }
        Command::App(command) => app::run(console, command).await,
        Command::Job(command) => job::run(console, command).await,
        Command::Bundle(command) => bundle::run(console, command).await,
        Command::Open(args) => tunnel::open_service(console, args).await,
        Command::Tunnel(args) => tunnel::serve_proxy(console, args).await,
        Command::Init(args) => inventory::init(console, &args).await,
        Command::Completions { shell } => {
            // Into memory first: the generator panics when its output cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "toots", &mut script);
            console.print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::DONE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_in_both_spellings_and_only_as_an_option() {
        let wants = |line: &str| {
            let argv: Vec<OsString> = line.split(' ').map(Into::into).collect();
            wants_json(&argv)
        };
        assert!(wants("toots cluster up --output json --wrong"));
        assert!(wants("toots cluster up --output=json"));
        assert!(!wants("toots cluster up --output plain"));
        assert!(!wants("toots ssh trust -- --output json"));
    }
}
