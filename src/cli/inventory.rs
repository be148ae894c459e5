//! `toots inventory check`, `import` and `toots init`. Contacts no host.

use std::path::Path;

use super::args::{DEFAULT_INVENTORY, InitArgs, SourceArgs};
use super::console::Console;
use super::context::read_text;
use super::error::CliError;
use super::{context, hints, menu};
use crate::env::{FileAccess, StandardStream, folder_of};
use crate::inventory::{Draft, InventoryErrors};
use crate::spec::{ExitCode, Remedy, Role};

/// `toots inventory check`
pub(super) fn check(console: &Console, source: &SourceArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, source)?;
    context::warn_open(console, &loaded);
    let count = |role: Role| match loaded.inventory.with_role(role).count() {
        1 => format!("1 {role}"),
        n => format!("{n} {role}s"),
    };
    let containers: usize = loaded
        .offline
        .hosts
        .iter()
        .map(|host| host.components.len())
        .sum();
    console.print(&format!(
        "{} is valid: cluster {}, {} hosts ({}, {}, {}), {containers} containers\n",
        source.inventory.display(),
        loaded.inventory.cluster,
        loaded.inventory.hosts.len(),
        count(Role::Master),
        count(Role::Slave),
        count(Role::Edge),
    ));
    Ok(ExitCode::DONE)
}

/// `toots inventory import`
pub(super) fn import(console: &Console, file: &Path) -> Result<ExitCode, CliError> {
    let text = read_text(console.files(), file)?;
    let inventory = crate::inventory::import(&text, &file.display().to_string())?;
    console.print(&inventory);
    Ok(ExitCode::DONE)
}

/// `toots init`
pub(super) async fn init(console: &Console, args: &InitArgs) -> Result<ExitCode, CliError> {
    let path = match &args.out {
        Some(path) => Some(path.as_path()),
        None => console
            .is_terminal(StandardStream::Output)
            .then(|| Path::new(DEFAULT_INVENTORY)),
    };
    // Before the first question: the answers would be lost.
    path.map_or(Ok(()), |path| require_new(console.files(), path))?;
    let given = Draft {
        cluster: args.cluster.clone(),
        masters: args.masters.clone(),
        slaves: args.slaves.clone(),
        edges: args.edges.clone(),
        user: args.user.clone(),
        nic: args.nic.clone(),
        in_domain: args.in_domain.clone(),
        ex_domain: args.ex_domain.clone(),
        vip: args.vip,
        nfs: args.nfs.clone(),
        registry: args.registry.clone(),
        ca: args.ca.clone(),
        switches: args.with.clone(),
    };
    let has_person = console.is_terminal(StandardStream::Input);
    let answers = match (given.masters.is_empty(), has_person) {
        (false, _) => Ok(given),
        (true, true) => menu::ask(given, &*console.machine().terminal).await,
        (true, false) => return Err(CliError::NothingToInit),
    }
    .map_err(|_| CliError::InitAborted)?;
    let text = crate::inventory::draft(&answers);
    crate::inventory::parse(&text, "the inventory", Path::new("."))
        .map_err(InventoryErrors::without_places)?;
    match path {
        None => console.print(&text),
        Some(path) => {
            write_new(console.files(), path, &text)?;
            let next = Remedy::RunFirstCommands.text(hints::named_file(path));
            console.message(&format!("wrote {}; next:\n  {next}", path.display()));
        }
    }
    Ok(ExitCode::DONE)
}

/// Refuses a path at which a new file cannot be written.
fn require_new(files: &dyn FileAccess, path: &Path) -> Result<(), CliError> {
    match (files.is_taken(path), files.status(folder_of(path))) {
        (true, _) => Err(CliError::Exists(path.to_owned())),
        (false, Ok(_)) => Ok(()),
        (false, Err(source)) => Err(CliError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file that does not exist.
fn write_new(files: &dyn FileAccess, path: &Path, text: &str) -> Result<(), CliError> {
    files
        .write_new(path, text.as_bytes())
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => CliError::Exists(path.to_owned()),
            _ => CliError::Write {
                path: path.to_owned(),
                source,
            },
        })
}
