//! Lives in which a certain thing happens at a certain moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::chaos::{MASTERS, THREE_MASTERS, on_own_clock};
use crate::host::controller::ControllerFault;
use crate::host::faults::{Fault, Faults, Point, PointKind};
use crate::host::machine::Machine;
use crate::judge::{Stop, VOTING};
use crate::life::{Ending, Life, Writers};
use crate::record::Entry;

const UP: &str = "toots cluster up --yes";
const NEWER_ZOOKEEPER: &str = "[images]\nzookeeper = \"zookeeper:3.9.6\"\n";
const NEWER_CONSUL: &str = "[images]\nconsul = \"hashicorp/consul:1.23\"\n";
const NEWER_ALL: &str =
    "[images]\nzookeeper = \"zookeeper:3.9.6\"\nconsul = \"hashicorp/consul:1.23\"\n";
const SMALLER_MARATHON: &str = "[params.marathon]\nheap = \"256m\"\n";
const SMALLER_ZOOKEEPER: &str = "[params.zookeeper]\nheap = \"256m\"\n";

fn with(more: &str) -> String {
    format!("{THREE_MASTERS}{more}")
}

fn assert_done(ending: &Ending) {
    let Ending { by, exit, .. } = ending;
    let printed = format!("{}{}", ending.output, ending.error);
    assert_eq!(
        *exit,
        Some(0),
        "VIOLATION {by} ended with {exit:?}\n{printed}"
    );
}

fn assert_none(violations: &[String]) {
    let text = violations.join("\n  VIOLATION ");
    assert!(violations.is_empty(), "VIOLATION {text}");
}

/// A new world, whose seed a failed life shows.
fn world(seed: u64) -> Life {
    println!("seed {seed}:");
    Life::new(seed, &MASTERS)
}

/// A cluster that is up, with clients that write.
async fn begin(seed: u64) -> (Life, Writers) {
    let life = world(seed);
    assert_done(&life.run(THREE_MASTERS, UP).await);
    let writers = life.start_writers();
    tokio::time::sleep(Duration::from_secs(60)).await;
    (life, writers)
}

/// The cluster comes to what this inventory says, a further run changes nothing, and all that must
/// hold did.
async fn end(life: &Life, writers: &Writers, inventory: &str) {
    life.heal().await;
    assert_done(&life.run(inventory, UP).await);
    assert_unchanged(life, inventory).await;
    let (lost, count) = writers.end(life).await;
    assert!(count > 5, "{count} acknowledged writes");
    let mut violations = life.judge.violations();
    violations.extend(lost);
    assert_none(&violations);
}

async fn assert_unchanged(life: &Life, inventory: &str) {
    let again = life.run(inventory, UP).await;
    assert_done(&again);
    let changes = life.world.record.changes().into_iter();
    let changes = changes.filter(|change| change.by == again.by);
    let changes: Vec<String> = changes
        .map(|change| format!("{}: {} was needless", change.host, change.what))
        .collect();
    assert_none(&changes);
}

/// Does something at the first point that fits.
pub fn at_point(
    life: &Life,
    fits: impl Fn(&Point) -> bool + Send + Sync + 'static,
    act: impl Fn(&Point) + Send + Sync + 'static,
) -> Arc<AtomicBool> {
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    life.world.points.on_pass(move |point| {
        if !done.load(Ordering::SeqCst) && fits(point) {
            done.store(true, Ordering::SeqCst);
            act(point);
        }
        None
    });
    is_done
}

/// Without a fault the leader is the last, and every other member serves while one is stopped.
fn find_disorder(stops: &[Stop]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, stop) in stops.iter().enumerate() {
        let Stop {
            host, container, ..
        } = stop;
        let mut later = stops[at + 1..].iter();
        let is_voting = VOTING.contains(container);
        if is_voting && stop.was_leading && later.any(|later| later.container == *container) {
            found.push(format!("{host}: {container} led and was not the last"));
        }
        if stop.others + 1 < MASTERS.len() {
            let others = stop.others;
            found.push(format!(
                "{host}: {container} stopped, {others} others serve"
            ));
        }
    }
    found
}

#[test]
fn an_undisturbed_change_takes_members_in_turn() {
    for (seed, more) in [
        NEWER_ZOOKEEPER,
        NEWER_CONSUL,
        SMALLER_MARATHON,
        SMALLER_ZOOKEEPER,
    ]
    .into_iter()
    .enumerate()
    {
        on_own_clock(async {
            let (life, writers) = begin(seed as u64).await;
            assert_done(&life.run(&with(more), UP).await);
            let stops = life.judge.stopped();
            assert!(!stops.is_empty(), "no member was stopped");
            assert_none(&find_disorder(&stops));
            end(&life, &writers, &with(more)).await;
        });
    }
}

/// What happens to a master.
#[derive(Clone, Copy)]
enum Harm {
    PowerCut,
    Hang,
    /// The other masters do not reach it; the operator does.
    CutOff,
}

impl Harm {
    fn befall(self, machine: &Machine, is_harmed: bool) {
        match self {
            Self::CutOff => {
                for (_, other) in MASTERS {
                    if other != machine.address {
                        machine.network.cut(machine.address, other, is_harmed);
                    }
                }
            }
            // The life heals them itself.
            Self::PowerCut if is_harmed => machine.cut_power(),
            Self::Hang if is_harmed => machine.hang(),
            Self::PowerCut | Self::Hang => {}
        }
    }
}

#[test]
fn no_member_is_stopped_while_a_master_is_dead() {
    for (seed, more) in [NEWER_ZOOKEEPER, NEWER_CONSUL].into_iter().enumerate() {
        for dead in ["10.0.0.11", "10.0.0.12", "10.0.0.13"] {
            for harm in [Harm::PowerCut, Harm::Hang, Harm::CutOff] {
                on_own_clock(async {
                    let (life, writers) = begin(seed as u64).await;
                    let machine = Arc::clone(life.world.machine(dead));
                    let is_done = at_point(
                        &life,
                        |point| point.name.starts_with("lock answered"),
                        move |_| harm.befall(&machine, true),
                    );
                    let ending = life.run(&with(more), UP).await;
                    assert!(is_done.load(Ordering::SeqCst), "no moment came");
                    let printed = &ending.output;
                    assert_ne!(ending.exit, Some(0), "VIOLATION exit code 0\n{printed}");
                    harm.befall(life.world.machine(dead), false);
                    end(&life, &writers, &with(more)).await;
                });
            }
        }
    }
}

/// Of three members one has its new form, and is then cut off from the others.
#[test]
fn a_member_that_is_cut_off_is_not_counted() {
    for (seed, container, more) in [
        (1, "toots-zookeeper", NEWER_ZOOKEEPER),
        (2, "toots-consul-server", NEWER_CONSUL),
    ] {
        on_own_clock(async {
            let (life, writers) = begin(seed).await;
            let first = life.operator(&[("inventory.toml", &with(more))]);
            let (controller, record) = (first.controller.clone(), life.world.record.clone());
            let former = format!("{container}.old");
            let replaced = move || {
                let mut entries = record.entries().into_iter();
                let is_removal =
                    |entry: &Entry| entry.who == former && entry.what.starts_with("remove");
                entries.find(is_removal).map(|entry| entry.host)
            };
            let is_replaced = replaced.clone();
            let is_done = at_point(
                &life,
                move |_| is_replaced().is_some(),
                move |_| controller.suffer(ControllerFault::Killed),
            );
            first.run(UP).await;
            assert!(is_done.load(Ordering::SeqCst), "no moment came");
            let host = replaced().unwrap();
            let machine = life.world.machine(&host);
            Harm::CutOff.befall(machine, true);
            tokio::time::sleep(Duration::from_secs(120)).await;
            let ending = life.run(&with(more), UP).await;
            let printed = &ending.output;
            assert_ne!(ending.exit, Some(0), "VIOLATION exit code 0\n{printed}");
            Harm::CutOff.befall(machine, false);
            end(&life, &writers, &with(more)).await;
        });
    }
}

/// A run is killed while a member is stopped. The next one begins with it: that takes no vote from
/// anyone.
#[test]
fn a_half_replaced_member_is_finished_first() {
    for (seed, container, more) in [
        (1, "toots-zookeeper", NEWER_ZOOKEEPER),
        (2, "toots-consul-server", NEWER_CONSUL),
    ] {
        on_own_clock(async {
            let (life, writers) = begin(seed).await;
            let first = life.operator(&[("inventory.toml", &with(more))]);
            let (controller, judge) = (first.controller.clone(), life.judge.clone());
            let is_done = at_point(
                &life,
                move |_| !judge.stopped().is_empty(),
                move |_| controller.suffer(ControllerFault::Killed),
            );
            first.run(UP).await;
            assert!(is_done.load(Ordering::SeqCst), "no moment came");
            life.heal().await;
            let before = life.world.record.entries().len();
            assert_done(&life.run(&with(more), UP).await);
            let entries = life.world.record.entries();
            let mut created = entries[before..].iter().filter(|entry| {
                entry.who == container && entry.what.starts_with("create by operator")
            });
            let stopped = life.judge.stopped();
            let first = created.next().map(|entry| entry.host.as_str());
            assert_eq!(first, Some(stopped[0].host.as_str()), "{stopped:#?}");
            end(&life, &writers, &with(more)).await;
        });
    }
}

/// A member of ZooKeeper was removed with its data, and takes its time to receive those of the others,
/// whose images change with the same run: until it has them, it counts for nobody.
#[test]
fn a_member_that_is_not_in_sync_is_not_counted() {
    for (seed, wiped) in MASTERS.into_iter().enumerate() {
        on_own_clock(async {
            let (life, writers) = begin(seed as u64).await;
            let machine = life.world.machine(wiped.0);
            machine.cut_power();
            machine.files().remove("/var/lib/toots/zookeeper");
            machine.engine.lose_container("toots-zookeeper");
            tokio::time::sleep(Duration::from_secs(60)).await;
            machine.start();
            tokio::time::sleep(Duration::from_secs(60)).await;
            life.ensemble.slow_down(wiped.1, Duration::from_secs(8));
            assert_done(&life.run(&with(NEWER_ZOOKEEPER), UP).await);
            end(&life, &writers, &with(NEWER_ZOOKEEPER)).await;
        });
    }
}

/// A master was installed anew, and images of the others change with the same run: its members come
/// back first, also those that wait for a service whose other members are replaced.
#[test]
fn an_emptied_master_comes_back_before_the_others_change() {
    for (seed, more) in [NEWER_ZOOKEEPER, NEWER_CONSUL, NEWER_ALL]
        .into_iter()
        .enumerate()
    {
        on_own_clock(async {
            let (life, writers) = begin(seed as u64).await;
            wipe(life.world.machine(MASTERS[seed].0)).await;
            assert_done(&life.run(&with(more), UP).await);
            end(&life, &writers, &with(more)).await;
        });
    }
}

/// Another service whose images change does not hold up the one that brings its member back.
#[test]
fn a_stopped_member_comes_back_first() {
    for (seed, stopped) in VOTING.into_iter().enumerate() {
        on_own_clock(async {
            let (life, writers) = begin(seed as u64).await;
            let machine = life.world.machine(MASTERS[2].0);
            machine.engine.stop_by_hand(stopped).await;
            assert_done(&life.run(&with(NEWER_ALL), UP).await);
            end(&life, &writers, &with(NEWER_ALL)).await;
        });
    }
}

/// The machine is installed anew: nothing is left of the cluster there.
async fn wipe(machine: &Machine) {
    machine.cut_power();
    for folder in ["/etc/toots", "/var/lib/toots"] {
        machine.files().remove(folder);
    }
    machine.engine.wipe();
    tokio::time::sleep(Duration::from_secs(60)).await;
    machine.start();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Another master dies in the moment in which this one's turn is interrupted.
#[test]
fn the_guard_is_asked_again_after_a_pause() {
    for (seed, more) in [NEWER_ZOOKEEPER, NEWER_CONSUL].into_iter().enumerate() {
        for fault in [
            Fault::ConnectionLost {
                noticed_after: Duration::from_secs(45),
                host_notices: false,
            },
            Fault::Slow(Duration::from_secs(50)),
        ] {
            on_own_clock(async {
                let (life, writers) = begin(seed as u64).await;
                let machines = life.world.machines().to_vec();
                let (points, record) = (life.world.points.clone(), life.world.record.clone());
                let before = record.changes().len();
                let is_done = at_point(
                    &life,
                    move |point| {
                        let changes = record.changes();
                        let has_begun = changes[before..]
                            .iter()
                            .any(|change| change.what.contains("/containers/create"));
                        has_begun
                            && point.kind == PointKind::Send
                            && point.name.starts_with("Place")
                    },
                    move |point| {
                        points.set_faults(Faults::at(point.number, fault));
                        let mut others = machines.iter().filter(|m| m.name != point.host);
                        if let Some(other) = others.next_back() {
                            other.cut_power();
                        }
                    },
                );
                life.run(&with(more), UP).await;
                assert!(is_done.load(Ordering::SeqCst), "no moment came");
                end(&life, &writers, &with(more)).await;
            });
        }
    }
}

#[test]
fn a_wiped_master_comes_back() {
    for (seed, name) in ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
        .into_iter()
        .enumerate()
    {
        on_own_clock(async {
            let (life, writers) = begin(seed as u64).await;
            wipe(life.world.machine(name)).await;
            assert_done(&life.run(THREE_MASTERS, UP).await);
            end(&life, &writers, THREE_MASTERS).await;
        });
    }
}

#[test]
fn masters_in_another_order_are_the_same_masters() {
    on_own_clock(async {
        let (life, writers) = begin(1).await;
        let other = "masters = [\"10.0.0.13\", \"10.0.0.11\", \"10.0.0.12\"]\n";
        assert_done(&life.run(other, UP).await);
        let stopped = life.judge.stopped().into_iter();
        let stopped: Vec<String> = stopped
            .map(|stop| format!("{}: {} was stopped", stop.host, stop.container))
            .collect();
        assert_none(&stopped);
        end(&life, &writers, other).await;
    });
}

/// What makes a cluster itself, on each master.
fn ids(life: &Life) -> Vec<Option<String>> {
    let machines = life.world.machines().iter();
    let texts = machines.map(|machine| machine.files().text("/etc/toots/node.json"));
    texts.collect()
}

/// The second one has observed hosts without a cluster, and goes on when the first one is done.
#[test]
fn two_operators_begin_a_cluster() {
    for held_at in 0..40 {
        on_own_clock(async {
            let life = world(held_at);
            let writers = life.start_writers();
            let second = life.operator(&[("inventory.toml", THREE_MASTERS)]);
            let controller = second.controller.clone();
            let first = async {
                tokio::time::sleep(Duration::from_millis(20 * held_at)).await;
                controller.suffer(ControllerFault::Held(Duration::from_secs(300)));
                let first = life.run(THREE_MASTERS, UP).await;
                (first.exit, ids(&life))
            };
            let ((exit, before), _) = tokio::join!(biased; first, second.run(UP));
            tokio::time::sleep(Duration::from_secs(60)).await;
            if exit == Some(0) {
                assert!(ids(&life) == before, "VIOLATION another cluster");
            }
            end(&life, &writers, THREE_MASTERS).await;
        });
    }
}

#[test]
fn a_dead_master_is_not_proven() {
    for at in 0..30 {
        on_own_clock(async {
            let (life, writers) = begin(at).await;
            let machine = Arc::clone(life.world.machine("10.0.0.13"));
            let dying = async {
                tokio::time::sleep(Duration::from_millis(500 * at)).await;
                machine.cut_power();
                std::future::pending().await
            };
            let inventory = with(SMALLER_MARATHON);
            let run = life.run(&inventory, UP);
            let ending = tokio::select! {
                biased;
                ending = run => ending,
                () = dying => unreachable!(),
            };
            let is_dead = !machine.is_awake();
            life.heal().await;
            if ending.exit == Some(0) && is_dead {
                assert_unchanged(&life, &with(SMALLER_MARATHON)).await;
            }
            end(&life, &writers, &with(SMALLER_MARATHON)).await;
        });
    }
}

/// The next run begins while the Engine still carries out what the killed one asked for.
#[test]
fn a_container_under_way_is_taken_as_it_is() {
    on_own_clock(async {
        let life = world(1);
        for machine in life.world.machines() {
            let delay = |words: &str| {
                let is_create = words.contains("/containers/create");
                Duration::from_secs(if is_create { 4 } else { 0 })
            };
            machine.engine.delay(delay);
        }
        let first = life.operator(&[("inventory.toml", THREE_MASTERS)]);
        let controller = first.controller.clone();
        let record = life.world.record.clone();
        let is_done = at_point(
            &life,
            move |_| {
                let mut changes = record.changes().into_iter();
                changes.any(|change| change.what.contains("/containers/create"))
            },
            move |_| controller.suffer(ControllerFault::Killed),
        );
        let killed = first.run(UP).await;
        let is_killed = killed.exit.is_none() && is_done.load(Ordering::SeqCst);
        assert!(is_killed, "no moment came");
        assert_done(&life.run(THREE_MASTERS, UP).await);
        let writers = life.start_writers();
        tokio::time::sleep(Duration::from_secs(60)).await;
        end(&life, &writers, THREE_MASTERS).await;
    });
}
