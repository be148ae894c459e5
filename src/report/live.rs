//! The live view as text: a header, the open gates, then one line per host; never more rows or
//! columns than the screen.

use std::time::Duration;

use super::ending::failure_block;
use super::line::{StyledLine, Tone};
use super::state::{HostPhase, HostView, ViewState};
use super::text::{self, bytes, clean, count, duration, first_faults, hint, millis, pad, wrap};
use crate::event::Event;
use crate::spec::{Remedy, Role};

/// Number of gates with a line of their own.
const MAX_GATES: usize = 4;

/// The view at this time: at most `height` lines of at most `width` columns.
#[must_use]
pub fn render(
    state: &ViewState,
    width: usize,
    height: usize,
    now: Duration,
    colour: bool,
) -> String {
    let mut rows = vec![header(state, now)];
    let transfer = state.transfer.text(now).map(|text| format!("  {text}"));
    rows.extend(transfer.map(|text| StyledLine::with(text, Tone::Normal)));
    for gate in state
        .gates
        .iter()
        .take(MAX_GATES.min(height.saturating_sub(2)))
    {
        let mut line = StyledLine::with(format!("  waiting for {}", gate.service), Tone::Notice);
        line.push(
            format!(" {}", duration(now.saturating_sub(gate.since))),
            Tone::Dim,
        );
        line.push(format!("  {}", gate.missing), Tone::Normal);
        rows.push(line);
    }
    rows.extend(hosts(state, width, height.saturating_sub(rows.len()), now));
    let shown: Vec<_> = rows
        .iter()
        .take(height)
        .map(|r| r.show(width, colour))
        .collect();
    shown.join("\n")
}

fn header(state: &ViewState, now: Duration) -> StyledLine {
    let mut line = StyledLine::with(
        if state.cluster.is_empty() {
            "toots"
        } else {
            &state.cluster
        },
        Tone::Strong,
    );
    line.push(format!("  {}", duration(now)), Tone::Dim);
    let (failed, done) = state.ended();
    let (images, fetched) = (state.transfer.images, state.transfer.fetched);
    let progress = match (state.hosts.len(), images) {
        (0, 0) => String::new(),
        (0, images) => format!("  {fetched} of {}", count(images, "image")),
        (hosts, _) => format!("  {done} of {} done", count(hosts, "host")),
    };
    line.push(progress, Tone::Normal);
    if failed > 0 {
        line.push(format!(", {failed} failed"), Tone::Bad);
    }
    if state.phases.is_empty() {
        line.push(format!("  {}", state.command), Tone::Normal);
    } else {
        let phase_text = |(p, since): &(String, Duration)| {
            format!("{p} {}", duration(now.saturating_sub(*since)))
        };
        line.push(
            format!(
                "  {}",
                state
                    .phases
                    .iter()
                    .map(phase_text)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Tone::Normal,
        );
    }
    line
}

fn hosts(state: &ViewState, width: usize, room: usize, now: Duration) -> Vec<StyledLine> {
    let mut order: Vec<&HostView> = state.hosts.iter().collect();
    order.sort_by_key(|h| h.phase);
    if order.len() > room && room > 0 {
        // Failed hosts stay above as permanent lines; they must not push active hosts from the
        // view.
        let (failed, others): (Vec<_>, Vec<_>) =
            order.iter().partition(|h| h.phase == HostPhase::Failed);
        let keep = (room / 2)
            .max(room.saturating_sub(1 + others.len()))
            .min(failed.len());
        order = failed[..keep]
            .iter()
            .chain(&others)
            .chain(&failed[keep..])
            .copied()
            .collect();
    }
    let shown = if order.len() <= room {
        order.len()
    } else {
        room.saturating_sub(1)
    };
    let layout = Layout::fit(&order[..shown], width);
    let mut lines: Vec<_> = order[..shown].iter().map(|h| layout.line(h, now)).collect();
    if shown < order.len() && room > 0 {
        lines.push(more(&order[shown..]));
    }
    lines
}

fn more(hidden: &[&HostView]) -> StyledLine {
    let count_of_phase = |phase, word| {
        let n = hidden.iter().filter(|h| h.phase == phase).count();
        (n > 0).then(|| format!("{n} {word}"))
    };
    let words = [
        count_of_phase(HostPhase::Failed, "failed"),
        count_of_phase(HostPhase::Running, "running"),
        count_of_phase(HostPhase::Waiting, "waiting"),
        count_of_phase(HostPhase::Skipped, "skipped"),
        count_of_phase(HostPhase::Done, "done"),
    ];
    let words: Vec<_> = words.into_iter().flatten().collect();
    StyledLine::with(
        format!("  … and {} more: {}", hidden.len(), words.join(", ")),
        Tone::Dim,
    )
}

/// Columns of a frame; those that do not fit are left out.
struct Layout {
    width: usize,
    name: usize,
    roles: usize,
    words: bool,
    phase: usize,
    steps: usize,
}

impl Layout {
    fn fit(hosts: &[&HostView], width: usize) -> Self {
        let words = width >= 90;
        let widest =
            |size: &dyn Fn(&HostView) -> usize| hosts.iter().map(|h| size(h)).max().unwrap_or(0);
        Self {
            width,
            name: widest(&|h| text::width(h.name.as_str())).min((width / 4).max(6)),
            roles: if width >= 40 {
                widest(&|h| text::width(&roles(h, words)))
            } else {
                0
            },
            words,
            phase: if width >= 60 {
                widest(&|h| text::width(&phase(h))).min(16)
            } else {
                0
            },
            steps: widest(&|h| steps(h, width).len()),
        }
    }

    fn line(&self, host: &HostView, now: Duration) -> StyledLine {
        let (sign, tone) = match host.phase {
            HostPhase::Failed => ("✗", Tone::Bad),
            HostPhase::Running => ("▸", Tone::Notice),
            HostPhase::Waiting | HostPhase::Skipped => ("·", Tone::Dim),
            HostPhase::Done => ("✓", Tone::Good),
        };
        let mut line = StyledLine::with(format!("{sign} "), tone);
        let column =
            |text: &str, columns| format!("{}  ", pad(&text::truncate(text, columns), columns));
        line.push(column(host.name.as_str(), self.name), Tone::Normal);
        if self.roles > 0 {
            line.push(column(&roles(host, self.words), self.roles), Tone::Dim);
        }
        if self.phase > 0 {
            line.push(column(&phase(host), self.phase), Tone::Normal);
        }
        if self.steps > 0 {
            line.push(column(&steps(host, self.width), self.steps), Tone::Dim);
        }
        let right = right(host, now, self.width);
        // Below this width there is no room for both, and what is done says more than how long it
        // took.
        let room = if self.width >= 40 {
            self.width
                .saturating_sub(line.width() + text::width(&right) + 2)
        } else {
            0
        };
        let (what, tone) = doing(host);
        if room >= 8 && !right.is_empty() {
            line.push(pad(&text::truncate(&what, room), room), tone);
            line.push(format!("  {right}"), Tone::Dim);
        } else {
            line.push(what, tone);
        }
        line
    }
}

fn roles(host: &HostView, words: bool) -> String {
    let role_text = |r: &Role| {
        if words {
            r.to_string()
        } else {
            r.as_str()[..1].to_uppercase()
        }
    };
    host.roles
        .iter()
        .map(role_text)
        .collect::<Vec<_>>()
        .join(if words { "+" } else { "" })
}

fn phase(host: &HostView) -> String {
    match host.phase {
        HostPhase::Running => host
            .running
            .last()
            .map_or_else(String::new, |r| r.phase.clone()),
        HostPhase::Failed => host.last.0.clone(),
        _ => String::new(),
    }
}

fn steps(host: &HostView, width: usize) -> String {
    let Some(planned) = host.planned.filter(|n| *n > 0) else {
        return String::new();
    };
    let n = planned.max(host.done);
    let k = if host.phase == HostPhase::Running {
        (host.done + 1).min(n)
    } else {
        host.done
    };
    if width < 60 {
        format!("{k}/{n}")
    } else {
        format!("{k} of {n}")
    }
}

fn doing(host: &HostView) -> (String, Tone) {
    match (host.phase, host.running.as_slice()) {
        (HostPhase::Running, [.., last]) if host.running.len() > 1 => (
            format!("{} (+{})", last.step, host.running.len() - 1),
            Tone::Normal,
        ),
        (HostPhase::Running, [.., last]) => {
            let output = last.output.iter().map(|line| format!(": {line}"));
            (
                last.step.clone() + &output.collect::<String>(),
                Tone::Normal,
            )
        }
        (HostPhase::Failed, _) => (host.last.1.clone(), Tone::Bad),
        (HostPhase::Done, _) if host.changed == 0 => ("ok".into(), Tone::Good),
        (HostPhase::Done, _) => (
            format!("done, {}", count(host.changed, "change")),
            Tone::Good,
        ),
        (HostPhase::Skipped, _) => ("skipped".into(), Tone::Dim),
        _ => ("waiting".into(), Tone::Dim),
    }
}

/// Below this width the step has more need of the room than its rate.
const WIDTH_WITH_RATE: usize = 120;

fn right(host: &HostView, now: Duration, width: usize) -> String {
    let transferred = host.transferred(now, width >= WIDTH_WITH_RATE);
    let time = match (host.phase, host.running.last()) {
        (HostPhase::Running, Some(step)) => Some(now.saturating_sub(step.since)),
        (HostPhase::Done | HostPhase::Failed, _) => {
            host.began.zip(host.ended).map(|(b, e)| e.saturating_sub(b))
        }
        _ => None,
    };
    // The time is padded, so that it does not move when it grows.
    [transferred, time.map(|t| format!("{:>5}", duration(t)))]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("  ")
}

fn with_hints(mut lines: Vec<String>, hints: &[Remedy], width: usize) -> Vec<String> {
    let hints = hints.iter().map(hint);
    lines.extend(hints.flat_map(|hint| wrap(&hint, width, "    ", "      ")));
    lines
}

/// The lines that stay on the screen above the view: warnings, passed and failed gates, fetched
/// images, failed hosts with cause and hints.
#[must_use]
pub fn permanent_lines(event: &Event, width: usize, colour: bool) -> Vec<String> {
    let sign_line = |sign: &str, tone: Tone, words: String| {
        let mut lines = wrap(&format!("{sign} {words}"), width, "", "  ");
        if let Some(rest) = lines.first().and_then(|l| l.strip_prefix(sign)) {
            lines[0] = format!("{}{rest}", tone.paint(sign, colour));
        }
        lines
    };
    match event {
        Event::Warning {
            host: Some(host),
            text,
            hints,
        } => with_hints(
            sign_line("!", Tone::Notice, format!("{host}: {}", clean(text))),
            hints,
            width,
        ),
        Event::Warning {
            host: None,
            text,
            hints,
        } => with_hints(sign_line("!", Tone::Notice, clean(text)), hints, width),
        Event::GatePassed {
            service,
            proof,
            elapsed_ms,
        } => sign_line(
            "✓",
            Tone::Good,
            format!(
                "{}: {} ({})",
                clean(service),
                clean(proof),
                millis(*elapsed_ms)
            ),
        ),
        Event::GateFailed {
            service,
            faults,
            hints,
        } => {
            let mut lines = sign_line("✗", Tone::Bad, format!("{} is not proven", clean(service)));
            let faults = first_faults(faults).into_iter();
            lines.extend(faults.flat_map(|f| wrap(&f, width, "    ", "    ")));
            with_hints(lines, hints, width)
        }
        Event::ImageFetched { image, bytes: size } => sign_line(
            "✓",
            Tone::Good,
            format!("{} complete ({})", clean(image), bytes(*size, None)),
        ),
        Event::HostFailed {
            host,
            outcome,
            failure,
        } => failure_block(&[host], *outcome, failure, width, colour),
        _ => Vec::new(),
    }
}
