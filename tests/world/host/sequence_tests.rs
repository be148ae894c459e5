//! Holds the simulated host to a real one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toots::host::HostSession;
use toots::spec::HostName;

use super::real::RealHost;
use super::sequences::{self, ComparedHost, ROOTS, without_time};
use crate::files::Node;
use crate::world::World;

const RECORDED: u64 = 600;
/// So many are recorded by one pair of hosts, and so many pairs at once.
const CHUNK: usize = 20;
const AT_ONCE: usize = 4;

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

/// Lives sequences for real, one after another on each of two hosts; `None` where there can be none.
async fn live_really(seeds: std::ops::Range<u64>) -> Option<BTreeMap<u64, String>> {
    let live = async |has_mount: bool| {
        let host = RealHost::start(has_mount).await?;
        let mut lived = BTreeMap::new();
        for seed in seeds.clone() {
            if has_hosts_mount(seed) == has_mount {
                host.reset().await;
                lived.insert(seed, sequences::live(&host, seed).await);
            }
        }
        Some(lived)
    };
    let (lived, on_mount) = futures::join!(live(false), live(true));
    let mut lived = lived?;
    lived.extend(on_mount?);
    Some(lived)
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

/// New sequences in each run, where a lab is at hand.
#[tokio::test]
async fn new_sequences_agree_with_a_real_host() {
    if std::env::var_os("TOOTS_LAB").is_none() {
        println!(
            "skipped: new sequences on a real host: TOOTS_LAB does not name the lab's inventory"
        );
        return;
    }
    let first = rand::random_range(RECORDED..u64::from(u32::MAX));
    println!("seeds from {first}");
    let Some(lived) = live_really(first..first + 30).await else {
        println!("skipped: new sequences on a real host: namespaces need root");
        return;
    };
    for (seed, real) in lived {
        let simulated = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            runtime.expect("a runtime").block_on(simulate(seed))
        });
        let difference = find_difference(seed, &real, &simulated.join().expect("a life"));
        assert_eq!(difference, None);
    }
}

/// Records the sequences that the recording lacks. Takes many minutes, as root.
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
    let first = (0..RECORDED)
        .step_by(CHUNK)
        .map(|first| first..first + CHUNK as u64);
    let missing = first.filter(|seeds| !lived.contains_key(&seeds.start));
    let missing: Vec<_> = missing.map(live_really).collect();
    let mut chunks = futures::stream::iter(missing).buffer_unordered(AT_ONCE);
    while let Some(chunk) = chunks.next().await {
        lived.extend(chunk.expect("namespaces, as root"));
        let lines = lived.iter();
        let lines = lines.map(|(seed, lines)| format!("# seed {seed}\n{lines}"));
        // Written again and again, so that an interrupted recording goes on where it was.
        std::fs::write(recording(), lines.collect::<String>()).expect("a recording");
    }
}
