//! Holds the simulated host to a real one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toots::host::HostSession;
use toots::spec::HostName;

use super::real::RealHost;
use super::sequences::{self, ComparedHost, ROOTS, without_time};
use crate::files::Node;
use crate::sequences::{first_seed, given_seed, simulate_apart};
use crate::world::World;

const RECORDED: u64 = 600;
/// So many are recorded by one pair of hosts, and so many pairs at once.
const CHUNK: usize = 20;
const AT_ONCE: usize = 4;
/// New sequences in each run, how long they may take, and how often one must differ.
const NEW: u64 = 30;
const LIMIT: Duration = Duration::from_secs(300);
const TRIES: usize = 6;

struct SimulatedHost {
    world: World,
    sessions: [Arc<dyn HostSession>; 2],
}

/// Every second sequence is lived on a host whose /etc/hosts is a mount.
fn has_hosts_mount(seed: u64) -> bool {
    seed % 2 == 1
}

impl SimulatedHost {
    async fn start(seed: u64) -> Self {
        let address = Ipv4Addr::new(10, 9, 8, 7);
        let world = World::new(seed, &[("m1", address)], &[]);
        world.machine("m1").state().hosts_is_mount = has_hosts_mount(seed);
        let lo: Vec<IpAddr> = vec![
            Ipv4Addr::LOCALHOST.into(),
            address.into(),
            Ipv6Addr::LOCALHOST.into(),
        ];
        world.machine("m1").state().facts.nics = [("lo".to_owned(), lo)].into();
        let dial = world.dial(&world.controller("desk"));
        let name = HostName::new("m1").unwrap();
        let first = dial.dial(&name).await.unwrap();
        let second = dial.dial(&name).await.unwrap();
        Self {
            world,
            sessions: [first, second],
        }
    }
}

impl ComparedHost for SimulatedHost {
    fn session(&self, second: bool) -> &Arc<dyn HostSession> {
        &self.sessions[usize::from(second)]
    }

    async fn files(&self) -> Vec<String> {
        let files = self.world.machine("m1").files();
        let roots = ROOTS.into_iter().chain(["/etc/hosts"]);
        let line = |path: String| {
            let group = files.group(&path);
            match files.node(&path).unwrap() {
                Node::Dir { mode, owner } => format!("{path} d {mode:o} {owner}:{group}"),
                Node::File { bytes, mode, owner } => {
                    let content = without_time(&String::from_utf8(bytes).unwrap());
                    format!("{path} f {mode:o} {owner}:{group} {content:?}")
                }
            }
        };
        let mut lines: Vec<String> = roots.flat_map(|root| files.below(root)).map(line).collect();
        lines.sort();
        lines
    }
}

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/host/operations.txt")
}

fn recorded() -> BTreeMap<u64, String> {
    let text = std::fs::read_to_string(recording()).expect("the recording");
    let sequences = text.split("# seed ").skip(1);
    let numbered = sequences.map(|sequence| {
        let (seed, lines) = sequence.split_once('\n').expect("a seed");
        (seed.parse().expect("a number"), lines.to_owned())
    });
    numbered.collect()
}

async fn simulate(seed: u64) -> String {
    sequences::live(&SimulatedHost::start(seed).await, seed).await
}

/// Lives sequences for real, one after another on each of two hosts. An error says why there can be
/// none here.
async fn live_really(seeds: &[u64]) -> Result<BTreeMap<u64, String>, String> {
    let live = async |has_mount: bool| {
        let host = RealHost::start(has_mount).await?;
        let mut lived = BTreeMap::new();
        let seeds = seeds
            .iter()
            .filter(|seed| has_hosts_mount(**seed) == has_mount);
        for seed in seeds {
            host.reset().await;
            lived.insert(*seed, sequences::live(&host, *seed).await);
        }
        Ok::<_, String>(lived)
    };
    let (lived, on_mount) = futures::join!(live(false), live(true));
    let mut lived = lived?;
    lived.extend(on_mount?);
    Ok(lived)
}

/// The first line in which a sequence differs.
fn find_difference(seed: u64, real: &str, simulated: &str) -> Option<String> {
    let end = || "the end";
    let mut simulated = simulated.lines();
    let mut real = real.lines();
    loop {
        let (real, simulated) = match (real.next(), simulated.next()) {
            (None, None) => return None,
            (real, simulated) => (real.unwrap_or_else(end), simulated.unwrap_or_else(end)),
        };
        if real != simulated {
            return Some(format!(
                "seed {seed}:\n  real:      {real}\n  simulated: {simulated}"
            ));
        }
    }
}

/// How often each kind of answer was given.
fn count_answers<'a>(sequences: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in sequences.flat_map(|lines| lines.lines()) {
        let Some((call, answer)) = line.split_once(": ").filter(|_| !line.starts_with("= ")) else {
            continue;
        };
        let kind = call
            .split(' ')
            .find(|word| !matches!(*word, "first" | "second"));
        let is_failed = answer.starts_with("failed") || answer.starts_with("taken");
        let end = if is_failed { " refused" } else { "" };
        let kind = format!("{}{end}", kind.unwrap_or_default());
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn operations_behave_as_recorded() {
    let recorded = recorded();
    let mut differences = Vec::new();
    for (seed, real) in &recorded {
        differences.extend(find_difference(*seed, real, &simulate(*seed).await));
    }
    let count = differences.len();
    assert!(count == 0, "{count} differ:\n{}", differences.join("\n"));
    assert!(recorded.len() as u64 >= RECORDED, "{}", recorded.len());
    let counts = count_answers(recorded.values());
    println!("{} sequences of operations: {counts:?}", recorded.len());
    for kind in [
        "place",
        "place refused",
        "move",
        "move refused",
        "read",
        "remove",
        "locks",
    ] {
        assert!(counts.get(kind).is_some_and(|count| *count >= 20), "{kind}");
    }
}

/// Lives new sequences, and again those that differ: a busy machine may answer too late once.
/// Returns their differences.
async fn compare(first: u64) -> Result<Vec<String>, String> {
    let mut seeds: Vec<u64> = (first..first + NEW).collect();
    let mut differences = Vec::new();
    for time in 1..=TRIES {
        let lived = live_really(&seeds).await?;
        seeds.clear();
        differences.clear();
        for (seed, real) in lived {
            let simulated = simulate_apart(move || simulate(seed));
            if let Some(difference) = find_difference(seed, &real, &simulated) {
                differences.push(difference);
                seeds.push(seed);
            }
        }
        if seeds.is_empty() {
            break;
        }
        println!("time {time}: of {NEW} sequences differ {seeds:?}");
    }
    Ok(differences)
}

/// Other sequences in each run; `TOOTS_SEED` repeats those of another run.
#[tokio::test]
async fn new_sequences_agree_with_a_real_host() {
    let first = first_seed(RECORDED);
    let began = std::time::Instant::now();
    let lived = tokio::time::timeout(LIMIT, compare(first)).await;
    let differences = match lived.unwrap_or_else(|_| panic!("no end within {LIMIT:?}")) {
        Ok(differences) => differences.join("\n"),
        Err(why) => {
            println!("skipped: new sequences on a real host: {why}");
            return;
        }
    };
    assert!(differences.is_empty(), "seeds from {first}:\n{differences}");
    println!(
        "{NEW} new sequences agree with a real host: seeds from {first}, {:.0?}",
        began.elapsed()
    );
}

/// Records the sequences that the recording lacks, in many minutes, as root; or that of `TOOTS_SEED`,
/// to keep a sequence in which the world was wrong.
#[tokio::test]
#[ignore = "writes tests/recorded/host/operations.txt"]
async fn record_operations() {
    use futures::StreamExt as _;
    std::fs::create_dir_all(recording().parent().expect("a folder")).expect("a folder");
    let mut lived = if recording().exists() {
        recorded()
    } else {
        BTreeMap::new()
    };
    let wanted = match given_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..RECORDED,
    };
    let missing: Vec<u64> = wanted.filter(|seed| !lived.contains_key(seed)).collect();
    let chunks = missing.chunks(CHUNK).map(live_really);
    let mut chunks = futures::stream::iter(chunks).buffer_unordered(AT_ONCE);
    while let Some(chunk) = chunks.next().await {
        lived.extend(chunk.expect("namespaces"));
        let lines = lived.iter();
        let lines = lines.map(|(seed, lines)| format!("# seed {seed}\n{lines}"));
        // Written again and again, so that an interrupted recording goes on where it was.
        std::fs::write(recording(), lines.collect::<String>()).expect("a recording");
    }
}
