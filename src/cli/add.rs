//! `toots cluster add-slave`, `add-edge`: contacts only the machine and the masters; the file is
//! written only when the host has joined.

use super::args::AddArgs;
use super::console::Console;
use super::error::CliError;
use super::start::{self, StartRequest};
use super::{bundle, context};
use crate::engine::RunOptions;
use crate::env::{FileAccess, folder_of};
use crate::inventory::{self, BaseFolders};
use crate::spec::{ExitCode, HostName, Role};

pub(super) async fn add_host(
    console: &Console,
    args: AddArgs,
    role: Role,
) -> Result<ExitCode, CliError> {
    let (before, text) = inventory::load(
        console.files(),
        console.home().as_deref(),
        &args.source.inventory,
    )?;
    let name = HostName::new(
        args.name
            .clone()
            .unwrap_or_else(|| args.address.to_string()),
    )?;
    if let Some(other) = before
        .hosts
        .iter()
        .find(|host| host.address == args.address && host.name != name)
    {
        return Err(CliError::AddressInUse {
            address: args.address,
            name: other.name.clone(),
            role,
        });
    }
    let known = before.host(name.as_str()).is_some();
    let address = (!known).then_some(args.address);
    let edited = inventory::add_host(&text, role, &name, address, args.user.as_deref(), args.port)?;
    let file = args.source.inventory.display().to_string();
    let folders = BaseFolders {
        relative: folder_of(&args.source.inventory).to_owned(),
        home: console.home(),
    };
    let after = inventory::parse(&edited, &file, folders)?;
    let loaded = context::fit(console, after, edited.clone(), &args.source)?;
    let request = StartRequest {
        command: if role == Role::Edge {
            "cluster add-edge"
        } else {
            "cluster add-slave"
        },
        source: Some(&args.source),
        connection: &args.connection,
        shown: &args.shown,
        scope: [name.clone()].into(),
        options: RunOptions {
            lock_wait: args.lock.lock_wait,
            bundle: bundle::verify(console, args.images, &args.shown).await?,
            ..RunOptions::default()
        },
        question: None,
    };
    let code = start::change_hosts(console, loaded, request).await?;
    if code != ExitCode::DONE {
        console.message(&format!("{file} is unchanged: {name} was not added"));
        return Ok(code);
    }
    if edited == text {
        return Ok(ExitCode::DONE);
    }
    if let Err(error) = write(console.files(), &args.source.inventory, &text, &edited) {
        return Err(CliError::InventoryNotUpdated {
            name,
            role,
            file,
            why: error.to_string(),
        });
    }
    console.message(&format!("{name} was added to {file}"));
    Ok(ExitCode::DONE)
}

/// Replaces the whole file and keeps its mode, unless somebody changed it during the run.
fn write(
    files: &dyn FileAccess,
    path: &std::path::Path,
    before: &str,
    after: &str,
) -> std::io::Result<()> {
    if files.read_text(path)? != before {
        return Err(std::io::Error::other("it changed during the run"));
    }
    files.replace(path, after.as_bytes())
}
