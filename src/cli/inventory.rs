//! `toots inventory check`, `import` and `toots init`; no host is contacted.

use std::io::IsTerminal as _;
use std::path::Path;

use super::args::{Init, Source};
use super::exit::Exit;
use super::{context, menu, output};
use crate::inventory::Draft;
use crate::spec::Role;

/// `toots inventory check`
pub(super) fn check(source: &Source) -> Exit {
    let loaded = match context::load(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    context::warn_open(&loaded);
    let count = |role| loaded.inventory.with_role(role).count();
    let containers: usize = loaded
        .offline
        .hosts
        .iter()
        .map(|host| host.components.len())
        .sum();
    output::print(&format!(
        "{} is good: cluster {}, {} hosts ({} masters, {} slaves, {} edges), {containers} containers\n",
        source.inventory.display(),
        loaded.inventory.cluster,
        loaded.inventory.hosts.len(),
        count(Role::Master),
        count(Role::Slave),
        count(Role::Edge),
    ));
    Exit::DONE
}

/// `toots inventory import`
pub(super) fn import(file: &Path) -> Exit {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: cannot be read: {error}", file.display());
            return Exit::USAGE;
        }
    };
    match crate::inventory::import(&text, &file.display().to_string()) {
        Ok(inventory) => {
            output::print(&inventory);
            Exit::DONE
        }
        Err(errors) => {
            eprintln!("{errors}");
            Exit::USAGE
        }
    }
}

/// `toots init`
pub(super) fn init(args: &Init) -> Exit {
    let given = Draft {
        cluster: args.cluster.clone(),
        masters: args.masters.clone(),
        slaves: args.slaves.clone(),
        edges: args.edges.clone(),
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
        // Questions go to stderr: stdout is the inventory.
        (true, true) => menu::ask(given, &mut std::io::stdin().lock(), &mut std::io::stderr()),
        (true, false) => {
            eprintln!(
                "toots: init needs --masters IP,IP,IP, or a terminal on which to ask\n  hint: toots init --help"
            );
            return Exit::USAGE;
        }
    };
    let Ok(answers) = answers else {
        eprintln!("\nnothing was written");
        return Exit::INTERRUPTED;
    };
    let text = crate::inventory::draft(&answers);
    let name = args.out.as_ref().map_or_else(
        || "the inventory".to_owned(),
        |path| path.display().to_string(),
    );
    if let Err(errors) = crate::inventory::parse(&text, &name, Path::new(".")) {
        eprintln!("{errors}");
        return Exit::USAGE;
    }
    let Some(path) = &args.out else {
        output::print(&text);
        return Exit::DONE;
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            use std::io::Write as _;
            file.write_all(text.as_bytes())
        });
    match written {
        Ok(()) => Exit::DONE,
        Err(error) => {
            eprintln!("{}: cannot be written: {error}", path.display());
            Exit::USAGE
        }
    }
}
