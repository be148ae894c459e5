//! Who holds the lock when connections are lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use toots::host::{BoxStream, HoldLock, HostSession, LockAnswer};

use super::place_tests::{session, world};
use crate::world::World;

const SILENCE: Duration = Duration::from_secs(90);
/// Longer than a kernel believes in a silent connection.
const EVER: Duration = Duration::from_secs(24 * 60 * 60);

async fn ask(session: &Arc<dyn HostSession>, run: &str, silence_limit: Duration) -> LockAnswer {
    let holder = format!("ann@desk: toots cluster up (run {run})");
    let request = HoldLock {
        holder,
        silence_limit,
    };
    session.hold_lock(request).await.unwrap()
}

async fn held(session: &Arc<dyn HostSession>, run: &str, silence_limit: Duration) -> BoxStream {
    match ask(session, run, silence_limit).await {
        LockAnswer::Held(stream) => stream,
        LockAnswer::Taken { holder } => panic!("held by {holder}"),
        LockAnswer::Failed(why) => panic!("{why}"),
    }
}

async fn is_taken(session: &Arc<dyn HostSession>, run: &str) -> bool {
    match ask(session, run, SILENCE).await {
        LockAnswer::Taken { holder } => {
            assert!(holder.contains(" since 2027-01-15T"), "{holder}");
            true
        }
        LockAnswer::Held(_) => false,
        LockAnswer::Failed(why) => panic!("{why}"),
    }
}

/// When the lock is free after the first session was lost.
async fn freed_after(world: &World, silence_limit: Duration, host_notices: bool) -> Duration {
    let first = session(world, "desk", "m1").await;
    let _stream = held(&first, "r1", silence_limit).await;
    let lost = Instant::now();
    world
        .machine("m1")
        .lose_connections(Duration::from_secs(45), host_notices);
    while world.machine("m1").lock.is_held() {
        assert!(lost.elapsed() < EVER);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(first.closed());
    let second = session(world, "sofa", "m1").await;
    drop(held(&second, "r2", SILENCE).await);
    lost.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_holds_the_lock_until_the_host_notices() {
    let noticed = freed_after(&world(1), EVER, true).await;
    let silent = freed_after(&world(1), SILENCE, false).await;
    let believed = freed_after(&world(1), EVER, false).await;
    println!("free after {noticed:?}, by silence {silent:?}, by the kernel {believed:?}");
    assert!((45..48).contains(&noticed.as_secs()));
    assert!((90..93).contains(&silent.as_secs()));
    assert!((7200..7203).contains(&believed.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn another_run_is_refused_and_the_same_takes_over() {
    let world = world(2);
    let first = session(&world, "desk", "m1").await;
    let mut former = held(&first, "r1", EVER).await;
    let other = session(&world, "sofa", "m1").await;
    assert!(is_taken(&other, "r2").await);
    world
        .machine("m1")
        .lose_connections(Duration::from_secs(45), false);
    let other = session(&world, "sofa", "m1").await;
    assert!(is_taken(&other, "r2").await);
    let again = session(&world, "desk", "m1").await;
    let asked = Instant::now();
    let mut stream = held(&again, "r1", SILENCE).await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    // The former connection has lost it: no sign of life is answered.
    drop(former.write_all(b".").await);
    assert!(former.read_u8().await.is_err());
    // Whatever becomes of the former connection, the lock stays with the new one.
    tokio::time::sleep(Duration::from_secs(30)).await;
    for _ in 0..10 {
        stream.write_all(b".").await.unwrap();
        assert_eq!(
            stream.read_u16().await.unwrap(),
            u16::from_be_bytes(*b".\n")
        );
        tokio::time::sleep(Duration::from_secs(80)).await;
        assert!(is_taken(&other, "r2").await);
    }
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty() && !world.machine("m1").lock.is_held());
    let text = world.machine("m1").files().text("/run/toots/lock");
    assert_eq!(text.as_deref(), Some(""));
    assert!(!is_taken(&other, "r2").await);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection_before_the_lock_is_free() {
    let world = world(3);
    let first = session(&world, "desk", "m1").await;
    let mut stream = held(&first, "r1", SILENCE).await;
    tokio::time::sleep(SILENCE + Duration::from_secs(1)).await;
    assert!(first.closed(), "the host has closed it");
    assert!(stream.read_u8().await.is_err());
    assert!(!world.machine("m1").lock.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_killed_controller_and_a_power_cut_free_the_lock() {
    let world = world(4);
    let desk = world.controller("desk");
    let name = toots::spec::HostName::new("m1").unwrap();
    let first = world.dial(&desk).dial(&name).await.unwrap();
    let _former = held(&first, "r1", EVER).await;
    desk.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = session(&world, "sofa", "m1").await;
    let _stream = held(&second, "r2", EVER).await;
    world.machine("m1").cut_power();
    world.machine("m1").start();
    assert_eq!(world.machine("m1").files().text("/run/toots/lock"), None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(second.closed());
    let third = session(&world, "desk", "m1").await;
    drop(held(&third, "r3", EVER).await);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_lock_says_why() {
    let world = world(5);
    let machine = world.machine("m1");
    let session = session(&world, "desk", "m1").await;
    let flock = "flock".to_owned();
    machine.state().missing_programs.insert(flock);
    let answer = ask(&session, "r1", SILENCE).await;
    let LockAnswer::Failed(why) = answer else {
        panic!("locked without flock");
    };
    assert_eq!(why, "flock is missing; install util-linux");
    machine.state().missing_programs.clear();
    machine.files().write("/run/toots", "no folder", 0o644);
    let LockAnswer::Failed(why) = ask(&session, "r1", SILENCE).await else {
        panic!("locked without a folder");
    };
    assert_eq!(why, "cannot write /run/toots/lock");
}
