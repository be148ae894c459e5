//! From a file or a text to an inventory.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use toml_edit::Document;

use super::check::check;
use super::error::{InventoryErrors, Problem, Problems};
use super::schema;
use super::types::Inventory;

/// A larger file is no inventory.
const MOST: u64 = 1024 * 1024;

/// Reads a file. Returns the inventory and the text that it was read from.
///
/// # Errors
/// Everything that is wrong with it, each with line and column.
pub fn load(path: &Path) -> Result<(Inventory, String), InventoryErrors> {
    let name = path.display().to_string();
    let whole = |what: String, help: Option<&str>| InventoryErrors {
        file: crate::spec::shown(&name),
        problems: vec![Problem {
            at: None,
            what,
            help: help.map(str::to_owned),
        }],
    };
    let missing =
        "name it with -i FILE, or write one: toots init --masters IP,IP,IP > inventory.toml";
    let meta = std::fs::metadata(path)
        .map_err(|error| whole(format!("cannot be read: {error}"), Some(missing)))?;
    if !meta.is_file() {
        return Err(whole("is not a regular file".into(), None));
    }
    if meta.len() > MOST {
        return Err(whole(
            format!("is {} bytes long, at most {MOST} are possible", meta.len()),
            None,
        ));
    }
    if meta.permissions().mode() & 0o002 != 0 {
        let help = format!("chmod o-w {name}");
        return Err(whole(
            "can be written by everyone on this machine, and toots would do what they write".into(),
            Some(&help),
        ));
    }
    tracing::debug!(path = %name, owner = meta.uid(), "inventory");
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes))
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
            what: "is not UTF-8 from here on".into(),
            help: None,
        };
        InventoryErrors {
            file: crate::spec::shown(&name),
            problems: vec![problem],
        }
    })?;
    let base = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    parse(&text, &name, base).map(|inventory| (inventory, text))
}

/// Reads a text. `name` is shown in errors, `base` is where relative paths start.
///
/// # Errors
/// Everything that is wrong with it, each with line and column.
pub fn parse(text: &str, name: &str, base: &Path) -> Result<Inventory, InventoryErrors> {
    let name = crate::spec::shown(name);
    let mut problems = Problems::new(text);
    // A mark that some editors put before the first line.
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if body.len() != text.len() {
        problems = Problems::new(body);
    }
    if body.trim().is_empty() {
        problems.add(
            Some(0..0),
            "it is empty",
            Some("begin with: masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]".into()),
        );
        return problems.finish(&name, None);
    }
    // Deep nesting is refused by the parser itself.
    let document = match Document::parse(body) {
        Ok(document) => document,
        Err(error) => {
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            let help = what
                .contains("duplicate key")
                .then(|| "it stands further up already: leave one of the two out".to_owned());
            problems.add(error.span().or(Some(0..0)), what, help);
            return problems.finish(&name, None);
        }
    };
    let raw = schema::read(&document, base, &mut problems);
    let inventory = check(raw, &name, &mut problems);
    problems.finish(&name, Some(inventory))
}
