//! The ending of a run: what was proven, or what failed, what was left and what to do next, in one shape.

use super::line::Tone;
use super::state::{Summary, ViewState};
use super::table::{Row, grid, table};
use super::text::{clean, count, lines, millis, names, wrap};
use crate::event::{Failure, Outcome, RunResult, ServiceRow, WebAddress};
use crate::spec::HostName;

/// Names of hosts with the same failure that are written out.
const NAMES: usize = 8;

/// The ending as text, each line at most `width` columns; empty when the run told nothing.
#[must_use]
pub fn ending(state: &ViewState, elapsed_ms: u64, width: usize, colour: bool) -> String {
    if state.cluster.is_empty() && state.result.is_none() {
        return String::new();
    }
    let (title, tone) = title(state, elapsed_ms);
    let mut blocks = vec![
        wrap(&title, width, "", "  ")
            .into_iter()
            .map(|l| tone.paint(&l, colour))
            .collect::<Vec<_>>(),
    ];
    if let Some(summary) = &state.summary {
        blocks.push(service_table(&summary.services, width, colour));
        blocks.extend(
            summary
                .services
                .iter()
                .filter_map(|s| service_faults(&s.service, s.healthy, &s.faults, width, colour)),
        );
    }
    blocks.extend(gate_faults(state, width, colour));
    blocks.extend(failures(state, width, colour));
    if let Some(summary) = &state.summary {
        blocks.push(web_addresses(&summary.web, width));
    }
    let blocks: Vec<_> = blocks
        .into_iter()
        .filter(|b| !b.is_empty())
        .map(|b| b.join("\n"))
        .collect();
    blocks.join("\n\n") + "\n"
}

fn title(state: &ViewState, elapsed_ms: u64) -> (String, Tone) {
    let cluster = if state.cluster.is_empty() {
        "the cluster"
    } else {
        &state.cluster
    };
    let failed = failed_hosts(state);
    let summary = state.summary.as_ref();
    let mut bad: Vec<_> = summary
        .iter()
        .flat_map(|s| &s.services)
        .filter(|s| !s.healthy)
        .map(|s| clean(&s.service))
        .collect();
    bad.extend(
        state
            .failed_gates
            .iter()
            .map(|(s, _)| s.clone())
            .filter(|s| summary.is_none_or(|t| t.services.iter().all(|r| r.service != *s))),
    );
    bad.dedup();
    let (exit_code, changed) = state
        .result
        .as_ref()
        .map_or((0, None), |r: &RunResult| (r.exit_code, Some(r.changed)));
    let mut parts = Vec::new();
    if !bad.is_empty() {
        parts.push(format!(
            "{} not proven",
            names(bad.iter().map(String::as_str), NAMES)
        ));
    }
    if failed > 0 {
        parts.push(format!(
            "{failed} of {} failed",
            count(state.hosts.len(), "host")
        ));
    }
    parts.extend(why(exit_code).map(str::to_owned));
    if changed == Some(0) && exit_code != 0 {
        parts.push("nothing was changed".into());
    }
    let (words, tone) = match (summary, bad.is_empty(), failed, exit_code) {
        (Some(s), true, 0, 0) => return (up(cluster, s), Tone::Good),
        (Some(_), true, 1.., _) => (format!("{cluster} is up, but not all of it"), Tone::Notice),
        (Some(_), true, ..) => (
            format!("{cluster} is up, but the run did not end well"),
            Tone::Notice,
        ),
        // without a result nobody may say that it is done
        (None, ..) if state.result.is_none() && failed == 0 => (
            format!("{cluster}: {} was cut off", state.command),
            Tone::Bad,
        ),
        (None, true, 0, 0) => {
            parts.push(
                changed
                    .filter(|n| *n > 0)
                    .map_or_else(|| "nothing to change".into(), |n| count(n, "change")),
            );
            (format!("{cluster}: {} done", state.command), Tone::Good)
        }
        (None, ..) if state.command != "cluster up" && !state.command.is_empty() => {
            (format!("{cluster}: {} failed", state.command), Tone::Bad)
        }
        _ => (format!("{cluster} is not up"), Tone::Bad),
    };
    parts.push(millis(summary.map_or(elapsed_ms, |s| s.totals.elapsed_ms)));
    (format!("{words}: {}", parts.join(", ")), tone)
}

/// What an exit code adds to what the events told.
fn why(exit_code: u8) -> Option<&'static str> {
    match exit_code {
        7 => Some("locked by another run"),
        8 => Some("the deadline passed"),
        130 => Some("interrupted"),
        _ => None,
    }
}

fn up(cluster: &str, summary: &Summary) -> String {
    let t = &summary.totals;
    let longest = t.longest.as_ref().map_or_else(String::new, |(what, ms)| {
        format!(" (longest: {} {})", clean(what), millis(*ms))
    });
    format!(
        "{cluster} is up: {}, {}, {}{longest}",
        count(t.hosts, "host"),
        count(t.containers, "container"),
        millis(t.elapsed_ms)
    )
}

fn failed_hosts(state: &ViewState) -> usize {
    let told = state.failures.iter().map(|(h, ..)| h);
    let ended = state
        .result
        .iter()
        .flat_map(|r| &r.hosts)
        .filter(|(_, e)| matches!(e.outcome, Outcome::Failed | Outcome::Unreachable));
    told.chain(ended.map(|(h, _)| h))
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

/// The services' table, the same for `up` and `status`.
pub(super) fn service_table(services: &[ServiceRow], width: usize, colour: bool) -> Vec<String> {
    if services.is_empty() {
        return Vec::new();
    }
    let row = |s: &ServiceRow| -> Row {
        let proof = if s.healthy {
            clean(&s.proof)
        } else {
            "not proven".into()
        };
        let leader = s.leader.as_deref().map_or_else(|| "–".into(), clean);
        (
            vec![clean(&s.service), leader, clean(&s.members), proof],
            if s.healthy { Tone::Normal } else { Tone::Bad },
        )
    };
    table(
        &["service", "leader", "members", "proof"],
        &services.iter().map(row).collect::<Vec<_>>(),
        width,
        colour,
    )
}

/// What each host answered for a service that is not proven.
pub(super) fn service_faults(
    service: &str,
    healthy: bool,
    faults: &[String],
    width: usize,
    colour: bool,
) -> Option<Vec<String>> {
    if healthy && faults.is_empty() {
        return None;
    }
    let (word, tone) = if healthy {
        ("is proven, but", Tone::Notice)
    } else {
        ("is not proven", Tone::Bad)
    };
    let title = wrap(&format!("{} {word}", clean(service)), width, "  ", "    ");
    let mut out: Vec<_> = title.iter().map(|l| tone.paint(l, colour)).collect();
    out.extend(
        faults
            .iter()
            .flat_map(|f| wrap(&clean(f), width, "    ", "      ")),
    );
    Some(out)
}

fn gate_faults(state: &ViewState, width: usize, colour: bool) -> Vec<Vec<String>> {
    let told = |service: &String| {
        state
            .summary
            .iter()
            .flat_map(|s| &s.services)
            .any(|r| r.service == *service && !r.faults.is_empty())
    };
    state
        .failed_gates
        .iter()
        .filter(|(s, _)| !told(s))
        .filter_map(|(s, faults)| service_faults(s, false, faults, width, colour))
        .collect()
}

/// One block for each different failure, with all hosts that had it.
fn failures(state: &ViewState, width: usize, colour: bool) -> Vec<Vec<String>> {
    let mut groups: Vec<(Vec<&HostName>, Outcome, &Failure)> = Vec::new();
    for (host, outcome, failure) in &state.failures {
        let same = |(_, o, f): &&mut (Vec<&HostName>, Outcome, &Failure)| {
            *o == *outcome
                && (&f.phase, &f.step, &f.cause, &f.left, &f.hints)
                    == (
                        &failure.phase,
                        &failure.step,
                        &failure.cause,
                        &failure.left,
                        &failure.hints,
                    )
        };
        match groups.iter_mut().find(same) {
            Some((hosts, ..)) => hosts.push(host),
            None => groups.push((vec![host], *outcome, failure)),
        }
    }
    let indent = |l: String| if width > 20 { format!("  {l}") } else { l };
    let inner = if width > 20 { width - 2 } else { width };
    groups
        .iter()
        .map(|(hosts, o, f)| {
            failure_block(hosts, *o, f, inner, colour)
                .into_iter()
                .map(indent)
                .collect()
        })
        .collect()
}

/// A failure: the hosts that had it, where, the chain of causes, the last lines of the log, what was left, and what to do next.
pub(super) fn failure_block(
    hosts: &[&HostName],
    outcome: Outcome,
    failure: &Failure,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let all = names(hosts.iter().map(|h| h.as_str()), NAMES);
    let word = if outcome == Outcome::Unreachable {
        "unreachable"
    } else {
        "failed"
    };
    let title = wrap(
        &format!(
            "✗ {all} {word} in {}: {}",
            clean(&failure.phase),
            clean(&failure.step)
        ),
        width,
        "",
        "  ",
    );
    let mut out: Vec<_> = title.iter().map(|l| Tone::Bad.paint(l, colour)).collect();
    for (i, cause) in failure.cause.iter().enumerate() {
        let prefix = if i == 0 { "" } else { "caused by: " };
        out.extend(wrap(
            &format!("{prefix}{}", clean(cause)),
            width,
            "    ",
            "      ",
        ));
    }
    if !failure.log.is_empty() && hosts.len() > 1 {
        out.extend(wrap(
            &format!("last lines on {}:", hosts[0]),
            width,
            "    ",
            "      ",
        ));
    }
    let log = failure
        .log
        .iter()
        .flat_map(|l| lines(l))
        .flat_map(|l| wrap(&l, width, "    | ", "    | "));
    out.extend(log.map(|l| Tone::Dim.paint(&l, colour)));
    if let Some(left) = &failure.left {
        out.extend(wrap(
            &format!("left: {}", clean(left)),
            width,
            "    ",
            "      ",
        ));
    }
    out.extend(
        failure
            .hints
            .iter()
            .flat_map(|h| wrap(&format!("hint: {}", clean(h)), width, "    ", "      ")),
    );
    out
}

/// Web addresses side by side, with who can reach them where that is said.
pub(super) fn web_addresses(web: &[WebAddress], width: usize) -> Vec<String> {
    let cell = |w: &WebAddress| {
        let reach = if w.reach.is_empty() {
            String::new()
        } else {
            format!(" ({})", clean(&w.reach))
        };
        (clean(&w.service), format!("{}{reach}", clean(&w.url)))
    };
    grid(&web.iter().map(cell).collect::<Vec<_>>(), width)
}
