//! Faults drawn from a seed: each kind occurs, and a seed is one life.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use toots::host::{
    BoxStream, HoldLock, HostAddresses, LockAnswer, Observe, StreamTarget, TransportError,
};

use super::faults::{Fault, Faults};
use super::place_tests::{placement, world};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(600);

/// Lists the containers of an Engine.
async fn ask_engine(mut stream: BoxStream) -> std::io::Result<()> {
    let request = "GET /containers/json HTTP/1.1\r\nhost: docker\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    Ok(())
}

/// Works on two hosts for a while, whatever goes wrong.
async fn work(world: &World) {
    let name = |host: &str| toots::spec::HostName::new(host).unwrap();
    for round in 0..6 {
        let controller = world.controller("desk");
        let dial = world.dial(&controller);
        let host = if round % 2 == 0 { "m1" } else { "m2" };
        let life = async {
            let session = dial.dial(&name(host)).await?;
            let holder = format!("run {round}");
            let silence_limit = Duration::from_secs(90);
            let request = HoldLock {
                holder,
                silence_limit,
            };
            let lock = session.hold_lock(request).await?;
            let observe = Observe {
                reach: vec![("10.0.0.2".to_owned(), 2181)],
                ..Observe::default()
            };
            let addresses = HostAddresses { deadline: LIMIT };
            // Both at once, so that one answer can overtake the other.
            let asked = futures::join!(session.perform(observe), session.perform(addresses));
            drop(asked);
            ask_engine(session.open(StreamTarget::Engine).await?)
                .await
                .ok();
            drop(session.perform(placement("new")).await);
            drop(lock);
            session.close().await;
            Ok::<_, TransportError>(())
        };
        drop(tokio::time::timeout(LIMIT, life).await);
        tokio::time::sleep(Duration::from_secs(400)).await;
        world.machines().iter().for_each(|machine| machine.start());
    }
}

async fn live(seed: u64) -> (World, Vec<String>) {
    let world = world(seed);
    world.set_faults(Faults::drawn(seed, 12, 40));
    work(&world).await;
    let points = world.points();
    let mut trace: Vec<String> = points.iter().map(ToString::to_string).collect();
    let started = world.record.entries().first().map(|entry| entry.at);
    for entry in world.record.entries() {
        let since = started.map(|started| entry.at - started);
        trace.push(format!(
            "{since:?} {} {} {}",
            entry.host, entry.who, entry.what
        ));
    }
    (world, trace)
}

#[tokio::test(start_paused = true)]
async fn each_fault_kind_occurs() {
    let mut counts = BTreeMap::<&str, u64>::new();
    let mut points = 0;
    for seed in 0..500 {
        let (world, _) = live(seed).await;
        points += world.points().len();
        for (name, count) in world.counts() {
            *counts.entry(name).or_default() += count;
        }
    }
    println!("{points} points: {counts:?}");
    for name in Fault::NAMES {
        assert!(counts.get(name).is_some_and(|count| *count >= 20), "{name}");
    }
    assert!(counts.contains_key("answers reordered"));
}

#[tokio::test(start_paused = true)]
async fn a_seed_is_lived_twice_alike() {
    for seed in 0..40 {
        assert_eq!(live(seed).await.1, live(seed).await.1, "seed {seed}");
    }
    let (_, one_trace) = live(1).await;
    assert_ne!(one_trace, live(2).await.1);
}

#[tokio::test(start_paused = true)]
async fn a_life_without_faults_passes_every_point_kind() {
    let world = world(7);
    work(&world).await;
    let mut kinds = BTreeMap::<_, usize>::new();
    for point in world.points() {
        *kinds.entry(point.kind).or_default() += 1;
    }
    println!("{kinds:?}");
    assert_eq!(kinds.len(), 11);
    assert!(
        world
            .counts()
            .keys()
            .all(|name| *name == "answers reordered")
    );
}

/// A host that hangs answers late; one that hangs for too long loses its sessions.
#[tokio::test(start_paused = true)]
async fn a_host_hangs_and_goes_on() {
    let world = world(8);
    let session = super::place_tests::session(&world, "desk", "m1").await;
    let machine = world.machine("m1").clone();
    let ask = || session.perform(HostAddresses { deadline: LIMIT });
    machine.suffer(Fault::HostHangs(Duration::from_secs(20)));
    let asked = tokio::time::Instant::now();
    ask().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(20));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let session = super::place_tests::session(&world, "desk", "m1").await;
    let request = HoldLock {
        holder: "ann".to_owned(),
        silence_limit: LIMIT,
    };
    let LockAnswer::Held(_stream) = session.hold_lock(request).await.unwrap() else {
        panic!("not held");
    };
    machine.suffer(Fault::HostHangs(Duration::from_secs(200)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(session.closed() && machine.lock.is_held(), "it hangs");
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!machine.lock.is_held(), "it has found the end");
}
