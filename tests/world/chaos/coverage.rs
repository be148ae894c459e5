//! What runs showed, held against what there is: event kinds, steps, exit codes and refusals, taken from
//! the schema of events, the sources and the documents, so that a new one cannot be forgotten here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::refusals::REFUSALS;
use crate::life::Ending;

const SCHEMA: &str = include_str!("../../../docs/events.schema.json");
const EXIT_CODES: &str = include_str!("../../../docs/exit-codes.md");
const STEPS: &str = include_str!("../../../src/plan/types.rs");

/// What no life meets, and why.
const UNMET_EVENTS: [(&str, &str); 4] = [
    (
        "image-resolved",
        "`bundle create` asks registries from the operator's machine",
    ),
    (
        "image-fetched",
        "`bundle create` asks registries from the operator's machine",
    ),
    (
        "transfer-progress",
        "`bundle create` asks registries from the operator's machine",
    ),
    (
        "bundle-written",
        "`bundle create` asks registries from the operator's machine",
    ),
];
const UNMET_STEPS: [(&str, &str); 1] = [(
    "Rejoin",
    "only `cluster repair` plans it, for members whose data differ; the lab tries it",
)];
/// Steps of stages that no plan has.
const STAGE_STEPS: [&str; 2] = ["connect", "observe"];
const UNMET_EXITS: [(u8, &str); 2] = [
    (
        1,
        "a bug of toots, or an output that cannot be written; unit tests try it",
    ),
    (10, "only `cluster plan --exit-code` ends with it"),
];

/// What runs showed, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub events: BTreeMap<String, u64>,
    pub steps: BTreeMap<&'static str, u64>,
    pub exits: BTreeMap<u8, u64>,
    pub refusals: BTreeMap<&'static str, u64>,
    /// Steps whose titles are of no known kind.
    pub unknown: BTreeSet<String>,
}

/// The step of a title, by its name in the plan.
fn step_of(title: &str) -> Option<&'static str> {
    let (verb, object) = title.split_once(' ')?;
    let is_unit = [".service", ".mount"]
        .iter()
        .any(|end| object.ends_with(end));
    Some(match verb {
        "install" => "Install",
        "write" => "Place",
        "pull" => "Pull",
        "build" => "Build",
        "load" => "Load",
        "create" => "Create",
        "replace" => "Replace",
        "start" if is_unit => "Unit",
        "start" => "Start",
        "move" => "Rejoin",
        "send" => "Signal",
        "remove" if object.starts_with('/') => "RemoveMarker",
        "remove" if is_unit => "RemoveUnit",
        "remove" => "Remove",
        _ => return None,
    })
}

impl Shown {
    /// Adds what a run showed; its events only when it printed them.
    pub fn add(&mut self, ending: &Ending) {
        if let Some(code) = ending.exit {
            *self.exits.entry(code).or_default() += 1;
        }
        for line in ending.output.lines().filter(|line| line.starts_with('{')) {
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let kind = event["type"].as_str().unwrap_or_default();
            *self.events.entry(kind.to_owned()).or_default() += 1;
            if kind == "step-started" {
                let title = event["step"].as_str().unwrap_or_default();
                if STAGE_STEPS.contains(&title) {
                    continue;
                }
                match step_of(title) {
                    Some(step) => *self.steps.entry(step).or_default() += 1,
                    None => {
                        self.unknown.insert(title.to_owned());
                    }
                }
            }
        }
        if ending.exit == Some(0) {
            return;
        }
        for refusal in REFUSALS {
            if refusal.is_in(&ending.output) || refusal.is_in(&ending.error) {
                *self.refusals.entry(refusal.text).or_default() += 1;
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(key.clone()).or_default() += count;
            }
        }
        add(&mut self.events, &other.events);
        add(&mut self.steps, &other.steps);
        add(&mut self.exits, &other.exits);
        add(&mut self.refusals, &other.refusals);
        self.unknown.extend(other.unknown.iter().cloned());
    }

    /// What was not met and has no reason for it, what was met although it has one, and what is on no
    /// list.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let events: BTreeSet<String> = self.events.keys().cloned().collect();
        let unmet = UNMET_EVENTS.map(|(name, _)| name.to_owned());
        compare("event", &event_kinds(), &events, &unmet, &mut faults);
        let steps: BTreeSet<String> = self.steps.keys().map(|name| (*name).to_owned()).collect();
        let unmet = UNMET_STEPS.map(|(name, _)| name.to_owned());
        compare("step", &step_kinds(), &steps, &unmet, &mut faults);
        let exits: BTreeSet<u8> = self.exits.keys().copied().collect();
        let unmet = UNMET_EXITS.map(|(code, _)| code);
        compare("exit code", &exit_codes(), &exits, &unmet, &mut faults);
        let refusals: BTreeSet<&str> = self.refusals.keys().copied().collect();
        let known: BTreeSet<&str> = REFUSALS.iter().map(|refusal| refusal.text).collect();
        let unmet = REFUSALS.iter().filter(|refusal| !refusal.unmet.is_empty());
        let unmet: Vec<&str> = unmet.map(|refusal| refusal.text).collect();
        compare("refusal", &known, &refusals, &unmet, &mut faults);
        let unknown = self.unknown.iter();
        faults.extend(unknown.map(|title| format!("step of no known kind: {title}")));
        faults
    }
}

fn compare<T: Ord + std::fmt::Display>(
    what: &str,
    known: &BTreeSet<T>,
    met: &BTreeSet<T>,
    unmet: &[T],
    faults: &mut Vec<String>,
) {
    for item in known.union(met) {
        let (is_known, is_met) = (known.contains(item), met.contains(item));
        match (is_known, is_met, unmet.contains(item)) {
            (false, _, _) => faults.push(format!("{what} is on no list: {item}")),
            (_, false, false) => faults.push(format!("{what} was never met: {item}")),
            (_, true, true) => faults.push(format!("{what} was met, but cannot be: {item}")),
            _ => {}
        }
    }
    let unknown = unmet.iter().filter(|item| !known.contains(item));
    faults.extend(unknown.map(|item| format!("{what} does not exist: {item}")));
}

/// Every kind of event of the schema.
fn event_kinds() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let kinds = schema["oneOf"].as_array().expect("kinds").iter();
    let names = kinds.map(|kind| &kind["properties"]["type"]["const"]);
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// Every kind of step that a plan can have.
fn step_kinds() -> BTreeSet<String> {
    let body = STEPS.split_once("pub enum Step {").expect("steps").1;
    let body = body.split_once("\n}\n").expect("an end").0;
    let variants = body.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.strip_suffix(" {")?;
        name.chars()
            .all(char::is_alphanumeric)
            .then(|| name.to_owned())
    });
    variants.collect()
}

/// Every exit code of the table.
fn exit_codes() -> BTreeSet<u8> {
    let rows = EXIT_CODES
        .lines()
        .filter_map(|line| line.strip_prefix("| "));
    let codes = rows.filter_map(|row| row.split(" | ").next());
    let codes = codes.flat_map(|codes| codes.split(", "));
    codes.filter_map(|code| code.parse().ok()).collect()
}

#[test]
fn every_list_is_read_from_its_source() {
    assert_eq!(event_kinds().len(), 19, "{:?}", event_kinds());
    assert_eq!(step_kinds().len(), 14, "{:?}", step_kinds());
    assert_eq!(exit_codes().len(), 13, "{:?}", exit_codes());
}

#[test]
fn what_is_missing_is_named() {
    let faults = Shown::default().faults();
    assert!(
        faults
            .iter()
            .any(|fault| fault == "event was never met: planned")
    );
    assert!(!faults.iter().any(|fault| fault.contains("bundle-written")));
    let mut shown = Shown::default();
    shown.events.insert("bundle-written".to_owned(), 1);
    shown.events.insert("cloud".to_owned(), 1);
    let faults = shown.faults();
    assert!(faults.contains(&"event was met, but cannot be: bundle-written".to_owned()));
    assert!(faults.contains(&"event is on no list: cloud".to_owned()));
}
