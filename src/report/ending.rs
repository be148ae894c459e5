//! The end of a run, in one shape: what was proven or what failed, what was changed, and what to do
//! next.

use super::line::Tone;
use super::state::{Summary, ViewState};
use super::table::{Row, grid, table};
use super::text::{clean, count, first_faults, hint, lines, millis, names, wrap};
use crate::event::{Failure, Outcome, RunResult, ServiceRow, WebAddress};
use crate::spec::HostName;

/// Hosts with the same failure, and services with the same fault, that are listed by name.
const MAX_NAMES: usize = 8;

/// The end of a run as text, each line at most `width` columns; empty when there was no event.
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
        blocks.extend(service_faults(&summary.services, width, colour));
    }
    blocks.extend(gate_faults(state, width, colour));
    blocks.push(unfinished(state, width));
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
    let (exit_code, changed) = state.result.as_ref().map_or((0, None), |r: &RunResult| {
        // A plan with changes is no failure.
        let exit_code = if r.exit_code == 10 { 0 } else { r.exit_code };
        (exit_code, Some(r.changed))
    });
    let mut parts = Vec::new();
    if !bad.is_empty() {
        parts.push(format!(
            "{} not proven",
            names(bad.iter().map(String::as_str), MAX_NAMES)
        ));
    }
    if failed > 0 {
        parts.push(format!(
            "{failed} of {} failed",
            count(state.hosts.len(), "host")
        ));
    }
    parts.extend(why(exit_code).map(str::to_owned));
    let early = matches!(exit_code, 8 | 129 | 130 | 143);
    match changed {
        Some(0) if exit_code != 0 => parts.push("nothing was changed".into()),
        Some(changes) if exit_code != 0 => {
            parts.push(format!("{} made", count(changes, "change")));
            if early {
                parts.push("run again to resume".into());
            }
        }
        _ => {}
    }
    if let (Some(bundle), 0) = (&state.bundle, exit_code) {
        return (
            format!("{}, {}", bundle.text(), millis(elapsed_ms)),
            Tone::Good,
        );
    }
    let command = &state.command;
    // What is known of the cluster comes from proofs alone; without them, only the run is spoken of.
    let (words, tone) = match (summary, bad.is_empty(), failed, exit_code) {
        (Some(s), true, 0, 0) => return (up(cluster, s), Tone::Good),
        (Some(_), true, 1.., _) => (format!("{cluster} is partly up"), Tone::Notice),
        (Some(_), true, ..) => (format!("{cluster} is up, but the run failed"), Tone::Notice),
        (Some(_), false, ..) => (format!("{cluster} is not up"), Tone::Bad),
        // Without a result, nobody may claim that it is done.
        (None, ..) if state.result.is_none() && failed == 0 => (
            format!("{cluster}: {command} ended without a result"),
            Tone::Bad,
        ),
        (None, true, 0, 0) => {
            parts.push(match (changed, state.planned) {
                (Some(changes @ 1..), _) => count(changes, "change"),
                (_, Some(0)) => "nothing to change".into(),
                (_, Some(changes)) => format!("{} planned", count(changes, "change")),
                (_, None) => format!("{} ok", count(state.hosts.len(), "host")),
            });
            if state.warnings > 0 {
                parts.push(count(state.warnings, "warning"));
            }
            (format!("{cluster}: {command} done"), Tone::Good)
        }
        (None, ..) if early => (format!("{cluster}: {command} ended early"), Tone::Notice),
        (None, ..) => (format!("{cluster}: {command} failed"), Tone::Bad),
    };
    parts.push(millis(summary.map_or(elapsed_ms, |s| s.totals.elapsed_ms)));
    (format!("{words}: {}", parts.join(", ")), tone)
}

/// What an exit code adds to the events.
fn why(exit_code: u8) -> Option<&'static str> {
    match exit_code {
        7 => Some("locked by another run"),
        8 => Some("the deadline passed"),
        129 => Some("the terminal closed"),
        130 => Some("interrupted"),
        143 => Some("terminated"),
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
    let reported = state.failures.iter().map(|(h, ..)| h);
    let ended = state
        .result
        .iter()
        .flat_map(|r| &r.hosts)
        .filter(|(_, e)| e.outcome.is_failure());
    reported
        .chain(ended.map(|(h, _)| h))
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
        let members = match clean(&s.members) {
            nothing if nothing.is_empty() => "–".to_owned(),
            members => members,
        };
        (
            vec![clean(&s.service), leader, members, proof],
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

/// The faults of services, and what to do about them: one block for all that have the same, as after
/// the loss of a host.
pub(super) fn service_faults(
    services: &[ServiceRow],
    width: usize,
    colour: bool,
) -> Vec<Vec<String>> {
    let mut groups: Vec<(Vec<&str>, bool, Vec<String>)> = Vec::new();
    for row in services {
        let hints = row.hints.iter().map(hint);
        let faults: Vec<String> = first_faults(&row.faults).into_iter().chain(hints).collect();
        let same = |(_, healthy, others): &&mut (Vec<&str>, bool, Vec<String>)| {
            *healthy == row.healthy && *others == faults
        };
        match groups.iter_mut().find(same) {
            Some((services, ..)) => services.push(&row.service),
            None => groups.push((vec![&row.service], row.healthy, faults)),
        }
    }
    groups.retain(|(.., faults)| !faults.is_empty());
    let block = |(services, healthy, faults): &(Vec<&str>, bool, Vec<String>)| {
        fault_block(services, *healthy, faults, width, colour)
    };
    groups.iter().map(block).collect()
}

fn fault_block(
    services: &[&str],
    healthy: bool,
    faults: &[String],
    width: usize,
    colour: bool,
) -> Vec<String> {
    let verb = if services.len() == 1 { "is" } else { "are" };
    let (word, tone) = if healthy {
        ("proven, but", Tone::Notice)
    } else {
        ("not proven", Tone::Bad)
    };
    let services = clean(&names(services.iter().copied(), MAX_NAMES));
    let title = wrap(&format!("{services} {verb} {word}"), width, "  ", "    ");
    let mut out: Vec<_> = title.iter().map(|l| tone.paint(l, colour)).collect();
    out.extend(
        faults
            .iter()
            .flat_map(|f| wrap(&clean(f), width, "    ", "      ")),
    );
    out
}

fn gate_faults(state: &ViewState, width: usize, colour: bool) -> Vec<Vec<String>> {
    let reported = |service: &String| {
        state
            .summary
            .iter()
            .flat_map(|s| &s.services)
            .any(|r| r.service == *service && !r.faults.is_empty())
    };
    state
        .failed_gates
        .iter()
        .filter(|(s, _)| !reported(s))
        .map(|(s, faults)| fault_block(&[s], false, faults, width, colour))
        .collect()
}

/// After an early end: how far the hosts came that have steps left, those that came as far together.
fn unfinished(state: &ViewState, width: usize) -> Vec<String> {
    if state
        .result
        .as_ref()
        .is_none_or(|r| why(r.exit_code).is_none())
    {
        return Vec::new();
    }
    let failed = |host: &HostName| state.failures.iter().any(|(name, ..)| name == host);
    let mut groups: Vec<(usize, usize, Vec<&str>)> = Vec::new();
    for host in state.hosts.iter().filter(|host| !failed(&host.name)) {
        let Some(planned) = host.planned.filter(|planned| *planned > host.done) else {
            continue;
        };
        let mut others = groups.iter_mut();
        match others.find(|(done, of, _)| (*done, *of) == (host.done, planned)) {
            Some((.., hosts)) => hosts.push(host.name.as_str()),
            None => groups.push((host.done, planned, vec![host.name.as_str()])),
        }
    }
    let line = |(done, planned, hosts): (usize, usize, Vec<&str>)| {
        let hosts = names(hosts, MAX_NAMES);
        let text = format!("{hosts}: {done} of {} done", count(planned, "step"));
        wrap(&text, width, "  ", "    ")
    };
    groups.into_iter().flat_map(line).collect()
}

/// One block per distinct failure, with all hosts that had it.
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

/// One failure: its hosts, its place, the chain of causes, the last log lines, what was changed
/// before, and what to do next.
pub(super) fn failure_block(
    hosts: &[&HostName],
    outcome: Outcome,
    failure: &Failure,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let hosts_text = names(hosts.iter().map(|h| h.as_str()), MAX_NAMES);
    let word = outcome.as_str();
    let (phase, step) = (clean(&failure.phase.to_string()), clean(&failure.step));
    // A host that was never reached has no place in the run.
    let place = if outcome.is_unreached() && phase == step {
        String::new()
    } else {
        format!(" in {phase}: {step}")
    };
    let title = wrap(&format!("✗ {hosts_text} {word}{place}"), width, "", "  ");
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
            .flat_map(|h| wrap(&hint(h), width, "    ", "      ")),
    );
    out
}

/// Web addresses side by side, with who can reach them where known.
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
