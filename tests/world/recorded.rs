//! The simulated Engine is held to a real one's answers: recorded ones, and new ones where the lab's
//! Engine is at hand.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use crate::docker::{self, Engine, EngineSetup, Image, Machine, Payload, Shell};
use crate::files::Files;
use crate::network::Network;
use crate::record::Record;
use crate::sequences::{self, Client};

/// The image of the containers on the real Engine.
const IMAGE: &str = "toots-lab/base:latest";
const RECORDED: u64 = 1_000;
/// The version of the Engine that was recorded; others answer some requests otherwise.
const RECORDED_VERSION: &str = "20.10.";
/// New sequences in each run.
const NEW: u64 = 30;
/// A busy machine answers late, which changes what the second of two requests finds: a sequence
/// differs when it does so each of these times.
const TRIES: usize = 3;
/// Sequences on the real Engine at once.
const AT_ONCE: usize = 4;

/// The Engine of this machine, or the one that `DOCKER_HOST` names.
struct Real {
    socket: PathBuf,
}

impl Real {
    fn new() -> Self {
        let named = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = named.strip_prefix("unix://");
        Self {
            socket: socket.unwrap_or("/var/run/docker.sock").into(),
        }
    }

    async fn json(&self, uri: &str) -> Value {
        let (status, body) = self.send("GET", uri, Payload::None).await;
        assert_eq!(status, 200, "{uri}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn version(&self) -> String {
        let version = self.json("/version").await;
        version["Version"].as_str().unwrap_or_default().to_owned()
    }

    /// Removes the containers of runs that were killed more than an hour ago, and their images. Some
    /// policies would start them for ever.
    async fn remove_leftovers(&self) {
        let limit = jiff::Timestamp::now().as_second() - 3_600;
        let filters = "filters=%7B%22label%22%3A%5B%22toots.world%22%5D%7D";
        let uri = format!("/containers/json?all=true&{filters}");
        let list = self.json(&uri).await;
        for container in list.as_array().into_iter().flatten() {
            let created = container["Created"].as_i64();
            if created.is_some_and(|created| created < limit) {
                for (kind, key) in [("containers", "Id"), ("images", "ImageID")] {
                    let id = container[key].as_str().unwrap_or_default();
                    let uri = format!("/{kind}/{id}?force=true");
                    self.send("DELETE", &uri, Payload::None).await;
                }
            }
        }
    }
}

impl Client for Real {
    const PAUSE: Duration = Duration::from_millis(60);

    async fn send(&self, method: &str, uri: &str, payload: Payload) -> (u16, Vec<u8>) {
        let stream = tokio::net::UnixStream::connect(&self.socket).await;
        let sent = docker::request(stream.expect("an Engine"), method, uri, payload);
        sent.await.expect("an answer")
    }
}

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
        let setup = EngineSetup::new(machine).with_program("toots-lab/base", Arc::new(Shell));
        let engine = Engine::new(setup);
        engine.has_image(IMAGE, Image::on(&[], Value::Null, "toots-lab/base", "1"));
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
fn live_really(seeds: impl Iterator<Item = u64>) -> impl futures::Stream<Item = (u64, String)> {
    let lives = futures::stream::iter(seeds).map(|seed| async move {
        let prefix = format!("toots-world-{}-{seed}-", std::process::id());
        let lines = sequences::live(&Real::new(), seed, &prefix, IMAGE).await;
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

/// Lives new sequences where the lab's Engine is at hand.
#[tokio::test]
async fn new_sequences_agree_with_a_real_engine() {
    if std::env::var_os("TOOTS_LAB").is_none() {
        println!(
            "skipped: new sequences on a real Engine: TOOTS_LAB does not name the lab's inventory"
        );
        return;
    }
    let version = Real::new().version().await;
    if !version.starts_with(RECORDED_VERSION) {
        println!(
            "skipped: new sequences on a real Engine: it is {version}, the simulated one {RECORDED_VERSION}"
        );
        return;
    }
    Real::new().remove_leftovers().await;
    let first = rand::random_range(RECORDED..u64::from(u32::MAX));
    println!("seeds from {first}");
    let mut seeds: Vec<u64> = (first..first + NEW).collect();
    let mut differences = String::new();
    for time in 1..=TRIES {
        // All are lived to their end, which removes what they made.
        let lives: Vec<(u64, String)> = live_really(seeds.drain(..)).collect().await;
        differences.clear();
        for (seed, real) in lives {
            let simulated = simulate_in_own_runtime(seed);
            if real != simulated {
                differences += &difference(seed, &real, &simulated);
                seeds.push(seed);
            }
        }
        println!("time {time}: {} of {NEW} sequences differ", seeds.len());
        if seeds.is_empty() {
            break;
        }
    }
    assert!(differences.is_empty(), "{differences}");
    println!("{NEW} new sequences agree with Engine {version}");
}

/// On a paused clock, which the runtime that talks to a real Engine cannot have.
fn simulate_in_own_runtime(seed: u64) -> String {
    let life = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(simulate(seed))
    });
    life.join().expect("a life")
}

/// Writes the sequences that the recording lacks. Takes half an hour for all.
#[tokio::test]
#[ignore = "writes tests/recorded/docker/containers.txt"]
async fn record() {
    let known = recorded();
    std::fs::create_dir_all(recording().parent().expect("a folder")).expect("a folder");
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(recording());
    let mut file = file.expect("a recording");
    let missing = (0..RECORDED).filter(|seed| !known.contains_key(seed));
    let mut lives = std::pin::pin!(live_really(missing));
    while let Some((seed, lines)) = lives.next().await {
        write!(file, "# seed {seed}\n{lines}").expect("a recording");
    }
    let sorted = recorded().into_iter();
    let text: String = sorted
        .map(|(seed, lines)| format!("# seed {seed}\n{lines}"))
        .collect();
    std::fs::write(recording(), text).expect("a recording");
}
