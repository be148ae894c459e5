//! From the process's arguments to its exit code.

use clap::Parser as _;

use super::args::{Cli, Cluster, Command, InventoryCommand, Ssh};
use super::exit::Exit;
use super::{add, app, cluster, inventory, job, render, ssh, tunnel};
use crate::spec::Role;

/// Runs the command line and returns the exit code. Never panics on an operator's mistake.
#[must_use]
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let code = if error.use_stderr() {
                Exit::USAGE
            } else {
                Exit::DONE
            };
            drop(error.print());
            return code.0;
        }
    };
    if let Err(error) = color_eyre::config::HookBuilder::new()
        .display_env_section(false)
        .install()
    {
        eprintln!("toots: {error}");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("toots: failed to start: {error}");
            return Exit::INTERNAL.0;
        }
    };
    let exit = runtime.block_on(dispatch(cli.command));
    // A thread that still waits for a terminal or a name must not hold the process.
    runtime.shutdown_background();
    exit.0
}

async fn dispatch(command: Command) -> Exit {
    match command {
        Command::Cluster(Cluster::Up(args)) => cluster::up(args).await,
        Command::Cluster(Cluster::Plan(args)) => cluster::plan(args).await,
        Command::Cluster(Cluster::Status(args)) => cluster::status(args).await,
        Command::Cluster(Cluster::AddSlave(args)) => add::add(args, Role::Slave).await,
        Command::Cluster(Cluster::AddEdge(args)) => add::add(args, Role::Edge).await,
        Command::Inventory(InventoryCommand::Check(source)) => inventory::check(&source),
        Command::Inventory(InventoryCommand::Import { file }) => inventory::import(&file),
        Command::Render(args) => render::render(&args),
        Command::Ssh(Ssh::Explain { host, source }) => ssh::explain(&host, &source).await,
        Command::Ssh(Ssh::Trust { hosts, source, yes }) => ssh::trust(&hosts, &source, yes).await,
        Command::App(command) => app::run(command).await,
        Command::Job(command) => job::run(command).await,
        Command::Open(args) => tunnel::open(args).await,
        Command::Tunnel(args) => tunnel::tunnel(args).await,
        Command::Init(args) => inventory::init(&args),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "toots",
                &mut std::io::stdout(),
            );
            Exit::DONE
        }
    }
}
