//! `toots inventory check`, `import` and `toots init`. Contacts no host.

use std::io::IsTerminal as _;
use std::path::Path;

use super::args::{DEFAULT_INVENTORY, InitArgs, SourceArgs};
use super::error::CliError;
use super::{context, hints, menu, output};
use crate::inventory::{Draft, InventoryErrors};
use crate::spec::{ExitCode, Remedy, Role};

/// `toots inventory check`
pub(super) fn check(source: &SourceArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(source)?;
    context::warn_open(&loaded);
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
    output::print(&format!(
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
pub(super) fn import(file: &Path) -> Result<ExitCode, CliError> {
    let text = std::fs::read_to_string(file).map_err(|source| CliError::Read {
        path: file.to_owned(),
        source,
    })?;
    let inventory = crate::inventory::import(&text, &file.display().to_string())?;
    output::print(&inventory);
    Ok(ExitCode::DONE)
}

/// `toots init`
pub(super) async fn init(args: &InitArgs) -> Result<ExitCode, CliError> {
    let path = match &args.out {
        Some(path) => Some(path.as_path()),
        None => std::io::stdout()
            .is_terminal()
            .then(|| Path::new(DEFAULT_INVENTORY)),
    };
    // Before the first question: the answers would be lost.
    path.map_or(Ok(()), require_new)?;
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
    let answers = match (given.masters.is_empty(), std::io::stdin().is_terminal()) {
        (false, _) => Ok(given),
        // Questions go to stderr: stdout is the inventory. On a thread of its own, so that a signal
        // is heard while a question is open.
        (true, true) => tokio::task::spawn_blocking(|| {
            menu::ask(given, &mut std::io::stdin().lock(), &mut std::io::stderr())
        })
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error))),
        (true, false) => return Err(CliError::NothingToInit),
    }
    .map_err(|_| CliError::InitAborted)?;
    let text = crate::inventory::draft(&answers);
    crate::inventory::parse(&text, "the inventory", Path::new("."))
        .map_err(InventoryErrors::without_places)?;
    match path {
        None => output::print(&text),
        Some(path) => {
            write_new(path, &text)?;
            let next = Remedy::RunFirstCommands.text(hints::named_file(path));
            output::message(&format!("wrote {}; next:\n  {next}", path.display()));
        }
    }
    Ok(ExitCode::DONE)
}

/// Refuses a path at which a new file cannot be written.
fn require_new(path: &Path) -> Result<(), CliError> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = std::fs::metadata(folder.unwrap_or(Path::new(".")));
    match (std::fs::symlink_metadata(path), folder) {
        (Ok(_), _) => Err(CliError::Exists(path.to_owned())),
        (Err(_), Ok(_)) => Ok(()),
        (Err(_), Err(source)) => Err(CliError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file that does not exist.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => CliError::Exists(path.to_owned()),
            _ => CliError::Write {
                path: path.to_owned(),
                source,
            },
        })
}
