//! The mutations that `tests/mutate` applies: each still fits the sources and names its lives, so that
//! none is lost when the code around it changes.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not recognise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fifteen bugs, and two parts that are replaced: the guard and the lock.
const COUNT: usize = 17;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/mutations")).unwrap();
    let mut patches: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    patches.sort();
    patches
}

fn check(patch: &Path, option: &str) -> Result<String, String> {
    let mut git = Command::new("git");
    git.args(["apply", option]).arg(patch).current_dir(root());
    // In a folder of another repository git would leave every file out, and be content.
    git.env("GIT_CEILING_DIRECTORIES", root().parent().unwrap());
    let output = git.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn every_mutation_applies() {
    let patches = patches();
    assert_eq!(patches.len(), COUNT);
    let failures: Vec<String> = patches
        .iter()
        .filter_map(|patch| check(patch, "--check").err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.concat());
}

/// A mutation of a test would show nothing.
#[test]
fn mutations_change_what_is_shipped() {
    for patch in patches() {
        let changed = check(&patch, "--numstat").unwrap();
        let files: Vec<&str> = changed
            .lines()
            .filter_map(|line| line.split('\t').nth(2))
            .collect();
        assert!(
            !files.is_empty() && files.iter().all(|file| file.starts_with("src/")),
            "{}: {files:?}",
            patch.display()
        );
    }
}

#[test]
fn every_mutation_names_its_lives() {
    for (at, patch) in patches().iter().enumerate() {
        let name = patch.file_name().unwrap().to_str().unwrap();
        let number = format!("{:02}-", at + 1);
        assert!(
            name.starts_with(&number) && name.ends_with(".patch"),
            "{name} must be {number}NAME.patch"
        );
        let text = fs::read_to_string(patch).unwrap();
        let words = text.lines().next().unwrap().strip_prefix("finds: ");
        let words: Vec<&str> = words.unwrap_or_default().split(' ').collect();
        let is_variable = |word: &&str| {
            let count = word.split_once('=').map(|(_, count)| count.parse::<u32>());
            word.starts_with("TOOTS_") && count.is_some_and(|count| count.is_ok_and(|n| n > 0))
        };
        assert!(
            !words[0].is_empty() && words[1..].iter().all(is_variable),
            "{name} must begin with `finds: FILTER [VARIABLE=COUNT…]`, got {words:?}"
        );
    }
}
