//! `toots ssh explain` and `toots ssh trust`.

use super::args::{ConnectionArgs, SourceArgs};
use super::console::Console;
use super::context::{self, Dialer, Loaded};
use super::error::CliError;
use super::hints;
use crate::inventory::Host;
use crate::spec::{ExitCode, shown};

fn plain() -> ConnectionArgs {
    ConnectionArgs {
        accept_new_host_keys: false,
        ask_password: false,
        ask_sudo_password: false,
        limits: super::args::TimeoutArgs::default(),
    }
}

/// The named hosts; all hosts of the inventory when none is named.
fn named_hosts<'a>(loaded: &'a Loaded, names: &[String]) -> Result<Vec<&'a Host>, CliError> {
    if names.is_empty() {
        return Ok(loaded.inventory.hosts.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            loaded
                .inventory
                .host(name)
                .ok_or_else(|| CliError::UnknownHost {
                    name: name.clone(),
                    known: context::host_names(&loaded.inventory),
                })
        })
        .collect()
}

/// `toots ssh explain`. Does not contact the host.
pub(super) async fn explain(
    console: &Console,
    host: &str,
    source: &SourceArgs,
) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, source)?;
    let hosts = named_hosts(&loaded, std::slice::from_ref(&host.to_owned()))?;
    let host = hosts[0];
    let connection = plain();
    let dialer = Dialer::new(console, &loaded.inventory, &connection, None);
    let settings = context::host_settings(&loaded.inventory, host, &connection);
    let values = dialer.connector().explain(&settings).await?;
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
        console.print(&format!(
            "{:keyword$}  {:width$}  {}\n",
            value.keyword,
            shown(&value.value),
            shown(&value.origin)
        ));
    }
    Ok(ExitCode::DONE)
}

/// `toots ssh trust`: shows each key and records it with the operator's consent. A different
/// recorded key is never overwritten.
pub(super) async fn trust(
    console: &Console,
    names: &[String],
    source: &SourceArgs,
    yes: bool,
) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, source)?;
    let hosts = named_hosts(&loaded, names)?;
    let connection = plain();
    let dialer = Dialer::new(console, &loaded.inventory, &connection, None);
    let mut exit = ExitCode::DONE;
    for host in hosts {
        let settings = context::host_settings(&loaded.inventory, host, &connection);
        let key = match dialer.connector().host_key(&settings).await {
            Ok(key) => key,
            Err(error) => {
                console.message(&format!("{}: {error}", host.name));
                let named = hints::named_inventory(source);
                for hint in hints::with_inventory(error.hints(), named.as_deref()) {
                    console.message(&format!("  hint: {hint}"));
                }
                exit = ExitCode::UNREACHABLE;
                continue;
            }
        };
        if key.recorded {
            console.print(&format!(
                "{}: {} is already recorded\n",
                host.name,
                key.fingerprint()
            ));
            continue;
        }
        console.print(&format!(
            "{}: host key {} {}\n",
            host.name,
            key.name(),
            key.fingerprint()
        ));
        let question =
            "does the machine itself show this key (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub)?";
        let agreed = yes || console.ask(question).await == Some(true);
        if !agreed {
            console.message(&format!("{}: not recorded", host.name));
            exit = ExitCode::UNREACHABLE;
            continue;
        }
        match key.record() {
            Ok(_) => console.print(&format!(
                "{}: recorded in {}\n",
                host.name,
                key.file()
                    .map(|file| file.display().to_string())
                    .unwrap_or_default()
            )),
            Err(error) => {
                console.message(&format!("{}: {error}", host.name));
                exit = ExitCode::UNREACHABLE;
            }
        }
    }
    Ok(exit)
}
