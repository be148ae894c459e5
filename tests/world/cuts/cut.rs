//! One life with its cuts: each run but the last one is cut off, and the last one must converge.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex, OnceLock};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::copies::Copies;
use super::placed::{Cut, PassedPoint, PlacedCut, PlannedCut};
use super::results::{LifeId, Results};
use super::scenario::{Desk, Scenario, UP};
use super::scene::deadline_at;
use crate::docker::{Image, ImageForm};
use crate::host::faults::Faults;
use crate::host::machine::Machine;
use crate::life::Life;
use crate::random::Random;
use crate::state::{aftermath, count_proof_keys, whole_outline};
use crate::world::World;

/// Containers that run, by host and name, each with one number for the request that created it.
type Forms = BTreeMap<String, u64>;

fn form_key(host: &str, container: &str) -> String {
    format!("{host}: {container}")
}

fn running_forms(world: &World) -> Forms {
    let mut running = Forms::new();
    for machine in world.machines() {
        let forms = machine.engine.forms().into_iter();
        for (name, form) in forms.filter(|(_, form)| form.is_running) {
            let number = hash(&form.body.to_string());
            running.insert(form_key(&machine.name, &name), number);
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

/// A container that a run stopped: what was done to it, and the form that it had before the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoppedForm {
    container: String,
    what: String,
    form: u64,
}

/// To what an undisturbed run after a cut led.
#[derive(Debug, Serialize, Deserialize)]
pub struct Converged {
    pub violations: Vec<String>,
    /// What the hosts are in the end, as one number.
    pub end: u64,
    forms: Forms,
    /// Keys of Consul's proof that it left.
    pub proof_keys: usize,
}

/// A life with its cuts.
#[derive(Debug, Serialize, Deserialize)]
pub struct CutLife {
    pub cuts: Vec<PlacedCut>,
    violations: Vec<String>,
    /// Exit codes of the runs that were cut off.
    pub exits: Vec<Option<u8>>,
    /// What the cuts left, as one number.
    pub aftermath: u64,
    stopped: Vec<StoppedForm>,
}

impl CutLife {
    /// What is wrong with it, the run after it included.
    pub fn violations(&self, converged: &Converged) -> Vec<String> {
        let mut violations = self.violations.clone();
        violations.extend(converged.violations.iter().cloned());
        violations.extend(needless_restarts(&self.stopped, &converged.forms));
        violations
    }
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
    cuts: Vec<PlacedCut>,
    runs: Vec<PastRun>,
    exits: Vec<Option<u8>>,
    violations: Vec<String>,
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

    /// Runs the command line until it is cut off.
    async fn cut_off(&mut self, placed: &PlacedCut) {
        let suffered = self.life.world.points.suffered().len();
        let more = match placed.cut.fault() {
            Some(fault) => {
                let faults = Faults::at(placed.number, fault);
                self.life.world.set_faults(faults);
                String::new()
            }
            None => deadline(placed),
        };
        let (exit, _) = self.run(&more).await;
        self.end_cut(placed, exit, suffered).await;
    }

    /// Judges a run that was cut off; there had been so many faults before it.
    async fn end_cut(&mut self, placed: &PlacedCut, exit: Option<u8>, suffered: usize) {
        let cut = placed.cut;
        if matches!(cut, Cut::Interrupted | Cut::Deadline) {
            let now = running_forms(&self.life.world);
            let before = &self.runs[self.runs.len() - 1].before;
            self.violations.extend(stopped_since(before, &now));
        }
        let is_hit = self.life.world.points.suffered().len() > suffered;
        if (cut.fault().is_some() && !is_hit) || (cut == Cut::Killed && exit.is_some()) {
            self.violations.push("nothing was cut off".to_owned());
        }
        self.cuts.push(placed.clone());
        self.exits.push(exit);
        self.life.heal().await;
    }

    /// The undisturbed run, and its points.
    async fn converge(&mut self, expected: &[String]) -> (Converged, Vec<PassedPoint>) {
        let former = std::mem::take(&mut self.violations);
        let (began, first) = (Instant::now(), self.life.world.passed());
        let (exit, printed) = self.run("").await;
        let points = self.life.world.points().into_iter().skip(first);
        let passed = points.map(|point| PassedPoint {
            after: point.at - began,
            point,
        });
        let passed = passed.collect();
        if exit != Some(0) {
            let text = format!("the run after it: {exit:?}: {printed}");
            self.violations.push(text);
        }
        let ended = whole_outline(&self.life);
        let forms = running_forms(&self.life.world);
        self.violations.extend(differences(expected, &ended));
        let last = &self.runs[self.runs.len() - 1..];
        let needless = needless_restarts(&stopped_forms(&self.life, last), &forms);
        self.violations.extend(needless);
        let proof_keys = count_proof_keys(&self.life);
        self.stay().await;
        let judged = self.life.judge.violations();
        self.violations.extend(judged);
        let converged = Converged {
            violations: std::mem::replace(&mut self.violations, former),
            end: hash(&ended.into_iter().collect::<BTreeSet<_>>()),
            forms,
            proof_keys,
        };
        (converged, passed)
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

    /// What the cuts led to so far.
    fn lived(&self) -> CutLife {
        let mut violations = self.violations.clone();
        violations.extend(self.life.judge.violations());
        CutLife {
            cuts: self.cuts.clone(),
            violations,
            exits: self.exits.clone(),
            aftermath: aftermath(&self.life),
            stopped: stopped_forms(&self.life, &self.runs),
        }
    }

    /// Keeps what the cuts led to. The run after them is lived by the first life that left these hosts:
    /// it knows nothing else of those before it. Returns a second cut in it, if one is asked for.
    async fn keep(&mut self, search: &Search<'_>, second: Option<u64>) -> Option<PlacedCut> {
        let life = self.lived();
        let is_first = search.results.claim(life.aftermath);
        search.results.keep_life(search.id, &life);
        if !is_first && second.is_none() {
            return None;
        }
        let (converged, points) = self.converge(search.expected).await;
        if is_first {
            search.results.keep_converged(life.aftermath, &converged);
        }
        let seed = second?;
        PlacedCut::draw(&mut Random::new(seed), &points)
    }

    /// The rest of a life in a copy of the process, from the end of the run that was cut off.
    async fn end(&mut self, planned: &PlannedCut, results: &Results, expected: &[String]) {
        let id = planned.id;
        let search = Search {
            id: LifeId {
                id,
                is_twice: false,
            },
            results,
            expected,
        };
        let Some(seed) = planned.second else {
            self.keep(&search, None).await;
            return;
        };
        // A second cut is drawn from the points of the undisturbed run, which a copy lives.
        let mut copies = Copies::default();
        if copies.start() {
            let second = self.keep(&search, Some(seed)).await;
            results.keep_second(id, second.as_ref());
            return;
        }
        copies.wait();
        if let Some(second) = results.second(id) {
            self.cut_off(&second).await;
            let search = Search {
                id: LifeId { id, is_twice: true },
                ..search
            };
            self.keep(&search, None).await;
        }
    }
}

/// Where the results of a life belong, and what each life is to end with.
struct Search<'a> {
    id: LifeId,
    results: &'a Results,
    expected: &'a [String],
}

/// The argument that ends a run at a point.
fn deadline(placed: &PlacedCut) -> String {
    format!(" --timeout {}ms", deadline_at(placed.after))
}

impl Scenario {
    /// Lives each planned cut in a copy of this process, made at the cut's point: what is before it is
    /// lived once. Returns in each copy as well; whether this is one.
    pub async fn live(
        &self,
        planned: &[PlannedCut],
        expected: &[String],
        results: &Results,
    ) -> bool {
        let mut cutting = Cutting {
            scenario: self,
            life: self.begin().await,
            desk: self.desk.clone(),
            cuts: Vec::new(),
            runs: Vec::new(),
            exits: Vec::new(),
            violations: Vec::new(),
        };
        let mut copies = Copies::default();
        let mut at_points: BTreeMap<usize, Vec<PlannedCut>> = BTreeMap::new();
        for planned in planned {
            if planned.cut.cut != Cut::Deadline {
                let at_point = at_points.entry(planned.cut.number).or_default();
                at_point.push(planned.clone());
            } else if copies.start() {
                cutting.cut_off(&planned.cut).await;
                cutting.end(planned, results, expected).await;
                return true;
            }
        }
        let (copies, chosen) = (Arc::new(Mutex::new(copies)), Arc::new(OnceLock::new()));
        let (starting, choice) = (Arc::clone(&copies), Arc::clone(&chosen));
        cutting.life.world.points.on_pass(move |point| {
            if choice.get().is_some() {
                return None;
            }
            let mut planned = at_points.get(&point.number)?.iter();
            let planned = planned.find(|_| starting.lock().unwrap().start())?;
            choice.set(planned.clone()).unwrap();
            planned.cut.cut.fault()
        });
        let (exit, _) = cutting.run("").await;
        let Some(planned) = chosen.get() else {
            copies.lock().unwrap().wait();
            return false;
        };
        cutting.end_cut(&planned.cut, exit, 0).await;
        cutting.end(planned, results, expected).await;
        true
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
        .filter(|container| !now.contains_key(*container));
    let text = |container: &String| format!("{container} does not run any more");
    stopped.map(text).collect()
}

/// Containers that runs stopped.
fn stopped_forms(life: &Life, runs: &[PastRun]) -> Vec<StoppedForm> {
    let mut found = Vec::new();
    for run in runs {
        for entry in life.world.record.entries_after(run.noted) {
            let mut words = ["stop", "kill", "remove"].iter();
            let is_stop = words.any(|word| entry.what.starts_with(word));
            if !is_stop || !entry.what.ends_with(&format!(" {}", run.by)) {
                continue;
            }
            let container = form_key(&entry.host, &entry.who);
            found.extend(run.before.get(&container).map(|form| StoppedForm {
                form: *form,
                what: entry.what,
                container,
            }));
        }
    }
    found
}

/// Members that had the form that they have in the end before a run that stopped them.
fn needless_restarts(stopped: &[StoppedForm], ended: &Forms) -> Vec<String> {
    let is_needless = |stopped: &&StoppedForm| ended.get(&stopped.container) == Some(&stopped.form);
    let needless = stopped.iter().filter(is_needless);
    let text = |StoppedForm {
                    container, what, ..
                }: &StoppedForm| { format!("{container} had its form: {what}") };
    needless.map(text).collect()
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
