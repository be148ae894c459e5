//! `toots ssh explain` and `toots ssh trust`.

use super::args::{Connection, Source};
use super::context::{self, Dialer, Loaded};
use super::exit::Exit;
use super::output;
use crate::inventory::Host;
use crate::spec::shown;

fn plain() -> Connection {
    Connection {
        accept_new_host_keys: false,
        ask_password: false,
        ask_sudo_password: false,
        limits: super::args::Limits::default(),
    }
}

/// The named hosts; all of the inventory when none is named.
fn named<'a>(loaded: &'a Loaded, names: &[String]) -> Result<Vec<&'a Host>, Exit> {
    if names.is_empty() {
        return Ok(loaded.inventory.hosts.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            loaded.inventory.host(name).ok_or_else(|| {
                let known: Vec<&str> = loaded
                    .inventory
                    .hosts
                    .iter()
                    .map(|host| host.name.as_str())
                    .collect();
                eprintln!(
                    "toots: no host {name:?}\n  hint: the inventory has {}",
                    known.join(", ")
                );
                Exit::USAGE
            })
        })
        .collect()
}

/// `toots ssh explain`: the host is not contacted.
pub(super) async fn explain(host: &str, source: &Source) -> Exit {
    let loaded = match context::load(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let host = match named(&loaded, &[host.to_owned()]).map(|hosts| hosts.into_iter().next()) {
        Ok(Some(host)) => host,
        Ok(None) => return Exit::USAGE,
        Err(exit) => return exit,
    };
    let connection = plain();
    let dialer = Dialer::new(&loaded.inventory, &connection);
    let settings = context::host_settings(&loaded.inventory, host, &connection);
    match dialer.connector().explain(&settings).await {
        Ok(values) => {
            let keyword = values
                .iter()
                .map(|value| value.keyword.len())
                .max()
                .unwrap_or(0);
            let width = values
                .iter()
                .map(|value| value.value.chars().count())
                .max()
                .unwrap_or(0)
                .min(60);
            for value in values {
                output::print(&format!(
                    "{:keyword$}  {:width$}  {}\n",
                    value.keyword,
                    shown(&value.value),
                    shown(&value.origin)
                ));
            }
            Exit::DONE
        }
        Err(error) => {
            eprintln!("toots: failed to {}", shown(&error.to_string()));
            Exit::USAGE
        }
    }
}

/// `toots ssh trust`: shows each key and records it when the operator agrees. A host with another key on record is never overwritten.
pub(super) async fn trust(names: &[String], source: &Source, yes: bool) -> Exit {
    let loaded = match context::load(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let hosts = match named(&loaded, names) {
        Ok(hosts) => hosts,
        Err(exit) => return exit,
    };
    let connection = plain();
    let dialer = Dialer::new(&loaded.inventory, &connection);
    let mut exit = Exit::DONE;
    for host in hosts {
        let settings = context::host_settings(&loaded.inventory, host, &connection);
        let key = match dialer.connector().host_key(&settings).await {
            Ok(key) => key,
            Err(error) => {
                eprintln!("{}: failed to {}", host.name, shown(&error.to_string()));
                for hint in error.hints() {
                    eprintln!("  hint: {}", shown(hint));
                }
                exit = Exit::UNREACHED;
                continue;
            }
        };
        if key.recorded {
            println!("{}: {} is recorded already", host.name, key.fingerprint());
            continue;
        }
        println!("{}: {} shows {}", host.name, key.name(), key.fingerprint());
        let agreed = yes
            || output::yes("is this the key that the machine itself shows (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub)?").unwrap_or(false);
        if !agreed {
            eprintln!("{}: not recorded", host.name);
            exit = Exit::UNREACHED;
            continue;
        }
        match key.record() {
            Ok(_) => println!(
                "{}: recorded in {}",
                host.name,
                key.file()
                    .map(|file| file.display().to_string())
                    .unwrap_or_default()
            ),
            Err(error) => {
                eprintln!("{}: failed to {}", host.name, shown(&error.to_string()));
                exit = Exit::UNREACHED;
            }
        }
    }
    exit
}
