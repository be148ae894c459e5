//! Plain lines: seconds since the start, then the host or the cluster, without control characters:
//! `[  12.3s] m1: create container zookeeper (0.8 s)`. A step without news is repeated at least
//! every ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ending::failure_block;
use super::state::{HostPhase, HostView, ViewState};
use super::text::{bytes, clean, count, duration, first_faults, hint, millis, names};
use crate::event::{Event, Outcome, RunResult};
use crate::spec::HostName;

/// Longest pause without a line about an open gate or step.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Hosts that one heartbeat names.
const MAX_NAMES: usize = 4;

/// Turns events into lines; remembers what was printed last.
#[derive(Debug, Default)]
pub struct Plain {
    gates: BTreeMap<String, (String, Duration)>,
    hosts: BTreeMap<HostName, Duration>,
    /// When the last line was printed.
    said: Duration,
}

impl Plain {
    /// The lines of one event, which `state` has already applied.
    pub fn lines(&mut self, event: &Event, state: &ViewState, at: Duration) -> Vec<String> {
        let lines = self.of_event(event, state, at);
        if !lines.is_empty() {
            self.said = at;
        }
        lines
    }

    fn of_event(&mut self, event: &Event, state: &ViewState, at: Duration) -> Vec<String> {
        let cluster = if state.cluster.is_empty() {
            "toots"
        } else {
            &state.cluster
        };
        let single_line = |who: &str, text: String| vec![line(at, who, &text)];
        if let Event::StepStarted { host, .. }
        | Event::StepFinished { host, .. }
        | Event::HostFailed { host, .. } = event
        {
            self.hosts.insert(host.clone(), at);
        }
        match event {
            Event::RunStarted { command, hosts, .. } if hosts.is_empty() => {
                single_line(cluster, clean(command))
            }
            Event::RunStarted { command, hosts, .. } => single_line(
                cluster,
                format!("{}, {}", clean(command), count(hosts.len(), "host")),
            ),
            Event::PhaseStarted { phase } => single_line(cluster, clean(&phase.to_string())),
            Event::StepFinished {
                host,
                step,
                changed: true,
                elapsed_ms,
            } => single_line(
                host.as_str(),
                format!("{} ({})", clean(step), millis(*elapsed_ms)),
            ),
            Event::HostFailed {
                host,
                outcome,
                failure,
            } => {
                let block = failure_block(&[host], *outcome, failure, usize::MAX, false);
                let named = format!("✗ {host} ");
                block
                    .iter()
                    .map(|l| line(at, host.as_str(), l.strip_prefix(&named).unwrap_or(l)))
                    .collect()
            }
            Event::GateWaiting {
                service, missing, ..
            } => self.waiting(cluster, &clean(service), clean(missing), at),
            Event::GatePassed {
                service,
                proof,
                elapsed_ms,
            } => {
                self.gates.remove(&clean(service));
                single_line(
                    cluster,
                    format!(
                        "{}: {} ({})",
                        clean(service),
                        clean(proof),
                        millis(*elapsed_ms)
                    ),
                )
            }
            Event::GateFailed {
                service,
                faults,
                hints,
            } => {
                let service = clean(service);
                self.gates.remove(&service);
                let faults = first_faults(faults).into_iter();
                let faults = faults.map(|f| line(at, cluster, &format!("{service}: {f}")));
                let hints = hints.iter().map(|h| line(at, cluster, &hint(h)));
                single_line(cluster, format!("{service} is not proven"))
                    .into_iter()
                    .chain(faults)
                    .chain(hints)
                    .collect()
            }
            Event::Warning { host, text, hints } => {
                let whom = host.as_ref().map_or(cluster, |h| h.as_str());
                let warning = single_line(whom, format!("warning: {}", clean(text)));
                let hints = hints.iter().map(|h| line(at, whom, &hint(h)));
                warning.into_iter().chain(hints).collect()
            }
            Event::ImageFetched { image, bytes: size } => single_line(
                cluster,
                format!("{} complete ({})", clean(image), bytes(*size, None)),
            ),
            Event::Result(result) => results(result, at),
            Event::ImageResolved { .. }
            | Event::TransferProgress { .. }
            | Event::BundleWritten { .. }
            | Event::Planned { .. }
            | Event::PhaseFinished { .. }
            | Event::HostPlanned { .. }
            | Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::StepFinished { .. }
            | Event::Summary { .. } => Vec::new(),
        }
    }

    /// A gate repeats its faults: only new ones are printed at once, at most once per second.
    fn waiting(
        &mut self,
        cluster: &str,
        service: &str,
        missing: String,
        at: Duration,
    ) -> Vec<String> {
        let stale = |(last, reported_at): &(String, Duration)| {
            *last == missing || at.saturating_sub(*reported_at) < Duration::from_secs(1)
        };
        if self.gates.get(service).is_some_and(stale) {
            return Vec::new();
        }
        let text = format!("waiting for {service}: {missing}");
        self.gates.insert(service.to_owned(), (missing, at));
        vec![line(at, cluster, &text)]
    }

    /// Lines for gates and steps that had none for ten seconds.
    pub fn heartbeat(&mut self, state: &ViewState, at: Duration) -> Vec<String> {
        let mut out = self.silent_gates(state, at);
        out.extend(self.silent_steps(state, at));
        // Connecting and observing have neither steps nor gates.
        if out.is_empty() && at.saturating_sub(self.said) >= MAX_SILENCE && state.result.is_none() {
            let transfer = state.transfer.text(at);
            let transfer = transfer.map_or_else(String::new, |text| format!(", {text}"));
            let phase_line = |(phase, since): &(String, Duration)| {
                let time = duration(at.saturating_sub(*since));
                let text = format!("still running: {phase} ({time}{transfer})");
                line(at, &state.cluster, &text)
            };
            out.extend(state.phases.iter().map(phase_line));
        }
        if !out.is_empty() {
            self.said = at;
        }
        out
    }

    fn silent_gates(&mut self, state: &ViewState, at: Duration) -> Vec<String> {
        let mut out = Vec::new();
        for gate in &state.gates {
            let (missing, reported_at) = self
                .gates
                .entry(gate.service.clone())
                .or_insert_with(|| (gate.missing.clone(), gate.since));
            if at.saturating_sub(*reported_at) >= MAX_SILENCE {
                (*missing, *reported_at) = (gate.missing.clone(), at);
                let time = duration(at.saturating_sub(gate.since));
                out.push(line(
                    at,
                    &state.cluster,
                    &format!(
                        "still waiting for {}: {} ({time})",
                        gate.service, gate.missing
                    ),
                ));
            }
        }
        out
    }

    fn silent_steps(&mut self, state: &ViewState, at: Duration) -> Vec<String> {
        let mut silent: Vec<(&str, Vec<&HostView>)> = Vec::new();
        for host in state.hosts.iter().filter(|h| h.phase == HostPhase::Running) {
            let Some(step) = host.running.last() else {
                continue;
            };
            let reported_at = self.hosts.entry(host.name.clone()).or_insert(step.since);
            if at.saturating_sub(*reported_at) < MAX_SILENCE {
                continue;
            }
            *reported_at = at;
            match silent.iter_mut().find(|(s, _)| *s == step.step) {
                Some((_, hosts)) => hosts.push(host),
                None => silent.push((&step.step, vec![host])),
            }
        }
        silent
            .iter()
            .map(|(step, hosts)| still(state, step, hosts, at))
            .collect()
    }
}

fn still(state: &ViewState, step: &str, hosts: &[&HostView], at: Duration) -> String {
    let since = hosts
        .iter()
        .filter_map(|h| h.running.last())
        .map(|r| r.since)
        .min()
        .unwrap_or(at);
    let time = duration(at.saturating_sub(since));
    match hosts {
        [host] => {
            let transferred = host.transferred(at, true);
            let transferred = transferred.map(|text| format!(", {text}"));
            let transferred = transferred.unwrap_or_default();
            line(
                at,
                host.name.as_str(),
                &format!("still running: {step} ({time}{transferred})"),
            )
        }
        _ => {
            let hosts_text = names(hosts.iter().map(|h| h.name.as_str()), MAX_NAMES);
            line(
                at,
                &state.cluster,
                &format!("still running on {hosts_text}: {step} ({time})"),
            )
        }
    }
}

fn results(result: &RunResult, at: Duration) -> Vec<String> {
    let host_line = |(host, end): (&HostName, &crate::event::HostResult)| {
        let text = match end.outcome {
            Outcome::Changed => format!("changed, {}", count(end.changed, "change")),
            Outcome::Failed => format!(
                "failed, {}",
                end.failed_step
                    .as_deref()
                    .map_or_else(|| "no step named".into(), clean)
            ),
            other => other.as_str().to_owned(),
        };
        line(at, host.as_str(), &text)
    };
    result.hosts.iter().map(host_line).collect()
}

fn line(at: Duration, who: &str, text: &str) -> String {
    let who = if who.is_empty() { "toots" } else { who };
    format!(
        "[{:>6}.{}s] {who}: {}",
        at.as_secs(),
        at.subsec_millis() / 100,
        text.trim_end()
    )
    .trim_end()
    .to_owned()
}
