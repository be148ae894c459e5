//! One life with its cuts: each run but the last one is cut off, and the last one must converge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::scenario::{Desk, Scenario, UP};
use crate::docker::{Image, ImageForm};
use crate::host::controller::ControllerFault;
use crate::host::faults::{Fault, Faults, Point};
use crate::host::machine::Machine;
use crate::life::Life;
use crate::record::Entry;
use crate::state::{HostState, count_proof_keys, states, whole_outline};

/// How a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A life with its cuts.
pub struct CutLife {
    pub violations: Vec<String>,
    /// Exit codes of the runs that were cut off.
    pub exits: Vec<Option<u8>>,
    /// What the hosts are in the end.
    pub ended: Vec<String>,
    /// Keys of Consul's proof that it left.
    pub proof_keys: usize,
    /// The points of the undisturbed run, when they were asked for.
    pub last_points: Vec<PassedPoint>,
}

/// A run that has ended, and what was before it.
struct PastRun {
    by: String,
    before: BTreeMap<String, HostState>,
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
}

impl Cutting<'_> {
    /// Runs the command line, and remembers what was before.
    async fn run(&mut self, more: &str) -> (Option<u8>, String) {
        let line = format!("{}{more}", self.scenario.line);
        self.run_line(&line).await
    }

    async fn run_line(&mut self, line: &str) -> (Option<u8>, String) {
        let before = states(&self.life.world);
        let noted = self.life.world.record.entries().len();
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
            None => format!(" --timeout {}ms", at.after.as_millis().max(1)),
        };
        let suffered = self.life.world.points.suffered().len();
        let (exit, _) = self.run(&more).await;
        if matches!(cut, Cut::Interrupted | Cut::Deadline) {
            let now = states(&self.life.world);
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
    async fn converge(&mut self) {
        let (exit, printed) = self.run("").await;
        if exit != Some(0) {
            let text = format!("the run after it: {exit:?}: {printed}");
            self.violations.push(text);
        }
    }

    /// The points passed since then, from this number on.
    fn points_since(&self, began: Instant, first: usize) -> Vec<PassedPoint> {
        let points = self.life.world.points().into_iter().skip(first);
        let points = points.map(|point| PassedPoint {
            after: point.at - began,
            point,
        });
        points.collect()
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
    /// Lives a life in which runs are cut off, in turn; the run after the last cut is undisturbed.
    pub async fn live(
        &self,
        cuts: &[PlacedCut],
        keeps_points: bool,
        expected: &[String],
    ) -> CutLife {
        let mut cutting = Cutting {
            scenario: self,
            life: self.begin().await,
            desk: self.desk.clone(),
            runs: Vec::new(),
            exits: Vec::new(),
            violations: Vec::new(),
        };
        for cut in cuts {
            cutting.cut_off(cut).await;
        }
        let (began, first) = (Instant::now(), cutting.life.world.passed());
        cutting.converge().await;
        let last_points = match keeps_points {
            true => cutting.points_since(began, first),
            false => Vec::new(),
        };
        let ended = whole_outline(&cutting.life);
        // After a slave was added, `up` may still test it with a container of its own.
        if cuts.len() > 1 && self.line.starts_with(UP) {
            cutting.stay().await;
        }
        let Cutting {
            life,
            runs,
            exits,
            mut violations,
            ..
        } = cutting;
        violations.extend(life.judge.violations());
        violations.extend(differences(expected, &ended));
        violations.extend(needless_restarts(&life, &runs));
        CutLife {
            violations,
            exits,
            ended,
            proof_keys: count_proof_keys(&life),
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
fn stopped_since(
    began: &BTreeMap<String, HostState>,
    now: &BTreeMap<String, HostState>,
) -> Vec<String> {
    let mut stopped = Vec::new();
    for (host, state) in began {
        for (name, form) in &state.containers {
            let after = now.get(host).and_then(|state| state.containers.get(name));
            if form.is_running && !after.is_some_and(|form| form.is_running) {
                stopped.push(format!("{host}: {name} does not run any more"));
            }
        }
    }
    stopped
}

/// Members that had the form that they have in the end before a run that stopped them.
fn needless_restarts(life: &Life, runs: &[PastRun]) -> Vec<String> {
    let ended = states(&life.world);
    let entries = life.world.record.entries();
    let form = |states: &BTreeMap<String, HostState>, entry: &Entry| {
        let containers = &states.get(&entry.host)?.containers;
        let form = containers.get(&entry.who)?;
        form.is_running.then(|| form.body.clone())
    };
    let mut found = Vec::new();
    for run in runs {
        for entry in &entries[run.noted..] {
            let mut words = ["stop", "kill", "remove"].iter();
            let is_stop = words.any(|word| entry.what.starts_with(word));
            if !is_stop || !entry.what.ends_with(&format!(" {}", run.by)) {
                continue;
            }
            let before = form(&run.before, entry);
            if before.is_some() && before == form(&ended, entry) {
                let (host, who, what) = (&entry.host, &entry.who, &entry.what);
                found.push(format!("{host}: {who} had its form: {what}"));
            }
        }
    }
    found
}

#[test]
fn the_base_of_a_build_is_left_out_and_no_other_image() {
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
