//! `toots cluster add-slave`, `add-edge`: contacts only the machine and the masters; the file is written only when the host is in.

use std::io::Write as _;

use super::args::Add;
use super::cluster::{run_id, say_log};
use super::context::{self, Wanted};
use super::exit::Exit;
use super::{log, output, signals};
use crate::engine::{self, Cancel, Mode};
use crate::inventory;
use crate::spec::{HostName, Role};

pub(super) async fn add(args: Add, role: Role) -> Exit {
    let (before, text) = match inventory::load(&args.source.inventory) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::USAGE;
        }
    };
    let name = match HostName::new(
        args.name
            .clone()
            .unwrap_or_else(|| args.address.to_string()),
    ) {
        Ok(name) => name,
        Err(error) => {
            eprintln!("toots: {error}");
            return Exit::USAGE;
        }
    };
    if let Some(other) = before
        .hosts
        .iter()
        .find(|host| host.address == args.address && host.name != name)
    {
        eprintln!(
            "toots: {} is in the inventory already, as {}\n  hint: toots cluster add-{role} {} --name {}",
            args.address, other.name, args.address, other.name
        );
        return Exit::USAGE;
    }
    let known = before.host(name.as_str()).is_some();
    let address = (!known).then_some(args.address);
    let edited =
        match inventory::add_host(&text, role, &name, address, args.user.as_deref(), args.port) {
            Ok(edited) => edited,
            Err(error) => {
                eprintln!("toots: failed to {error}");
                return Exit::USAGE;
            }
        };
    let file = args.source.inventory.display().to_string();
    let base = args
        .source
        .inventory
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(std::path::Path::new("."));
    let after = match inventory::parse(&edited, &file, base) {
        Ok(after) => after,
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::USAGE;
        }
    };
    let loaded = match context::fit(after, edited.clone(), &args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let run_id = run_id();
    let log = log::begin(&run_id);
    let (events, handle) = output::reporter(args.shown.output);
    let cancel = Cancel::default();
    signals::watch(cancel.clone());
    let wanted = Wanted {
        command: if role == Role::Edge {
            "cluster add-edge"
        } else {
            "cluster add-slave"
        },
        connection: &args.connection,
        events,
        scope: [name.clone()].into(),
        mode: Mode::default(),
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
    if result.exit_code != 0 {
        eprintln!("{file} is as it was: {name} is not in it");
        return Exit(result.exit_code);
    }
    if edited == text {
        return Exit::DONE;
    }
    match write(&args.source.inventory, &text, &edited) {
        Ok(()) => {
            eprintln!("{name} was added to {file}");
            Exit::DONE
        }
        Err(why) => {
            eprintln!(
                "toots: {name} is in the cluster, but failed to write {file}: {why}\n  hint: add {name} to {role}s in it by hand"
            );
            Exit::INTERNAL
        }
    }
}

/// Replaces the file as a whole, with its mode, unless somebody changed it meanwhile.
fn write(path: &std::path::Path, before: &str, after: &str) -> Result<(), String> {
    let now = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if now != before {
        return Err("it was changed by somebody else during the run".into());
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(std::path::Path::new("."));
    let mode = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions();
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;
    file.write_all(after.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| error.to_string())?;
    std::fs::set_permissions(file.path(), mode).map_err(|error| error.to_string())?;
    file.persist(path).map_err(|error| error.to_string())?;
    Ok(())
}
