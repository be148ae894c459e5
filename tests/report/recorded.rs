//! Runs of the simulated world and of a registry, as `--output json` told them: each line an event with
//! its time. To add one: `RunReport::record` in tests/world/endings; `UPDATE_RECORDED=1` writes it.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use toots::event::Event;
use toots::report::{Plain, ViewState, permanent_lines};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/events");

/// A run, by the name of its file.
pub struct Recording {
    pub lines: Vec<RecordedLine>,
}

/// An event, when it was sent, and how it was written.
pub struct RecordedLine {
    /// Since the beginning of the run. The result, whose line tells no time, follows the event before.
    pub at: Duration,
    pub time: Timestamp,
    pub event: Event,
    pub text: String,
}

/// The names of all recorded runs, in order.
pub fn names() -> Vec<String> {
    let files = std::fs::read_dir(FOLDER).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let names = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = names.map(stem).collect();
    names.sort();
    names
}

impl Recording {
    pub fn read(name: &str) -> Self {
        let path = Path::new(FOLDER).join(name).with_extension("jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        let mut lines: Vec<RecordedLine> = Vec::new();
        for text in text.lines() {
            let mut value: Value = serde_json::from_str(text).unwrap();
            let fields = value.as_object_mut().unwrap();
            fields.remove("v");
            let time = match fields.remove("ts") {
                Some(time) => time.as_str().unwrap().parse().unwrap(),
                None => lines.last().unwrap().time,
            };
            let began = lines.first().map_or(time, |line| line.time);
            lines.push(RecordedLine {
                at: time.duration_since(began).try_into().unwrap(),
                time,
                event: serde_json::from_value(value).unwrap(),
                text: text.to_owned(),
            });
        }
        Self { lines }
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().map(|line| &line.event)
    }

    /// When the first event that fits was sent.
    pub fn when(&self, fits: impl Fn(&Event) -> bool) -> Duration {
        let line = self.lines.iter().find(|line| fits(&line.event));
        line.expect("an event of this kind").at
    }

    /// So long after a phase began for the last time.
    pub fn in_phase(&self, name: &str, after: Duration) -> Duration {
        let is_start = |event: &Event| matches!(event, Event::PhaseStarted { phase } if phase.to_string() == name);
        let mut lines = self.lines.iter().rev();
        let line = lines.find(|line| is_start(&line.event));
        line.expect("a phase of this name").at + after
    }

    /// When its last event was sent.
    pub fn took(&self) -> Duration {
        self.lines.last().unwrap().at
    }

    /// What is known of it at a time.
    pub fn state_at(&self, until: Duration) -> ViewState {
        let mut state = ViewState::default();
        for line in self.lines.iter().take_while(|line| line.at <= until) {
            state.apply(&line.event, line.at);
        }
        state
    }

    /// What is known of it before its result.
    pub fn without_result(&self) -> ViewState {
        let mut state = ViewState::default();
        for line in &self.lines[..self.lines.len() - 1] {
            state.apply(&line.event, line.at);
        }
        state
    }

    /// The plain lines of all of it, with those that break a silence.
    pub fn plain(&self) -> Vec<String> {
        let (mut state, mut plain, mut out) = (ViewState::default(), Plain::default(), Vec::new());
        let mut next = self.lines.iter().peekable();
        let mut now = Duration::ZERO;
        while next.peek().is_some() {
            while let Some(line) = next.next_if(|line| line.at <= now) {
                state.apply(&line.event, line.at);
                out.extend(plain.lines(&line.event, &state, line.at));
            }
            out.extend(plain.heartbeat(&state, now));
            now += Duration::from_millis(125);
        }
        out
    }

    /// What stays above the live view.
    pub fn permanent(&self, width: usize) -> Vec<String> {
        let lines = self.events();
        lines
            .flat_map(|event| permanent_lines(event, width, false))
            .collect()
    }
}
