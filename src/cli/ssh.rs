//! `toots ssh …`

use super::args::{Connection, Source};
use super::exit::Exit;
use super::{context, output};

fn plain() -> Connection {
    Connection { accept_new_host_keys: false, ask_password: false, ask_sudo_password: false, connect_timeout: None }
}

/// `toots ssh explain`
pub(super) fn explain(host: &str, source: &Source) -> Exit {
    let loaded = match context::load(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let Some(entry) = loaded.inventory.host(host) else {
        eprintln!("toots: no host {host:?} in {}", source.inventory.display());
        return Exit::USAGE;
    };
    let settings = context::host_settings(&loaded.inventory, entry, &plain());
    output::print(&format!("{settings:#?}\n"));
    Exit::DONE
}

/// `toots ssh trust`
pub(super) async fn trust(_hosts: &[String], _source: &Source, _yes: bool) -> Exit {
    Exit::USAGE
}
