//! Loads an inventory from a file or a text.

use std::path::Path;

use toml_edit::Document;

use super::check::{check_inventory, check_masters};
use super::error::{InventoryErrors, Problem, Problems};
use super::schema;
use super::types::{BaseFolders, Inventory};
use crate::env::{FileAccess, FileKind, folder_of};
use crate::spec::Remedy;

/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a file. Returns the inventory and its text. `home`: the folder of paths that begin with `~/`.
///
/// # Errors
/// All mistakes, each with line and column.
pub fn load(
    files: &dyn FileAccess,
    home: Option<&Path>,
    path: &Path,
) -> Result<(Inventory, String), InventoryErrors> {
    let name = path.display().to_string();
    let whole = |what: String, help: Option<&str>| InventoryErrors {
        file: crate::spec::shown(&name),
        problems: vec![Problem {
            at: None,
            what,
            help: help.map(str::to_owned),
        }],
    };
    let missing = &Remedy::WriteInventory.to_string();
    let status = files
        .status(path)
        .map_err(|error| whole(format!("cannot be read: {error}"), Some(missing)))?;
    if status.kind != FileKind::Regular {
        return Err(whole("must be a regular file".into(), None));
    }
    if status.bytes > MAX_FILE_BYTES {
        return Err(whole(
            format!(
                "file is too large: {} bytes (limit {MAX_FILE_BYTES})",
                status.bytes
            ),
            None,
        ));
    }
    if status.mode & 0o002 != 0 {
        let help = format!("chmod o-w {name}");
        return Err(whole(
            "is writable by every user of this machine, who could make toots run anything".into(),
            Some(&help),
        ));
    }
    tracing::debug!(path = %name, owner = status.owner, "inventory");
    let bytes = files
        .read_up_to(path, MAX_FILE_BYTES + 1)
        .map_err(|error| whole(format!("cannot be read: {error}"), None))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let valid = error.as_bytes().get(..at).unwrap_or_default();
        let line = valid.iter().filter(|b| **b == b'\n').count() + 1;
        let column = valid
            .rsplit(|b| *b == b'\n')
            .next()
            .map_or(0, |rest| String::from_utf8_lossy(rest).chars().count())
            + 1;
        let problem = Problem {
            at: Some((line, column)),
            what: "invalid UTF-8 from here on".into(),
            help: None,
        };
        InventoryErrors {
            file: crate::spec::shown(&name),
            problems: vec![problem],
        }
    })?;
    let folders = BaseFolders {
        relative: folder_of(path).to_owned(),
        home: home.map(Path::to_owned),
    };
    parse(&text, &name, folders).map(|inventory| (inventory, text))
}

/// Parses a text. `name` is shown in errors.
///
/// # Errors
/// All mistakes, each with line and column.
pub fn parse(
    text: &str,
    name: &str,
    folders: impl Into<BaseFolders>,
) -> Result<Inventory, InventoryErrors> {
    parse_checked(text, name, &folders.into(), check_masters)
}

/// As [`parse`], with any number of masters.
pub(super) fn parse_any_number(
    text: &str,
    name: &str,
    folders: impl Into<BaseFolders>,
) -> Result<Inventory, InventoryErrors> {
    parse_checked(text, name, &folders.into(), |_, _| {})
}

fn parse_checked(
    text: &str,
    name: &str,
    folders: &BaseFolders,
    check_number: impl FnOnce(&schema::Raw, &mut Problems<'_>),
) -> Result<Inventory, InventoryErrors> {
    let name = crate::spec::shown(name);
    let mut problems = Problems::new(text);
    // A byte order mark, which some editors write.
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if body.len() != text.len() {
        problems = Problems::new(body);
    }
    if body.trim().is_empty() {
        problems.add(
            Some(0..0),
            "file is empty",
            Some("start with: masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]".into()),
        );
        return problems.finish(&name, None);
    }
    // The parser itself rejects deep nesting.
    let document = match Document::parse(body) {
        Ok(document) => document,
        Err(error) => {
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            let help = if what.contains("duplicate key") {
                Some("the key appears earlier in this table: remove one of the two".to_owned())
            } else if is_toots_conf(body) {
                let file = name.clone();
                Some(Remedy::ImportFormerFile { file }.to_string())
            } else {
                None
            };
            problems.add(error.span().or(Some(0..0)), what, help);
            return problems.finish(&name, None);
        }
    };
    let raw = schema::read(&document, folders, &mut problems);
    check_number(&raw, &mut problems);
    let inventory = check_inventory(raw, &name, &mut problems);
    problems.finish(&name, Some(inventory))
}

/// Whether a line assigns a key of the old shell tool.
fn is_toots_conf(text: &str) -> bool {
    text.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, _)| {
            super::reader::FORMER
                .iter()
                .any(|(old, _)| *old == key.trim())
        })
    })
}
