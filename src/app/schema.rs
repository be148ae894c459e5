//! The fields of definitions, as Marathon 1.6 to 1.11 (its API reference of `AppDefinition`) and
//! Chronos 2.5 to 4 (its reference of the job's JSON) document them. Both programs ignore a
//! misspelt field without a word and answer a wrong type with a page of text, so definitions are
//! checked before anything is sent.
//!
//! The tables are data: object → field → type. A type is `text`, `integer`, `number`, `boolean`,
//! `any`, the name of another object, values `A|B`, a list `[T]`, or a map `{T}`. To add a field:
//! a word in `schema/*.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::Value;

use super::definition::{Definition, Program};
use super::error::DefinitionErrors;
use crate::spec::shown;

/// Unknown names this close to a known one are taken for misspelt.
const MAX_MISSPELT_LETTERS: usize = 2;

type Objects = BTreeMap<String, BTreeMap<String, String>>;

struct Schema {
    /// The object of a whole definition.
    root: &'static str,
    objects: Objects,
}

/// The two schemas, Marathon's first.
fn schemas() -> &'static [Schema; 2] {
    static SCHEMAS: OnceLock<[Schema; 2]> = OnceLock::new();
    // A test parses both tables, so an unreadable one cannot be shipped.
    let objects = |text| serde_json::from_str(text).unwrap_or_default();
    SCHEMAS.get_or_init(|| {
        [
            Schema {
                root: "app",
                objects: objects(include_str!("schema/marathon.json")),
            },
            Schema {
                root: "job",
                objects: objects(include_str!("schema/chronos.json")),
            },
        ]
    })
}

/// Checks definitions. Returns warnings: fields that no documentation lists.
///
/// # Errors
/// Every wrong type and every misspelt field, with its place and a suggestion.
pub fn check(
    definitions: &[Definition],
    program: Program,
) -> Result<Vec<String>, DefinitionErrors> {
    let [marathon, chronos] = schemas();
    let schema = match program {
        Program::Marathon => marathon,
        Program::Chronos => chronos,
    };
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for definition in definitions {
        let mut findings = Findings {
            objects: &schema.objects,
            place: format!("{}: {}", definition.file.display(), definition.name),
            errors: &mut errors,
            warnings: &mut warnings,
        };
        findings.check("", &definition.value, schema.root);
    }
    if errors.is_empty() {
        Ok(warnings)
    } else {
        Err(DefinitionErrors(errors))
    }
}

/// Whether every scalar below a key is text, in all objects that have such a key.
pub(super) fn holds_text(key: &str) -> bool {
    static KEYS: OnceLock<BTreeSet<String>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let fields = schemas().iter().flat_map(|schema| {
            let fields = schema.objects.values().flatten();
            fields.map(|(key, kind)| (key, is_text(&schema.objects, kind)))
        });
        let fields: Vec<(&String, bool)> = fields.collect();
        let other = |key: &String| fields.iter().any(|(name, text)| *name == key && !text);
        let keys = fields.iter().map(|(key, _)| (*key).clone());
        keys.filter(|key| !other(key)).collect()
    });
    keys.contains(key)
}

/// Whether a type has no scalar that is not text.
fn is_text(objects: &Objects, kind: &str) -> bool {
    let inner = kind.trim_matches(['[', ']', '{', '}']);
    match objects.get(inner) {
        Some(fields) => fields.values().all(|kind| is_text(objects, kind)),
        None => !matches!(inner, "integer" | "number" | "boolean" | "any"),
    }
}

struct Findings<'a> {
    objects: &'a Objects,
    /// File and definition.
    place: String,
    errors: &'a mut Vec<String>,
    warnings: &'a mut Vec<String>,
}

impl Findings<'_> {
    fn check(&mut self, path: &str, value: &Value, kind: &str) {
        let between = |open, close| kind.strip_prefix(open).and_then(|k| k.strip_suffix(close));
        let is_right = match (value, kind) {
            (Value::Null, _) | (_, "any") => true,
            (Value::Array(list), _) if kind.starts_with('[') => {
                for (n, item) in list.iter().enumerate() {
                    self.check(
                        &format!("{path}[{n}]"),
                        item,
                        between('[', ']').unwrap_or("any"),
                    );
                }
                true
            }
            (Value::Object(map), _) if kind.starts_with('{') => {
                for (key, item) in map {
                    self.check(&below(path, key), item, between('{', '}').unwrap_or("any"));
                }
                true
            }
            // A variable's value is text, or names a secret.
            (Value::String(_), "env" | "text") | (Value::Bool(_), "boolean") => true,
            (Value::Number(_), "number") => true,
            (Value::Number(n), "integer") => n.as_f64().is_some_and(|n| n.fract() == 0.0),
            (Value::String(text), _) if kind.contains('|') => kind.split('|').any(|v| v == text),
            (Value::Object(map), _) if self.objects.contains_key(kind) => {
                self.check_fields(path, map, kind);
                true
            }
            _ => false,
        };
        if !is_right {
            let place = &self.place;
            let wrong = describe_mismatch(value, kind);
            self.errors
                .push(shown(&format!("{place}: {path} must be {wrong}")));
        }
    }

    fn check_fields(&mut self, path: &str, map: &serde_json::Map<String, Value>, object: &str) {
        let objects = self.objects;
        let Some(fields) = objects.get(object) else {
            return;
        };
        for (key, value) in map {
            let path = below(path, key);
            match (fields.get(key), nearest(key, fields.keys())) {
                (Some(kind), _) => self.check(&path, value, kind),
                (None, Some(known)) => self.errors.push(shown(&format!(
                    "{}: unknown field {path}, did you mean {known}?",
                    self.place
                ))),
                (None, None) => self.warnings.push(shown(&format!(
                    "{}: unknown field {path}: the program may ignore it",
                    self.place
                ))),
            }
        }
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The known name for which another one is taken.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let distance =
        |known: &String| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    known
        .map(|known| (distance(known), known))
        // Names of three letters are all close to each other.
        .filter(|(letters, known)| *letters <= MAX_MISSPELT_LETTERS && letters * 2 < known.len())
        .min()
        .map(|(_, known)| known)
}

/// "a number, got a string: "80" (write 80)".
fn describe_mismatch(value: &Value, kind: &str) -> String {
    let wanted = match kind {
        "env" => "a string, or a table that names a secret".to_owned(),
        "text" => "a string".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        values if values.contains('|') => format!("one of {}", values.replace('|', ", ")),
        list if list.starts_with('[') => "a list".to_owned(),
        _ => "a table".to_owned(),
    };
    let got = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    let suggestion = match (value, kind) {
        (Value::String(text), "integer" | "number") if text.trim().parse::<f64>().is_ok() => {
            format!(" (write {} without quotes)", text.trim())
        }
        (Value::String(text), "boolean") => match text.to_lowercase().as_str() {
            "yes" | "on" | "true" => " (write true)".to_owned(),
            "no" | "off" | "false" => " (write false)".to_owned(),
            _ => String::new(),
        },
        (Value::Number(_) | Value::Bool(_), "text" | "env") => format!(" (write \"{value}\")"),
        (Value::String(text), values) if values.contains('|') => {
            let same = values.split('|').find(|v| v.eq_ignore_ascii_case(text));
            same.map_or_else(String::new, |v| format!(" (write {v})"))
        }
        (item, list) if list.starts_with('[') && !item.is_object() => {
            format!(" (write [{item}])")
        }
        _ => String::new(),
    };
    let got = match value {
        Value::Array(_) | Value::Object(_) | Value::Null => got.to_owned(),
        scalar => format!("{got}: {scalar}"),
    };
    format!("{wanted}, got {got}{suggestion}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NONE: [&str; 0] = [];

    fn checked(program: Program, value: Value) -> Result<Vec<String>, DefinitionErrors> {
        let definition = Definition {
            file: "app.json".into(),
            name: "/web".into(),
            value,
        };
        check(&[definition], program)
    }

    #[test]
    fn tables_name_only_types_that_exist() {
        for schema in schemas() {
            assert!(schema.objects.contains_key(schema.root));
            for kind in schema.objects.values().flat_map(BTreeMap::values) {
                let inner = kind.trim_matches(['[', ']', '{', '}']);
                let scalar = ["text", "integer", "number", "boolean", "any"].contains(&inner);
                assert!(
                    scalar || inner.contains('|') || schema.objects.contains_key(inner),
                    "{kind}"
                );
            }
        }
    }

    #[test]
    fn right_definitions_pass() {
        let app = json!({
            "id": "/web", "cmd": null, "instances": 2, "cpus": 0.1, "mem": 64,
            "env": {"A": "1", "B": {"secret": "b"}}, "constraints": [["hostname", "UNIQUE"]],
            "fetch": [{"uri": "http://x/y.tgz", "extract": false}],
            "container": {"type": "DOCKER", "docker": {"image": "x:1", "network": "BRIDGE",
                "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}]}},
            "healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}}],
            "unreachableStrategy": "disabled"
        });
        assert_eq!(checked(Program::Marathon, app).unwrap(), NONE);
        let job = json!({
            "name": "j", "command": "true", "schedule": "R/2026-01-01T00:00:00Z/PT1H",
            "environmentVariables": [{"name": "A", "value": "1"}], "retries": 2, "async": false
        });
        assert_eq!(checked(Program::Chronos, job).unwrap(), NONE);
    }

    #[test]
    fn wrong_types_name_their_place_and_the_remedy() {
        let wrong = |value| checked(Program::Marathon, value).unwrap_err().to_string();
        for (value, message) in [
            (
                json!({"instances": "2"}),
                "instances must be a whole number, got a string: \"2\" (write 2 without quotes)",
            ),
            (
                json!({"container": {"docker": {"portMappings": [{"hostPort": "80"}]}}}),
                "container.docker.portMappings[0].hostPort must be a whole number, got a string: \
                 \"80\" (write 80 without quotes)",
            ),
            (
                json!({"env": {"A": 1.1}}),
                "env.A must be a string, or a table that names a secret, \
                 got a number: 1.1 (write \"1.1\")",
            ),
            (
                json!({"requirePorts": "yes"}),
                "requirePorts must be true or false, got a string: \
                 \"yes\" (write true)",
            ),
            (
                json!({"args": "-v"}),
                "args must be a list, got a string: \"-v\" (write [\"-v\"])",
            ),
            (
                json!({"container": {"type": "docker"}}),
                "container.type must be one of DOCKER, \
                 MESOS, got a string: \"docker\" (write DOCKER)",
            ),
            (json!({"labels": []}), "labels must be a table, got a list"),
            (
                json!({"instances": 1.5}),
                "instances must be a whole number, got a number: 1.5",
            ),
            (
                json!({"instnaces": 2}),
                "unknown field instnaces, did you mean instances?",
            ),
            (
                json!({"upgradeStrategy": {"minimumHealthCapasity": 1}}),
                "unknown field upgradeStrategy.minimumHealthCapasity, did you mean \
                 minimumHealthCapacity?",
            ),
        ] {
            assert_eq!(wrong(value), format!("app.json: /web: {message}"));
        }
    }

    #[test]
    fn other_unknown_fields_are_warnings() {
        let warnings = checked(
            Program::Marathon,
            json!({"somethingElse": {"a": 1}, "xyz": 1}),
        );
        assert_eq!(
            warnings.unwrap(),
            [
                "app.json: /web: unknown field somethingElse: the program may ignore it",
                "app.json: /web: unknown field xyz: the program may ignore it"
            ]
        );
    }

    #[test]
    fn keys_that_hold_text_come_from_the_tables() {
        for key in [
            "env",
            "labels",
            "args",
            "arguments",
            "id",
            "command",
            "parameters",
            "uri",
        ] {
            assert!(holds_text(key), "{key}");
        }
        for key in [
            "instances",
            "fetch",
            "extract",
            "ports",
            "container",
            "nothing",
        ] {
            assert!(!holds_text(key), "{key}");
        }
    }
}
