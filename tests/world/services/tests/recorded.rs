//! Every recorded state of these programs: brought about in the world, or named with the reason why
//! not. The recordings that a comparison reads lie in `tests/recorded` and `tests/standins/testdata`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::rig::Rig;
use super::table::{How, TABLE};
use crate::services::web::Request;

pub type Replay = Pin<Box<dyn Future<Output = usize>>>;

/// The names that a side uses for what is compared by its part: `LEADER`, `AGENT`.
pub struct Side(Vec<(String, String)>);

impl Side {
    pub fn new(names: &[(&str, &str)]) -> Self {
        let names = names
            .iter()
            .map(|(name, part)| ((*name).to_owned(), (*part).to_owned()));
        Self(names.collect())
    }

    fn rename(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, part)| {
            text.replace(name, part)
        })
    }
}

struct Recorded {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Recordings in the repository that were compared.
static COMPARED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// The recordings of these programs in the repository.
fn stored() -> BTreeSet<String> {
    let services = ["mesos", "marathon", "chronos"].into_iter();
    let names = services.flat_map(|service| {
        let files = std::fs::read_dir(folder().join(service)).expect("recordings");
        files.map(move |file| {
            let name = file.expect("a recording").file_name();
            format!("{service}/{}", name.to_string_lossy())
        })
    });
    names.collect()
}

/// The answers of the first server in a recording.
fn recorded(name: &str) -> BTreeMap<String, Recorded> {
    let mut compared = COMPARED.lock().unwrap_or_else(PoisonError::into_inner);
    compared.insert(name.to_owned());
    let path = folder().join(name);
    let text = std::fs::read_to_string(path).expect("a recording");
    let answers = format!("\n{text}");
    let answers = answers.split("\n=== ").skip(1).filter_map(|part| {
        let (title, rest) = part.split_once('\n')?;
        let (head, body) = rest.split_once("\n\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.strip_prefix("status ")?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let recorded = Recorded {
            status,
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.trim().to_owned(),
        };
        Some((title.split_once(' ')?.1.to_owned(), recorded))
    });
    answers.collect()
}

/// The fields of an answer that toots reads.
fn fields(
    question: &str,
    status: u16,
    headers: &BTreeMap<String, String>,
    body: &str,
    side: &Side,
) -> Value {
    let text = side.rename(body);
    let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
    let header = |name: &str| headers.get(name).map(|value| side.rename(value));
    let read = match (status, question) {
        (307, _) => json!(header("location")),
        (503, _) => json!(text),
        (200, "POST /api/v1 GET_HEALTH") => parsed["get_health"]["healthy"].clone(),
        (200, "POST /api/v1 GET_FRAMEWORKS") => {
            let items = parsed["get_frameworks"]["frameworks"]
                .as_array()
                .into_iter()
                .flatten();
            items
                .map(|framework| json!([framework["active"], framework["connected"]]))
                .collect()
        }
        (200, "GET /metrics/snapshot") => json!({
            "elected": parsed["master/elected"],
            "recovered": parsed["registrar/log/recovered"],
            "ensemble": parsed["registrar/log/ensemble_size"],
            "size": parsed["registrar/registry_size_bytes"].is_number(),
            "fetch": parsed["registrar/state_fetch_ms"].is_number(),
        }),
        (200, "GET /slaves") => {
            let items = parsed["slaves"].as_array().into_iter().flatten();
            items
                .map(|slave| {
                    json!([
                        slave["hostname"],
                        slave["pid"],
                        slave["active"],
                        slave["deactivated"]
                    ])
                })
                .collect()
        }
        (200, "GET /version") => parsed["version"].clone(),
        (200, "GET /v2/info") => json!([parsed["version"], parsed["frameworkId"].is_string()]),
        (200, "GET /v2/leader" | "GET /v1/scheduler/leader" | "GET /scheduler/leader") => {
            parsed["leader"].clone()
        }
        _ => Value::Null,
    };
    json!({
        "status": status,
        "read": read,
        "leader": header("x-marathon-leader"),
        "is_proxied": header("x-marathon-via").is_some(),
    })
}

/// Puts the questions to a program and compares what toots reads of the answers.
pub async fn compare(
    rig: &Rig,
    at: (Ipv4Addr, u16),
    name: &str,
    questions: &[&str],
    of_recorded: &Side,
    of_simulated: &Side,
) -> usize {
    let recorded = recorded(name);
    for question in questions {
        let words: Vec<&str> = question.split(' ').collect();
        let request = match words.as_slice() {
            [_, path, call] => Request::post(path, &json!({ "type": call })),
            [method, path] => Request::new(method, path),
            _ => panic!("{question}"),
        };
        let answer = rig.ask(at.0, at.1, request).await.expect("an answer");
        let known = &recorded[*question];
        let real = fields(
            question,
            known.status,
            &known.headers,
            &known.body,
            of_recorded,
        );
        let text = answer.text();
        let simulated = fields(
            question,
            answer.status,
            &answer.headers,
            text.trim(),
            of_simulated,
        );
        assert_eq!(
            real, simulated,
            "{name}: {question}: the recording on the left"
        );
    }
    questions.len()
}

/// Lives a replay on a clock of its own.
fn live(replay: Replay) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(replay)
}

#[test]
fn every_recorded_state_is_replayed_or_listed() {
    let (mut replayed, mut compared) = (0, 0);
    let mut shown: Vec<fn()> = Vec::new();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (name, how) in TABLE {
        assert!(names.insert(name), "{name} twice");
        match how {
            How::Replayed(replay) => {
                let count = live(replay());
                assert!(count > 0, "{name} compares nothing");
                compared += count;
                replayed += 1;
            }
            How::Shown(test) => shown.push(*test),
            How::Listed(why) => *listed.entry(why).or_default() += 1,
        }
    }
    println!(
        "{} recordings: {replayed} replayed ({compared} answers and facts compared), {} shown by a test of their own, {} listed:",
        TABLE.len(),
        shown.len(),
        listed.values().sum::<usize>()
    );
    for (why, count) in &listed {
        println!("  {count}: {why}");
    }
    assert!(replayed >= 60, "{replayed}");
    // None that lies in the repository is left out.
    let compared = COMPARED.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*compared, stored());
}
