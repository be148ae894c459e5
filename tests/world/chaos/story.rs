//! One life: a cluster comes up, faults meet a change, they stop, and what must hold then is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Cluster;
use super::coverage::Shown;
use crate::host::faults::{Fault, Faults, WaitingFault};
use crate::life::{Ending, Life, Writers};
use crate::random::Random;

/// The longest deadline of a run; each has this one that needs none.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// How much longer a run may take to end in order: 30 s for its steps under way, and the longest grace
/// time of a container that one of them stops (30 s, Consul's), as `--help` and the README say; and
/// what the goodbye to its hosts takes.
const GRACE: Duration = Duration::from_secs(30 + 30 + 5);
/// How long clients write to a cluster that has just come up.
const WRITING: Duration = Duration::from_secs(30);
/// Numbers drawn for faults have a seed of their own.
const FAULTS: u64 = 0x5eed;

/// What a life showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    pub kind: &'static str,
    pub violations: Vec<String>,
    pub exits: Vec<(String, Option<u8>)>,
    pub shown: Shown,
    pub faults: BTreeMap<&'static str, u64>,
    pub acknowledged: usize,
    /// A fault met a change.
    pub met: bool,
    /// A member was stopped, or a host did not serve, while clients had written.
    pub at_risk: bool,
    /// Members that served and were stopped; and those of them just after a fault.
    pub stops: (u64, u64),
    pub overlaps: u64,
    /// How long after its deadline a run ended, at most.
    pub late: Duration,
    pub points: usize,
    /// Everything that happened, for comparisons.
    pub trace: String,
}

struct Story {
    life: Life,
    cluster: Cluster,
    random: Random,
    exits: Vec<(String, Option<u8>)>,
    violations: Vec<String>,
    shown: Shown,
    acknowledged: usize,
    late: Duration,
    /// What the runs printed.
    printed: String,
}

/// A command line with its deadline.
fn up(deadline: Duration) -> String {
    let seconds = deadline.as_secs();
    format!("toots cluster up --yes --timeout {seconds}s")
}

impl Story {
    fn note(&mut self, name: &str, ending: &Ending, deadline: Duration) {
        self.exits.push((name.to_owned(), ending.exit));
        self.printed += &format!("{name}: {}{}", ending.output, ending.error);
        self.shown.add(ending);
        let late = ending.late(deadline);
        self.late = self.late.max(late);
        if late > GRACE {
            let took = ending.took;
            self.violations.push(format!(
                "{name} ended after {took:?}, {late:?} after its deadline"
            ));
        }
    }

    /// Faults of the next run that changes hosts.
    fn begin_faults(&mut self) {
        let mut random = Random::new(self.random.below(u64::MAX) ^ FAULTS);
        let count = *random.choose(&[1, 2, 2, 3]);
        let draw = |number| WaitingFault {
            after: random.below(self.cluster.points),
            // At least one does, and some fall between two changes.
            meets_change: number == 0 || random.below(3) > 0,
            fault: Fault::draw(&mut random),
        };
        let faults = (0..count).map(draw).collect();
        let world = &self.life.world;
        world.set_faults(Faults::waiting(&world.record, faults));
    }

    /// On some machines the Engine is not installed yet.
    fn remove_engines(&mut self) {
        if self.random.below(12) == 0 {
            let machines = self.life.world.machines();
            self.random.choose(machines).uninstall_docker();
        }
    }

    /// Somebody stops a container that no quorum needs.
    async fn meddle(&mut self) {
        if self.random.below(12) == 0 {
            let machines = self.life.world.machines();
            let machine = self.random.choose(&machines[..self.cluster.masters]);
            machine.engine.stop_by_hand("toots-marathon").await;
        }
    }

    /// Runs `up`, alone or beside another operator.
    async fn change(&mut self) {
        let minutes = *self.random.choose(&[30, 30, 30, 30, 10, 3, 1, 1]);
        let deadline = Duration::from_secs(60 * minutes);
        let line = format!("{} --output json", up(deadline));
        let inventory = self.cluster.after.clone();
        let former = self.cluster.before.clone();
        if self.random.below(4) == 0 {
            let pause = Duration::from_millis(self.random.below(20_000));
            let second = async {
                tokio::time::sleep(pause).await;
                self.life.run(&former, &up(DEADLINE)).await
            };
            let (first, second) = tokio::join!(biased; self.life.run(&inventory, &line), second);
            self.note("change", &first, deadline);
            self.note("second operator", &second, DEADLINE);
        } else {
            let ending = self.life.run(&inventory, &line).await;
            self.note("change", &ending, deadline);
        }
    }

    /// An undisturbed `up`.
    async fn up(&mut self, name: &str, inventory: &str) -> Ending {
        let ending = self.life.run(inventory, &up(DEADLINE)).await;
        self.note(name, &ending, DEADLINE);
        if ending.exit != Some(0) {
            let (exit, output) = (ending.exit, &ending.output);
            let text = format!("{name} ended with {exit:?}: {output}");
            self.violations.push(text);
        }
        ending
    }

    /// Faults meet the change of a cluster that is up, or the first run.
    async fn live(&mut self) {
        self.remove_engines();
        let mut writers = None;
        if !self.cluster.is_new {
            let before = self.cluster.before.clone();
            self.up("first up", &before).await;
            writers = Some(self.life.start_writers());
            self.meddle().await;
        }
        self.begin_faults();
        self.change().await;
        if !met_a_change(&self.life) {
            self.life.heal().await;
            self.cluster.change_again();
            self.begin_faults();
            self.change().await;
        }
        let identity = self.identity();
        self.life.heal().await;
        let before_last = self.life.world.record.changes().len();
        let after = self.cluster.after.clone();
        let last = self.up("last up", &after).await;
        let writers = writers.unwrap_or_else(|| self.life.start_writers());
        self.judge_agreement(before_last);
        let is_kept = |(before, now): (&Option<String>, &Option<String>)| {
            // The first run may have ended before it gave the cluster an id.
            now == before || before.is_none() && self.cluster.is_new
        };
        if !identity.iter().zip(&self.identity()).all(is_kept) {
            self.violations
                .push("the cluster's id is another one".to_owned());
        }
        // A last run that changed nothing is such a run itself.
        if !self.changes_of(&last).is_empty() {
            let again = self.up("up again", &after).await;
            let changes = self.changes_of(&again);
            self.violations.extend(changes);
        }
        self.judge_writes(&writers).await;
    }

    /// What a run changed although nothing was left to do.
    fn changes_of(&self, ending: &Ending) -> Vec<String> {
        let changes = self.life.world.record.changes().into_iter();
        let changes = changes.filter(|change| change.by == ending.by);
        let texts =
            changes.map(|change| format!("up again changed {}: {}", change.host, change.what));
        texts.collect()
    }

    async fn judge_writes(&mut self, writers: &Writers) {
        if self.cluster.is_new {
            tokio::time::sleep(WRITING).await;
        }
        let (lost, acknowledged) = writers.end(&self.life).await;
        self.violations.extend(lost);
        if acknowledged < 10 {
            let text = format!("only {acknowledged} writes were acknowledged");
            self.violations.push(text);
        }
        self.acknowledged = acknowledged;
    }

    /// What makes a cluster itself: its id on each master that has one.
    fn identity(&self) -> Vec<Option<String>> {
        let masters = self.life.world.machines()[..self.cluster.masters].iter();
        let ids = masters.map(|machine| {
            let text = machine.files().text("/etc/toots/node.json")?;
            let node: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(node["cluster_id"].to_string())
        });
        ids.collect()
    }

    /// A run alone that ended with 0 has left nothing to do, unless a host lost something after it.
    fn judge_agreement(&mut self, before_last: usize) {
        let [.., (name, exit), _] = self.exits.as_slice() else {
            return;
        };
        let of_hosts = [
            "power cut",
            "host dies",
            "host hangs",
            "disk full",
            "Engine restarts",
        ];
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
}

async fn story(seed: u64) -> Outcome {
    let began = tokio::time::Instant::now();
    let mut random = Random::new(seed);
    let cluster = Cluster::draw(&mut random);
    let mut story = Story {
        life: Life::with_masters(seed, &cluster.hosts, cluster.masters),
        cluster,
        random,
        exits: Vec::new(),
        violations: Vec::new(),
        shown: Shown::default(),
        acknowledged: 0,
        late: Duration::ZERO,
        printed: String::new(),
    };
    story.live().await;
    let Story {
        life,
        cluster,
        exits,
        mut violations,
        shown,
        acknowledged,
        late,
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
    let hits = ["power cut", "host dies", "host hangs", "Engine restarts"];
    let is_hit = hits.iter().any(|name| faults.contains_key(name));
    Outcome {
        met: met_a_change(&life),
        // Clients write to a cluster that is up.
        at_risk: !cluster.is_new && acknowledged > 0 && (stops.0 > 0 || is_hit),
        seed,
        kind: cluster.kind,
        violations,
        exits,
        shown,
        faults,
        acknowledged,
        stops,
        overlaps: life.judge.overlaps(),
        late,
        points: life.world.passed(),
        trace: lines.collect::<String>() + &printed,
    }
}

/// Whether a fault occurred between the first and the last change of a run.
fn met_a_change(life: &Life) -> bool {
    let suffered = life.world.points.suffered();
    let mut spans = BTreeMap::new();
    for change in life.world.record.changes() {
        let end = change.ended.unwrap_or(change.began);
        let span = spans.entry(change.by).or_insert((change.began, end));
        span.1 = span.1.max(end);
    }
    let is_met =
        |at: &tokio::time::Instant| spans.values().any(|span| span.0 <= *at && *at <= span.1);
    suffered.iter().any(is_met)
}

pub fn live(seed: u64) -> Outcome {
    super::on_own_clock(story(seed))
}
