//! `toots inventory check`, `import` and `toots init`; no host is contacted.

use std::fmt::Write as _;
use std::path::Path;

use super::args::{Init, Source};
use super::exit::Exit;
use super::{context, output};
use crate::spec::Role;

/// `toots inventory check`
pub(super) fn check(source: &Source) -> Exit {
    let loaded = match context::load(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let count = |role| loaded.inventory.with_role(role).count();
    let containers: usize = loaded.offline.hosts.iter().map(|host| host.components.len()).sum();
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
    let list = |addresses: &[std::net::IpAddr]| addresses.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    let _ = writeln!(text, "# The cluster's name, also Consul's datacenter.\ncluster = \"{}\"\n", args.cluster);
    let _ = writeln!(
        text,
        "# Three, five or seven: the cluster goes on when one, two or three of them fail.\nmasters = [{}]",
        list(&args.masters)
    );
    let _ = writeln!(text, "\n# They run the applications. A host may be in several lists.\nslaves = [{}]", list(&args.slaves));
    let _ = writeln!(text, "\n# They let the world in.\nedges = [{}]\n", list(&args.edges));
    let _ = writeln!(text, "[network]\n# The interface that holds the addresses above.\nnic = \"{}\"", args.nic);
    text.push_str("\n# Everything else has a default; inventory.toml.example of the project shows it all.\n");
    let name = args.out.as_ref().map_or_else(|| "the inventory".to_owned(), |path| path.display().to_string());
    if let Err(errors) = crate::inventory::parse(&text, &name, Path::new(".")) {
        eprintln!("{errors}");
        return Exit::USAGE;
    }
    let Some(path) = &args.out else {
        output::print(&text);
        return Exit::DONE;
    };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
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
