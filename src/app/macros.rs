//! Replaces `%%NAME%%` in a definition by an environment variable.
//!
//! A value is inserted after the file was parsed, so that no quote, brace or newline in it can
//! change the structure. Below a key that holds text it stays text; elsewhere a whole unquoted
//! value may become a number or a boolean.

use serde_json::Value;

use super::schema::holds_text;

/// Marks a macro while the file is parsed: a character of the private use area, which no definition
/// needs.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// A text whose macros are marked, and their values.
pub(super) struct Marked {
    /// The text with every macro replaced by its mark; line numbers stay.
    pub text: String,
    values: Vec<(String, bool)>,
}

/// A macro without a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undefined {
    pub line: usize,
    pub column: usize,
    pub name: String,
}

/// Marks every macro. Comment lines are left unchanged.
///
/// # Errors
/// All macros that the environment does not define.
pub(super) fn mark(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Marked, Vec<Undefined>> {
    let (mut out, mut values, mut undefined) =
        (String::with_capacity(text.len()), Vec::new(), Vec::new());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some((before, name, after)) = next(rest) {
            out.push_str(before);
            match environment(name) {
                Some(value) => {
                    let quoted = before.ends_with(['"', '\'']) && after.starts_with(['"', '\'']);
                    out.push_str(&format!("{OPEN}{}{CLOSE}", values.len()));
                    values.push((value, quoted));
                }
                None => {
                    let column = line[..line.len() - rest.len() + before.len()]
                        .chars()
                        .count()
                        + 1;
                    undefined.push(Undefined {
                        line: number + 1,
                        column,
                        name: name.to_owned(),
                    });
                }
            }
            rest = after;
        }
        out.push_str(rest);
    }
    if undefined.is_empty() {
        Ok(Marked { text: out, values })
    } else {
        Err(undefined)
    }
}

/// The first macro of a line: the text before it, its name, the text after it.
fn next(line: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + line[from..].find("%%")?;
        let inner = &line[start + 2..];
        let length = inner
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(inner.len());
        match inner[length..].strip_prefix("%%") {
            Some(after) if length > 0 => return Some((&line[..start], &inner[..length], after)),
            _ => from = start + 1,
        }
    }
}

impl Marked {
    /// Replaces the marks by their values.
    pub fn fill(&self, value: Value) -> Value {
        self.fill_below(value, false)
    }

    /// `as_text`: the value stands below a key that holds text, so it stays text.
    fn fill_below(&self, value: Value, as_text: bool) -> Value {
        match value {
            Value::String(text) => match self.fill_text(&text) {
                filled @ Value::String(_) => filled,
                other if as_text => self.value_of(&text).map_or(other, Value::String),
                other => other,
            },
            Value::Array(list) => list
                .into_iter()
                .map(|value| self.fill_below(value, as_text))
                .collect(),
            Value::Object(map) => {
                let key = |key: String| match self.fill_text(&key) {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                map.into_iter()
                    .map(|(name, value)| {
                        let below = as_text || holds_text(&name);
                        (key(name), self.fill_below(value, below))
                    })
                    .collect()
            }
            other => other,
        }
    }

    /// The value of a text that is a single mark.
    fn value_of(&self, text: &str) -> Option<String> {
        let (_, number, _) = split(text)?;
        self.values.get(number).map(|(value, _)| value.clone())
    }

    fn fill_text(&self, text: &str) -> Value {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, number, after)) = split(rest) {
            let Some((value, quoted)) = self.values.get(number) else {
                break;
            };
            if before.is_empty() && after.is_empty() && out.is_empty() && !quoted {
                return scalar(value);
            }
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Value::String(out)
    }
}

fn split(text: &str) -> Option<(&str, usize, &str)> {
    let (before, rest) = text.split_once(OPEN)?;
    let (number, after) = rest.split_once(CLOSE)?;
    Some((before, number.parse().ok()?, after))
}

/// A number or boolean when the text is one, else the text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "N" => "2",
            "TAG" => "1.10",
            "EVIL" => "x\", \"privileged\": true, \"y\": \"\nz",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_value_never_changes_the_structure() {
        let marked =
            mark("{a: %%N%%, b: \"%%N%%\", c: \"v%%TAG%%-%%N%%\", d: '%%EVIL%%', %%N%%: 50%% }\n# %%NOBODY%%\n", environment).unwrap();
        let parsed: Value = serde_saphyr::from_str(&marked.text).unwrap();
        let evil = environment("EVIL").unwrap();
        assert_eq!(
            marked.fill(parsed),
            json!({"a": 2, "b": "2", "c": "v1.10-2", "d": evil, "2": "50%%"})
        );
    }

    #[test]
    fn what_is_undefined_is_named_with_its_place() {
        let undefined = mark("id: a\nimage: \"ä%%REG%%/%%N%%:%%TAG_2%%\"\n", environment)
            .err()
            .unwrap();
        let places: Vec<_> = undefined
            .iter()
            .map(|u| (u.line, u.column, u.name.as_str()))
            .collect();
        assert_eq!(places, [(2, 10, "REG"), (2, 24, "TAG_2")]);
    }

    proptest! {
        #[test]
        fn any_value_comes_through_whole(value in ".*", text in "[a-z ]{0,8}%?") {
            let source = serde_json::to_string(&json!({"a": format!("{text}-%%V%%-")})).unwrap();
            let marked = mark(&source, |name| (name == "V").then(|| value.clone())).unwrap();
            let parsed: Value = serde_saphyr::from_str(&marked.text).unwrap();
            prop_assert_eq!(marked.fill(parsed), json!({"a": format!("{text}-{value}-")}));
        }
    }
}
