//! Plain lines: whole, each with the seconds since the begin and the host (or the cluster) before it, no control bytes:
//! `[  12.3s] m1: create container zookeeper (0.8 s)`. What goes on in silence is mentioned at least every ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ending::failure_block;
use super::state::{HostPhase, HostView, ViewState};
use super::text::{bytes, clean, count, duration, millis, names};
use crate::event::{Event, Outcome, RunResult};
use crate::spec::HostName;

/// The longest silence about a gate or a step.
const SILENCE: Duration = Duration::from_secs(10);

/// Hosts that one heartbeat names.
const NAMES: usize = 4;

/// Turns events into lines; knows what it said last.
#[derive(Debug, Default)]
pub struct Plain {
    gates: BTreeMap<String, (String, Duration)>,
    hosts: BTreeMap<HostName, Duration>,
    /// When anything was said.
    said: Duration,
}

impl Plain {
    /// The lines of one event; `state` has taken it already.
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
        let one = |who: &str, text: String| vec![line(at, who, &text)];
        if let Event::StepStarted { host, .. }
        | Event::StepFinished { host, .. }
        | Event::HostFailed { host, .. } = event
        {
            self.hosts.insert(host.clone(), at);
        }
        match event {
            Event::RunStarted { command, hosts, .. } => one(
                cluster,
                format!("{}, {}", clean(command), count(hosts.len(), "host")),
            ),
            Event::PhaseStarted { phase } => one(cluster, clean(phase)),
            Event::StepFinished {
                host,
                step,
                changed: true,
                elapsed_ms,
            } => one(
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
                one(
                    cluster,
                    format!(
                        "{}: {} ({})",
                        clean(service),
                        clean(proof),
                        millis(*elapsed_ms)
                    ),
                )
            }
            Event::GateFailed { service, faults } => {
                let service = clean(service);
                self.gates.remove(&service);
                let faults = faults
                    .iter()
                    .map(|f| line(at, cluster, &format!("{service}: {}", clean(f))));
                one(cluster, format!("{service} is not proven"))
                    .into_iter()
                    .chain(faults)
                    .collect()
            }
            Event::Warning { host, text } => one(
                host.as_ref().map_or(cluster, |h| h.as_str()),
                format!("warning: {}", clean(text)),
            ),
            Event::Result(result) => results(result, at),
            Event::Planned { .. }
            | Event::PhaseFinished { .. }
            | Event::HostPlanned { .. }
            | Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::StepFinished { .. }
            | Event::Summary { .. } => Vec::new(),
        }
    }

    /// A gate says the same again and again: only what is new is told at once, and that at most once a second.
    fn waiting(
        &mut self,
        cluster: &str,
        service: &str,
        missing: String,
        at: Duration,
    ) -> Vec<String> {
        let stale = |(last, told): &(String, Duration)| {
            *last == missing || at.saturating_sub(*told) < Duration::from_secs(1)
        };
        if self.gates.get(service).is_some_and(stale) {
            return Vec::new();
        }
        let text = format!("waiting for {service}: {missing}");
        self.gates.insert(service.to_owned(), (missing, at));
        vec![line(at, cluster, &text)]
    }

    /// What goes on and was not mentioned for ten seconds.
    pub fn heartbeat(&mut self, state: &ViewState, at: Duration) -> Vec<String> {
        let mut out = self.silent_gates(state, at);
        out.extend(self.silent_steps(state, at));
        // connecting and observing have neither steps nor gates
        if out.is_empty() && at.saturating_sub(self.said) >= SILENCE && state.result.is_none() {
            let of = |(phase, since): &(String, Duration)| {
                line(
                    at,
                    &state.cluster,
                    &format!("still: {phase} ({})", duration(at.saturating_sub(*since))),
                )
            };
            out.extend(state.phases.iter().map(of));
        }
        if !out.is_empty() {
            self.said = at;
        }
        out
    }

    fn silent_gates(&mut self, state: &ViewState, at: Duration) -> Vec<String> {
        let mut out = Vec::new();
        for gate in &state.gates {
            let (missing, told) = self
                .gates
                .entry(gate.service.clone())
                .or_insert_with(|| (gate.missing.clone(), gate.since));
            if at.saturating_sub(*told) >= SILENCE {
                (*missing, *told) = (gate.missing.clone(), at);
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
            let told = self.hosts.entry(host.name.clone()).or_insert(step.since);
            if at.saturating_sub(*told) < SILENCE {
                continue;
            }
            *told = at;
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
            let pulled = host.progress.map_or_else(String::new, |(done, total)| {
                format!(", {}", bytes(done, total))
            });
            line(
                at,
                host.name.as_str(),
                &format!("still: {step} ({time}{pulled})"),
            )
        }
        _ => {
            let all = names(hosts.iter().map(|h| h.name.as_str()), NAMES);
            line(
                at,
                &state.cluster,
                &format!("still on {all}: {step} ({time})"),
            )
        }
    }
}

fn results(result: &RunResult, at: Duration) -> Vec<String> {
    let of = |(host, end): (&HostName, &crate::event::HostResult)| {
        let text = match end.outcome {
            Outcome::Ok => "ok".to_owned(),
            Outcome::Changed => format!("changed, {}", count(end.changed, "change")),
            Outcome::Failed => format!(
                "failed, {}",
                end.failed_step
                    .as_deref()
                    .map_or_else(|| "no step named".into(), clean)
            ),
            Outcome::Unreachable => "unreachable".into(),
            Outcome::Skipped => "skipped".into(),
        };
        line(at, host.as_str(), &text)
    };
    result.hosts.iter().map(of).collect()
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
