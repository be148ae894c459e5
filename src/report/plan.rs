//! A plan as text: per host what would be changed and why, with diffs, and a line of sums.

use super::line::Tone;
use super::text::{clean, count, lines, names};
use crate::event::escape;
use crate::spec::{HostName, Role};

/// One change of a plan, as data that the plan's owner fills in. Secrets are masked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// `+` made, `~` changed in place, `!` replaced or restarted, `-` taken away.
    pub symbol: char,
    /// What (`container zookeeper`, `file /etc/…`).
    pub what: String,
    /// Why.
    pub reason: String,
    /// Unified diff of a file.
    pub diff: Option<String>,
}

/// One host of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHostView {
    /// The host.
    pub host: HostName,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its changes, in order.
    pub changes: Vec<PlanChange>,
}

/// The plan as text; hosts without changes are named in one line.
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
    out
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
    let of = |symbol, word: &str| {
        let n = changes().filter(|c| c.symbol == symbol).count();
        (n > 0).then(|| format!("{n} to {word}"))
    };
    let parts = [
        of('+', "make"),
        of('~', "change"),
        of('!', "replace"),
        of('-', "remove"),
    ];
    let touched = hosts.iter().filter(|h| !h.changes.is_empty()).count();
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!(
        "Plan: {} on {touched} of {}.\n",
        parts.join(", "),
        count(hosts.len(), "host")
    )
}
