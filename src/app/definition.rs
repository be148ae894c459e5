//! Definitions of applications and jobs, read from JSON and YAML.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{DefinitionError, DefinitionErrors};
use super::{macros, yaml};

/// Largest file with definitions, in bytes.
pub const MAX_DEFINITION_BYTES: u64 = 4 << 20;

/// The program that a definition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// An application, by its `id`.
    Marathon,
    /// A job, by its `name`.
    Chronos,
}

impl Program {
    /// The key that names a definition.
    fn key(self) -> &'static str {
        match self {
            Self::Marathon => "id",
            Self::Chronos => "name",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Marathon => "application",
            Self::Chronos => "job",
        }
    }
}

/// The definition of one application or job.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub file: PathBuf,
    /// Its `id` (beginning with `/`) or `name`.
    pub name: String,
    /// The whole document.
    pub value: Value,
}

/// Reads files with one definition, a list of definitions, or several YAML documents. `-` is
/// standard input.
///
/// # Errors
/// Everything that is wrong with all files, one `file:line:column: text` each.
pub fn read(
    files: &[PathBuf],
    program: Program,
    mut content: impl FnMut(&Path) -> std::io::Result<Vec<u8>>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Definition>, DefinitionErrors> {
    let (mut out, mut wrong): (Vec<Definition>, _) = (Vec::new(), Vec::new());
    for file in files {
        match text(content(file))
            .map_err(|why| DefinitionErrors(vec![format!("{}: {why}", file.display())]))
            .and_then(|text| parse(file, &text, program, &environment))
        {
            Ok(definitions) => out.extend(definitions),
            Err(DefinitionErrors(faults)) => wrong.extend(faults),
        }
    }
    for (n, definition) in out.iter().enumerate() {
        if let Some(first) = out[..n].iter().find(|other| other.name == definition.name) {
            let (here, there) = (definition.file.display(), first.file.display());
            wrong.push(format!(
                "{here}: {} {} is already defined in {there}",
                program.noun(),
                crate::spec::shown(&definition.name)
            ));
        }
    }
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(DefinitionErrors(wrong))
    }
}

/// As the standard library says it.
const NO_UTF8: &str = "stream did not contain valid UTF-8";

fn text(content: std::io::Result<Vec<u8>>) -> Result<String, DefinitionError> {
    let content = content.map_err(|error| DefinitionError::Unreadable(error.to_string()))?;
    if content.len() as u64 > MAX_DEFINITION_BYTES {
        return Err(DefinitionError::TooLarge(MAX_DEFINITION_BYTES >> 20));
    }
    String::from_utf8(content).map_err(|_| DefinitionError::Unreadable(NO_UTF8.into()))
}

fn parse(
    file: &Path,
    text: &str,
    program: Program,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<Definition>, DefinitionErrors> {
    let at = |line: usize, column: usize, what: String| {
        format!("{}:{line}:{column}: {what}", file.display())
    };
    let marked = macros::mark(text, environment).map_err(|undefined| {
        let application = |u: macros::Undefined| {
            at(
                u.line,
                u.column,
                format!("variable {} of %%{}%% is not set", u.name, u.name),
            )
        };
        DefinitionErrors(undefined.into_iter().map(application).collect())
    })?;
    let documents = yaml::read(&marked.text)
        .map_err(|error| DefinitionErrors(vec![at(error.line, error.column, error.why)]))?;
    let values = documents.into_iter().flat_map(|document| match document {
        Value::Array(list) => list,
        other => vec![other],
    });
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    for (n, value) in values.map(|value| marked.fill(value)).enumerate() {
        match name_of(&value, program) {
            Ok(name) => out.push(Definition {
                file: file.to_owned(),
                name,
                value,
            }),
            Err(why) => wrong.push(format!(
                "{}: {} {}: {why}",
                file.display(),
                program.noun(),
                n + 1
            )),
        }
    }
    if out.is_empty() && wrong.is_empty() {
        wrong.push(format!(
            "{}: file contains no {}",
            file.display(),
            program.noun()
        ));
    }
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(DefinitionErrors(wrong))
    }
}

fn name_of(value: &Value, program: Program) -> Result<String, DefinitionError> {
    let key = program.key();
    let Some(map) = value.as_object() else {
        return Err(DefinitionError::NotATable);
    };
    if program == Program::Marathon && (map.contains_key("apps") || map.contains_key("groups")) {
        return Err(DefinitionError::Group);
    }
    match map.get(key).and_then(Value::as_str).map(str::trim) {
        None | Some("") => Err(DefinitionError::Unnamed(key)),
        Some(name) => match program {
            Program::Marathon => super::AppId::new(name).map(|id| id.to_string()),
            Program::Chronos => super::chronos::check_name(name).map(|()| name.to_owned()),
        },
    }
}

/// What a definition would change: a line per key, `key: now → wanted`. Keys that it does not
/// contain stay as they are.
#[must_use]
pub fn changes(now: &Value, wanted: &Value) -> Vec<String> {
    let mut out = Vec::new();
    compare("", now, wanted, &mut out);
    out
}

fn compare(path: &str, now: &Value, wanted: &Value, out: &mut Vec<String>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (now, wanted) {
        (Value::Object(now), Value::Object(wanted)) => {
            for (key, value) in wanted {
                compare(
                    &below(key),
                    now.get(key).unwrap_or(&Value::Null),
                    value,
                    out,
                );
            }
            // A variable or label that the definition no longer contains is removed; other tables
            // are completed with defaults.
            for key in now
                .keys()
                .filter(|key| ["env", "labels"].contains(&path) && !wanted.contains_key(*key))
            {
                out.push(format!("{}: {} → nothing", below(key), now[key]));
            }
        }
        (Value::Array(now), Value::Array(wanted)) if now.len() == wanted.len() => {
            for (n, (now, wanted)) in now.iter().zip(wanted).enumerate() {
                compare(&format!("{path}[{n}]"), now, wanted, out);
            }
        }
        // 1 and 1.0 are the same number; an application's id may be written without its slash.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (Value::String(a), Value::String(b))
            if path == "id" && a.trim_matches('/') == b.trim_matches('/') => {}
        (now, wanted) if now == wanted => {}
        (Value::Null, wanted) => out.push(format!("{path}: {wanted}")),
        (now, wanted) => out.push(format!("{path}: {now} → {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str, program: Program) -> Result<Vec<Definition>, DefinitionErrors> {
        parse(Path::new("app.yaml"), text, program, &|name| {
            (name == "N").then(|| "3".to_owned())
        })
    }

    #[test]
    fn json_yaml_lists_and_several_documents() {
        let names = |text| -> Vec<String> {
            parsed(text, Program::Marathon)
                .unwrap()
                .into_iter()
                .map(|d| d.name)
                .collect()
        };
        assert_eq!(names("{\"id\": \"/a/b\", \"instances\": 1}"), ["/a/b"]);
        assert_eq!(names("[{\"id\": \"a\"}, {\"id\": \"b\"}]"), ["/a", "/b"]);
        assert_eq!(names("id: a\n---\nid: b\n"), ["/a", "/b"]);
        let application = parsed("id: a\ninstances: %%N%%\ncpus: 0.5\n", Program::Marathon)
            .unwrap()
            .remove(0);
        assert_eq!(
            application.value,
            json!({"id": "a", "instances": 3, "cpus": 0.5})
        );
    }

    #[test]
    fn what_is_wrong_names_its_place() {
        let wrong = |text, program| parsed(text, program).unwrap_err().to_string();
        assert!(wrong("id: a\nx: [1, 2\ny: 3\n", Program::Marathon).starts_with("app.yaml:"));
        assert_eq!(
            wrong("id: a\nimage: %%TAG%%\n", Program::Marathon),
            "app.yaml:2:8: variable TAG of %%TAG%% is not set"
        );
        assert_eq!(
            wrong("cmd: a\n", Program::Marathon),
            "app.yaml: application 1: \"id\" is missing"
        );
        assert!(wrong("id: Web App\n", Program::Marathon).contains("Web App"));
        assert!(wrong("name: a b\n", Program::Chronos).contains("a b"));
        assert_eq!(
            wrong("", Program::Marathon),
            "app.yaml: file contains no application"
        );
        assert!(wrong("id: /g\napps: []\n", Program::Marathon).contains("group"));
        assert!(wrong("id: a\nid: b\n", Program::Marathon).starts_with("app.yaml:2:"));
    }

    #[test]
    fn only_what_the_definition_names_is_compared() {
        let now = json!({"id": "/a", "cpus": 1, "env": {"A": "1", "B": "2"}, "container": {"docker": {"image": "x:1", "privileged": false}}, "ports": [1, 2]});
        let wanted = json!({"id": "a", "cpus": 1.0, "env": {"A": "1"}, "container": {"docker": {"image": "x:2"}}, "ports": [1], "mem": 32});
        assert_eq!(
            changes(&now, &wanted),
            [
                "container.docker.image: \"x:1\" → \"x:2\"",
                "env.B: \"2\" → nothing",
                "mem: 32",
                "ports: [1,2] → [1]"
            ]
        );
        assert!(changes(&now, &json!({"id": "/a", "env": {"A": "1", "B": "2"}})).is_empty());
    }
}
