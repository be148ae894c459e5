//! Values with where they came from.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Origin {
    /// The inventory or a flag; the key's name.
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
    /// One argument of each line; all lines count.
    Each,
    /// The rest of the line as it stands; the first line wins.
    Rest,
}

/// What is read; all other keywords are left to other programs.
pub(super) const KEYWORDS: [(&str, Takes); 23] = [
    ("hostname", Takes::One),
    ("user", Takes::One),
    ("port", Takes::One),
    ("identityfile", Takes::Each),
    ("identitiesonly", Takes::One),
    ("identityagent", Takes::One),
    ("certificatefile", Takes::Each),
    ("proxyjump", Takes::Rest),
    ("proxycommand", Takes::Rest),
    ("connecttimeout", Takes::One),
    ("serveraliveinterval", Takes::One),
    ("serveralivecountmax", Takes::One),
    ("userknownhostsfile", Takes::Line),
    ("globalknownhostsfile", Takes::Line),
    ("hostkeyalias", Takes::One),
    ("hashknownhosts", Takes::One),
    ("hostkeyalgorithms", Takes::One),
    ("kexalgorithms", Takes::One),
    ("ciphers", Takes::One),
    ("macs", Takes::One),
    ("pubkeyacceptedalgorithms", Takes::One),
    ("addressfamily", Takes::One),
    ("bindaddress", Takes::One),
];

/// The keyword under its present name, if it is one that is read.
pub(super) fn known(keyword: &str) -> Option<(&'static str, Takes)> {
    let keyword = if keyword == "pubkeyacceptedkeytypes" {
        "pubkeyacceptedalgorithms"
    } else {
        keyword
    };
    KEYWORDS.iter().copied().find(|(k, _)| *k == keyword)
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

    /// Takes a value unless an earlier one rules it out.
    pub(super) fn take(
        &mut self,
        keyword: &'static str,
        takes: Takes,
        values: Vec<String>,
        origin: &Origin,
    ) {
        // a way through a jump host and a way through a command exclude each other: the first one named stays
        let other = match keyword {
            "proxyjump" => "proxycommand",
            "proxycommand" => "proxyjump",
            other => other,
        };
        if takes != Takes::Each && (self.0.contains_key(keyword) || self.0.contains_key(other)) {
            return;
        }
        let all = self.0.entry(keyword).or_default();
        for value in values {
            if takes != Takes::Each || !all.iter().any(|(v, _)| *v == value) {
                all.push((value, origin.clone()));
            }
        }
    }

    /// The first value.
    pub(in crate::transport) fn one(&self, keyword: &str) -> Option<&str> {
        self.0
            .get(keyword)
            .and_then(|v| v.first())
            .map(|(v, _)| v.as_str())
    }

    /// All values; `None` when nothing was said.
    pub(in crate::transport) fn all(&self, keyword: &str) -> Option<Vec<&str>> {
        self.0
            .get(keyword)
            .map(|v| v.iter().map(|(v, _)| v.as_str()).collect())
    }

    /// Where a keyword's value came from.
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

    /// Sets what the first pass has found out, whatever was said.
    pub(super) fn settle(&mut self, keyword: &'static str, value: String) {
        let origin = self.origin(keyword);
        self.0.insert(keyword, vec![(value, origin)]);
    }
}

/// A span of time as OpenSSH writes it: seconds, or numbers with `s`, `m`, `h`, `d`, `w`; `none` is no time at all.
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
    // a year is longer than any wait; larger numbers would overflow the clock
    total
        .checked_add(rest)
        .filter(|s| *s <= 366 * 86_400)
        .map(Duration::from_secs)
}
