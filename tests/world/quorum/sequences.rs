//! Seeded sequences of stops, starts, cuts and wipes under a writer. With at most a minority of the
//! data gone no acknowledged write may be lost; with a majority wiped losses are possible, which shows
//! that the tests can fail.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::lab::{Cs, Lab, Zk, address, seconds};
use super::zookeeper_states::ALL;
use crate::random::Random;
use crate::services::consul::AgentView;
use crate::services::zookeeper::MemberView;
use crate::services::{consul, zookeeper};

const SEEDS: u64 = 200;
const STEPS: usize = 12;
/// How long everything may take to be in order again once nothing more happens.
const HEALING: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    ZooKeeper,
    Consul,
}

/// What a sequence did.
#[derive(Debug, Default)]
struct Done {
    steps: [usize; 5],
    acknowledged: usize,
    lost: usize,
}

const KILL: usize = 0;
const TERMINATE: usize = 1;
const START: usize = 2;
const CUT: usize = 3;
const WIPE: usize = 4;

struct Sequence {
    service: Service,
    random: Random,
    lab: Lab,
    /// Members that have been without all acknowledged data at some time: only one may be so at once,
    /// until it is in sync again.
    wiped: BTreeSet<u8>,
    cut: Option<u8>,
    is_founded: bool,
    done: Done,
}

impl Sequence {
    fn start(&mut self, machine: u8) {
        match self.service {
            Service::ZooKeeper => self.lab.start_zk(&Zk {
                has_initialize: !self.is_founded,
                ..Zk::new(machine)
            }),
            Service::Consul => self.lab.start_consul(&Cs {
                multiplier: 1,
                min_quorum: 3,
                ..Cs::server(machine)
            }),
        }
    }

    /// Machines whose member is in sync.
    fn synced(&self) -> BTreeSet<u8> {
        let zookeeper = |view: MemberView| view.is_synced.then_some(view.address);
        let consul = |view: AgentView| view.is_synced.then_some(view.address);
        let synced: Vec<Ipv4Addr> = match self.service {
            Service::ZooKeeper => {
                let members = self.lab.ensemble.members().into_iter();
                members.filter_map(zookeeper).collect()
            }
            Service::Consul => {
                let members = self.lab.cluster.members().into_iter();
                members.filter_map(consul).collect()
            }
        };
        synced
            .into_iter()
            .map(|address| address.octets()[3] - 10)
            .collect()
    }

    fn wipe(&mut self, machine: u8) {
        match self.service {
            Service::ZooKeeper => self.lab.wipe_zk(machine),
            Service::Consul => self.lab.wipe_consul(machine),
        }
    }

    async fn step(&mut self) {
        let machine = *self.random.choose(&ALL);
        let synced = self.synced();
        self.wiped.retain(|machine| !synced.contains(machine));
        let kind = self.random.below(10);
        match kind {
            0 | 1 if self.lab.runs(machine) => {
                self.lab.kill(machine).await;
                self.done.steps[KILL] += 1;
            }
            2 if self.lab.runs(machine) => {
                self.lab.terminate(machine).await;
                self.done.steps[TERMINATE] += 1;
            }
            3..=6 if !self.lab.runs(machine) => {
                self.start(machine);
                self.done.steps[START] += 1;
            }
            7 => {
                if let Some(cut) = self.cut.take() {
                    self.lab.cut(cut, &ALL, false);
                } else {
                    let others: Vec<u8> =
                        ALL.into_iter().filter(|other| *other != machine).collect();
                    self.lab.cut(machine, &others, true);
                    self.cut = Some(machine);
                    self.done.steps[CUT] += 1;
                }
            }
            8 | 9 => {
                // Every acknowledged write is on the two others.
                let others: Vec<u8> = ALL.into_iter().filter(|other| *other != machine).collect();
                let is_safe = others.iter().all(|other| synced.contains(other));
                if is_safe && self.wiped.is_empty() {
                    self.lab.kill(machine).await;
                    self.wipe(machine);
                    self.start(machine);
                    self.wiped.insert(machine);
                    self.done.steps[WIPE] += 1;
                }
            }
            _ => {}
        }
        let millis = u32::try_from(self.random.below(6_000)).unwrap_or(0);
        seconds(f64::from(millis) / 1_000.0).await;
    }

    /// Whether every member answers for the whole cluster. A server that was started while it was cut
    /// off follows its leader before the gossip tells it where that is.
    async fn answers(&self) -> bool {
        if self.service == Service::ZooKeeper {
            return true;
        }
        for machine in ALL {
            let answer = self.lab.ask(machine, "/v1/kv/none?consistent").await;
            if answer.is_none_or(|(status, _)| status != 404) {
                return false;
            }
        }
        true
    }

    /// Ends all faults and waits until all members agree again.
    async fn heal(&mut self) {
        for machine in ALL {
            let others: Vec<u8> = ALL.into_iter().filter(|other| *other != machine).collect();
            self.lab.cut(machine, &others, false);
            if !self.lab.runs(machine) {
                self.start(machine);
            }
        }
        // What was cut off or ended is noticed by then.
        seconds(1.0).await;
        let began = tokio::time::Instant::now();
        while self.synced().len() < ALL.len() || !self.answers().await {
            assert!(
                began.elapsed() < HEALING,
                "{:?} {:#?}",
                self.done,
                self.lab.cluster.members()
            );
            seconds(0.2).await;
        }
    }
}

async fn live(service: Service, seed: u64, wipes_majority: bool) -> Done {
    let mut sequence = Sequence {
        service,
        random: Random::new(seed),
        lab: Lab::new(),
        wiped: BTreeSet::new(),
        cut: None,
        is_founded: false,
        done: Done::default(),
    };
    for machine in ALL {
        sequence.start(machine);
    }
    sequence.heal().await;
    sequence.is_founded = true;
    let lab = &sequence.lab;
    let port = if service == Service::ZooKeeper {
        2181
    } else {
        8500
    };
    let servers = ALL.map(|machine| (address(machine), port)).to_vec();
    let pause = Duration::from_millis(75);
    let from = address(9);
    let zookeeper = zookeeper::Writer::new(&lab.network, &lab.record, from, servers.clone());
    let consul = consul::Writer::new(&lab.network, &lab.record, from, servers.clone());
    let (zookeeper, consul) = (zookeeper.with_pause(pause), consul.with_pause(pause));
    let (writing_zookeeper, writing_consul) = (zookeeper.clone(), consul.clone());
    let writing = tokio::spawn(async move {
        match service {
            Service::ZooKeeper => writing_zookeeper.run().await,
            Service::Consul => writing_consul.run().await,
        }
    });
    for _ in 0..STEPS {
        sequence.step().await;
    }
    sequence.heal().await;
    writing.abort();
    let asked = if wipes_majority {
        wipe_majority(&mut sequence).await;
        &servers[..2]
    } else {
        &servers[..]
    };
    let tables = sequence.lab.quorums.tables();
    let by_table = match service {
        Service::ZooKeeper => tables.lost_in_zookeeper(&zookeeper),
        Service::Consul => tables.lost_in_consul(&consul),
    };
    let mut lost = BTreeSet::new();
    for server in asked {
        let answer = match service {
            Service::ZooKeeper => zookeeper.lost_at(*server).await.ok(),
            Service::Consul => consul.lost_at(*server).await,
        };
        let Some(answer) = answer else {
            let state = sequence.lab.consul_state(server.0.octets()[3] - 10).await;
            panic!("{service:?}, seed {seed}: no answer of {server:?}, {state}");
        };
        lost.extend(answer);
    }
    assert_eq!(by_table.as_ref(), Some(&lost), "the table and the answers");
    let acknowledged = match service {
        Service::ZooKeeper => zookeeper.acknowledged().len(),
        Service::Consul => consul.acknowledged().len(),
    };
    Done {
        acknowledged,
        lost: lost.len(),
        ..sequence.done
    }
}

/// Two of three lose their data at once, and found a cluster of their own while the third is down.
async fn wipe_majority(sequence: &mut Sequence) {
    for machine in ALL {
        sequence.lab.kill(machine).await;
    }
    for machine in [1, 2] {
        sequence.wipe(machine);
        match sequence.service {
            // With the file that lets it found an ensemble, as nobody should do.
            Service::ZooKeeper => sequence.lab.start_zk(&Zk::new(machine)),
            Service::Consul => {
                sequence
                    .lab
                    .start_consul(&Cs::server(machine).with("bootstrap_expect", 2.into()));
            }
        }
    }
    seconds(15.0).await;
}

async fn live_all(service: Service) {
    let (mut steps, mut acknowledged) = ([0; 5], 0);
    for seed in 0..SEEDS {
        let done = live(service, seed, false).await;
        assert_eq!(done.lost, 0, "{service:?}, seed {seed}: {done:?}");
        acknowledged += done.acknowledged;
        for (sum, count) in steps.iter_mut().zip(done.steps) {
            *sum += count;
        }
    }
    let [kills, terminations, starts, cuts, wipes] = steps;
    println!(
        "{service:?}: {SEEDS} sequences, {acknowledged} acknowledged writes, none lost; {kills} kills, {terminations} terminations, {starts} starts, {cuts} cuts, {wipes} wipes"
    );
    assert!(steps.iter().all(|count| *count >= 50), "{steps:?}");
    assert!(acknowledged > 20_000, "{acknowledged}");
}

#[tokio::test(start_paused = true)]
async fn zookeeper_loses_no_acknowledged_write() {
    live_all(Service::ZooKeeper).await;
}

#[tokio::test(start_paused = true)]
async fn consul_loses_no_acknowledged_write() {
    live_all(Service::Consul).await;
}

#[tokio::test(start_paused = true)]
async fn a_wiped_majority_loses_writes() {
    for service in [Service::ZooKeeper, Service::Consul] {
        let mut losses = 0;
        for seed in 0..5 {
            losses += usize::from(live(service, seed, true).await.lost > 0);
        }
        println!("{service:?}: {losses} of 5 sequences with a wiped majority lost writes");
        assert!(losses > 0, "{service:?}");
    }
}

/// The same seed gives the same record.
#[tokio::test(start_paused = true)]
async fn a_seed_is_lived_alike() {
    for service in [Service::ZooKeeper, Service::Consul] {
        let first = format!("{:?}", live(service, 7, false).await);
        assert_eq!(first, format!("{:?}", live(service, 7, false).await));
    }
}
