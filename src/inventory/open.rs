//! Tables whose keys the playbook defines: their values are checked here, their names by `desired`, which knows the components.

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

/// More keys than components could ever have are a mistake, and are not looked at one by one.
fn too_many(table: &dyn TableLike, name: &str, problems: &mut Problems<'_>) -> bool {
    const MOST: usize = 200;
    if table.len() > MOST {
        let span = table.iter().next().and_then(|(key, item)| {
            table
                .get_key_value(key)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span())
        });
        problems.add(
            span,
            format!(
                "{name} has {} keys, at most {MOST} are possible",
                table.len()
            ),
            Some("leave out what names no component".into()),
        );
    }
    table.len() > MOST
}

/// `[images]`: component or further image → reference.
pub(super) fn images(
    table: &dyn TableLike,
    places: &mut Places,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, ImageRef> {
    let mut out = BTreeMap::new();
    if too_many(table, "[images]", problems) {
        return out;
    }
    for (name, item) in table.iter() {
        match item.as_str() {
            Some(text) if is_image(text) => {
                drop(out.insert(name.to_owned(), ImageRef(text.to_owned())))
            }
            _ => problems.add(
                item.span(),
                format!("images.{name} is not an image reference"),
                Some("write \"registry.example.com:5000/name:tag\" or \"name:tag\"".into()),
            ),
        }
        note(table, name, format!("images.{name}"), places, problems);
    }
    out
}

/// `[registry[:port]/]name[:tag][@sha256:…]` in the characters that Docker allows.
fn is_image(text: &str) -> bool {
    let (name, digest) = text
        .split_once('@')
        .map_or((text, None), |(name, digest)| (name, Some(digest)));
    let digest = digest.is_none_or(|digest| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
    });
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".:_-".contains(c))
    };
    digest
        && text.len() < 256
        && !text.contains("..")
        && name.split('/').all(part)
        && !name.ends_with(':')
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
                format!("components.{name} is not true or false"),
                Some(format!("write {name} = true")),
            ),
        }
        note(table, name, format!("components.{name}"), places, problems);
    }
    out
}

/// `[params.COMPONENT]`: texts, numbers and switches, all kept as texts.
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
            let help = format!("write [params.{component}] and its parameters below");
            problems.add(
                item.span(),
                format!("params.{component} is not a table"),
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
                        "params.{component}.{key} is not a text, a whole number, true or false"
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
