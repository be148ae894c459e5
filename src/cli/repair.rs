//! `toots cluster repair`: the data of one member are replaced by those of the others.

use super::args::RepairArgs;
use super::console::Console;
use super::context;
use super::error::CliError;
use super::start::{self, StartRequest};
use crate::engine::RunOptions;
use crate::spec::{ComponentName, ExitCode, HostName};

pub(super) async fn repair_member(
    console: &Console,
    args: RepairArgs,
) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    let host = loaded.inventory.host(&args.host);
    let host = host.ok_or_else(|| CliError::UnknownHost {
        name: args.host.clone(),
        known: context::host_names(&loaded.inventory),
    })?;
    let host = host.name.clone();
    let component = repairable(&loaded, &host, &args.component)?;
    let request = StartRequest {
        command: "cluster repair",
        source: Some(&args.source),
        connection: &args.connection,
        shown: &args.shown,
        scope: [host].into(),
        options: RunOptions {
            repair: Some(component),
            lock_wait: args.lock.lock_wait,
            ..RunOptions::default()
        },
        question: (!args.yes).then_some("stop this member and move its data aside?"),
    };
    start::change_hosts(console, loaded, request).await
}

/// The component, when the host runs it and its members take their data from each other.
fn repairable(
    loaded: &context::Loaded,
    host: &HostName,
    name: &str,
) -> Result<ComponentName, CliError> {
    let here = loaded
        .offline
        .hosts
        .iter()
        .filter(|wanted| wanted.name == *host);
    let components = here.flat_map(|wanted| &wanted.components);
    let known: Vec<&ComponentName> = components
        .filter(|component| !component.rejoin_dirs.is_empty())
        .map(|component| &component.name)
        .collect();
    let found = known.iter().find(|known| known.as_str() == name);
    found
        .map(|name| (*name).clone())
        .ok_or_else(|| CliError::NotRepairable {
            component: name.to_owned(),
            host: host.clone(),
            known: known.iter().map(ToString::to_string).collect(),
        })
}
