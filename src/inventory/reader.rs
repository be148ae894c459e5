//! A table being read: each key is asked for once, and what was never asked for is a misspelling.

use std::ops::Range;
use std::time::Duration;

use toml_edit::{Item, TableLike, Value};

use super::error::Problems;

/// A value with its place.
pub(super) struct At<T> {
    pub value: T,
    pub span: Option<Range<usize>>,
}

/// Keys of the shell tool's Toots.conf and where their values belong now.
const FORMER: [(&str, &str); 8] = [
    ("MASTERS", "masters = [\"…\"] at the top"),
    ("NIC", "nic = \"…\" in [network]"),
    ("IN_DOMAIN", "in_domain = \"…\" in [network]"),
    ("EX_DOMAIN", "ex_domain = \"…\" in [network]"),
    ("VIP", "vip = \"…\" in [network]"),
    ("NFS", "export = \"…\" in [nfs]"),
    ("REGISTRY_IP", "server = \"…\" in [registry]"),
    ("CA", "ca = \"…\" in [registry]"),
];

pub(super) struct Reader<'a, 'p, 't> {
    table: &'a dyn TableLike,
    /// `[ssh]`, or the whole file.
    name: String,
    asked: Vec<&'static str>,
    problems: &'p mut Problems<'t>,
}

impl<'a, 'p, 't> Reader<'a, 'p, 't> {
    pub fn new(table: &'a dyn TableLike, name: impl Into<String>, problems: &'p mut Problems<'t>) -> Self {
        Self { table, name: name.into(), asked: Vec::new(), problems }
    }

    pub fn problem(&mut self, span: Option<Range<usize>>, what: impl Into<String>, help: Option<String>) {
        self.problems.add(span, what, help);
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Item> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn wrong(&mut self, key: &str, item: &Item, wanted: &str) {
        let what = format!("{key} is {}, {wanted} is needed", kind(item));
        self.problems.add(item.span(), what, None);
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let item = self.get(key)?;
        match item.as_str() {
            Some(text) if text.chars().any(char::is_control) => {
                self.problems.add(item.span(), format!("{key} holds a control character"), None);
                None
            }
            Some(text) if text.starts_with('-') => {
                self.problems.add(item.span(), format!("{key} begins with '-', which a command would take for an option"), None);
                None
            }
            Some(text) => Some(At { value: text.to_owned(), span: item.span() }),
            None => {
                self.wrong(key, item, "a string");
                None
            }
        }
    }

    pub fn parsed<T: std::str::FromStr>(&mut self, key: &'static str, wanted: &str) -> Option<At<T>> {
        let text = self.text(key)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, span: text.span }),
            Err(_) => {
                self.problems.add(text.span, format!("{key} = {:?} is not {wanted}", text.value), None);
                None
            }
        }
    }

    pub fn integer(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let item = self.get(key)?;
        match item.as_integer() {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                self.problems.add(
                    item.span(),
                    format!("{key} = {number} is out of range"),
                    Some(format!("{} to {}", range.start(), range.end())),
                );
                None
            }
            None => {
                self.wrong(key, item, "a whole number");
                None
            }
        }
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let item = self.get(key)?;
        if item.as_bool().is_none() {
            self.wrong(key, item, "true or false");
        }
        item.as_bool()
    }

    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.text(key)?;
        let span: Option<jiff::SignedDuration> = text.value.parse().ok();
        match span.and_then(|span| Duration::try_from(span).ok()).filter(|duration| !duration.is_zero()) {
            Some(duration) => Some(duration),
            None => {
                let what = format!("{key} = {:?} is not a duration", text.value);
                self.problems.add(text.span, what, Some("write \"90s\", \"5m\" or \"1h30m\"".into()));
                None
            }
        }
    }

    pub fn texts(&mut self, key: &'static str) -> Option<Vec<At<String>>> {
        let item = self.get(key)?;
        let Some(array) = item.as_array() else {
            self.wrong(key, item, "a list of strings");
            return None;
        };
        let mut out = Vec::new();
        for value in array {
            match value {
                Value::String(text) => out.push(At { value: text.value().clone(), span: value.span() }),
                other => self.problems.add(other.span(), format!("{key} holds {}, strings are needed", other.type_name()), None),
            }
        }
        Some(out)
    }

    /// A table below this one.
    pub fn table(&mut self, key: &'static str) -> Option<&'a dyn TableLike> {
        let item = self.get(key)?;
        if item.as_table_like().is_none() {
            self.wrong(key, item, "a table");
        }
        item.as_table_like()
    }

    pub fn span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).and_then(|(key, item)| key.span().or_else(|| item.span()))
    }

    /// Says what was never asked for.
    pub fn finish(self) {
        for (key, item) in self.table.iter() {
            if self.asked.contains(&key) {
                continue;
            }
            let span = self.table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
            let former = FORMER.iter().find(|(old, _)| old.eq_ignore_ascii_case(key) && key.chars().all(|c| !c.is_lowercase()));
            let secret = ["password", "passphrase", "secret", "token"].contains(&key);
            let help = if let Some((_, place)) = former {
                Some(format!("that is a key of Toots.conf; write {place}, or run: toots inventory import Toots.conf"))
            } else if secret {
                Some("secrets do not belong in this file: name a file (password_file) or a variable (password_env)".into())
            } else {
                nearest(key, &self.asked)
                    .map(|near| format!("did you mean {near}?"))
                    .or_else(|| Some(format!("known here: {}", self.asked.join(", "))))
            };
            self.problems.add(span, format!("unknown key {key:?} in {}", self.name), help);
        }
    }
}

/// The known key nearest to a misspelt one.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let best = known.iter().map(|name| (strsim::jaro_winkler(&lower, name), *name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

fn kind(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "a string",
        "integer" => "a whole number",
        "float" => "a number with a fraction",
        "boolean" => "true or false",
        "array" => "a list",
        "datetime" => "a date",
        _ => "a table",
    }
}
