//! The simulated world stands beside toots: what it took from the engine, it could not judge.

use std::fs;
use std::path::{Path, PathBuf};

use super::{paths_below, sources, without_comments};

/// Rooms of toots that the world may name: what a run is started with, and the seams that the world
/// is put behind.
const ROOMS: &[&str] = &["cli", "env", "host", "spec", "transport"];

/// The simulated Engine is held to what toots' client understands.
const CLIENT: (&str, &str) = ("docker", "docker/");

/// Both forms of one output are compared by showing the events of one in the other.
const REPORTERS: (&str, &[&str]) = ("endings/formats.rs", &["event", "report"]);

/// What every part of the world may name.
const SHARED: &[&str] = &[
    "changes",
    "files",
    "namespaces",
    "network",
    "process",
    "random",
    "record",
];

/// Folder → the other parts of the world that it may name, besides those that are shared.
const PARTS: &[(&str, &[&str])] = &[("docker", &[]), ("services", &[]), ("host", &["docker"])];

fn world() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world")
}

/// The path in the world of each of its files, and its code.
fn codes() -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let code = without_comments(&fs::read_to_string(&path).unwrap());
        let path = path.strip_prefix(world()).unwrap();
        (path.display().to_string(), code)
    };
    sources(&world()).into_iter().map(read).collect()
}

fn of_toots(file: &str, code: &str) -> Vec<String> {
    let (client, simulated) = CLIENT;
    let (formats, reporters) = REPORTERS;
    let may_name = |room: &str| {
        ROOMS.contains(&room)
            || room == client && file.starts_with(simulated)
            || file == formats && reporters.contains(&room)
    };
    let named = paths_below("toots::", code).into_iter();
    let named = named.filter(|(room, _)| !may_name(room));
    named
        .map(|(room, item)| format!("{file} names toots::{room}::{item}"))
        .collect()
}

#[test]
fn the_simulated_world_names_nothing_that_it_judges() {
    let (mut bad, mut seen) = (Vec::new(), 0);
    for (file, code) in codes() {
        seen += paths_below("toots::", &code).len();
        bad.extend(of_toots(&file, &code));
    }
    assert!(seen > 30, "the scan finds the imports, got {seen}");
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}

#[test]
fn scan_finds_what_the_world_must_not_name() {
    let bad = |file, code| of_toots(file, &without_comments(code));
    assert_eq!(
        bad(
            "judge.rs",
            "use toots::{\n    engine::run,\n    spec::HostName,\n};"
        ),
        ["judge.rs names toots::engine::run"]
    );
    assert_eq!(
        bad("life.rs", "fn f() { toots::guard::Door::open() }").len(),
        1
    );
    assert_eq!(
        bad("docker/rig.rs", "use toots::docker::Engine;"),
        Vec::<String>::new()
    );
    assert_eq!(bad("host/real.rs", "use toots::docker::Engine;").len(), 1);
}

/// Tests bring parts together.
fn is_test(file: &str) -> bool {
    file.ends_with("_tests.rs") || file.contains("/tests/")
}

#[test]
fn world_parts_stay_apart() {
    let (mut bad, mut seen) = (Vec::new(), 0);
    for (file, code) in codes() {
        let part = file.split('/').next().unwrap();
        let Some((_, others)) = PARTS.iter().find(|(name, _)| *name == part) else {
            continue;
        };
        if is_test(&file) {
            continue;
        }
        for (named, _) in paths_below("crate::", &code) {
            seen += 1;
            let named = named.as_str();
            if named != part && !SHARED.contains(&named) && !others.contains(&named) {
                bad.push(format!("{file} names crate::{named}"));
            }
        }
    }
    assert!(seen > 150, "the scan finds the imports, got {seen}");
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}
