//! Reads YAML so that a scalar keeps its spelling where Marathon and Chronos want text.
//!
//! YAML 1.2's core schema makes numbers and booleans of unquoted scalars. That is right for
//! `instances`, and wrong for an environment variable: `1.10` would become `1.1`, `0755` a decimal
//! number. Which keys hold text is told by the schemas of the two programs.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::schema::holds_text;

/// A place in the source: line and column, from 1, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub line: usize,
    pub column: usize,
    pub why: String,
}

/// Reads all documents of a text. A text that is JSON is read as JSON.
pub(super) fn read(text: &str) -> Result<Vec<Value>, YamlError> {
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(vec![value]);
    }
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<YamlNode> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |place| {
                (place.line() as usize, place.column() as usize)
            });
            let words = error.without_snippet().to_string();
            YamlError {
                line,
                column,
                why: crate::spec::shown(words.lines().next().unwrap_or_default()),
            }
        })?;
    Ok(documents
        .into_iter()
        .map(|document| document.into_value(text, false))
        .collect())
}

#[derive(Deserialize)]
#[serde(transparent)]
struct YamlNode(Spanned<YamlKind>);

enum YamlKind {
    Scalar(Value),
    List(Vec<YamlNode>),
    Map(Vec<(String, YamlNode)>),
}

impl YamlNode {
    /// `as_text`: the node stands below a key that holds text.
    fn into_value(self, source: &str, as_text: bool) -> Value {
        let span = self.0.defined.span();
        match self.0.value {
            YamlKind::Scalar(value @ (Value::Number(_) | Value::Bool(_))) if as_text => {
                let written = span
                    .byte_offset()
                    .zip(span.byte_len())
                    .and_then(|(at, len)| {
                        source.get(usize::try_from(at).ok()?..usize::try_from(at + len).ok()?)
                    });
                Value::String(
                    written.map_or_else(|| value.to_string(), |text| text.trim().to_owned()),
                )
            }
            YamlKind::Scalar(value) => value,
            YamlKind::List(list) => list
                .into_iter()
                .map(|node| node.into_value(source, as_text))
                .collect(),
            YamlKind::Map(entries) => entries
                .into_iter()
                .map(|(key, node)| {
                    let below = as_text || holds_text(&key);
                    (key, node.into_value(source, below))
                })
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for YamlKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> serde::de::Visitor<'de> for YamlVisitor {
    type Value = YamlKind;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<YamlKind, E> {
        Ok(YamlKind::Scalar(Value::Null))
    }

    fn visit_some<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<YamlKind, D::Error> {
        YamlKind::deserialize(deserializer)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<YamlKind, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(YamlKind::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<YamlKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(YamlKind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_keep_their_spelling_where_text_is_wanted() {
        let text = "id: 007\ninstances: 2\ncpus: 0.10\nflag: on\ntruth: true\nenv:\n  A: NO\n  \
                    B: 1.10\n  C: 0755\n  D: 12345e7\n  E: y\n  F: true\n  G: {secret: 1.0}\n  \
                    H: \"quoted 1.0\"\n  ü: 0x1F # hex\nargs: [-m, 0644, on, 1_000]\nlabels: {a: 1.0 , b: ~}\n";
        assert_eq!(
            read(text).unwrap(),
            [json!({
                "id": "007", "instances": 2, "cpus": 0.1, "flag": "on", "truth": true,
                "env": {
                    "A": "NO", "B": "1.10", "C": "0755", "D": "12345e7", "E": "y", "F": "true",
                    "G": {"secret": "1.0"}, "H": "quoted 1.0", "ü": "0x1F"
                },
                "args": ["-m", "0644", "on", "1_000"],
                "labels": {"a": "1.0", "b": null}
            })]
        );
    }

    #[test]
    fn json_stays_json() {
        let text = r#"{"env": {"A": 1.10, "B": true}, "id": 7}"#;
        assert_eq!(
            read(text).unwrap(),
            [json!({"env": {"A": 1.1, "B": true}, "id": 7})]
        );
    }

    #[test]
    fn an_alias_keeps_the_spelling() {
        let text = "a: &x 1.10\nenv:\n  A: *x\n";
        assert_eq!(read(text).unwrap()[0]["env"]["A"], "1.10");
    }
}
