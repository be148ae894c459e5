//! `toots cluster add-slave`, `add-edge`: contacts only the machine and the masters; the file is
//! written only when the host has joined.

use std::io::Write as _;

use super::args::AddArgs;
use super::error::CliError;
use super::start::{self, StartRequest};
use super::{bundle, context, output};
use crate::engine::RunOptions;
use crate::inventory;
use crate::spec::{ExitCode, HostName, Role};

pub(super) async fn add_host(args: AddArgs, role: Role) -> Result<ExitCode, CliError> {
    let (before, text) = inventory::load(&args.source.inventory)?;
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
    let base = args
        .source
        .inventory
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(std::path::Path::new("."));
    let after = inventory::parse(&edited, &file, base)?;
    let loaded = context::fit(after, edited.clone(), &args.source)?;
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
            bundle: bundle::verify(args.images, &args.shown).await?,
            ..RunOptions::default()
        },
        question: None,
    };
    let code = start::change_hosts(loaded, request).await?;
    if code != ExitCode::DONE {
        output::message(&format!("{file} is unchanged: {name} was not added"));
        return Ok(code);
    }
    if edited == text {
        return Ok(ExitCode::DONE);
    }
    if let Err(error) = write(&args.source.inventory, &text, &edited) {
        return Err(CliError::InventoryNotUpdated {
            name,
            role,
            file,
            why: error.to_string(),
        });
    }
    output::message(&format!("{name} was added to {file}"));
    Ok(ExitCode::DONE)
}

/// Replaces the whole file and keeps its mode, unless somebody changed it during the run.
fn write(path: &std::path::Path, before: &str, after: &str) -> std::io::Result<()> {
    let now = std::fs::read_to_string(path)?;
    if now != before {
        return Err(std::io::Error::other("it changed during the run"));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(std::path::Path::new("."));
    let mode = std::fs::metadata(path)?.permissions();
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(after.as_bytes())?;
    file.as_file().sync_all()?;
    std::fs::set_permissions(file.path(), mode)?;
    file.persist(path)?;
    Ok(())
}
