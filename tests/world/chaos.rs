//! Lives in which faults meet changes, drawn from seeds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::LocalSet;

use crate::host::faults::{Fault, Faults};
use crate::life::{Ending, Life};
use crate::random::Random;

pub const MASTERS: [(&str, Ipv4Addr); 3] = [
    ("10.0.0.11", Ipv4Addr::new(10, 0, 0, 11)),
    ("10.0.0.12", Ipv4Addr::new(10, 0, 0, 12)),
    ("10.0.0.13", Ipv4Addr::new(10, 0, 0, 13)),
];
pub const THREE_MASTERS: &str = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";
const UP: &str = "toots cluster up --yes --timeout 30m";
/// The deadline of each run, and how much longer it may take to end in order.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(120);
/// Numbers drawn for faults have a seed of their own.
const FAULTS: u64 = 0x5eed;

/// What a life showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    pub violations: Vec<String>,
    pub exits: Vec<(String, Option<u8>)>,
    pub faults: BTreeMap<&'static str, u64>,
    pub acknowledged: usize,
    /// A fault met a change.
    pub met: bool,
    /// A member was stopped, or a host did not serve, while clients had written.
    pub at_risk: bool,
    /// Members that served and were stopped; and those of them just after a fault.
    pub stops: (u64, u64),
    pub overlaps: u64,
    pub points: usize,
    /// Everything that happened, for comparisons.
    pub trace: String,
}

fn draw_change(random: &mut Random) -> String {
    let more = *random.choose(&[
        "",
        "[params.zookeeper]\nheap = \"256m\"\n",
        "[params.marathon]\nheap = \"256m\"\n",
        "[images]\nzookeeper = \"zookeeper:3.9.6\"\n",
        "[images]\nconsul = \"hashicorp/consul:1.23\"\n",
    ]);
    format!("{THREE_MASTERS}{more}")
}

struct Story {
    life: Life,
    random: Random,
    exits: Vec<(String, Option<u8>)>,
    violations: Vec<String>,
    acknowledged: usize,
    /// What the runs printed.
    printed: String,
}

impl Story {
    fn note(&mut self, name: &str, ending: &Ending) {
        self.exits.push((name.to_owned(), ending.exit));
        self.printed += &format!("{name}: {}{}", ending.output, ending.error);
        let held = Duration::from_secs(300);
        if ending.took > DEADLINE + GRACE + held {
            let took = ending.took;
            self.violations.push(format!("{name} took {took:?}"));
        }
    }

    fn begin_faults(&mut self) {
        let seed = self.random.below(u64::MAX) ^ FAULTS;
        let every = *self.random.choose(&[100, 400, 1_000]);
        let limit = *self.random.choose(&[1, 2, 4]);
        self.life
            .world
            .set_faults(Faults::drawn(seed, every, limit));
    }

    /// Runs `up`, alone or beside another operator.
    async fn change(&mut self, inventory: &str) {
        if self.random.below(4) == 0 {
            let pause = Duration::from_millis(self.random.below(20_000));
            let second = async {
                tokio::time::sleep(pause).await;
                self.life.run(THREE_MASTERS, UP).await
            };
            let (first, second) = tokio::join!(biased; self.life.run(inventory, UP), second);
            self.note("change", &first);
            self.note("second operator", &second);
        } else {
            let ending = self.life.run(inventory, UP).await;
            self.note("change", &ending);
        }
    }

    async fn live(&mut self) {
        let is_first_disturbed = self.random.below(3) == 0;
        if is_first_disturbed {
            self.begin_faults();
        }
        let first = self.life.run(THREE_MASTERS, UP).await;
        self.note("first up", &first);
        if is_first_disturbed {
            self.life.heal().await;
            let ending = self.life.run(THREE_MASTERS, UP).await;
            self.expect_done("up after a disturbed first up", &ending);
        } else {
            self.expect_done("first up", &first);
        }
        let writers = self.life.start_writers();
        let inventory = draw_change(&mut self.random);
        self.begin_faults();
        self.change(&inventory).await;
        let identity = self.identity();
        self.life.heal().await;
        let before_last = self.life.world.record.changes().len();
        let last = self.life.run(&inventory, UP).await;
        self.judge_agreement(before_last);
        if self.identity() != identity {
            self.violations
                .push("the cluster's id is another one".to_owned());
        }
        self.note("last up", &last);
        self.expect_done("last up", &last);
        let again = self.life.run(&inventory, UP).await;
        self.expect_done("up again", &again);
        let changes = self.life.world.record.changes();
        for change in changes.iter().filter(|change| change.by == again.by) {
            let text = format!("up again changed {}: {}", change.host, change.what);
            self.violations.push(text);
        }
        let (lost, acknowledged) = writers.end(&self.life).await;
        self.violations.extend(lost);
        if acknowledged < 10 {
            let text = format!("only {acknowledged} writes were acknowledged");
            self.violations.push(text);
        }
        self.acknowledged = acknowledged;
    }

    /// What makes a cluster itself: its id on each host that has one.
    fn identity(&self) -> Vec<Option<String>> {
        let machines = self.life.world.machines().iter();
        let ids = machines.map(|machine| {
            let text = machine.files().text("/etc/toots/node.json")?;
            let node: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(node["cluster_id"].to_string())
        });
        ids.collect()
    }

    /// A run alone that ended with 0 has left nothing to do, unless a host lost something after it.
    fn judge_agreement(&mut self, before_last: usize) {
        let [.., (name, exit)] = self.exits.as_slice() else {
            return;
        };
        let of_hosts = ["power cut", "host dies", "host hangs", "disk full"];
        let counts = self.life.world.counts();
        let is_hit = of_hosts.iter().any(|kind| counts.contains_key(kind));
        let changes = self.life.world.record.changes();
        if name == "change" && *exit == Some(0) && !is_hit && changes.len() > before_last {
            let first = &changes[before_last];
            let text = format!(
                "the change ended with 0, and the next run changed {}: {}",
                first.host, first.what
            );
            self.violations.push(text);
        }
    }

    fn expect_done(&mut self, name: &str, ending: &Ending) {
        if ending.exit != Some(0) {
            let text = format!("{name} ended with {:?}: {}", ending.exit, ending.output);
            self.violations.push(text);
        }
    }
}

async fn story(seed: u64) -> Outcome {
    let began = tokio::time::Instant::now();
    let mut story = Story {
        life: Life::new(seed, &MASTERS),
        random: Random::new(seed),
        exits: Vec::new(),
        violations: Vec::new(),
        acknowledged: 0,
        printed: String::new(),
    };
    story.live().await;
    let Story {
        life,
        exits,
        mut violations,
        acknowledged,
        printed,
        ..
    } = story;
    violations.extend(life.judge.violations());
    let entries = life.world.record.entries();
    let lines = entries.iter().map(|entry| {
        let at = entry.at - began;
        format!("{at:?} {} {} {}\n", entry.host, entry.who, entry.what)
    });
    let faults = life.world.counts();
    let stops = life.judge.stops();
    let hits = ["power cut", "host dies", "host hangs"];
    let is_hit = hits.iter().any(|name| faults.contains_key(name));
    Outcome {
        met: met_a_change(&life),
        at_risk: acknowledged > 0 && (stops.0 > 0 || is_hit),
        seed,
        violations,
        exits,
        faults,
        acknowledged,
        stops,
        overlaps: life.judge.overlaps(),
        points: life.world.points().len(),
        trace: lines.collect::<String>() + &printed,
    }
}

/// Whether a fault occurred between the first and the last change of a run.
fn met_a_change(life: &Life) -> bool {
    let mut spans = BTreeMap::new();
    for change in life.world.record.changes() {
        let end = change.ended.unwrap_or(change.began);
        let span = spans.entry(change.by).or_insert((change.began, end));
        span.1 = span.1.max(end);
    }
    let suffered = life.world.points.suffered();
    let is_met =
        |at: &tokio::time::Instant| spans.values().any(|span| span.0 <= *at && *at <= span.1);
    suffered.iter().any(is_met)
}

/// Lives on a clock of its own.
pub fn on_own_clock<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(life))
}

pub fn live(seed: u64) -> Outcome {
    on_own_clock(story(seed))
}

/// What many lives showed.
#[derive(Default)]
struct Sum {
    failed: Vec<u64>,
    lives: u64,
    /// In which a fault met a change.
    met: u64,
    /// In which a member was stopped, or a host did not serve, while clients had written.
    at_risk: u64,
    stops: u64,
    late: u64,
    overlaps: u64,
    faults: BTreeMap<&'static str, u64>,
    exits: BTreeMap<Option<u8>, u64>,
    traces: BTreeMap<u64, u64>,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let seed = outcome.seed;
        if !outcome.violations.is_empty() {
            println!("seed {seed}: {:?} {:?}", outcome.exits, outcome.faults);
            for violation in &outcome.violations {
                println!("  VIOLATION {violation}");
            }
            self.failed.push(seed);
        }
        self.lives += 1;
        self.met += u64::from(outcome.met);
        self.at_risk += u64::from(outcome.at_risk);
        self.stops += outcome.stops.0;
        self.late += outcome.stops.1;
        self.overlaps += outcome.overlaps;
        for (name, count) in &outcome.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (_, exit) in &outcome.exits {
            *self.exits.entry(*exit).or_default() += 1;
        }
        self.traces.insert(seed, hash(&outcome.trace));
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Lives seeds on both cores.
fn live_all(seeds: std::ops::Range<u64>) -> Sum {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = live(seed);
                    sum.lock().expect("no panic").add(&outcome);
                }
            });
        }
    });
    sum.into_inner().expect("no panic")
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

/// Lives of a run of every day. Theirs are always the same seeds: a fault that was there before must
/// not turn somebody's change red.
const LIVES: u64 = 2_000;
/// Seeds that are lived twice.
const TWICE: u64 = 200;

/// `TOOTS_LIVES` says how many, `TOOTS_SEED` the first; of a single one everything is printed.
#[test]
fn lives_keep_what_must_hold() {
    let is_long = std::env::var_os("TOOTS_LONG").is_some();
    let (from, count) = (
        number("TOOTS_SEED", 0),
        number("TOOTS_LIVES", if is_long { 10_000 } else { LIVES }),
    );
    if count == 1 {
        println!("{}", live(from).trace);
    }
    let began = std::time::Instant::now();
    let sum = live_all(from..from + count);
    println!(
        "{} lives of the seeds from {from} in {:.0?}: {} in which a fault met a change, {} with \
         written data at risk, {} members that served were stopped ({} just after a fault), {} changes \
         met those of a run that had lost its lock; faults {:?}; exit codes {:?}",
        sum.lives,
        began.elapsed(),
        sum.met,
        sum.at_risk,
        sum.stops,
        sum.late,
        sum.overlaps,
        sum.faults,
        sum.exits,
    );
    assert!(
        sum.failed.is_empty(),
        "VIOLATION in the seeds {:?}",
        sum.failed
    );
    if count < LIVES {
        return;
    }
    assert!(sum.met * 4 > sum.lives, "{} of {}", sum.met, sum.lives);
    assert!(
        sum.at_risk * 5 > sum.lives,
        "{} of {}",
        sum.at_risk,
        sum.lives
    );
    for name in Fault::NAMES {
        assert!(
            sum.faults.get(name).is_some_and(|n| *n >= 50),
            "{name}: {:?}",
            sum.faults
        );
    }
}

/// Once beside other lives, and once in another order.
#[test]
fn a_seed_is_lived_twice_alike() {
    let count = number("TOOTS_LIVES", TWICE).min(TWICE);
    let first = live_all(0..count).traces;
    let second = live_all(0..count).traces;
    let differing: Vec<_> = first
        .iter()
        .filter(|(seed, trace)| second[seed] != **trace)
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    println!("{count} seeds lived twice");
}
