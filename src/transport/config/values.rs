//! Configuration values with their origins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Origin {
    /// The inventory or a flag; the name of the key.
    Inventory(&'static str),
    File(PathBuf, usize),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inventory(key) => write!(f, "inventory ({key})"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// How a keyword takes its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// One argument; the first line wins.
    One,
    /// All arguments of the first line.
    Line,
    /// One argument per line; all lines count.
    Each,
    /// The rest of the line, unparsed; the first line wins.
    Rest,
}

/// Effective values, before tokens are expanded.
#[derive(Debug, Clone, Default)]
pub(in crate::transport) struct Values(BTreeMap<&'static str, Vec<(String, Origin)>>);

impl Values {
    /// Sets a value that no configuration may override.
    pub(in crate::transport) fn seed(
        &mut self,
        keyword: &'static str,
        value: String,
        key: &'static str,
    ) {
        self.0
            .entry(keyword)
            .or_default()
            .push((value, Origin::Inventory(key)));
    }

    /// Stores a value unless an earlier one excludes it.
    pub(super) fn take(
        &mut self,
        keyword: &'static str,
        takes: Takes,
        values: Vec<String>,
        origin: &Origin,
    ) {
        // `ProxyJump` and `ProxyCommand` exclude each other: the first one stays.
        let other = match keyword {
            "proxyjump" => "proxycommand",
            "proxycommand" => "proxyjump",
            other => other,
        };
        if takes != Takes::Each && (self.0.contains_key(keyword) || self.0.contains_key(other)) {
            return;
        }
        let stored = self.0.entry(keyword).or_default();
        for value in values {
            if takes != Takes::Each || !stored.iter().any(|(v, _)| *v == value) {
                stored.push((value, origin.clone()));
            }
        }
    }

    /// The first value.
    pub(in crate::transport) fn first(&self, keyword: &str) -> Option<&str> {
        self.0
            .get(keyword)
            .and_then(|v| v.first())
            .map(|(v, _)| v.as_str())
    }

    /// All values; `None` when the keyword is not set.
    pub(in crate::transport) fn every(&self, keyword: &str) -> Option<Vec<&str>> {
        self.0
            .get(keyword)
            .map(|v| v.iter().map(|(v, _)| v.as_str()).collect())
    }

    /// The origin of a keyword's value.
    pub(in crate::transport) fn origin(&self, keyword: &str) -> Origin {
        self.0
            .get(keyword)
            .and_then(|v| v.first())
            .map_or(Origin::Default, |(_, o)| o.clone())
    }

    /// Values with their origins.
    pub(in crate::transport) fn origins(&self, keyword: &str) -> &[(String, Origin)] {
        self.0.get(keyword).map_or(&[], Vec::as_slice)
    }

    /// Sets a value that the first pass found, whatever was configured.
    pub(super) fn settle(&mut self, keyword: &'static str, value: String) {
        let origin = self.origin(keyword);
        self.0.insert(keyword, vec![(value, origin)]);
    }
}

/// Parses a time span as OpenSSH writes it: seconds, or numbers with `s`, `m`, `h`, `d`, `w`.
/// `none` is zero.
pub(in crate::transport) fn time(text: &str) -> Option<Duration> {
    if text.eq_ignore_ascii_case("none") {
        return Some(Duration::ZERO);
    }
    let (mut total, mut number) = (0u64, String::new());
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    if text.is_empty() {
        return None;
    }
    let rest = if number.is_empty() {
        0
    } else {
        number.parse().ok()?
    };
    // A year is longer than any wait; larger numbers would overflow the clock.
    total
        .checked_add(rest)
        .filter(|s| *s <= 366 * 86_400)
        .map(Duration::from_secs)
}
