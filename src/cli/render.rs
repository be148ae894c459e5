//! `toots render`: prints every file and container of every host. Contacts no host.

use std::path::Path;

use super::args::RenderArgs;
use super::console::Console;
use super::context;
use super::error::CliError;
use crate::desired::HostDesired;
use crate::env::FileAccess;
use crate::spec::ExitCode;

/// `toots render`
pub(super) fn render_hosts(console: &Console, args: &RenderArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    let hosts: Vec<&HostDesired> = loaded
        .offline
        .hosts
        .iter()
        .filter(|host| {
            args.host
                .as_ref()
                .is_none_or(|name| host.name.as_str() == name)
        })
        .collect();
    if hosts.is_empty() {
        return Err(CliError::UnknownHost {
            name: args.host.clone().unwrap_or_default(),
            known: context::host_names(&loaded.inventory),
        });
    }
    for host in hosts {
        for (path, text) in tree(host) {
            match &args.out {
                None => console.print(&format!(
                    "# {} {path}\n{text}{}\n",
                    host.name,
                    if text.ends_with('\n') { "" } else { "\n" }
                )),
                Some(folder) => {
                    write(
                        console.files(),
                        &folder.join(host.name.as_str()),
                        &path,
                        &text,
                    )?;
                }
            }
        }
    }
    Ok(ExitCode::DONE)
}

fn write(files: &dyn FileAccess, folder: &Path, path: &str, text: &str) -> Result<(), CliError> {
    let file = folder.join(path.trim_start_matches('/'));
    file.parent()
        .map_or(Ok(()), |folder| files.create_folders(folder, None))
        .and_then(|()| files.write(&file, text.as_bytes()))
        .map_err(|source| CliError::Write { path: file, source })
}

/// Paths and texts: files (secrets are drawn by the first run and shown as `***`), and containers
/// as the Engine receives them.
#[must_use]
pub fn tree(host: &HostDesired) -> Vec<(String, String)> {
    let files = host.files.iter().chain(
        host.components
            .iter()
            .flat_map(|component| &component.files),
    );
    let mut out: Vec<(String, String)> = files
        .map(|file| {
            (
                file.path.clone(),
                String::from_utf8_lossy(&file.content).into_owned(),
            )
        })
        .collect();
    for component in &host.components {
        let spec = serde_json::to_string_pretty(&component.container).unwrap_or_default();
        out.push((format!("containers/{}.json", component.name), spec + "\n"));
    }
    out
}
