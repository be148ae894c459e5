//! What a run tells of its ending, and whether that is what happened.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use serde_json::Value;

use crate::life::{Ending, Life, Operator};
use crate::record::Entry;
use crate::state::outline;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema");
    let schema = serde_json::from_str(&text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
});

/// Events that say what went wrong.
const SHOWN: [&str; 3] = ["host-failed", "gate-failed", "warning"];

/// A run with `--output json`.
pub struct RunReport {
    line: String,
    pub ending: Ending,
    pub events: Vec<Value>,
    /// Every host after it.
    outline: Vec<String>,
    problems: Vec<String>,
}

impl RunReport {
    /// Runs a command line as a new operator.
    pub async fn run(life: &Life, inventory: &str, line: &str) -> Self {
        let operator = life.operator(&[("inventory.toml", inventory)]);
        Self::run_as(life, operator, line).await
    }

    pub async fn run_as(life: &Life, operator: Operator, line: &str) -> Self {
        let ending = operator.run(line).await;
        let lines = ending.output.lines();
        let events = lines.map(|line| serde_json::from_str(line).expect("an event"));
        let mut report = Self {
            line: line.to_owned(),
            events: events.collect(),
            outline: outline(&life.world),
            problems: Vec::new(),
            ending,
        };
        report.problems = report.problems(life);
        report
    }

    pub fn exit(&self) -> Option<u8> {
        self.ending.exit
    }

    pub fn result(&self) -> &Value {
        self.events.last().expect("a result")
    }

    /// The outcome of a host.
    pub fn outcome(&self, host: &str) -> &str {
        let outcome = &self.result()["hosts"][host]["outcome"];
        outcome.as_str().expect("an outcome")
    }

    pub fn changed(&self) -> u64 {
        self.result()["changed"].as_u64().expect("a number")
    }

    /// Events of a type.
    pub fn of_type(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.events
            .iter()
            .filter(move |event| event["type"] == name)
    }

    /// What does not hold, of what holds for the result of every run.
    fn problems(&self, life: &Life) -> Vec<String> {
        let mut problems = Vec::new();
        for event in &self.events {
            if !SCHEMA.is_valid(event) {
                problems.push(format!("not of the schema: {event}"));
            }
        }
        let result = self.result();
        if result["type"] != "result" || self.of_type("result").count() != 1 {
            problems.push("the result is not the last event".to_owned());
        }
        if result["exit_code"].as_u64() != self.exit().map(u64::from) {
            problems.push(format!("exit code {:?}", self.exit()));
        }
        let hosts = result["hosts"].as_object().expect("hosts");
        let changes = hosts.values().filter_map(|host| host["changed"].as_u64());
        if changes.sum::<u64>() != self.changed() {
            problems.push("the sum of changes".to_owned());
        }
        for (name, host) in hosts {
            let found = self.problems_of_host(life, name, host);
            problems.extend(found.into_iter().map(|why| format!("{name}: {why}")));
        }
        problems
    }

    /// Where a host's result is not what the world noted.
    fn problems_of_host(&self, life: &Life, name: &str, report: &Value) -> Vec<String> {
        let outcome = report["outcome"].as_str().expect("an outcome");
        let changed = report["changed"].as_u64().expect("a number");
        let has_failed = !report["failed_step"].is_null();
        let done = self.changes_done(life, name);
        let is_dead = !life.world.machine(name).is_awake();
        let is_good = matches!(outcome, "ok" | "changed");
        let rules = [
            // A step that was cut off counts as changed, even when its request was not received.
            (
                changed > 0 && done.is_empty() && !has_failed,
                "received nothing",
            ),
            (changed == 0 && !done.is_empty(), "was changed"),
            (
                (outcome == "ok") != (is_good && changed == 0),
                "its outcome",
            ),
            (is_dead && is_good, "is dead"),
            (self.exit() == Some(0) && !is_good, "is not done"),
            (
                has_failed && (is_good || outcome == "skipped"),
                "has a failed step",
            ),
        ];
        let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
        let text = |(_, why)| format!("{why}: {outcome}, {changed} changes report, done: {done:?}");
        broken.map(text).collect()
    }

    /// What the run asked of a host and the host did. A canary of a proof leaves nothing.
    fn changes_done(&self, life: &Life, name: &str) -> Vec<String> {
        let by = &self.ending.by;
        let changes = life.world.record.changes().into_iter();
        let of_host = changes.filter(|change| change.host == name && change.by == *by);
        let operations = of_host.map(|change| change.what);
        let operations = operations.filter(|what| !what.contains(' '));
        let is_done = |what: &str| what.starts_with("answer 2") && what.ends_with(by);
        let entries = life.world.record.entries().into_iter();
        let of_host: Vec<_> = entries.filter(|entry| entry.host == name).collect();
        let created = format!("create by {by}");
        let is_own = |entry: &&Entry| entry.what == created && !entry.who.contains("canary");
        let creates_own = of_host.iter().any(|entry| is_own(&entry));
        let answers = of_host.into_iter().map(|entry| entry.what);
        let answers = answers.filter(|what| is_done(what));
        // The answer to a creation does not say of what.
        let answers = answers.filter(|what| creates_own || !what.contains("/containers/create"));
        let requests = operations.chain(answers);
        requests.filter(|what| !what.contains("canary")).collect()
    }

    /// It came to its end without a failure, and report the truth.
    pub fn assert_done(&self) {
        assert_eq!(self.exit(), Some(0), "{self}");
        assert!(self.problems.is_empty(), "{:#?}: {self}", self.problems);
    }

    /// Compares all of it with the snapshot of this name; what it tells must be what happened.
    pub fn snapshot(&self, name: &str) {
        super::snapshot(name, &self.to_string());
        assert!(self.problems.is_empty(), "{:#?}: {self}", self.problems);
    }

    /// Compares the stream of events with the file of this name, which the reporters' tests read.
    /// `UPDATE_RECORDED=1 cargo test --profile world --test world endings` writes it.
    pub fn record(&self, name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/events");
        let path = format!("{folder}/{name}.jsonl");
        if std::env::var_os("UPDATE_RECORDED").is_some() {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(&path, &self.ending.output).expect("a file");
        }
        let kept = std::fs::read_to_string(&path).expect("a recorded stream");
        let is_same = kept == self.ending.output;
        assert!(
            is_same,
            "{path} is not what the run report: UPDATE_RECORDED=1 writes it"
        );
    }

    /// Lines that several hosts share once, with these hosts.
    fn grouped_outline(&self) -> String {
        let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &self.outline {
            let (host, what) = line.split_once(": ").expect("a host");
            let short = host.rsplit('.').next().unwrap_or(host);
            hosts.entry(what).or_default().push(short);
        }
        let lines = hosts.into_iter();
        lines.fold(String::new(), |mut text, (what, on)| {
            let _ = writeln!(text, "{}: {what}", on.join(" "));
            text
        })
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self
            .exit()
            .map_or("none".to_owned(), |code| code.to_string());
        let seconds = self.ending.took.as_secs();
        writeln!(f, "{}\nexit code {code} after {seconds} s", self.line)?;
        writeln!(f, "\n--- standard error\n{}", self.ending.error)?;
        writeln!(f, "--- events")?;
        for event in &self.events {
            let name = event["type"].as_str().unwrap_or_default();
            if SHOWN.contains(&name) {
                let mut event = event.clone();
                let fields = event.as_object_mut().expect("fields");
                fields.retain(|key, _| key != "v" && key != "ts");
                writeln!(f, "{event:#}")?;
            }
        }
        writeln!(f, "\n--- result\n{:#}", self.result())?;
        write!(f, "\n--- hosts after it\n{}", self.grouped_outline())
    }
}
