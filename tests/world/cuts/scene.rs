//! What decides how a life goes on after a cut. Two cuts with equal hosts, of the same kind and in the
//! same operation are lived once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::placed::{CUTS, Cut, PassedPoint, PlacedCut};
use super::scenario::Scenario;
use crate::host::faults::{Point, PointKind};
use crate::life::Life;
use crate::state::{HostState, whole_outline};

/// What the hosts are while a point is passed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scene {
    /// The hosts' states, and what services keep for others, as one number.
    hosts: u64,
    /// What hosts are carrying out.
    under_way: Vec<(String, String)>,
    /// What gates see of the services, as one number. What a run that was killed leaves is the same.
    services: Option<u64>,
}

/// A point, and what the hosts were.
pub struct SeenPoint {
    pub passed: PassedPoint,
    scene: Scene,
}

/// What decides how a cut ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    cut: Cut,
    scene: Scene,
    /// The host, the operation and where it was cut, as far as they matter.
    operation: String,
}

/// Cuts with the same key, in the order of their points.
pub struct EqualCuts {
    pub cuts: Vec<PlacedCut>,
    /// An ordinary run leaves them out.
    pub are_left_out: bool,
}

impl Scenario {
    /// The points of the run when nothing cuts it, and what the hosts are in the end.
    pub async fn points(&self) -> (Vec<SeenPoint>, Vec<String>) {
        let life = self.begin().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let began = tokio::time::Instant::now();
        let read_scene = scene_reader(&life);
        life.world.points.on_pass(move |point| {
            let passed = PassedPoint {
                point: point.clone(),
                after: point.at - began,
            };
            let scene = read_scene();
            noted.lock().unwrap().push(SeenPoint { passed, scene });
            None
        });
        let (ending, desk) = self.run(&life, &self.desk, &self.line).await;
        assert_eq!(ending.exit, Some(0), "{}: {}", self.name, ending.output);
        let wrong = self.judge_desk(&self.desk, &desk, ending.exit);
        assert!(wrong.is_empty(), "{}: {wrong:?}", self.name);
        let points = std::mem::take(&mut *seen.lock().unwrap());
        (points, whole_outline(&life))
    }
}

fn scene_reader(life: &Life) -> impl Fn() -> Scene + Send + Sync + use<> {
    let (machines, record) = (life.world.machines().to_vec(), life.world.record.clone());
    let tables = life.judge.tables().clone();
    move || {
        let mut hasher = DefaultHasher::new();
        for machine in &machines {
            HostState::read(machine).fingerprint().hash(&mut hasher);
        }
        tables.ensemble.committed_paths().hash(&mut hasher);
        tables.consul.committed_keys().hash(&mut hasher);
        let mut services = DefaultHasher::new();
        tables.standing().hash(&mut services);
        Scene {
            hosts: hasher.finish(),
            under_way: record.under_way(),
            services: Some(services.finish()),
        }
    }
}

/// How much of an operation its host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Half,
    /// It carries it out, or has done it.
    Whole,
}

fn sent(kind: PointKind) -> Sent {
    match kind {
        PointKind::Dial | PointKind::Open | PointKind::Send | PointKind::Write => Sent::Nothing,
        PointKind::SendHalf | PointKind::WriteHalf => Sent::Half,
        PointKind::Step | PointKind::Answer | PointKind::Written => Sent::Whole,
        PointKind::Read | PointKind::ReadHalf => Sent::Whole,
    }
}

/// What only asks, or only opens a stream, leaves nothing on a host.
fn is_question(point: &Point) -> bool {
    let is_asked = [" GET ", " HEAD "].iter();
    let mut is_asked = is_asked.map(|word| point.name.contains(word));
    let readings = ["Observe", "ReadState", "HostAddresses", "ComposeHashes"].iter();
    let mut is_reading = readings.map(|word| point.name.starts_with(word));
    point.kind == PointKind::Open || is_asked.any(|is| is) || is_reading.any(|is| is)
}

/// The operation at a point. Of a stream it is not part whether it is written to or read from.
fn operation(point: &Point) -> String {
    let name = match point.kind {
        PointKind::Step => point.name.clone(),
        _ => point
            .name
            .replacen(" read", "", 1)
            .replacen(" write", "", 1),
    };
    // An image moves on between two parts of the answer.
    let mut moving = ["/images/create", "/images/load", "/build"].iter();
    let part = match moving.any(|word| name.contains(&format!(" POST {word}"))) {
        true => point.number.to_string(),
        false => String::new(),
    };
    format!("{} {name} {:?} {part}", point.host, sent(point.kind))
}

/// What a host has of the operation that is cut off, besides what it is carrying out. Locks are taken on
/// all hosts at once, and are no change that is under way.
fn effect(point: &Point) -> String {
    let is_unsent = sent(point.kind) == Sent::Nothing && !point.name.starts_with("lock");
    match is_question(point) || is_unsent {
        true => String::new(),
        false => operation(point),
    }
}

/// The operation in which a connection is lost. A run goes on after a loss: questions are never equal,
/// because what it asks later is not known here.
fn known_to_controller(point: &Point) -> String {
    match is_question(point) || is_asked_over_tcp(point) {
        true => point.number.to_string(),
        false => operation(point),
    }
}

/// Services are asked over TCP by the probes, and changed by nothing else.
fn is_asked_over_tcp(point: &Point) -> bool {
    point.name.starts_with("TCP ")
}

/// Of so many losses during a question one is lived in an ordinary run.
const ASKED: usize = 4;

/// Whether an ordinary run leaves this cut out.
fn is_left_out(cut: Cut, point: &Point) -> bool {
    let is_loss = matches!(cut, Cut::Lost | Cut::LostUnnoticed);
    let is_asked = is_question(point) || is_asked_over_tcp(point);
    is_loss && is_asked && !point.number.is_multiple_of(ASKED)
}

/// The operation that a run finishes before it ends: it drops a question.
fn waited_for(point: &Point) -> String {
    match is_question(point) {
        true => String::new(),
        false => operation(point),
    }
}

fn key(cut: Cut, point: &SeenPoint) -> Key {
    let passed = &point.passed.point;
    let operation = match cut {
        Cut::Killed => effect(passed),
        Cut::Lost | Cut::LostUnnoticed => known_to_controller(passed),
        Cut::Interrupted => waited_for(passed),
        // It comes at a time, whatever the run does then.
        Cut::Deadline => String::new(),
    };
    let mut scene = point.scene.clone();
    // A run that loses a connection goes on, by what its gates see.
    if !matches!(cut, Cut::Lost | Cut::LostUnnoticed) {
        scene.services = None;
    }
    Key {
        cut,
        scene,
        operation,
    }
}

/// The deadline that ends a run at a point.
pub fn deadline_at(after: Duration) -> u128 {
    after.as_millis().max(1)
}

/// All cuts at these points, those with equal keys together.
pub fn find_equal_cuts(points: &[SeenPoint]) -> Vec<EqualCuts> {
    let mut equal: BTreeMap<Key, usize> = BTreeMap::new();
    let mut found: Vec<EqualCuts> = Vec::new();
    for cut in CUTS {
        let mut deadlines = BTreeSet::new();
        for point in points {
            let at = &point.passed;
            // A deadline has no point of its own: the first one at its time stands for all.
            let is_new = cut != Cut::Deadline || deadlines.insert(deadline_at(at.after));
            if !is_new || !cut.applies_to(&at.point) {
                continue;
            }
            let place = *equal.entry(key(cut, point)).or_insert(found.len());
            if place == found.len() {
                found.push(EqualCuts {
                    cuts: Vec::new(),
                    are_left_out: is_left_out(cut, &at.point),
                });
            }
            found[place].cuts.push(PlacedCut::new(cut, at));
        }
    }
    found
}

#[test]
fn questions_are_merged_and_changes_are_not() {
    let point = |kind, name: &str| Point {
        number: 0,
        at: tokio::time::Instant::now(),
        host: "m1".to_owned(),
        kind,
        name: name.to_owned(),
    };
    let question = point(PointKind::Read, "Engine read GET /info");
    let other = point(PointKind::WriteHalf, "Engine write GET /images/json");
    let sent = point(PointKind::Written, "Engine write POST /containers/x/stop");
    let unsent = point(PointKind::Write, "Engine write POST /containers/x/stop");
    let placed = point(PointKind::Step, "Place renamed /a");
    let later = Point {
        number: 1,
        ..question.clone()
    };
    assert_ne!(known_to_controller(&question), known_to_controller(&later));
    assert_ne!(known_to_controller(&sent), known_to_controller(&unsent));
    assert_ne!(known_to_controller(&sent), known_to_controller(&question));
    // A controller that is killed leaves what it sent, and nothing else.
    for nothing in [&question, &other, &unsent] {
        assert_eq!(effect(nothing), "");
    }
    assert!(!effect(&sent).is_empty() && !effect(&placed).is_empty());
    assert_ne!(effect(&sent), effect(&placed));
}
