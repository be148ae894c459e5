//! What toots renders for an inventory, as its own command prints it: files and containers of each
//! host.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

use crate::services::engine::Container;

#[derive(Debug, Clone, Default)]
pub struct Host {
    /// By path on the machine.
    pub files: BTreeMap<String, String>,
    /// By component.
    pub containers: BTreeMap<String, Container>,
}

/// Hosts by address.
pub type Hosts = BTreeMap<Ipv4Addr, Host>;

/// Renders an inventory; each only once in a run of the tests.
pub fn rendered(inventory: &str) -> Hosts {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, Hosts>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let hosts = known
        .entry(inventory.to_owned())
        .or_insert_with(|| render(inventory));
    hosts.clone()
}

fn render(inventory: &str) -> Hosts {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("inventory.toml");
    std::fs::write(&file, inventory).expect("an inventory");
    for name in ["ca.crt", "vpn.crt", "vpn.key"] {
        std::fs::write(folder.path().join(name), "a certificate\n").expect("a file");
    }
    let out = folder.path().join("out");
    let run = Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(["render", "-i"])
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("toots");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let mut hosts = Hosts::new();
    for entry in std::fs::read_dir(&out).expect("hosts") {
        let entry = entry.expect("a host");
        let address = entry
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("an address");
        let mut host = Host::default();
        read(&entry.path(), "", &mut host);
        hosts.insert(address, host);
    }
    hosts
}

fn read(folder: &Path, path: &str, host: &mut Host) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("a file");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{path}/{name}");
        if entry.path().is_dir() {
            read(&entry.path(), &path, host);
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("text");
        match path
            .strip_prefix("/containers/")
            .and_then(|name| name.strip_suffix(".json"))
        {
            Some(component) => {
                let container = container(component, &text);
                host.containers.insert(component.to_owned(), container);
            }
            None => drop(host.files.insert(path, text)),
        }
    }
}

fn container(component: &str, text: &str) -> Container {
    let spec: Value = serde_json::from_str(text).expect("JSON");
    let texts = |key: &str| -> Vec<String> {
        let items = spec[key].as_array().into_iter().flatten();
        items
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let pairs = |key: &str| -> BTreeMap<String, String> {
        let items = spec[key].as_object().into_iter().flatten();
        items
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let mounts = spec["mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| {
            let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
            (text("target"), text("source"))
        });
    let exposed = spec["expose"].as_array().into_iter().flatten();
    Container {
        name: format!("toots-{component}"),
        image: spec["image"].as_str().unwrap_or_default().to_owned(),
        command: [texts("entrypoint"), texts("command")].concat(),
        env: pairs("env"),
        labels: pairs("labels"),
        mounts: mounts.collect(),
        published: Vec::new(),
        exposed: exposed
            .filter_map(|p| u16::try_from(p.as_u64()?).ok())
            .collect(),
        is_on_host_network: true,
        restarts: true,
    }
}
