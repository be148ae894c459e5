//! Reads a table: each known key is requested once, and a key that was never requested is a
//! misspelling.

use std::ops::Range;
use std::time::Duration;

use toml_edit::{Item, TableLike, Value};

use super::error::Problems;
use crate::spec::Remedy;

/// A value with its place.
pub(super) struct At<T> {
    pub value: T,
    pub span: Option<Range<usize>>,
}

/// Keys of the shell tool's Toots.conf and their place in the inventory.
pub(super) const FORMER: [(&str, &str); 8] = [
    ("MASTERS", "masters = [\"…\"] at the top"),
    ("NIC", "nic = \"…\" in [network]"),
    ("IN_DOMAIN", "in_domain = \"…\" in [network]"),
    ("EX_DOMAIN", "ex_domain = \"…\" in [network]"),
    ("VIP", "vip = \"…\" in [network]"),
    ("NFS", "export = \"…\" in [nfs]"),
    ("REGISTRY_IP", "server = \"…\" in [registry]"),
    ("CA", "ca = \"…\" in [registry]"),
];

pub(super) struct TableReader<'a, 'p, 't> {
    table: &'a dyn TableLike,
    /// `[ssh]`, or the whole file.
    name: String,
    asked: Vec<&'static str>,
    problems: &'p mut Problems<'t>,
}

impl<'a, 'p, 't> TableReader<'a, 'p, 't> {
    pub fn new(
        table: &'a dyn TableLike,
        name: impl Into<String>,
        problems: &'p mut Problems<'t>,
    ) -> Self {
        Self {
            table,
            name: name.into(),
            asked: Vec::new(),
            problems,
        }
    }

    pub fn problem(
        &mut self,
        span: Option<Range<usize>>,
        what: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems.add(span, what, help);
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Item> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn wrong(&mut self, key: &str, item: &Item, wanted: &str) {
        let what = format!("`{key}` must be {wanted}, got {}", kind(item));
        let help = example(key).map(|example| format!("write {key} = {example}"));
        self.problems.add(item.span(), what, help);
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let item = self.get(key)?;
        match item.as_str() {
            Some(text) if text.chars().any(char::is_control) => {
                let help = "remove line breaks and invisible characters".to_owned();
                self.problems.add(
                    item.span(),
                    format!("`{key}` contains a control character"),
                    Some(help),
                );
                None
            }
            Some(text) if text.starts_with('-') => {
                let help = example(key).map_or_else(
                    || "remove the '-'".to_owned(),
                    |example| format!("write {key} = {example}"),
                );
                self.problems.add(
                    item.span(),
                    format!("`{key}` starts with '-', which a command would parse as an option"),
                    Some(help),
                );
                None
            }
            Some(text) => Some(At {
                value: text.to_owned(),
                span: item.span(),
            }),
            None => {
                self.wrong(key, item, "a string");
                None
            }
        }
    }

    /// A text of a restricted form; `wanted` describes the form.
    pub fn word(
        &mut self,
        key: &'static str,
        wanted: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let at = self.text(key)?;
        if fits(&at.value) {
            return Some(at.value);
        }
        let help = example(key).map(|example| format!("write {key} = {example}"));
        self.problems.add(
            at.span,
            format!("`{key}` must be {wanted}, got {:?}", at.value),
            help,
        );
        None
    }

    pub fn parsed<T: std::str::FromStr>(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        match text.value.parse() {
            Ok(value) => Some(At {
                value,
                span: text.span,
            }),
            Err(_) => {
                let help = example(key).map(|example| format!("write {key} = {example}"));
                self.problems.add(
                    text.span,
                    format!("`{key}` must be {wanted}, got {:?}", text.value),
                    help,
                );
                None
            }
        }
    }

    pub fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let item = self.get(key)?;
        match item.as_integer() {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                self.problems.add(
                    item.span(),
                    format!("`{key}` is out of range: {number}"),
                    Some(format!(
                        "write a number from {} to {}",
                        range.start(),
                        range.end()
                    )),
                );
                None
            }
            None => {
                self.wrong(key, item, "an integer");
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
        match span
            .and_then(|span| Duration::try_from(span).ok())
            .filter(|duration| !duration.is_zero())
        {
            Some(duration) => Some(duration),
            None => {
                let what = format!("`{key}` must be a duration, got {:?}", text.value);
                self.problems.add(
                    text.span,
                    what,
                    Some("write \"90s\", \"5m\" or \"1h30m\"".into()),
                );
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
                Value::String(text) => out.push(At {
                    value: text.value().clone(),
                    span: value.span(),
                }),
                other => {
                    let help = example(key).map(|example| format!("write {key} = {example}"));
                    self.problems.add(
                        other.span(),
                        format!(
                            "`{key}` must be a list of strings, got {} in it",
                            kind_of(other.type_name())
                        ),
                        help,
                    );
                }
            }
        }
        (out.len() == array.len()).then_some(out)
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Option<&'a dyn TableLike> {
        let item = self.get(key)?;
        if item.as_table_like().is_none() {
            let help = format!("write [{key}] on a line of its own and its keys below it");
            self.problems.add(
                item.span(),
                format!("`{key}` must be a table, got {}", kind(item)),
                Some(help),
            );
        }
        item.as_table_like()
    }

    pub fn span(&self, key: &str) -> Option<Range<usize>> {
        self.table
            .get_key_value(key)
            .and_then(|(key, item)| key.span().or_else(|| item.span()))
    }

    /// Reports the keys that were never requested.
    pub fn finish(self) {
        let unknown = self
            .table
            .iter()
            .filter(|(key, _)| !self.asked.contains(key));
        // In a file with a thousand unknown keys, only the first ones are compared and reported.
        for (key, item) in unknown.take(super::error::MAX_MISTAKES) {
            let span = self
                .table
                .get_key_value(key)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span());
            let former = FORMER.iter().find(|(old, _)| *old == key);
            let secret = ["password", "passphrase", "secret", "token"].contains(&key);
            let help = if let Some((_, place)) = former {
                let (key, place) = (key.to_owned(), (*place).to_owned());
                Some(Remedy::ReplaceFormerKey { key, place }.to_string())
            } else if secret {
                Some("do not write secrets in this file: set password_file or password_env".into())
            } else if let Some(place) = elsewhere(key, &self.name) {
                Some(format!("move it to {place}"))
            } else {
                nearest(key, &self.asked)
                    .map(|near| format!("did you mean {near}?"))
                    .or_else(|| Some(format!("known keys: {}", self.asked.join(", "))))
            };
            self.problems
                .add(span, format!("unknown key {key:?} in {}", self.name), help);
        }
    }
}

/// The right table of a key in the wrong table.
fn elsewhere(key: &str, here: &str) -> Option<&'static str> {
    let place = match key {
        "cluster" | "masters" | "slaves" | "edges" => {
            "the top of the file, before the first [table]"
        }
        "in_domain" | "ex_domain" | "vip" | "nic" | "listen_ip" => "[network]",
        "identity_files" | "known_hosts_files" | "proxy_jump" | "privilege" | "config_file"
        | "user" | "port" => "[ssh]",
        "install" => "[docker]",
        "server" | "ca" | "username" | "password_file" | "password_env" => "[registry]",
        "export" => "[nfs]",
        "certificate" | "key" => "[openvpn]",
        "raft_multiplier" => "[consul]",
        _ => return None,
    };
    (place != here).then_some(place)
}

/// The known key nearest to a misspelt one.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let best = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&lower, name), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

/// An example value of a key.
fn example(key: &str) -> Option<&'static str> {
    Some(match key {
        "masters" => "[\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]",
        "slaves" => "[\"10.0.0.21\"]",
        "edges" => "[\"10.0.0.31\"]",
        "identity_files" => "[\"~/.ssh/id_ed25519\"]",
        "known_hosts_files" => "[\"known_hosts\"]",
        "address" | "listen_ip" | "vip" => "\"10.0.0.11\"",
        "port" => "22",
        "cluster" => "\"dc1\"",
        "nic" => "\"eth0\"",
        "user" => "\"admin\"",
        "ssh" => "\"m1.example.com\"",
        "connect" | "exec" | "pull_idle" | "gate" => "\"90s\"",
        "raft_multiplier" => "1",
        "in_domain" | "ex_domain" => "\"example.com\"",
        "export" => "\"192.168.2.91:/store\"",
        "server" => "\"registry.example.com:5000\"",
        "persistent" | "install" => "true",
        _ => return None,
    })
}

fn kind(item: &Item) -> &'static str {
    kind_of(item.type_name())
}

fn kind_of(name: &str) -> &'static str {
    match name {
        "string" => "a string",
        "integer" => "an integer",
        "float" => "a float",
        "boolean" => "true or false",
        "array" => "a list",
        "datetime" => "a date",
        _ => "a table",
    }
}
