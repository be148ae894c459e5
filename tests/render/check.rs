//! Parses rendered files and commands by the rules of their programs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use toots::desired::{ComponentDesired, HostDesired};
use toots::spec::FileSpec;

/// A JSON file as its value.
pub fn parsed(file: &FileSpec) -> Result<Value, String> {
    serde_json::from_slice(&file.content).map_err(|error| format!("{}: {error}", file.path))
}

/// The part of a file that must not depend on values: the keys of a JSON file, the first words of
/// the lines of any other.
pub fn shape(file: &FileSpec) -> Vec<String> {
    if let Ok(value) = parsed(file) {
        let mut keys = Vec::new();
        walk(&value, "", &mut keys);
        return keys;
    }
    let text = String::from_utf8_lossy(&file.content).into_owned();
    let first = |line: &str| {
        line.split(['=', ' '])
            .find(|word| !word.is_empty())
            .unwrap_or("")
            .to_owned()
    };
    // A file with a single value (myid) has no keys.
    if text.lines().count() == 1 {
        vec!["one line".into()]
    } else {
        text.lines().map(first).collect()
    }
}

fn walk(value: &Value, path: &str, keys: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| walk(value, &format!("{path}.{key}"), keys)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(n, value)| walk(value, &format!("{path}[{n}]"), keys)),
        _ => keys.push(path.to_owned()),
    }
}

/// One component on one host.
pub fn check(host: &HostDesired, component: &ComponentDesired) -> Result<(), String> {
    for file in &component.files {
        let text = std::str::from_utf8(&file.content)
            .map_err(|error| format!("{}: {error}", file.path))?;
        if !text.ends_with('\n') {
            return Err(format!("{} has no newline at its end", file.path));
        }
        let owned = component
            .dirs
            .iter()
            .chain(&host.dirs)
            .any(|dir| Path::new(&file.path).parent() == Some(Path::new(&dir.path)));
        if !owned && !file.path.starts_with("/etc/systemd/system/") {
            return Err(format!(
                "{} lies in a directory that nobody makes",
                file.path
            ));
        }
        if file.path.ends_with(".json") {
            parsed(file)?;
        }
    }
    for mount in component.container.mounts.iter() {
        let made = component
            .dirs
            .iter()
            .chain(&host.dirs)
            .any(|dir| dir.path == mount.source);
        let others = host
            .components
            .iter()
            .flat_map(|other| &other.dirs)
            .any(|dir| dir.path == mount.source);
        let of_the_system =
            !mount.source.starts_with("/etc/toots") && !mount.source.starts_with("/var/lib/toots");
        if !made && !others && !of_the_system {
            return Err(format!("{} is mounted and nobody makes it", mount.source));
        }
    }
    let arguments = component
        .container
        .entrypoint
        .iter()
        .flatten()
        .chain(&component.container.command);
    if let Some(odd) = arguments.into_iter().find(|argument| {
        argument.contains("{{") || argument.contains('\n') || argument.contains("none")
    }) {
        return Err(format!("odd argument {odd:?}"));
    }
    match component.name.as_str() {
        "zookeeper" => zookeeper(component),
        "mesos-master" => mesos(component, "mesos-master.tsv"),
        "mesos-slave" => mesos(component, "mesos-agent.tsv"),
        _ => Ok(()),
    }
}

fn zookeeper(component: &ComponentDesired) -> Result<(), String> {
    let cfg = component
        .files
        .iter()
        .find(|file| file.path.ends_with("zoo.cfg"))
        .ok_or("no zoo.cfg")?;
    let text = String::from_utf8_lossy(&cfg.content);
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("no key: {line:?}"))?;
        if !keys.insert(key) || value.is_empty() || value.contains(char::is_whitespace) {
            return Err(format!("bad line {line:?}"));
        }
    }
    let member = component
        .files
        .iter()
        .find(|file| file.path.ends_with("myid"))
        .ok_or("no myid")?;
    let member = String::from_utf8_lossy(&member.content)
        .trim()
        .parse::<u8>()
        .map_err(|error| error.to_string())?;
    if member == 0 || !keys.contains(format!("server.{member}").as_str()) {
        return Err(format!("{member} is not in the list of servers"));
    }
    Ok(())
}

/// Every flag exists in the program, has a valid value, and is given once: anything else ends it at
/// once.
fn mesos(component: &ComponentDesired, table: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/standins/flags")
        .join(table);
    let flags =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut seen = BTreeSet::new();
    for argument in &component.container.command {
        let name = argument
            .strip_prefix("--")
            .ok_or_else(|| format!("{argument} would be ignored"))?;
        let (name, value) = name
            .split_once('=')
            .map_or((name, None), |(name, value)| (name, Some(value)));
        let plain = name
            .strip_prefix("no-")
            .filter(|_| value.is_none())
            .unwrap_or(name);
        let row = flags
            .lines()
            .find(|line| line.split('\t').next() == Some(plain))
            .ok_or_else(|| format!("no flag {plain}"))?;
        let boolean = row.split('\t').nth(1) == Some("bool");
        if !boolean && value.is_none_or(str::is_empty) {
            return Err(format!("{argument} has no value"));
        }
        if !seen.insert(plain.to_owned()) {
            return Err(format!("{plain} is given twice"));
        }
    }
    Ok(())
}
