//! `toots render`: every file and container that a host would get; no host is contacted.

use std::path::Path;

use super::args::Render;
use super::exit::Exit;
use super::{context, output};
use crate::desired::HostDesired;

/// `toots render`
pub(super) fn render(args: &Render) -> Exit {
    let loaded = match context::load(&args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
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
        let names: Vec<&str> = loaded
            .offline
            .hosts
            .iter()
            .map(|host| host.name.as_str())
            .collect();
        eprintln!(
            "toots: no host {:?}\n  hint: the inventory has {}",
            args.host.as_deref().unwrap_or(""),
            names.join(", ")
        );
        return Exit::USAGE;
    }
    for host in hosts {
        for (path, text) in tree(host) {
            match &args.out {
                None => output::print(&format!(
                    "# {} {path}\n{text}{}\n",
                    host.name,
                    if text.ends_with('\n') { "" } else { "\n" }
                )),
                Some(folder) => {
                    if let Err(error) = write(&folder.join(host.name.as_str()), &path, &text) {
                        eprintln!("toots: failed to write below {}: {error}", folder.display());
                        return Exit::INTERNAL;
                    }
                }
            }
        }
    }
    Exit::DONE
}

fn write(folder: &Path, path: &str, text: &str) -> std::io::Result<()> {
    let file = folder.join(path.trim_start_matches('/'));
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(file, text)
}

/// Paths and texts: files (secrets are drawn by the first run and stand as `***`), containers as the Engine gets them.
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
