//! The language of the code: one name for one thing, and no riddles.
//!
//! Reads the sources as text. To forbid another name: add it to [`RIDDLES`].
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not recognise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that say nothing to a reader who meets them for the first time.
const RIDDLES: &[&str] = &[
    "Hand",
    "Told",
    "Said",
    "Broken",
    "Greeted",
    "Beginning",
    "Wanted",
    "Ended",
    "End",
    "Heard",
    "ill",
    "general",
    "knock",
    "look",
    "one",
    "all",
    "of",
    "told",
    "aside",
    "touch",
    "TIMES",
    "AGAIN",
    "MOST",
    "MANY",
    "PATIENCE",
    "FREED",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<(String, String)> {
    let mut files = rust_files(&root().join("src"));
    files.extend(rust_files(&root().join("tests")));
    files.extend(rust_files(&root().join("fuzz/fuzz_targets")));
    let named = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (
            path.strip_prefix(root()).unwrap().display().to_string(),
            text,
        )
    };
    files.into_iter().map(named).collect()
}

/// The word at the start of a text.
fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The line without visibility and qualifiers.
fn item(line: &str) -> &str {
    let mut rest = line.trim_start();
    loop {
        let before = rest;
        if let Some(after) = rest.strip_prefix("pub(") {
            rest = after
                .split_once(')')
                .map_or(rest, |(_, after)| after.trim_start());
        }
        for qualifier in ["pub ", "async ", "unsafe ", "default ", "const fn "] {
            if let Some(after) = rest.strip_prefix(qualifier) {
                rest = if qualifier == "const fn " {
                    &rest["const ".len()..]
                } else {
                    after
                };
            }
        }
        if rest == before {
            return rest;
        }
    }
}

/// The name of the type that a line defines at the top of a file or module.
fn defined_type(line: &str) -> Option<&str> {
    let rest = item(line);
    let kinds = ["struct ", "enum ", "trait ", "union "];
    let named = kinds.iter().find_map(|kind| rest.strip_prefix(kind));
    // An indented `type X =` belongs to an impl of a trait, which chose the name.
    let alias = || {
        rest.strip_prefix("type ")
            .filter(|_| !line.starts_with(' '))
    };
    named
        .or_else(alias)
        .map(word)
        .filter(|name| !name.is_empty())
}

/// The name that a line defines: an item, a binding, a variant or a field.
fn defined_name(line: &str) -> Option<&str> {
    let rest = item(line);
    let keywords = [
        "fn ", "struct ", "enum ", "trait ", "union ", "type ", "const ", "static ", "mod ", "let ",
    ];
    if let Some(after) = keywords
        .iter()
        .find_map(|keyword| rest.strip_prefix(keyword))
    {
        return Some(word(after.trim_start_matches("mut ").trim_start()));
    }
    let name = word(rest);
    let after = &rest[name.len()..];
    let variant = name.starts_with(|c: char| c.is_ascii_uppercase())
        && (after == "," || after.starts_with(" {") || after.starts_with('('))
        && line.starts_with(' ')
        && rest.ends_with([',', '{']);
    let field = line.trim_start().starts_with("pub") && after.starts_with(": ");
    (variant || field).then_some(name)
}

fn riddle(name: &str) -> bool {
    RIDDLES.contains(&name)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn no_type_name_is_defined_in_two_rooms() {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(room) = path
            .strip_prefix("src/")
            .and_then(|path| path.split_once('/'))
        else {
            continue;
        };
        for name in text
            .lines()
            .filter(|line| !is_comment(line))
            .filter_map(defined_type)
        {
            rooms
                .entry(name.to_owned())
                .or_default()
                .insert(room.0.to_owned());
        }
    }
    assert!(rooms.len() > 100, "the scan finds the types");
    rooms.retain(|_, rooms| rooms.len() > 1);
    assert!(rooms.is_empty(), "{rooms:#?}");
}

#[test]
fn no_name_is_a_riddle() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path == "tests/language.rs" {
            continue;
        }
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !is_comment(line))
        {
            if let Some(name) = defined_name(line).filter(|name| riddle(name)) {
                found.push(format!("{path}:{}: {name}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_test_name_holds_a_riddle() {
    let mut found = Vec::new();
    let mut tests = 0;
    for (path, text) in sources() {
        let mut is_test = false;
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            if trimmed.starts_with("#[test]") || trimmed.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = item(line).strip_prefix("fn ").map(word) {
                // A scenario is a public function of a module of tests/cluster/scenarios.
                let scenario =
                    path.starts_with("tests/cluster/scenarios") && line.starts_with("pub");
                if is_test || scenario {
                    tests += 1;
                    if name.split('_').any(riddle) {
                        found.push(format!("{path}:{}: {name}", number + 1));
                    }
                }
                is_test = false;
            }
        }
    }
    assert!(tests > 200, "the scan finds the tests, got {tests}");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn scan_finds_each_definition_form() {
    assert_eq!(defined_type("pub(crate) struct Way<T> {"), Some("Way"));
    assert_eq!(defined_type("    type Error = IdError;"), None);
    assert_eq!(
        defined_type("pub type Observed = BTreeMap<A, B>;"),
        Some("Observed")
    );
    assert_eq!(
        defined_name("    pub(super) async fn ask(host: &Host) {"),
        Some("ask")
    );
    assert_eq!(defined_name("    const fn look() {}"), Some("look"));
    assert_eq!(defined_name("    let mut all = Vec::new();"), Some("all"));
    assert_eq!(defined_name("    Ended(String),"), Some("Ended"));
    assert_eq!(defined_name("    pub all: bool,"), Some("all"));
    assert_eq!(defined_name("const MOST: usize = 3;"), Some("MOST"));
    assert_eq!(defined_name("    host.look()"), None);
}

/// Names of error types that a file of `src` derives, with the file.
fn error_enums() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/"))
    {
        let mut derived = false;
        for line in text.lines() {
            if line.contains("thiserror::Error)]") {
                derived = true;
            } else if let Some(name) = defined_type(line) {
                if derived && item(line).starts_with("enum ") {
                    found.push((name.to_owned(), path.clone()));
                }
                derived = false;
            }
        }
    }
    found
}

#[test]
fn each_error_enum_has_a_snapshot() {
    let errors = error_enums();
    assert!(errors.len() > 15, "the scan finds the errors");
    let sources = sources();
    let missing: Vec<_> = errors
        .iter()
        .filter(|(name, _)| {
            let call = format!("\", {name}, hints:");
            !sources
                .iter()
                .any(|(_, text)| text.contains("snapshot_messages!(") && text.contains(&call))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn no_error_is_a_bare_text() {
    let mut found = Vec::new();
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/"))
    {
        for (number, line) in text.lines().enumerate() {
            let bare = [", String>", ", Vec<String>>"].iter().any(|end| {
                line.match_indices("Result<").any(|(at, _)| {
                    let rest = &line[at..];
                    rest.find(end).is_some_and(|to| {
                        let inner = &rest["Result<".len()..to];
                        inner.matches('<').count() == inner.matches('>').count()
                    })
                })
            });
            if bare && !is_comment(line) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_call_stutters() {
    let mut found = Vec::new();
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/"))
    {
        for (number, line) in text.lines().enumerate() {
            let stutters = line.match_indices("::").any(|(at, _)| {
                let called = word(&line[at + 2..]);
                let before = &line[..at];
                let module = before
                    .rfind(|c: char| !c.is_alphanumeric() && c != '_')
                    .map_or(before, |end| &before[end + 1..]);
                !called.is_empty()
                    && called == module
                    && line[at + 2 + called.len()..].starts_with('(')
            });
            if stutters {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_recorded_text_repeats_a_word() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("tests/recorded/events")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let repeated = words.windows(2).find(|pair| {
                let is_word = pair[0].len() > 1 && pair[0].bytes().all(|b| b.is_ascii_lowercase());
                is_word && pair[0] == pair[1]
            });
            found.extend(repeated.map(|pair| format!("{}: {line}", pair.join(" "))));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
