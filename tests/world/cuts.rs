//! Runs that are cut off at each point where they touch a host, and the run after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::chaos::{MASTERS, THREE_MASTERS, on_own_clock};
use crate::host::controller::ControllerFault;
use crate::host::faults::{Fault, Faults, Point};
use crate::life::{Ending, Life};
use crate::state::{HostState, outline, states};

/// How a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Killed,
    /// The host learns of it at once.
    Lost,
    /// The host believes in the connection.
    LostUnnoticed,
    Interrupted,
    Deadline,
}

const CUTS: [Cut; 5] = [
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
    fn applies_to(self, point: &Point) -> bool {
        self.fault()
            .is_none_or(|fault| fault.applies_to(point.kind))
    }
}

/// A command line that is cut off, and what the cluster was before it.
struct Scenario {
    name: &'static str,
    /// The inventory of an undisturbed `up` before it.
    before: Option<String>,
    inventory: String,
    seed: u64,
}

const UP: &str = "toots cluster up --yes";

impl Scenario {
    async fn begin(&self) -> Life {
        let life = Life::new(self.seed, &MASTERS);
        if let Some(before) = &self.before {
            let ending = life.run(before, UP).await;
            assert_eq!(ending.exit, Some(0), "{}: {}", self.name, ending.output);
        }
        life
    }

    /// The points of the run when nothing cuts it, each state of hosts and pending operation once.
    async fn points(&self) -> (Vec<(Point, Duration)>, Vec<String>) {
        let life = self.begin().await;
        let first = life.world.passed();
        let seen = Arc::new(Mutex::new((BTreeSet::<(u64, String)>::new(), Vec::new())));
        let machines = life.world.machines().to_vec();
        let noted = Arc::clone(&seen);
        life.world.points.on_pass(move |point| {
            let of_host = machines.iter().find(|machine| machine.name == point.host);
            let state = of_host.map_or(0, |machine| HostState::read(machine).fingerprint());
            let operation = format!("{} {} {:?}", point.host, point.name, point.kind);
            let mut noted = noted.lock().unwrap();
            if noted.0.insert((state, operation)) {
                noted.1.push(point.clone());
            }
        });
        let began = tokio::time::Instant::now();
        let ending = life.run(&self.inventory, UP).await;
        assert_eq!(ending.exit, Some(0), "{}: {}", self.name, ending.output);
        let points = std::mem::take(&mut seen.lock().unwrap().1);
        let points = points.into_iter().filter(|point| point.number >= first);
        let points = points.map(|point| {
            let at = point.at - began;
            (point, at)
        });
        (points.collect(), outline(&life.world))
    }

    /// Cuts the run off there, and runs it again.
    async fn cut(&self, number: usize, after: Duration, cut: Cut, expected: &[String]) -> CutEnd {
        let life = self.begin().await;
        let fault = cut.fault();
        let mut line = UP.to_owned();
        match fault {
            Some(fault) => life.world.set_faults(Faults::at(number, fault)),
            None => line += &format!(" --timeout {}ms", after.as_millis().max(1)),
        }
        let began = states(&life.world);
        let first = life.run(&self.inventory, &line).await;
        let stopped = match cut {
            Cut::Interrupted | Cut::Deadline => stopped_since(&began, &states(&life.world)),
            Cut::Killed | Cut::Lost | Cut::LostUnnoticed => Vec::new(),
        };
        life.heal().await;
        let between = states(&life.world);
        let noted = life.world.record.entries().len();
        let second = life.run(&self.inventory, UP).await;
        let mut violations = life.judge.violations();
        violations.extend(stopped);
        let is_hit = !life.world.points.suffered().is_empty();
        if (fault.is_some() && !is_hit) || (cut == Cut::Killed && first.exit.is_some()) {
            violations.push("nothing was cut off".to_owned());
        }
        if second.exit != Some(0) {
            violations.push(format!("up after it: {:?}: {}", second.exit, second.output));
        }
        let ended = outline(&life.world);
        violations.extend(differences(expected, &ended));
        violations.extend(needless_restarts(&life, &between, &second, noted));
        CutEnd {
            violations,
            exit: first.exit,
            ended,
        }
    }
}

struct CutEnd {
    violations: Vec<String>,
    exit: Option<u8>,
    ended: Vec<String>,
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

/// Members that already had their form before the run after the cut, and that it stopped.
fn needless_restarts(
    life: &Life,
    between: &BTreeMap<String, HostState>,
    second: &Ending,
    noted: usize,
) -> Vec<String> {
    let now = states(&life.world);
    let mut found = Vec::new();
    for entry in &life.world.record.entries()[noted..] {
        let is_stop = ["stop", "kill", "remove"]
            .iter()
            .any(|word| entry.what.starts_with(word));
        if !is_stop || !entry.what.ends_with(&second.by) {
            continue;
        }
        let before = between.get(&entry.host);
        let before = before.and_then(|state| state.containers.get(&entry.who));
        let after = now.get(&entry.host);
        let after = after.and_then(|state| state.containers.get(&entry.who));
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        if before.is_running && before.body == after.body {
            found.push(format!(
                "{}: {} had its form: {}",
                entry.host, entry.who, entry.what
            ));
        }
    }
    found
}

fn explore(scenario: &Scenario, step: usize) {
    let began = std::time::Instant::now();
    let (points, expected) = on_own_clock(scenario.points());
    let count = points.len();
    let jobs: Vec<_> = points
        .into_iter()
        .flat_map(|(point, at)| CUTS.map(|cut| (point.clone(), at, cut)))
        .filter(|(point, _, cut)| cut.applies_to(point))
        .step_by(step)
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let ends = Mutex::new((BTreeSet::new(), BTreeMap::<Option<u8>, usize>::new(), 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((point, at, cut)) = jobs.get(index) else {
                        return;
                    };
                    let end = on_own_clock(scenario.cut(point.number, *at, *cut, &expected));
                    let mut ends = ends.lock().unwrap();
                    if !end.violations.is_empty() {
                        println!("{} {cut:?} at {point}", scenario.name);
                        for violation in &end.violations {
                            println!("  VIOLATION {violation}");
                        }
                        ends.2 += 1;
                    }
                    ends.0.insert(end.ended);
                    *ends.1.entry(end.exit).or_default() += 1;
                }
            });
        }
    });
    let (ended, exits, failed) = ends.into_inner().unwrap();
    println!(
        "{}: {count} cut-off points, {} cuts, {} end states, exit codes {exits:?}, {failed} failed, {:.0?}",
        scenario.name,
        jobs.len(),
        ended.len(),
        began.elapsed()
    );
    assert_eq!(failed, 0);
}

#[test]
fn a_first_up_converges_after_each_cut() {
    let step = std::env::var("TOOTS_STEP").map_or(1, |text| text.parse().unwrap());
    explore(
        &Scenario {
            name: "first up",
            before: None,
            inventory: THREE_MASTERS.to_owned(),
            seed: 1,
        },
        step,
    );
}

#[test]
fn a_changed_image_converges_after_each_cut() {
    let step = std::env::var("TOOTS_STEP").map_or(1, |text| text.parse().unwrap());
    explore(
        &Scenario {
            name: "changed image",
            before: Some(THREE_MASTERS.to_owned()),
            inventory: format!("{THREE_MASTERS}[images]\nzookeeper = \"zookeeper:3.9.6\"\n"),
            seed: 2,
        },
        step,
    );
}
