//! A plan as text: per host what would change and why, with diffs, and a line of totals.

use std::collections::BTreeMap;

use super::line::Tone;
use super::text::{clean, count, lines, names};
use crate::event::escape;
use crate::spec::{HostName, Role};

/// One change of a plan. Secrets are already masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// `+` add, `~` change in place, `!` replace or restart, `-` remove.
    pub symbol: char,
    /// What changes (`container zookeeper`, `file /etc/…`).
    pub what: String,
    pub reason: String,
    /// Unified diff of a file.
    pub diff: Option<String>,
}

/// One host of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHostView {
    pub host: HostName,
    pub roles: Vec<Role>,
    /// Its changes, in order.
    pub changes: Vec<PlanChange>,
    /// Paths of toots' own records that the next run with a change writes.
    pub records: Vec<String>,
}

/// The plan as text; hosts without changes share one line.
#[must_use]
pub fn plan_text(hosts: &[PlanHostView], colour: bool) -> String {
    let mut out = String::new();
    for host in hosts.iter().filter(|h| !h.changes.is_empty()) {
        let roles: Vec<_> = host.roles.iter().map(|r| r.as_str()).collect();
        let title = if roles.is_empty() {
            host.host.to_string()
        } else {
            format!("{} ({})", host.host, roles.join(", "))
        };
        out.push_str(&format!("{}\n", Tone::Strong.paint(&title, colour)));
        for change in &host.changes {
            out.push_str(&change_text(change, colour));
        }
        out.push('\n');
    }
    let same: Vec<_> = hosts
        .iter()
        .filter(|h| h.changes.is_empty())
        .map(|h| h.host.as_str())
        .collect();
    if !same.is_empty() && same.len() < hosts.len() {
        out.push_str(&format!("No change on {}.\n", names(same, 10)));
    }
    out.push_str(&closing(hosts));
    out.push_str(&outdated_records(hosts));
    out
}

/// The records of toots itself are not changes: no run is made for them.
fn outdated_records(hosts: &[PlanHostView]) -> String {
    let mut on: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in hosts {
        for path in &host.records {
            on.entry(path).or_default().push(host.host.as_str());
        }
    }
    let line = |(path, hosts): (&str, Vec<&str>)| {
        let hosts = names(hosts, 10);
        format!(
            "Record {} on {hosts}: written by the next run that changes something.\n",
            clean(path)
        )
    };
    on.into_iter().map(line).collect()
}

fn change_text(change: &PlanChange, colour: bool) -> String {
    let symbol = escape(&change.symbol.to_string());
    let reason = if change.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", clean(&change.reason))
    };
    let mut out = format!(
        "  {} {}{reason}\n",
        tone(change.symbol).paint(&symbol, colour),
        clean(&change.what)
    );
    for line in change.diff.iter().flat_map(|d| lines(d)) {
        let tone = match line.chars().next() {
            Some('@') => Tone::Dim,
            Some(c) => tone(c),
            None => Tone::Normal,
        };
        out.push_str(format!("      {}", tone.paint(&line, colour)).trim_end());
        out.push('\n');
    }
    out
}

fn tone(symbol: char) -> Tone {
    match symbol {
        '+' => Tone::Good,
        '-' => Tone::Bad,
        '~' | '!' => Tone::Notice,
        _ => Tone::Normal,
    }
}

fn closing(hosts: &[PlanHostView]) -> String {
    let changes = || hosts.iter().flat_map(|h| &h.changes);
    if changes().next().is_none() {
        return format!("Nothing to change on {}.\n", count(hosts.len(), "host"));
    }
    let total = |symbol, word: &str| {
        let n = changes().filter(|c| c.symbol == symbol).count();
        (n > 0).then(|| format!("{n} to {word}"))
    };
    let parts = [
        total('+', "make"),
        total('~', "change"),
        total('!', "replace"),
        total('-', "remove"),
    ];
    let touched = hosts.iter().filter(|h| !h.changes.is_empty()).count();
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!(
        "Plan: {} on {touched} of {}.\n",
        parts.join(", "),
        count(hosts.len(), "host")
    )
}
