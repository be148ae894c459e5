//! What the README and docs/ say is what the program does: commands are accepted, limits are those of
//! preflight, every port of a component is listed, outputs are printed like this.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not recognise.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser as _;
use toots::cli::args::Cli;
use toots::plan::Limits;
use toots::playbook::Playbook;
use toots::spec::Remedy;

const README: &str = include_str!("../README.md");
const PORTS: &str = include_str!("../docs/ports.md");
const RECIPES: &str = include_str!("../docs/recipes.md");

/// The command lines of the README's shell blocks, without variables before and comments behind.
fn command_lines() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines
        .filter_map(|line| line.strip_prefix("toots "))
        .map(|line| {
            line.split(['#', '>', '&'])
                .next()
                .unwrap_or_default()
                .trim()
        })
        .collect()
}

#[test]
fn commands_are_accepted() {
    let lines = command_lines();
    assert!(lines.len() > 8, "the scan finds the commands: {lines:?}");
    for line in lines {
        let words = std::iter::once("toots").chain(line.split_whitespace());
        let parsed = Cli::try_parse_from(words);
        assert!(parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
    }
}

#[test]
fn limits_match_preflight() {
    let limits = Limits::default();
    let row = |name: &str| {
        let start = format!("| {name} | ");
        let line = README.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("no row {name}"))
    };
    let mib = |kib: u64| format!("{} MiB", kib / 1024);
    assert!(row("memory").contains(&format!("| {} |", mib(limits.memory_kib))));
    let disk = row("disk");
    assert!(disk.contains(&format!(
        "{} free for Docker's data root",
        mib(limits.disk_docker_kib)
    )));
    assert!(disk.contains(&format!(
        "{} for `/var/lib/toots`",
        mib(limits.disk_data_kib)
    )));
    let more = format!("{} more", mib(limits.disk_build_kib));
    assert!(disk.contains(&more) && RECIPES.contains(&more));
    let clock = row("clock");
    let seconds = |ms: i64| format!("{} s", ms / 1000);
    assert!(clock.contains(&format!(
        "| {} apart from the others",
        seconds(limits.clock_refuse_ms)
    )));
    assert!(clock.contains(&format!("above {})", seconds(limits.clock_warn_ms))));
}

#[test]
fn every_component_port_is_listed() {
    let playbook = Playbook::load(None).unwrap();
    let mut missing = Vec::new();
    for component in playbook.components.values() {
        for port in &component.ports {
            let name = component.name.as_str();
            let number = format!("{}/{}", port.port, port.protocol);
            let mut rows = PORTS.lines().filter(|line| line.starts_with('|'));
            if !rows.any(|row| row.contains(&number) && row.contains(name)) {
                missing.push(format!("{number} of {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// The rows of a section of docs/recipes.md: argument and default.
fn argument_rows(recipe: &str) -> BTreeMap<&'static str, String> {
    let heading = format!("\n## {recipe}\n");
    let (_, section) = RECIPES
        .split_once(&heading)
        .unwrap_or_else(|| panic!("{heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap_or_else(|| panic!("{row}"));
        let default = match rest.strip_prefix('`') {
            Some(rest) => rest.split("` |").next().unwrap_or_default(),
            None => "",
        };
        (name, default.replace("\\|", "|"))
    })
    .collect()
}

#[test]
fn recipe_arguments_and_defaults_are_listed() {
    let playbook = Playbook::load(None).unwrap();
    assert!(playbook.recipes.contains_key("mesos"));
    for (name, recipe) in &playbook.recipes {
        let texts = recipe.arguments.iter();
        let texts = texts.map(|(name, default)| (name.as_str(), default.clone()));
        let files = recipe.file_arguments.iter();
        let files = files.map(|name| (name.as_str(), String::new()));
        let base = ("base", recipe.base.clone());
        let expected: BTreeMap<&str, String> = texts.chain(files).chain([base]).collect();
        assert_eq!(argument_rows(name), expected, "docs/recipes.md, {name}");
    }
}

/// Standard output and standard error of a run in a folder.
fn toots(dir: &Path, words: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8([run.stdout, run.stderr].concat()).unwrap()
}

#[test]
fn first_outputs_are_as_shown() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = [
        "init",
        "--masters",
        "10.0.0.11,10.0.0.12,10.0.0.13",
        "--slaves",
        "10.0.0.21",
        "--edges",
        "10.0.0.31",
        "--out",
        "inventory.toml",
    ];
    let written = toots(dir.path(), &hosts);
    assert!(written.contains(&Remedy::RunFirstCommands.to_string()));
    let valid = toots(dir.path(), &["inventory", "check"]);
    for output in [written, valid] {
        assert!(README.contains(&output), "not in the README:\n{output}");
    }
}

/// Every type of event is named.
#[test]
fn event_types_are_named() {
    let schema = toots::report::event_schema();
    let types: Vec<&str> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["properties"]["type"]["const"].as_str())
        .collect();
    assert!(types.len() > 10, "{types:?}");
    for name in types {
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}
