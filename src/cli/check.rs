//! `toots cluster check`: preflight of all hosts, without a plan and without a run. Also of machines
//! for which there is no inventory yet.

use super::args::CheckArgs;
use super::console::Console;
use super::context::{self, Loaded};
use super::error::CliError;
use super::start::{self, StartRequest};
use crate::engine::{self, RunOptions};
use crate::inventory;
use crate::spec::ExitCode;

pub(super) async fn check_hosts(console: &Console, args: CheckArgs) -> Result<ExitCode, CliError> {
    let has_inventory = args.hosts.is_empty();
    let loaded = if has_inventory {
        context::load(console, &args.source)?
    } else {
        load_candidates(console, &args)?
    };
    context::warn_open(console, &loaded);
    let request = StartRequest {
        command: "cluster check",
        source: has_inventory.then_some(&args.source),
        connection: &args.connection,
        shown: &args.shown,
        scope: context::scope(&loaded.inventory, &[])?,
        options: RunOptions::default(),
        question: None,
    };
    let run = start::begin(console, loaded, request)?;
    let result = engine::check(&run.cx).await;
    Ok(run.finish(console, ExitCode(result.exit_code)).await)
}

fn load_candidates(console: &Console, args: &CheckArgs) -> Result<Loaded, CliError> {
    let inventory = inventory::candidates(&args.hosts, args.user.as_deref(), args.port)?;
    context::fit(console, inventory, String::new(), &args.source)
}
