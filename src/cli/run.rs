//! From the process's arguments to its exit code.

use std::panic::AssertUnwindSafe;

use clap::Parser as _;
use futures::FutureExt as _;

use super::args::bundle::BundleCommand;
use super::args::{Cli, ClusterCommand, Command, InventoryCommand, SshCommand};
use super::error::{self, CliError};
use super::{
    add, app, bundle, check, cluster, hints, inventory, job, output, render, repair, signals, ssh,
    tunnel,
};
use crate::report;
use crate::spec::{ExitCode, Role};

/// Runs the command line and returns the exit code. Never panics on an operator's mistake.
#[must_use]
pub fn main() -> u8 {
    let json = wants_json(std::env::args());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, json).0,
    };
    let inventory = cli.command.source().and_then(hints::named_inventory);
    report_panics_to_log();
    let exit = tokio::runtime::Runtime::new()
        .map_err(CliError::Start)
        .and_then(|runtime| {
            let dispatched = AssertUnwindSafe(dispatch_until_signal(cli.command)).catch_unwind();
            let result = runtime.block_on(dispatched);
            // A thread that still waits for a terminal or a name must not hold the process.
            runtime.shutdown_background();
            result.unwrap_or(Err(CliError::Panicked))
        })
        .unwrap_or_else(|error| {
            error.show(json, inventory.as_deref());
            error.exit_code()
        });
    if exit == ExitCode::DONE && report::data_was_lost() {
        return ExitCode::INTERNAL.0;
    }
    exit.0
}

/// Writes the report of a panic to the log of the run: an operator cannot do anything with it, and a
/// terminal that went away must not make it worse.
fn report_panics_to_log() {
    let (panics, errors) = color_eyre::config::HookBuilder::new()
        .display_env_section(false)
        .into_hooks();
    if let Err(error) = errors.install() {
        output::message(&format!("warning: {error}"));
    }
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("internal error: {}", panics.panic_report(panic));
    }));
}

/// Shows help, the version or a usage error.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    // Help and version are answers, not mistakes.
    if !error.use_stderr() {
        return match error.print() {
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
        error::show_json(ExitCode::USAGE, what, hints);
    } else {
        // A message that cannot be written cannot be reported either.
        let _ = error.print();
    }
    ExitCode::USAGE
}

/// Whether JSON was requested, even when the rest of the command line is invalid.
fn wants_json(args: impl Iterator<Item = String>) -> bool {
    let args: Vec<String> = args.collect();
    let options = args.split(|arg| arg == "--").next().unwrap_or_default();
    options.iter().any(|arg| arg == "--output=json")
        || options.windows(2).any(|pair| pair == ["--output", "json"])
}

/// Runs a command to its end, or to the first signal when it has no order of its own to end in.
/// Dropping it gives back the terminal and closes its connections.
async fn dispatch_until_signal(command: Command) -> Result<ExitCode, CliError> {
    if ends_in_order(&command) {
        return dispatch(command).await;
    }
    let signal = signals::first();
    tokio::select! {
        // First, so that a command that answers Ctrl-C itself does so.
        biased;
        result = dispatch(command) => result,
        cause = signal => {
            output::message(&format!("\n{}", cause.as_str()));
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

async fn dispatch(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Cluster(ClusterCommand::Up(args)) => cluster::up(args).await,
        Command::Cluster(ClusterCommand::Check(args)) => check::check_hosts(args).await,
        Command::Cluster(ClusterCommand::Plan(args)) => cluster::plan(args).await,
        Command::Cluster(ClusterCommand::Status(args)) => cluster::status(args).await,
        Command::Cluster(ClusterCommand::Repair(args)) => repair::repair_member(args).await,
        Command::Cluster(ClusterCommand::AddSlave(args)) => add::add_host(args, Role::Slave).await,
        Command::Cluster(ClusterCommand::AddEdge(args)) => add::add_host(args, Role::Edge).await,
        Command::Inventory(InventoryCommand::Check(source)) => inventory::check(&source),
        Command::Inventory(InventoryCommand::Import { file }) => inventory::import(&file),
        Command::Render(args) => render::render_hosts(&args),
        Command::Ssh(SshCommand::Explain { host, source }) => ssh::explain(&host, &source).await,
        Command::Ssh(SshCommand::Trust { hosts, source, yes }) => {
            ssh::trust(&hosts, &source, yes).await
        }
        Command::App(command) => app::run(command).await,
        Command::Job(command) => job::run(command).await,
        Command::Bundle(command) => bundle::run(command).await,
        Command::Open(args) => tunnel::open_service(args).await,
        Command::Tunnel(args) => tunnel::serve_proxy(args).await,
        Command::Init(args) => inventory::init(&args).await,
        Command::Completions { shell } => {
            // Into memory first: the generator panics when its output cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "toots",
                &mut script,
            );
            output::print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::DONE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_in_both_spellings_and_only_as_an_option() {
        let wants = |line: &str| wants_json(line.split(' ').map(str::to_owned));
        assert!(wants("toots cluster up --output json --wrong"));
        assert!(wants("toots cluster up --output=json"));
        assert!(!wants("toots cluster up --output plain"));
        assert!(!wants("toots ssh trust -- --output json"));
    }
}
