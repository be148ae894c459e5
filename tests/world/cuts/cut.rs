//! One life with its cuts: each run but the last one is cut off, and the last one must converge.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::scenario::{Desk, Scenario, UP};
use super::scene::deadline_at;
use crate::docker::{Image, ImageForm};
use crate::host::controller::ControllerFault;
use crate::host::faults::{Fault, Faults, Point};
use crate::host::machine::Machine;
use crate::life::Life;
use crate::state::{aftermath, count_proof_keys, whole_outline};
use crate::world::World;

/// How a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Killed,
    /// The host learns of it at once.
    Lost,
    /// The host believes in the connection.
    LostUnnoticed,
    Interrupted,
    Deadline,
}

pub const CUTS: [Cut; 5] = [
    Cut::Killed,
    Cut::Lost,
    Cut::LostUnnoticed,
    Cut::Interrupted,
    Cut::Deadline,
];

impl Cut {
    /// The fault at its point; a deadline has none, it is an argument.
    fn fault(self) -> Option<Fault> {
        let lost = |host_notices| Fault::ConnectionLost {
            noticed_after: Duration::ZERO,
            host_notices,
        };
        match self {
            Self::Killed => Some(Fault::Controller(ControllerFault::Killed)),
            Self::Lost => Some(lost(true)),
            Self::LostUnnoticed => Some(lost(false)),
            Self::Interrupted => Some(Fault::Controller(ControllerFault::Interrupted)),
            Self::Deadline => None,
        }
    }

    /// Between two halves of a request only what ends the connection cuts them apart.
    pub fn applies_to(self, point: &Point) -> bool {
        self.fault()
            .is_none_or(|fault| fault.applies_to(point.kind))
    }
}

/// A point of a run, and how long after its beginning it is passed.
#[derive(Debug, Clone)]
pub struct PassedPoint {
    pub point: Point,
    pub after: Duration,
}

/// Where a run is cut off, and how.
#[derive(Debug, Clone)]
pub struct PlacedCut {
    pub cut: Cut,
    pub at: PassedPoint,
}

/// Containers that run, by host and name, each with one number for the request that created it.
type Forms = BTreeMap<(String, String), u64>;

fn running_forms(world: &World) -> Forms {
    let mut running = Forms::new();
    for machine in world.machines() {
        let forms = machine.engine.forms().into_iter();
        for (name, form) in forms.filter(|(_, form)| form.is_running) {
            let number = hash(&form.body.to_string());
            running.insert((machine.name.clone(), name), number);
        }
    }
    running
}

/// The same in every process.
fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// To what an undisturbed run after a cut led.
pub struct Converged {
    violations: Vec<String>,
    /// What the hosts are in the end, as one number.
    pub end: u64,
    forms: Forms,
    /// Keys of Consul's proof that it left.
    pub proof_keys: usize,
}

/// To what the run after a cut led, by what the cut left: a run knows nothing else of those before it.
#[derive(Default)]
pub struct Known(Mutex<BTreeMap<u64, Arc<Converged>>>);

impl Known {
    fn find(&self, aftermath: u64) -> Option<Arc<Converged>> {
        self.0.lock().unwrap().get(&aftermath).cloned()
    }

    fn add(&self, aftermath: u64, converged: &Arc<Converged>) {
        let mut known = self.0.lock().unwrap();
        known.insert(aftermath, Arc::clone(converged));
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A life with its cuts.
pub struct CutLife {
    pub violations: Vec<String>,
    /// Exit codes of the runs that were cut off.
    pub exits: Vec<Option<u8>>,
    /// What the cuts left, as one number.
    pub aftermath: u64,
    pub converged: Arc<Converged>,
    /// The points of the undisturbed run, if it was lived.
    pub last_points: Vec<PassedPoint>,
}

/// A run that has ended, and what was before it.
struct PastRun {
    by: String,
    before: Forms,
    /// How many entries the record had.
    noted: usize,
}

/// A life under way.
struct Cutting<'a> {
    scenario: &'a Scenario,
    life: Life,
    desk: Desk,
    runs: Vec<PastRun>,
    exits: Vec<Option<u8>>,
    violations: Vec<String>,
    /// The points of the run after the cuts.
    last_points: Vec<PassedPoint>,
}

impl Cutting<'_> {
    /// Runs the command line, and remembers what was before.
    async fn run(&mut self, more: &str) -> (Option<u8>, String) {
        let line = format!("{}{more}", self.scenario.line);
        self.run_line(&line).await
    }

    async fn run_line(&mut self, line: &str) -> (Option<u8>, String) {
        let before = running_forms(&self.life.world);
        let noted = self.life.world.record.count_entries();
        let (ending, desk) = self.scenario.run(&self.life, &self.desk, line).await;
        let wrong = self.scenario.judge_desk(&self.desk, &desk, ending.exit);
        self.violations.extend(wrong);
        self.desk = desk;
        self.runs.push(PastRun {
            by: ending.by,
            before,
            noted,
        });
        (ending.exit, ending.output + &ending.error)
    }

    async fn cut_off(&mut self, PlacedCut { cut, at }: &PlacedCut) {
        let fault = cut.fault();
        let more = match fault {
            Some(fault) => {
                let faults = Faults::at(at.point.number, fault);
                self.life.world.set_faults(faults);
                String::new()
            }
            None => format!(" --timeout {}ms", deadline_at(at.after)),
        };
        let suffered = self.life.world.points.suffered().len();
        let (exit, _) = self.run(&more).await;
        if matches!(cut, Cut::Interrupted | Cut::Deadline) {
            let now = running_forms(&self.life.world);
            let before = &self.runs[self.runs.len() - 1].before;
            self.violations.extend(stopped_since(before, &now));
        }
        let is_hit = self.life.world.points.suffered().len() > suffered;
        if (fault.is_some() && !is_hit) || (*cut == Cut::Killed && exit.is_some()) {
            self.violations.push("nothing was cut off".to_owned());
        }
        self.exits.push(exit);
        self.life.heal().await;
    }

    /// The undisturbed run.
    async fn converge(&mut self, expected: &[String]) -> Converged {
        let former = std::mem::take(&mut self.violations);
        let (began, first) = (Instant::now(), self.life.world.passed());
        let (exit, printed) = self.run("").await;
        let points = self.life.world.points().into_iter().skip(first);
        let passed = points.map(|point| PassedPoint {
            after: point.at - began,
            point,
        });
        self.last_points = passed.collect();
        if exit != Some(0) {
            let text = format!("the run after it: {exit:?}: {printed}");
            self.violations.push(text);
        }
        let ended = whole_outline(&self.life);
        let forms = running_forms(&self.life.world);
        self.violations.extend(differences(expected, &ended));
        let last = &self.runs[self.runs.len() - 1..];
        let needless = needless_restarts(&self.life, last, &forms);
        self.violations.extend(needless);
        let proof_keys = count_proof_keys(&self.life);
        self.stay().await;
        Converged {
            violations: std::mem::replace(&mut self.violations, former),
            end: hash(&ended.into_iter().collect::<BTreeSet<_>>()),
            forms,
            proof_keys,
        }
    }

    /// A further `up` has nothing to do.
    async fn stay(&mut self) {
        let changes = self.life.world.record.changes().len();
        let (exit, printed) = self.run_line(UP).await;
        if exit != Some(0) {
            self.violations
                .push(format!("the last run: {exit:?}: {printed}"));
        }
        for change in &self.life.world.record.changes()[changes..] {
            let text = format!("the last run changed {}: {}", change.host, change.what);
            self.violations.push(text);
        }
    }
}

impl Scenario {
    /// Lives a life in which runs are cut off, in turn; the run after the last cut is undisturbed. It
    /// is left out when it is known what it leads to, unless its points are asked for.
    pub async fn live(
        &self,
        cuts: &[PlacedCut],
        keeps_points: bool,
        expected: &[String],
        known: &Known,
    ) -> CutLife {
        let mut cutting = Cutting {
            scenario: self,
            life: self.begin().await,
            desk: self.desk.clone(),
            runs: Vec::new(),
            exits: Vec::new(),
            violations: Vec::new(),
            last_points: Vec::new(),
        };
        for cut in cuts {
            cutting.cut_off(cut).await;
        }
        let aftermath = aftermath(&cutting.life);
        let converged = match known.find(aftermath) {
            Some(converged) if !keeps_points => converged,
            _ => {
                let converged = Arc::new(cutting.converge(expected).await);
                known.add(aftermath, &converged);
                converged
            }
        };
        let Cutting {
            life,
            runs,
            exits,
            mut violations,
            last_points,
            ..
        } = cutting;
        violations.extend(converged.violations.iter().cloned());
        violations.extend(life.judge.violations());
        let cut_off = &runs[..cuts.len()];
        violations.extend(needless_restarts(&life, cut_off, &converged.forms));
        CutLife {
            violations,
            exits,
            aftermath,
            converged,
            last_points,
        }
    }
}

fn differences(expected: &[String], ended: &[String]) -> Vec<String> {
    let (expected, ended): (BTreeSet<_>, BTreeSet<_>) =
        (expected.iter().collect(), ended.iter().collect());
    let missing = expected.difference(&ended);
    let missing = missing.map(|line| format!("missing: {line}"));
    let surplus = ended.difference(&expected);
    missing
        .chain(surplus.map(|line| format!("left over: {line}")))
        .collect()
}

/// Containers that ran before a run that ended in order, and do not run after it.
fn stopped_since(before: &Forms, now: &Forms) -> Vec<String> {
    let stopped = before
        .keys()
        .filter(|container| !now.contains_key(container));
    let text = |(host, name): &(String, String)| format!("{host}: {name} does not run any more");
    stopped.map(text).collect()
}

/// Members that had the form that they have in the end before a run that stopped them.
fn needless_restarts(life: &Life, runs: &[PastRun], ended: &Forms) -> Vec<String> {
    let mut found = Vec::new();
    for run in runs {
        for entry in life.world.record.entries_after(run.noted) {
            let mut words = ["stop", "kill", "remove"].iter();
            let is_stop = words.any(|word| entry.what.starts_with(word));
            if !is_stop || !entry.what.ends_with(&format!(" {}", run.by)) {
                continue;
            }
            let key = (entry.host, entry.who);
            let before = run.before.get(&key);
            if before.is_some() && before == ended.get(&key) {
                let ((host, who), what) = (key, entry.what);
                found.push(format!("{host}: {who} had its form: {what}"));
            }
        }
    }
    found
}

#[test]
fn only_the_base_that_a_build_pulled_is_left_out() {
    const BASE: &str = "ubuntu:24.04";
    crate::chaos::on_own_clock(async {
        let scenario = Scenario::first_up();
        let life = scenario.begin().await;
        let (ending, _) = scenario.run(&life, &scenario.desk, UP).await;
        assert_eq!(ending.exit, Some(0), "{}", ending.output);
        let is_base = |image: &ImageForm| image.is_build_base;
        let has_built = |machine: &&Arc<Machine>| machine.engine.images().iter().any(is_base);
        let (builders, others): (Vec<_>, Vec<_>) =
            life.world.machines().iter().partition(has_built);
        assert_eq!((builders.len(), others.len()), (1, 2));
        let expected = whole_outline(&life);
        let add = |machine: &Machine, image: &str| {
            let (name, version) = image.split_once(':').unwrap();
            machine.engine.has_image(image, Image::new(name, version));
            let found = differences(&expected, &whole_outline(&life));
            format!("{found:?}")
        };
        assert_eq!(differences(&expected, &whole_outline(&life)).len(), 0);
        let found = add(builders[0], "debian:13-slim");
        assert!(
            found.contains("left over") && found.contains("debian"),
            "{found}"
        );
        // A host that loads what another one built has no use for the base.
        let found = add(others[0], BASE);
        let of_other = format!("left over: {}: image ubuntu", others[0].name);
        assert!(found.contains(&of_other), "{found}");
    });
}
