//! Tables whose keys the playbook defines: their values are checked here, their names by `desired`,
//! which knows the components.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Item, TableLike};

use super::error::Problems;
use crate::spec::ImageRef;

type Places = BTreeMap<String, (usize, usize)>;

fn note(
    table: &dyn TableLike,
    key: &str,
    name: String,
    places: &mut Places,
    problems: &Problems<'_>,
) {
    let span = table
        .get_key_value(key)
        .and_then(|(key, item)| key.span().or_else(|| item.span()));
    if let Some(place) = problems.spot(span.as_ref()) {
        places.insert(name, place);
    }
}

/// Rejects more keys than components could ever have, without looking at each.
fn too_many(table: &dyn TableLike, name: &str, problems: &mut Problems<'_>) -> bool {
    const MAX_KEYS: usize = 200;
    if table.len() > MAX_KEYS {
        let span = table.iter().next().and_then(|(key, item)| {
            table
                .get_key_value(key)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span())
        });
        problems.add(
            span,
            format!(
                "{name} has too many keys: {} (limit {MAX_KEYS})",
                table.len()
            ),
            Some("remove keys that name no component".into()),
        );
    }
    table.len() > MAX_KEYS
}

/// `[images]`
#[derive(Default)]
pub(super) struct ImagesTable {
    /// Component or additional image → reference.
    pub references: BTreeMap<String, ImageRef>,
    /// Recipe → argument → value.
    pub arguments: BTreeMap<String, BTreeMap<String, String>>,
    pub spread: bool,
}

pub(super) fn images(
    table: &dyn TableLike,
    places: &mut Places,
    problems: &mut Problems<'_>,
) -> ImagesTable {
    let mut out = ImagesTable::default();
    if too_many(table, "[images]", problems) {
        return out;
    }
    for (name, item) in table.iter() {
        if name == "spread" {
            match item.as_bool() {
                Some(spread) => out.spread = spread,
                None => problems.add(
                    item.span(),
                    "`images.spread` must be true or false",
                    Some("write spread = true".into()),
                ),
            }
            continue;
        }
        note(table, name, format!("images.{name}"), places, problems);
        if let Some(table) = item.as_table_like() {
            let values = recipe_arguments(table, name, places, problems);
            out.arguments.insert(name.to_owned(), values);
            continue;
        }
        match item.as_str() {
            Some(text) if ImageRef::is_valid(text) => drop(
                out.references
                    .insert(name.to_owned(), ImageRef(text.to_owned())),
            ),
            _ => problems.add(
                item.span(),
                format!("`images.{name}` must be an image reference"),
                Some("write \"registry.example.com:5000/name:tag\" or \"name:tag\"".into()),
            ),
        }
    }
    out
}

/// `[images.NAME]`: the arguments of a recipe; `base` is the image on which it is built.
fn recipe_arguments(
    table: &dyn TableLike,
    recipe: &str,
    places: &mut Places,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if too_many(table, &format!("[images.{recipe}]"), problems) {
        return out;
    }
    for (name, item) in table.iter() {
        let key = format!("images.{recipe}.{name}");
        match item.as_str() {
            Some(text) if name == "base" && !ImageRef::is_valid(text) => problems.add(
                item.span(),
                format!("`{key}` must be an image reference"),
                Some("write \"registry.example.com:5000/name:tag\" or \"name:tag\"".into()),
            ),
            Some(text) if text.len() < 1000 && !text.contains(char::is_control) => {
                drop(out.insert(name.to_owned(), text.to_owned()))
            }
            _ => problems.add(
                item.span(),
                format!("`{key}` must be a text of one line"),
                Some(format!("write {name} = \"value\"")),
            ),
        }
        note(table, name, key, places, problems);
    }
    out
}

/// `[components]`: the switches that are on.
pub(super) fn switches(
    table: &dyn TableLike,
    places: &mut Places,
    problems: &mut Problems<'_>,
) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    if too_many(table, "[components]", problems) {
        return out;
    }
    for (name, item) in table.iter() {
        match item.as_bool() {
            Some(true) => drop(out.insert(name.to_owned())),
            Some(false) => {}
            None => problems.add(
                item.span(),
                format!("`components.{name}` must be true or false"),
                Some(format!("write {name} = true")),
            ),
        }
        note(table, name, format!("components.{name}"), places, problems);
    }
    out
}

/// `[params.COMPONENT]`: texts, numbers and booleans, all stored as texts.
pub(super) fn params(
    table: &dyn TableLike,
    places: &mut Places,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut out: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    if too_many(table, "[params]", problems) {
        return out;
    }
    for (component, item) in table.iter() {
        let Some(keys) = item.as_table_like() else {
            let help = format!("write [params.{component}] and the parameters below it");
            problems.add(
                item.span(),
                format!("`params.{component}` must be a table"),
                Some(help),
            );
            continue;
        };
        if too_many(keys, &format!("[params.{component}]"), problems) {
            continue;
        }
        note(
            table,
            component,
            format!("params.{component}"),
            places,
            problems,
        );
        let values = out.entry(component.to_owned()).or_default();
        for (key, item) in keys.iter() {
            match plain(item) {
                Some(text) if !text.chars().any(char::is_control) => {
                    drop(values.insert(key.to_owned(), text))
                }
                _ => problems.add(
                    item.span(),
                    format!(
                        "`params.{component}.{key}` must be a string, an integer, true or false"
                    ),
                    Some(format!("write {key} = \"…\"")),
                ),
            }
            note(
                keys,
                key,
                format!("params.{component}.{key}"),
                places,
                problems,
            );
        }
    }
    out
}

fn plain(item: &Item) -> Option<String> {
    let number = || item.as_integer().map(|number| number.to_string());
    item.as_str()
        .map(str::to_owned)
        .or_else(number)
        .or_else(|| item.as_bool().map(|flag| flag.to_string()))
}
