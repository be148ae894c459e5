//! The rooms and their imports: a lower room never names a higher one, and a library with one owner
//! is named only there.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "architecture/seam.rs"]
mod seam;
#[path = "architecture/world.rs"]
mod world;

/// Room → rooms that it may name, from low to high. All may name `spec`, and of `event` the one
/// function `escape`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("env", &[]),
    ("event", &[]),
    ("bundle", &["env", "event"]),
    ("inventory", &["env"]),
    ("playbook", &["env", "inventory"]),
    ("desired", &["env", "inventory", "playbook"]),
    ("transport", &["inventory"]),
    ("host", &["transport"]),
    ("docker", &["env", "host"]),
    ("observe", &["host", "docker"]),
    ("plan", &["desired", "observe"]),
    ("probe", &["env", "host", "docker"]),
    ("guard", &["env", "probe", "docker"]),
    ("tunnel", &["env", "host", "probe"]),
    ("app", &["env", "host", "probe"]),
    (
        "engine",
        &["env", "bundle", "plan", "probe", "guard", "event"],
    ),
    ("report", &["env", "event"]),
    ("cli", ALL),
];

/// Rooms whose types a room meets in the rooms that it may import: a plan holds what was desired
/// and observed of an Engine, a step runs on a session. Listed one by one, so that a new one is
/// noticed.
const THROUGH: &[(&str, &[&str])] = &[
    ("plan", &["docker"]),
    ("guard", &["host"]),
    ("engine", &["desired", "observe", "docker", "host"]),
];

const ALL: &[&str] = &[
    "env",
    "event",
    "bundle",
    "inventory",
    "playbook",
    "desired",
    "transport",
    "host",
    "docker",
    "observe",
    "plan",
    "probe",
    "guard",
    "tunnel",
    "app",
    "engine",
    "report",
];

/// Library → the rooms that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("russh", &["transport"]),
    ("bollard", &["docker"]),
    ("minijinja", &["playbook"]),
    ("fast_socks5", &["tunnel"]),
    ("reqwest", &["bundle"]),
    // The tests of certificates prove them as a client does.
    ("rustls", &["bundle", "probe", "playbook"]),
    ("tokio_rustls", &["probe"]),
    ("rcgen", &["playbook"]),
    ("bcrypt", &["playbook"]),
    ("http_auth", &["bundle"]),
    ("serde_saphyr", &["app", "desired"]),
    ("indicatif", &["report"]),
    // The size of the terminal.
    ("console", &["env", "report"]),
    ("clap", &["cli"]),
    ("color_eyre", &["cli"]),
    // The inventory's file, and the components' own.
    ("toml", &["inventory", "playbook"]),
    ("toml_edit", &["inventory"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}

/// The code without comments (a doc may name any room). Text in quotes stays, because no path is
/// written in one.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|l| {
            if l.trim_start().starts_with("//") {
                ""
            } else {
                l
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Splits `a, b::{c, d}` at its outermost commas.
fn outer_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[from..]);
    out.into_iter()
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect()
}

/// The inside of the group that begins right after this text's first brace.
fn group(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let mut depth = 1;
    let end = inner.char_indices().find(|(_, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    })?;
    Some(&inner[..end.0])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text after each `crate::`: the room, and its first item when one is named.
fn paths(code: &str) -> Vec<(String, String)> {
    paths_below("crate::", code)
}

/// The same for another root.
fn paths_below(root: &str, code: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (i, found) in code.match_indices(root) {
        if code[..i].ends_with(|c: char| is_word(c) || c == '$') {
            continue;
        }
        let rest = &code[i + found.len()..];
        let parts = group(rest).map_or_else(|| vec![rest], outer_commas);
        out.extend(parts.iter().flat_map(|p| items(p)));
    }
    out
}

fn items(path: &str) -> Vec<(String, String)> {
    let word = |t: &str| t.chars().take_while(|c| is_word(*c)).collect::<String>();
    let room = word(path);
    match path[room.len()..].strip_prefix("::") {
        None => vec![(room, String::new())],
        Some(rest) => match group(rest) {
            None => vec![(room, word(rest))],
            Some(inner) => outer_commas(inner)
                .into_iter()
                .map(|p| (room.clone(), word(p)))
                .collect(),
        },
    }
}

fn allowed(room: &str) -> BTreeSet<&'static str> {
    let direct = MAY_IMPORT.iter().filter(|(r, _)| *r == room);
    direct
        .chain(THROUGH.iter().filter(|(r, _)| *r == room))
        .flat_map(|(_, to)| to.iter().copied())
        .collect()
}

fn offences(room: &str, code: &str) -> Vec<String> {
    let allowed = allowed(room);
    let fine = |to: &str, item: &str| {
        // `testing` is compiled for tests only.
        to == room
            || to == "testing"
            || allowed.contains(to)
            || (room != "spec" && (to == "spec" || (to == "event" && item == "escape")))
    };
    paths(code)
        .into_iter()
        .filter(|(to, item)| !fine(to, item))
        .map(|(to, item)| format!("{room} names crate::{to}::{item}"))
        .collect()
}

fn names(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    let used = code
        .match_indices(&path)
        .any(|(i, _)| !code[..i].ends_with(|c: char| is_word(c) || c == ':'));
    used || code.contains(&format!("use {library};"))
}

#[test]
fn rooms_import_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut bad = Vec::new();
    for room in fs::read_dir(&src)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
    {
        let name = room.file_name().unwrap().to_str().unwrap().to_owned();
        for file in sources(&room) {
            let shown = file.strip_prefix(&src).unwrap().display().to_string();
            let text = without_comments(&fs::read_to_string(&file).unwrap());
            bad.extend(
                offences(&name, &text)
                    .into_iter()
                    .map(|o| format!("{shown}: {o}")),
            );
            let foreign = OWNERS
                .iter()
                .filter(|(lib, owners)| names(&text, lib) && !owners.contains(&name.as_str()));
            bad.extend(
                foreign.map(|(lib, owners)| format!("{shown}: only {owners:?} may name {lib}")),
            );
        }
        found.insert(name);
    }
    let known: BTreeSet<_> = MAY_IMPORT.iter().map(|(r, _)| (*r).to_owned()).collect();
    assert_eq!(found, known, "rooms of src/ and rooms of the table");
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}

#[test]
fn the_table_goes_only_downwards() {
    let at = |room: &str| MAY_IMPORT.iter().position(|(r, _)| *r == room).unwrap();
    for (room, to) in MAY_IMPORT.iter().chain(THROUGH) {
        for lower in *to {
            assert!(at(lower) < at(room), "{room} → {lower}");
        }
    }
}

#[test]
fn scan_finds_every_import_form() {
    let bad = |room, code: &str| offences(room, &without_comments(code));
    assert_eq!(
        bad(
            "report",
            "use crate::event::Event;\nuse crate::spec::{HostName, Role};"
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        bad("report", "fn f() { crate::engine::run() }"),
        ["report names crate::engine::run"]
    );
    assert_eq!(
        bad(
            "plan",
            "use crate::{\n    spec::Role,\n    cli::{a, b},\n};"
        ),
        ["plan names crate::cli::a", "plan names crate::cli::b"]
    );
    assert_eq!(
        bad("probe", "use crate::event::escape;"),
        Vec::<String>::new()
    );
    assert_eq!(
        bad("probe", "use crate::event::{Event, escape};"),
        ["probe names crate::event::Event"]
    );
    assert_eq!(bad("spec", "use crate::event::escape;").len(), 1);
    assert_eq!(
        bad("spec", "/// as crate::engine::run does\nuse super::digest;"),
        Vec::<String>::new()
    );
    assert!(names("use toml::Value;", "toml") && names("let a = toml::from_str(b);", "toml"));
    assert!(
        !names("use toml_edit::Item;", "toml") && !names("use crate::inventory::toml::x;", "toml")
    );
}

/// Files that import each other, and why: none.
const MAY_BE_CYCLIC: &[(&str, &str)] = &[];

/// The files of a room that this code names, through `super::` or the room's own path. Methods count
/// for the file that defines their type.
fn siblings(room: &str, files: &BTreeSet<String>, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["super::".to_owned(), format!("crate::{room}::")] {
        for (i, word) in code.match_indices(&prefix) {
            if code[..i].ends_with(|c: char| is_word(c) || c == ':') {
                continue;
            }
            let rest = &code[i + word.len()..];
            let parts = group(rest).map_or_else(|| vec![rest], outer_commas);
            let first = |part: &&str| part.chars().take_while(|c| is_word(*c)).collect::<String>();
            found.extend(parts.iter().map(first).filter(|name| files.contains(name)));
        }
    }
    found
}

/// The files that can be reached from themselves.
fn cyclic(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    let reaches_itself = |file: &&String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = imports[*file].iter().collect();
        while let Some(other) = next.pop() {
            if seen.insert(other) {
                next.extend(imports.get(other).into_iter().flatten());
            }
        }
        seen.contains(file)
    };
    imports
        .keys()
        .filter(reaches_itself)
        .map(String::as_str)
        .collect()
}

#[test]
fn engine_files_form_no_cycle() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    // `mod.rs` names every file.
    let paths = sources(&room)
        .into_iter()
        .filter(|path| name(path) != "mod");
    let paths: Vec<PathBuf> = paths.collect();
    let files: BTreeSet<String> = paths.iter().map(|path| name(path)).collect();
    let mut imports = BTreeMap::new();
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let code = without_comments(text.split("#[cfg(test)]").next().unwrap());
        imports.insert(name(path), siblings("engine", &files, &code));
    }
    let known: Vec<&str> = MAY_BE_CYCLIC.iter().map(|(file, _)| *file).collect();
    assert_eq!(cyclic(&imports), known, "{imports:#?}");
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(count > 100, "the scan finds the imports, got {count}");
}

#[test]
fn scan_finds_a_cycle() {
    let files = ["a", "b", "c", "d"].map(str::to_owned).into();
    let code = [
        ("a", "use super::b::B;\nuse super::{c, x};"),
        ("b", "fn f() { super::c::g() }"),
        ("c", "use super::{\n    x::Y,\n    a::{self, A},\n};"),
        (
            "d",
            "use super::a;\nuse crate::engine::b;\nuse crate::plan::c;",
        ),
    ];
    let imports: BTreeMap<_, _> = code
        .map(|(file, code)| (file.to_owned(), siblings("engine", &files, code)))
        .into();
    assert_eq!(cyclic(&imports), ["a", "b", "c"]);
    let of_d: Vec<&str> = imports["d"].iter().map(String::as_str).collect();
    assert_eq!(of_d, ["a", "b"]);
}

/// Commands of sessions, which only these rooms may name: all others use the operations of `host`.
const COMMANDS: &[&str] = &["Exec", "ExecOutput", "Target", "Session"];

#[test]
fn commands_are_named_below_the_host_room_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for path in sources(&src) {
        let file = path.strip_prefix(&src).unwrap();
        let room = file.iter().next().unwrap().to_str().unwrap();
        let code = without_comments(&fs::read_to_string(&path).unwrap());
        let named = paths(&code).into_iter().filter(|(to, item)| {
            to == "transport" && (item.is_empty() || COMMANDS.contains(&item.as_str()))
        });
        let named: Vec<_> = named.map(|(_, item)| item).collect();
        if room == "host" || room == "transport" {
            seen += named.len();
        } else {
            assert!(named.is_empty(), "{}: {named:?}", file.display());
        }
    }
    assert!(seen > 0, "the scan finds the names");
}

/// The texts in quotes of a source, as written.
fn literals(code: &str) -> Vec<String> {
    let bytes = code.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &code[at..];
        let hashes = bytes[at + 1..]
            .iter()
            .take_while(|byte| **byte == b'#')
            .count();
        let is_in_word = at > 0 && is_word(char::from(bytes[at - 1]));
        let (open, close) = match bytes[at] {
            b'/' if rest.starts_with("//") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'"' => (1, "\"".to_owned()),
            b'r' if !is_in_word && bytes.get(at + 1 + hashes) == Some(&b'"') => {
                (2 + hashes, format!("\"{}", "#".repeat(hashes)))
            }
            // A character, or the name of a lifetime.
            b'\'' if rest.starts_with("'\\") => {
                at += 2 + rest[3..].find('\'').map_or(1, |end| end + 2);
                continue;
            }
            b'\'' if rest[1..].chars().nth(1) == Some('\'') => {
                at += 2 + rest[1..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            _ => {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
        };
        let begin = at + open;
        let mut end = begin;
        while end < bytes.len() && !code[end..].starts_with(&close) {
            let is_escape = open == 1 && bytes[end] == b'\\';
            end += code[end..].chars().next().map_or(1, char::len_utf8) + usize::from(is_escape);
            while !code.is_char_boundary(end) {
                end += 1;
            }
        }
        found.push(code[begin..end.min(bytes.len())].to_owned());
        at = end + close.len();
    }
    found
}

/// What stands in the text of a shell, and in no advice to a person.
const SHELL_TEXT: &[&str] = &[
    "sh -",
    "perl -",
    "#!/",
    "set -",
    "exec ",
    "eval ",
    "2>",
    ">&",
    "/dev/null",
    "$(",
    "$1",
    "$@",
    "\"$",
    "; do ",
    "; done",
    "; then",
    "if [",
    "[ -",
    "command -v",
    "dial-stdio",
    "apt-get -",
    "apt-get install",
    "daemon-reload",
    "ip -o",
    "rm -f",
];

/// Of advice that looks like it.
const ADVICE: &[&str] = &["; then run again"];

fn shell_text(literal: &str) -> Option<&'static str> {
    let text = ADVICE
        .iter()
        .fold(literal.to_owned(), |text, advice| text.replace(advice, ""));
    SHELL_TEXT.iter().copied().find(|part| text.contains(part))
}

/// Tests play hosts, and their programs with them.
fn is_for_tests(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap();
    let ends = [
        "_tests.rs",
        "testing.rs",
        "test_run.rs",
        "faulty_session.rs",
        "local.rs",
        "played_host.rs",
    ];
    name.starts_with("fake") || ends.iter().any(|end| name.ends_with(end))
}

#[test]
fn rust_holds_no_shell_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scanned = 0;
    let mut found = Vec::new();
    for path in sources(&root.join("src")) {
        let file = path.strip_prefix(root).unwrap().to_str().unwrap();
        if file.starts_with("src/transport/") || is_for_tests(file) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for literal in literals(code) {
            scanned += 1;
            if let Some(part) = shell_text(&literal) {
                found.push(format!("{file}: {part:?} in {literal:?}"));
            }
        }
    }
    assert!(scanned > 3000, "the scan finds the literals, got {scanned}");
    assert!(
        found.is_empty(),
        "a script belongs to src/host/scripts:\n{}",
        found.join("\n")
    );
    // The scan finds what it looks for.
    let transport = fs::read_to_string(root.join("src/transport/script.rs")).unwrap();
    assert!(
        literals(&transport)
            .iter()
            .any(|literal| shell_text(literal).is_some())
    );
    let code = "let c = '\"'; // \"a\"\nlet (a, b): (&'a str, _) = (\"x\\\"y\", r#\"z\"w\"#); '\\''; \"end\"";
    assert_eq!(literals(code), ["x\\\"y", "z\"w", "end"]);
}

#[test]
fn each_script_for_hosts_is_a_file_in_the_host_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = root.join("src/host/scripts");
    let ssh = fs::read_to_string(root.join("src/host/ssh.rs")).unwrap();
    for entry in fs::read_dir(&scripts).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let used = ssh.matches(&format!("script!(\"{name}\")")).count();
        assert_eq!(used, 1, "{name}");
    }
    // What an image is built with runs in a container of the build.
    let in_builds = [
        "src/playbook/packages.sh",
        "src/docker/recorded_versions.sh",
    ];
    for room in fs::read_dir(root.join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        for entry in fs::read_dir(&room)
            .into_iter()
            .flatten()
            .map(Result::unwrap)
        {
            let path = entry.path();
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            let is_script = path
                .extension()
                .is_some_and(|extension| ["sh", "bash", "pl"].iter().any(|e| extension == *e));
            assert!(!is_script || in_builds.contains(&file), "{file}");
        }
    }
}

/// Requests that end a container → the files that may send them, besides the one that defines them.
/// Everything else goes through the guard's door.
const ENDS_A_CONTAINER: &[(&str, &[&str])] = &[
    ("stop_container(", &["src/guard/door.rs"]),
    ("send_signal(", &["src/guard/door.rs"]),
    // The canary is the probe's own container, and a member of nothing.
    ("force_remove(", &["src/probe/canary.rs"]),
    ("kill_container(", &[]),
    ("restart_container(", &[]),
    ("remove_container(", &[]),
];

/// Reason to stop a container → the files that may give it. `down` and `reset` will be the only
/// ones that end a whole cluster.
const STOP_REASONS: &[(&str, &[&str])] = &[
    ("StopReason::Replace", &["src/engine/containers.rs"]),
    ("StopReason::NotAMember", &["src/engine/containers.rs"]),
    ("StopReason::WholeCluster", &[]),
];

#[test]
fn containers_are_stopped_through_the_guards_door_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = BTreeSet::new();
    for path in sources(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let code = without_comments(text.split("#[cfg(test)]").next().unwrap());
        let file = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let defines = ["src/docker/engine.rs", "src/guard/door.rs"];
        for (word, allowed) in ENDS_A_CONTAINER {
            let at_home = file == defines[0];
            assert!(
                !code.contains(word) || at_home || allowed.contains(&file.as_str()),
                "{file}: {word}…) ends a container past the guard's door"
            );
        }
        for (reason, allowed) in STOP_REASONS {
            if !code.contains(reason) || file == defines[1] {
                continue;
            }
            assert!(allowed.contains(&file.as_str()), "{file} builds {reason}");
            seen.insert((*reason, file.clone()));
        }
    }
    let listed: usize = STOP_REASONS.iter().map(|(_, files)| files.len()).sum();
    assert_eq!(
        seen.len(),
        listed,
        "a listed file does not build its reason: {seen:?}"
    );
    let door = fs::read_to_string(root.join("src/guard/door.rs")).unwrap();
    let values = door.split("pub enum StopReason {").nth(1).unwrap();
    let values = values.split('}').next().unwrap();
    let values = values.lines().filter(|line| line.trim_end().ends_with(','));
    assert_eq!(
        values.count(),
        STOP_REASONS.len(),
        "a reason is not listed here"
    );
}
