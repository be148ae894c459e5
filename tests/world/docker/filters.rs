//! The `filters` of a list.

use std::collections::BTreeMap;

use serde_json::Value;

/// Name → the values of which one must match.
#[derive(Debug, Clone, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads both forms: lists of values, and the former one with values as keys.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let filters: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
        let values = |value: Value| match value {
            Value::Array(list) => {
                let texts = list.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            Value::Object(keys) => keys.into_iter().map(|(key, _)| key).collect(),
            _ => Vec::new(),
        };
        let filters = filters.into_iter();
        Some(Self(
            filters.map(|(key, value)| (key, values(value))).collect(),
        ))
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether one of the values matches; also when none is given.
    pub fn any(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        let wishes = self.0.get(key);
        wishes.is_none_or(|wishes| wishes.iter().any(|wish| matches(wish)))
    }

    /// Whether all labels are there, each as `key` or `key=value`.
    pub fn has_labels(&self, labels: &Value) -> bool {
        let mut wishes = self.0.get("label").into_iter().flatten();
        wishes.all(|wish| match wish.split_once('=') {
            Some((key, value)) => labels[key].as_str() == Some(value),
            None => labels.get(wish).is_some(),
        })
    }
}
