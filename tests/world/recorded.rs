//! The simulated Engine is held to a real one's answers: recorded ones, and new ones in each run.

mod own_engine;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use self::own_engine::OwnEngine;
use crate::docker::{self, Engine, EngineSetup, Image, Machine, Payload, Shell};
use crate::files::Files;
use crate::network::Network;
use crate::record::Record;
use crate::sequences::{self, Client};

/// The image of the containers on the real Engine.
const IMAGE: &str = "toots-world/base:latest";
const RECORDED: u64 = 1_000;
/// The version of the Engine that was recorded; others answer some requests otherwise.
const RECORDED_VERSION: &str = "20.10.";
/// New sequences in each run, and how long they may take.
const NEW: u64 = 30;
const LIMIT: Duration = Duration::from_secs(600);
/// A busy machine answers late, which changes what the second of two requests finds: a sequence
/// differs when it does so each of these times.
const TRIES: usize = 6;
/// Sequences on the real Engine at once.
const AT_ONCE: usize = 4;

struct Simulated(Engine);

impl Simulated {
    fn new() -> Self {
        let machine = Machine {
            name: "m1".into(),
            address: Ipv4Addr::new(10, 0, 0, 1),
            files: Files::default(),
            network: Network::default(),
            record: Record::default(),
        };
        let setup = EngineSetup::new(machine).with_program("toots-world/base", Arc::new(Shell));
        let engine = Engine::new(setup);
        engine.has_image(IMAGE, Image::on(&[], Value::Null, "toots-world/base", "1"));
        Self(engine)
    }
}

impl Client for Simulated {
    // Each look costs time of the real machine, not of the simulated one.
    const PAUSE: Duration = Duration::from_millis(350);

    async fn send(&self, method: &str, uri: &str, payload: Payload) -> (u16, Vec<u8>) {
        let sent = docker::request(self.0.connect("test"), method, uri, payload);
        sent.await.expect("an answer")
    }
}

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/docker/containers.txt")
}

/// Sequences by their seed.
fn recorded() -> BTreeMap<u64, String> {
    let text = std::fs::read_to_string(recording()).unwrap_or_default();
    let sequences = text.split("# seed ").skip(1);
    sequences
        .map(|sequence| {
            let (seed, lines) = sequence.split_once('\n').expect("a seed");
            (seed.parse().expect("a number"), lines.to_owned())
        })
        .collect()
}

/// Lives sequences on the real Engine, some at a time.
fn live_really(
    engine: &OwnEngine,
    seeds: impl Iterator<Item = u64>,
) -> impl futures::Stream<Item = (u64, String)> {
    let lives = futures::stream::iter(seeds).map(move |seed| async move {
        let prefix = format!("toots-world-{seed}-");
        let lines = sequences::live(engine, seed, &prefix, IMAGE).await;
        (seed, lines)
    });
    lives.buffer_unordered(AT_ONCE)
}

async fn simulate(seed: u64) -> String {
    sequences::live(&Simulated::new(), seed, "world-", IMAGE).await
}

/// A sequence with everything that the world noted of it, and when.
async fn trace(seed: u64) -> String {
    let simulated = Simulated::new();
    let began = tokio::time::Instant::now();
    let mut text = sequences::live(&simulated, seed, "world-", IMAGE).await;
    for entry in simulated.0.record().entries() {
        let at = entry.at - began;
        text += &format!("{at:?} {} {} {}\n", entry.host, entry.who, entry.what);
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_trace_twice() {
    let mut lines = 0;
    for seed in 0..60 {
        let first = trace(seed).await;
        // Once more, beside another life.
        let (second, _) = tokio::join!(trace(seed), trace(seed + 1_000));
        assert_eq!(first, second, "seed {seed}");
        lines += first.lines().count();
    }
    println!("60 seeds lived twice, {lines} lines equal");
}

/// The first line that differs, and what led to it.
fn difference(seed: u64, real: &str, simulated: &str) -> String {
    let lines = real.lines().zip(simulated.lines());
    let same = lines
        .take_while(|(real, simulated)| real == simulated)
        .count();
    let before: Vec<&str> = real.lines().take(same).collect();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    let (real, simulated) = (line(real), line(simulated));
    let before = before.join("\n");
    format!("seed {seed}:\n{before}\nreal:      {real}\nsimulated: {simulated}\n")
}

#[tokio::test(start_paused = true)]
async fn containers_behave_as_recorded() {
    let recorded = recorded();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others = Vec::new();
    for (seed, real) in &recorded {
        let simulated = simulate(*seed).await;
        if *real != simulated {
            others.push(difference(*seed, real, &simulated));
        }
        for line in real.lines() {
            let words = line.split(' ').next().unwrap_or_default();
            *answers.entry(words).or_default() += 1;
        }
    }
    let first: String = others.iter().take(10).cloned().collect();
    assert!(
        others.is_empty(),
        "{} sequences differ:\n{first}",
        others.len()
    );
    assert!(recorded.len() as u64 >= RECORDED, "{}", recorded.len());
    println!(
        "{} sequences agree; by request: {answers:?}",
        recorded.len()
    );
}

/// The real Engine with the version that was recorded, or why there is none.
async fn start_engine() -> Result<OwnEngine, String> {
    let engine = OwnEngine::start(IMAGE).await?;
    let version = engine.version().await;
    match version.starts_with(RECORDED_VERSION) {
        true => Ok(engine),
        false => Err(format!(
            "it is {version}, the simulated one {RECORDED_VERSION}"
        )),
    }
}

/// Other sequences in each run; `TOOTS_SEED` repeats those of another run.
#[tokio::test]
async fn new_sequences_agree_with_a_real_engine() {
    let engine = match start_engine().await {
        Ok(engine) => engine,
        Err(why) => {
            println!("skipped: new sequences on a real Engine: {why}");
            return;
        }
    };
    let first = sequences::first_seed(RECORDED);
    let began = std::time::Instant::now();
    let lived = tokio::time::timeout(LIMIT, compare(&engine, first)).await;
    let differences =
        lived.unwrap_or_else(|_| panic!("no end within {LIMIT:?}, seeds from {first}"));
    assert!(differences.is_empty(), "seeds from {first}:\n{differences}");
    println!(
        "{NEW} new sequences agree with a real Engine: seeds from {first}, {:.0?}",
        began.elapsed()
    );
}

/// Lives new sequences, and again those that differ; returns their differences.
async fn compare(engine: &OwnEngine, first: u64) -> String {
    let mut seeds: Vec<u64> = (first..first + NEW).collect();
    let mut differences = String::new();
    for time in 1..=TRIES {
        // All are lived to their end, which removes what they made.
        let lives: Vec<(u64, String)> = live_really(engine, seeds.drain(..)).collect().await;
        differences.clear();
        for (seed, real) in lives {
            let simulated = sequences::simulate_apart(move || simulate(seed));
            if real != simulated {
                differences += &difference(seed, &real, &simulated);
                seeds.push(seed);
            }
        }
        if seeds.is_empty() {
            break;
        }
        println!("time {time}: of {NEW} sequences differ {seeds:?}");
    }
    differences
}

/// Writes the sequences that the recording lacks, in half an hour for all; or that of `TOOTS_SEED`,
/// to keep a sequence in which the world was wrong.
#[tokio::test]
#[ignore = "writes tests/recorded/docker/containers.txt"]
async fn record() {
    let engine = start_engine().await.expect("an Engine");
    let known = recorded();
    std::fs::create_dir_all(recording().parent().expect("a folder")).expect("a folder");
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(recording());
    let mut file = file.expect("a recording");
    let wanted = match sequences::given_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..RECORDED,
    };
    let missing = wanted.filter(|seed| !known.contains_key(seed));
    let mut lives = std::pin::pin!(live_really(&engine, missing));
    while let Some((seed, lines)) = lives.next().await {
        write!(file, "# seed {seed}\n{lines}").expect("a recording");
    }
    let sorted = recorded().into_iter();
    let text: String = sorted
        .map(|(seed, lines)| format!("# seed {seed}\n{lines}"))
        .collect();
    std::fs::write(recording(), text).expect("a recording");
}
