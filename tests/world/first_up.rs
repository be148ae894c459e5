//! One inventory is brought up in the world and on the lab, on three machines without an Engine, and the
//! events of both runs are compared.
//!
//! The lab's run is recorded by the scenario `first_day_with_the_shipped_defaults`, into the folder that
//! TOOTS_LAB_UP names. A recording stands in tests/recorded/lab, which a run of the scenario replaces
//! after a change of what a first `up` does; a new one is compared too when TOOTS_LAB_UP is set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chaos::on_own_clock;
use crate::life::Life;

const HOSTS: [(&str, Ipv4Addr); 3] = [
    ("10.42.7.61", Ipv4Addr::new(10, 42, 7, 61)),
    ("10.42.7.62", Ipv4Addr::new(10, 42, 7, 62)),
    ("10.42.7.63", Ipv4Addr::new(10, 42, 7, 63)),
];
const UP: &str = "toots cluster up --yes --output json";

/// Events that tell how long something takes: how many there are depends on the machine.
const OF_TIME: [&str; 2] = ["step-progress", "gate-waiting"];
/// Phases whose steps run beside each other on a host, and end in any order.
const BESIDE: [&str; 1] = ["images"];

/// What a run told, by topic; two faithful runs told the same.
type Outline = BTreeMap<String, Vec<String>>;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/lab")
}

fn read_events(text: &str) -> Vec<Value> {
    let events = text.lines().map(serde_json::from_str);
    events.map(|event| event.expect("an event")).collect()
}

/// The first `up` of a recording, in the world.
fn live(inventory: &str) -> Vec<Value> {
    on_own_clock(async {
        let life = Life::new(15, &HOSTS);
        for machine in life.world.machines() {
            machine.state().packages.remove("docker");
            machine.state().engine_runs = false;
            machine.engine.power_cut();
        }
        let files = [
            ("inventory.toml", inventory),
            ("known_hosts", ""),
            ("key", ""),
        ];
        let ending = life.operator(&files).run(UP).await;
        assert_eq!(ending.exit, Some(0), "{}{}", ending.output, ending.error);
        read_events(&ending.output)
    })
}

/// Without what follows from the images of one day: versions, digests, and numbers of a log.
fn mask(text: &str) -> String {
    let mut former = "";
    let words = text.split(' ').map(|word| {
        let is_index = former == "index";
        former = word;
        match word.split_once(':') {
            Some((name, version)) if !version.is_empty() => format!("{name}:…"),
            _ if is_index => "…".to_owned(),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

fn outline(events: &[Value]) -> Outline {
    let topology = read_topology();
    let components = topology
        .iter()
        .flat_map(|(former, later)| [former.as_str(), later]);
    let components: BTreeSet<&str> = components.collect();
    let mut outline = Outline::new();
    let mut add = |topic: &str, line: String| {
        let lines = outline.entry(topic.to_owned()).or_default();
        lines.push(line);
    };
    for event in events {
        let (kind, host) = (text(event, "type"), text(event, "host"));
        if OF_TIME.contains(&kind) {
            continue;
        }
        add("kinds of events", kind.to_owned());
        match kind {
            "run-started" => add("hosts", event["hosts"].to_string()),
            "phase-started" | "phase-finished" => {
                let phase = text(event, "phase");
                let is_component = components.contains(phase);
                let topic = if is_component {
                    "components"
                } else {
                    "run, stages"
                };
                add(topic, format!("{kind} {phase}"));
            }
            "host-planned" => add(host, format!("{} steps are planned", event["steps"])),
            "step-started" => {
                let topic = format!("{host}, {}", text(event, "phase"));
                add(&topic, mask(text(event, "step")));
            }
            "step-finished" => {
                let step = mask(text(event, "step"));
                let line = format!("{step}, changed: {}", event["changed"]);
                add(&format!("{host}, finished"), line);
            }
            "warning" => add("warnings", format!("{host} {}", mask(text(event, "text")))),
            "gate-passed" => {
                let proof = mask(text(event, "proof"));
                add("gates", format!("{}: {proof}", text(event, "service")));
            }
            "summary" => describe_services(event, &mut add),
            "result" => {
                add("exit code", event["exit_code"].to_string());
                for (host, result) in event["hosts"].as_object().expect("hosts") {
                    add(host, result.to_string());
                }
            }
            _ => {}
        }
    }
    describe_order(events, &topology, &mut |topic, line| {
        outline.entry(topic.to_owned()).or_default().push(line);
    });
    for (topic, lines) in &mut outline {
        sort_what_runs_beside(topic, lines);
    }
    outline
}

/// All but who was elected.
fn describe_services(summary: &Value, add: &mut impl FnMut(&str, String)) {
    for service in summary["services"].as_array().expect("services") {
        let has_leader = !service["leader"].is_null();
        let line = format!(
            "{}, healthy: {}, has a leader: {has_leader}, {}, {}",
            text(service, "service"),
            service["healthy"],
            text(service, "members"),
            mask(text(service, "proof")),
        );
        add("services", line);
    }
}

/// Stages, and steps of one phase, keep their order; what runs beside each other has none.
fn sort_what_runs_beside(topic: &str, lines: &mut Vec<String>) {
    let phase = topic.split_once(", ").map(|(_, phase)| phase);
    let is_ordered = phase.is_some_and(|phase| phase != "finished" && !BESIDE.contains(&phase));
    if !is_ordered {
        lines.sort();
    }
    if topic == "kinds of events" {
        lines.dedup();
    }
}

/// Component and what it comes after, by the playbooks.
fn read_topology() -> Vec<(String, String)> {
    let playbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let mut pairs = Vec::new();
    for entry in std::fs::read_dir(playbooks).expect("the playbooks") {
        let entry = entry.expect("a component");
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(text) = std::fs::read_to_string(entry.path().join("component.toml")) else {
            continue;
        };
        let component: toml::Table = text.parse().expect("TOML");
        let after = component.get("after").and_then(toml::Value::as_array);
        let after = after.into_iter().flatten().filter_map(toml::Value::as_str);
        pairs.extend(after.map(|former| (former.to_owned(), name.clone())));
    }
    pairs.sort();
    pairs
}

/// Which components began when what they come after had ended; phases beside each other have no order.
fn describe_order(
    events: &[Value],
    topology: &[(String, String)],
    add: &mut impl FnMut(&str, String),
) {
    let find = |kind: &str, phase: &str| {
        let is_found = |event: &Value| text(event, "type") == kind && text(event, "phase") == phase;
        events.iter().position(is_found)
    };
    for (former, later) in topology {
        let (end, begin) = (find("phase-finished", former), find("phase-started", later));
        if let Some(begin) = begin.filter(|_| find("phase-started", former).is_some()) {
            let has_waited = end.is_some_and(|end| end < begin);
            add(
                "order of phases",
                format!("{later} after {former}: {has_waited}"),
            );
        }
    }
}

/// Where two runs told something else.
fn compare(lab: &Outline, world: &Outline) -> Vec<String> {
    let topics: BTreeSet<&String> = lab.keys().chain(world.keys()).collect();
    let mut differences = Vec::new();
    for topic in topics {
        let (lab, world) = (lab.get(topic), world.get(topic));
        if lab != world {
            differences.push(format!("{topic}:\n  lab   {lab:?}\n  world {world:?}"));
        }
    }
    differences
}

fn assert_same(folder: &Path) {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    };
    let lab = read_events(&read("first_up.jsonl"));
    let world = live(&read("first_up.toml"));
    let differences = compare(&outline(&lab), &outline(&world));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let steps = |event: &&Value| event["type"] == "step-started";
    println!(
        "  the first up of the lab and of the world told the same: {} steps",
        lab.iter().filter(steps).count()
    );
}

#[test]
fn lab_and_world_tell_the_same() {
    assert_same(&recorded());
}

/// The run of the scenarios that ended before.
#[test]
fn a_new_run_on_the_lab_tells_the_same() {
    match std::env::var_os("TOOTS_LAB_UP") {
        Some(folder) => assert_same(Path::new(&folder)),
        None => println!("skipped: a new first up on the lab: TOOTS_LAB_UP names none"),
    }
}

#[test]
fn what_is_missing_is_found() {
    let text = std::fs::read_to_string(recorded().join("first_up.jsonl")).expect("a recording");
    let events = read_events(&text);
    let whole = outline(&events);
    let is_told = |event: &Value| !OF_TIME.contains(&event["type"].as_str().unwrap_or_default());
    for missing in 0..events.len() {
        let mut rest = events.clone();
        let event = rest.remove(missing);
        let is_noticed = !compare(&whole, &outline(&rest)).is_empty();
        assert!(is_noticed || !is_told(&event), "{event}");
    }
}
