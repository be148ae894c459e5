//! Checks the keys of the inventory that the playbook defines: switches, images, parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::images::key;
use crate::env::{FileAccess, FileKind, FileReader};
use crate::inventory::Inventory;
use crate::playbook::{ImageSource, Playbook, PlaybookError, RecipeSource};
use crate::spec::{ComponentName, Remedy, digest_of_reader, quote, shown};

/// Rejects a name that no component has, and suggests the nearest existing one.
pub(super) fn check(inventory: &Inventory, playbook: &Playbook) -> Result<(), PlaybookError> {
    let components = || playbook.components.values();
    let switches: BTreeSet<&str> = components()
        .flat_map(|c| c.on.options.keys())
        .map(String::as_str)
        .collect();
    let own = components().map(key);
    let images: BTreeSet<&str> = own
        .chain(components().flat_map(|c| c.extra_images.keys().map(String::as_str)))
        .collect();
    let tunable: BTreeSet<&str> = components()
        .filter(|c| !c.params.is_empty())
        .map(|c| c.name.as_str())
        .collect();

    let mut problems = NameProblems {
        inventory,
        found: Vec::new(),
    };
    for switch in &inventory.switches {
        problems.unknown(
            "components",
            switch,
            "is not an optional component",
            &switches,
        );
    }
    for image in inventory.images.keys() {
        problems.unknown(
            "images",
            image,
            "is not a component or an extra image of one",
            &images,
        );
    }
    let recipes: BTreeSet<&str> = playbook.recipes.keys().map(String::as_str).collect();
    for (recipe, arguments) in &inventory.recipe_arguments {
        let Some(known) = playbook.recipes.get(recipe) else {
            problems.unknown("images", recipe, "is not a recipe", &recipes);
            continue;
        };
        let own = known.arguments.keys().chain(&known.file_arguments);
        let mut names: BTreeSet<&str> = own.map(String::as_str).collect();
        names.insert("base");
        for file in &known.file_arguments {
            check_file_argument(recipe, file, arguments, &mut problems);
        }
        for name in arguments
            .keys()
            .filter(|name| !names.contains(name.as_str()))
        {
            let hint = nearest(name, &names);
            problems.add(
                "images",
                &format!("{recipe}.{name}"),
                format!("recipe {recipe} has no argument {name:?}"),
                Some(hint),
            );
        }
    }
    for (component, values) in &inventory.params {
        let Some(known) = playbook
            .components
            .get(component)
            .map(|c| &c.params)
            .filter(|params| !params.is_empty())
        else {
            problems.unknown(
                "params",
                component,
                "is not a component with parameters",
                &tunable,
            );
            continue;
        };
        let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
        for (name, value) in values {
            let key = format!("{component}.{name}");
            match known.get(name) {
                Some(param) if param.fits(value) => {}
                Some(param) => problems.add(
                    "params",
                    &key,
                    format!("`{name}` must be {}, got {value:?}", param.wanted()),
                    None,
                ),
                None => {
                    let hint = nearest(name, &names);
                    problems.add(
                        "params",
                        &key,
                        format!("{component} has no parameter {name:?}"),
                        Some(hint),
                    );
                }
            }
        }
    }
    let problems = problems.found;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlaybookError::Inventory { problems })
    }
}

/// Rejects a component without a default image when the inventory names none.
pub(super) fn images(
    inventory: &Inventory,
    playbook: &Playbook,
    used: &BTreeSet<ComponentName>,
) -> Result<(), PlaybookError> {
    let mut problems = NameProblems {
        inventory,
        found: Vec::new(),
    };
    for component in playbook.components.values().filter(|component| {
        component.image == ImageSource::Reference(String::new()) && used.contains(&component.name)
    }) {
        let key = key(component);
        if !inventory.images.contains_key(key) {
            let switch = component
                .on
                .options
                .keys()
                .find(|switch| inventory.switches.contains(*switch))
                .cloned()
                .unwrap_or_default();
            let hint = Remedy::AddImage {
                key: key.to_owned(),
            };
            problems.add(
                "components",
                &switch,
                format!("{} has no public image", component.name),
                Some(hint.to_string()),
            );
        }
    }
    let problems = problems.found;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlaybookError::Inventory { problems })
    }
}

/// A file needs its digest, and the other way round.
fn check_file_argument(
    recipe: &str,
    file: &str,
    arguments: &BTreeMap<String, String>,
    problems: &mut NameProblems<'_>,
) {
    let digest = RecipeSource::digest_argument(file);
    let value = |name: &str| arguments.get(name).filter(|value| !value.is_empty());
    let print = |path: &String| {
        let path = problems.inventory.path(path).display().to_string();
        format!("to what this prints: sha256sum {}", quote(&path))
    };
    let mut add = |name: &str, what: String, hint: String| {
        problems.add("images", &format!("{recipe}.{name}"), what, Some(hint));
    };
    match (value(file), value(&digest)) {
        (Some(path), None) => add(
            file,
            format!("`{file}` needs `{digest}`, the digest of that file"),
            format!("set {digest} {}", print(path)),
        ),
        (None, Some(_)) => add(
            &digest,
            format!("`{digest}` needs `{file}`, the file with this digest"),
            format!("add {file} = \"FILE\", or remove {digest}"),
        ),
        (Some(path), Some(sha256)) if !is_sha256(sha256) => add(
            &digest,
            format!("`{digest}` must be a SHA-256 digest (64 lower-case hexadecimal digits)"),
            format!("set it {}", print(path)),
        ),
        _ => {}
    }
}

fn is_sha256(text: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.len() == 64 && text.chars().all(is_hex)
}

fn digest_of_file(files: &dyn FileAccess, path: &Path) -> std::io::Result<String> {
    // A pipe would never end.
    if files.status(path)?.kind == FileKind::Regular {
        digest_of_reader(FileReader::new(&*files.open(path)?))
    } else {
        Err(std::io::Error::other("it must be a regular file"))
    }
}

/// Rejects files of recipes that cannot be read, or are not those that the inventory expects. Reads
/// all of each file. The names must have been checked.
pub(super) fn local_files(
    inventory: &Inventory,
    playbook: &Playbook,
    files: &dyn FileAccess,
) -> Result<(), PlaybookError> {
    let mut problems = NameProblems {
        inventory,
        found: Vec::new(),
    };
    for (recipe, arguments) in &inventory.recipe_arguments {
        let local = super::images::local_files(inventory, playbook, recipe, arguments);
        for (name, file) in local {
            let path = file.path.display();
            let key = format!("{recipe}.{name}");
            match digest_of_file(files, &file.path) {
                Ok(found) if found == file.sha256 => {}
                Ok(found) => {
                    let digest = RecipeSource::digest_argument(&name);
                    problems.add(
                        "images",
                        &key,
                        format!("{path} must have the SHA-256 {}, got {found}", file.sha256),
                        Some(format!("get the file again, or correct {digest}")),
                    );
                }
                Err(error) => {
                    problems.add("images", &key, format!("cannot read {path}: {error}"), None);
                }
            }
        }
    }
    let problems = problems.found;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlaybookError::Inventory { problems })
    }
}

struct NameProblems<'a> {
    inventory: &'a Inventory,
    found: Vec<String>,
}

impl NameProblems<'_> {
    fn unknown(&mut self, table: &str, name: &str, what: &str, known: &BTreeSet<&str>) {
        if !known.contains(name) {
            self.add(
                table,
                name,
                format!("{name:?} {what}"),
                Some(nearest(name, known)),
            );
        }
    }

    fn add(&mut self, table: &str, key: &str, what: String, hint: Option<String>) {
        let key = format!("{table}.{key}");
        let place = self
            .inventory
            .places
            .get(&key)
            .map_or_else(|| format!("[{table}]"), Clone::clone);
        let hint = hint
            .map(|hint| format!("\n  hint: {hint}"))
            .unwrap_or_default();
        self.found.push(shown(&format!("{place}: {what}{hint}")));
    }
}

fn nearest(name: &str, known: &BTreeSet<&str>) -> String {
    let best = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best.filter(|best| best.0 > 0.8) {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!(
            "there are {}",
            known.iter().copied().collect::<Vec<_>>().join(", ")
        ),
    }
}
