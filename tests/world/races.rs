//! Operators who begin at nearly the same moment: exactly one of them goes on. Judged by who held the
//! locks and who changed hosts in the world, not by what toots says of itself.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::chaos::on_own_clock;
use crate::host::controller::ControllerFault;
use crate::life::{Ending, Life, Operator};
use crate::random::Random;

const FIVE: [(&str, Ipv4Addr); 5] = [
    ("10.0.0.11", Ipv4Addr::new(10, 0, 0, 11)),
    ("10.0.0.12", Ipv4Addr::new(10, 0, 0, 12)),
    ("10.0.0.13", Ipv4Addr::new(10, 0, 0, 13)),
    ("10.0.0.14", Ipv4Addr::new(10, 0, 0, 14)),
    ("10.0.0.15", Ipv4Addr::new(10, 0, 0, 15)),
];
const UP: &str = "toots cluster up --yes";
const NEWER: &str = "[images]\nzookeeper = \"zookeeper:3.9.6\"\n";

const RACES: u64 = 200;
/// How far apart operators begin, at most.
const APART_MS: u64 = 50;
/// How soon a run that does not go on says so.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A machine that does not answer is tried so long, and then asked for by the others' observation.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// By then everybody knows who goes on.
const DECIDED: Duration = Duration::from_secs(60);
/// The one that goes on changes hosts by then.
const AT_WORK: Duration = Duration::from_secs(20);

/// What the operators meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// Machines without a cluster.
    New,
    /// A master without power.
    Dead,
    /// A network in which each operator misses another master.
    Missed,
}

struct Race {
    scene: Setting,
    masters: usize,
    operators: usize,
    latency: Duration,
    random: Random,
}

impl Race {
    fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            // A cluster that is up costs more than a race.
            scene: *random.choose(&[
                Setting::New,
                Setting::New,
                Setting::New,
                Setting::Dead,
                Setting::Missed,
            ]),
            masters: *random.choose(&[3, 5]),
            operators: *random.choose(&[2, 3]),
            latency: Duration::from_millis(*random.choose(&[0, 1, 5, 20, 60])),
            random,
        }
    }

    /// The hosts in an order of this operator's own.
    fn inventory(&mut self, operator: usize) -> String {
        let mut names: Vec<&str> = FIVE[..self.masters].iter().map(|(name, _)| *name).collect();
        let turn = operator * 2 % self.masters;
        names.rotate_left(turn);
        if self.random.below(2) == 0 {
            names.reverse();
        }
        let change = if self.scene == Setting::New {
            ""
        } else {
            NEWER
        };
        format!("masters = {names:?}\n{change}")
    }

    async fn set_scene(&self, life: &Life) {
        if self.scene != Setting::New {
            let names: Vec<&str> = FIVE[..self.masters].iter().map(|(name, _)| *name).collect();
            let first = life.run(&format!("masters = {names:?}\n"), UP).await;
            assert_eq!(first.exit, Some(0), "{}", first.error);
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        if self.scene == Setting::Dead {
            life.world.machines()[1].cut_power();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        life.world.network.set_latency(self.latency);
        // The one that goes on is still at work when the others give up: none follows it.
        for machine in life.world.machines() {
            let delay = |words: &str| match words.contains("/images/create") {
                true => DECIDED + AT_WORK,
                false => Duration::ZERO,
            };
            machine.engine.delay(delay);
        }
    }

    /// All operators begin; the one that goes on is killed when it is at work. Their endings.
    async fn run(&mut self, life: &Life) -> Vec<Ending> {
        let ended = Cell::new(0);
        let mut operators: Vec<(Operator, Duration)> = Vec::new();
        for (number, (_, missed)) in FIVE.into_iter().enumerate().take(self.operators) {
            let operator = life.operator(&[("inventory.toml", &self.inventory(number))]);
            if self.scene == Setting::Missed {
                let from = operator.controller.address();
                life.world.network.cut(from, missed, true);
            }
            let delay = Duration::from_millis(self.random.below(APART_MS + 1));
            operators.push((operator, delay));
        }
        let controllers: Vec<_> = operators
            .iter()
            .map(|(o, _)| o.controller.clone())
            .collect();
        let running = operators.into_iter().map(|(operator, delay)| {
            let ended = &ended;
            async move {
                tokio::time::sleep(delay).await;
                let ending = operator.run(UP).await;
                ended.set(ended.get() + 1);
                ending
            }
        });
        let ending = async {
            let began = tokio::time::Instant::now();
            while ended.get() + 1 < controllers.len() && began.elapsed() < DECIDED {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(AT_WORK).await;
            for controller in &controllers {
                controller.suffer(ControllerFault::Killed);
            }
        };
        let (endings, ()) = tokio::join!(biased; futures::future::join_all(running), ending);
        endings
    }
}

/// One race; everything that must not have happened, and who went on.
async fn race(seed: u64) -> (Vec<String>, String) {
    let mut race = Race::draw(seed);
    let life = Life::new(seed, &FIVE[..race.masters]);
    race.set_scene(&life).await;
    let before = life.world.record.changes().len();
    let endings = race.run(&life).await;
    let changes = life.world.record.changes();
    // A host that fetches an image from another one is told to by an operator.
    let by = changes[before..].iter().map(|change| change.by.as_str());
    let writers: BTreeSet<&str> = by.filter(|by| by.starts_with("operator")).collect();
    let mut violations = life.judge.violations();
    if writers.len() != 1 {
        violations.push(format!("{writers:?} changed hosts"));
    }
    for ending in &endings {
        let is_writer = writers.contains(ending.by.as_str());
        let Some(why) = find_fault(ending, is_writer, race.scene) else {
            continue;
        };
        violations.push(format!("{}: {why}", ending.by));
    }
    let of_scene = |what: String| {
        format!(
            "seed {seed}, {:?}, {} masters: {what}",
            race.scene, race.masters
        )
    };
    let violations = violations.into_iter().map(of_scene).collect();
    (violations, writers.into_iter().collect())
}

/// Only the one that went on may end in another way than as locked out.
fn find_fault(ending: &Ending, is_writer: bool, scene: Setting) -> Option<String> {
    if is_writer {
        return (ending.exit == Some(7)).then(|| "changed hosts and was locked out".to_owned());
    }
    if ending.exit != Some(7) {
        return Some(format!("ended with {:?}\n{}", ending.exit, ending.error));
    }
    let is_slow = scene != Setting::New;
    let limit = ANSWER_LIMIT
        + if is_slow {
            SILENCE_LIMIT
        } else {
            Duration::ZERO
        };
    if ending.took > limit {
        return Some(format!("said so after {:?}", ending.took));
    }
    let names_all = [
        "lock held by ",
        "@",
        ": toots cluster up (run ",
        " since 2027-",
    ];
    let is_named = names_all.iter().all(|words| ending.error.contains(words));
    (!is_named).then(|| format!("does not name the other run\n{}", ending.error))
}

/// `TOOTS_SEED` names a single race.
#[test]
fn racing_operators_exclude_each_other() {
    let asked = std::env::var("TOOTS_SEED").ok();
    let asked: Option<u64> = asked.map(|seed| seed.parse().expect("a number"));
    let seeds = asked.map_or(0..RACES, |seed| seed..seed + 1);
    let mut found = Vec::new();
    let mut winners = std::collections::BTreeMap::<String, usize>::new();
    for seed in seeds {
        let (violations, winner) = on_own_clock(race(seed));
        found.extend(violations);
        *winners.entry(winner).or_default() += 1;
    }
    println!("went on: {winners:?}");
    assert!(
        found.is_empty(),
        "VIOLATION {}",
        found.join("\n  VIOLATION ")
    );
    assert!(
        asked.is_some() || winners.len() > 2,
        "each wins some: {winners:?}"
    );
}

/// The second of two operators, who begins a second after the first one.
fn follow(line: &'static str) -> (Ending, Ending, Life) {
    on_own_clock(async {
        let life = Life::new(1, &FIVE[..3]);
        let inventory = "masters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n";
        let second = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            life.run(inventory, line).await
        };
        let (first, second) = tokio::join!(biased; life.run(inventory, UP), second);
        (first, second, life)
    })
}

#[test]
fn a_run_that_waits_for_the_lock_goes_on_when_it_is_free() {
    let (first, second, life) = follow("toots cluster up --yes --lock-wait 20m --output plain");
    assert_eq!(first.exit, Some(0), "{}", first.error);
    assert_eq!(second.exit, Some(0), "{}", second.error);
    assert!(
        second.took > first.took - Duration::from_secs(5),
        "{:?}",
        second.took
    );
    let shown = &second.error;
    let waits = "waiting for lock: 10.0.0.11: lock held by ops@desk: toots cluster up (run ";
    assert!(
        shown.contains(waits) && shown.contains("still waiting for lock"),
        "{shown}"
    );
    let violations = life.judge.violations();
    assert!(violations.is_empty(), "VIOLATION {violations:#?}");
    assert_eq!(life.judge.overlaps(), 0);
}

#[test]
fn the_wait_for_the_lock_has_an_end() {
    let (first, second, _) = follow("toots cluster up --yes --lock-wait 7s");
    assert_eq!(
        (first.exit, second.exit),
        (Some(0), Some(7)),
        "{}",
        second.error
    );
    assert!(
        (7..10).contains(&second.took.as_secs()),
        "{:?}",
        second.took
    );
}

#[test]
fn a_deadline_ends_the_wait_for_the_lock() {
    let (first, second, _) = follow("toots cluster up --yes --lock-wait 20m --timeout 8s");
    assert_eq!(
        (first.exit, second.exit),
        (Some(0), Some(8)),
        "{}",
        second.error
    );
    assert!(
        (8..10).contains(&second.took.as_secs()),
        "{:?}",
        second.took
    );
}
