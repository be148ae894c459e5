//! Power cuts and lost connections while a host changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use toots::host::{HostSession, Install, Operation, OperationError, Place, TransportError};
use toots::spec::{FileSpec, HostName, Package, PackageManager, Placement};

use super::controller::ControllerFault;
use super::disk::Disk;
use super::faults::{Fault, Faults, Point, PointKind};
use crate::files::Files;
use crate::random::Random;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(600);
const PATHS: [&str; 3] = [
    "/etc/toots/a.conf",
    "/etc/toots/sub/b.conf",
    "/var/lib/toots/c.key",
];
const FORMER_HOSTS: &str = "127.0.0.1 localhost\n";
const NEW_HOSTS: &str =
    "127.0.0.1 localhost\n# toots begin\n10.0.0.1 m1\n10.0.0.2 m2\n# toots end\n";

pub fn world(seed: u64) -> World {
    let hosts = [
        ("m1", Ipv4Addr::new(10, 0, 0, 1)),
        ("m2", Ipv4Addr::new(10, 0, 0, 2)),
    ];
    World::new(seed, &hosts, &[])
}

pub async fn session(world: &World, controller: &str, host: &str) -> Arc<dyn HostSession> {
    let dial = world.dial(&world.controller(controller));
    let session = dial.dial(&HostName::new(host).unwrap()).await;
    session.unwrap_or_else(|error| panic!("{error}"))
}

fn content(generation: &str, path: &str) -> String {
    format!("{generation} content of {path}\n").repeat(20)
}

pub fn placement(generation: &str) -> Place {
    let file = |path: &str| FileSpec {
        path: path.to_owned(),
        mode: 0o640,
        uid: 0,
        gid: 7,
        content: content(generation, path).into_bytes(),
        secret: false,
        place: Placement::Always,
    };
    let entry = |address: &str, name: &str| (address.to_owned(), name.to_owned());
    Place {
        dirs: Vec::new(),
        files: PATHS.map(file).into(),
        hosts_entries: Some(vec![entry("10.0.0.1", "m1"), entry("10.0.0.2", "m2")]),
        deadline: LIMIT,
    }
}

fn prepare(world: &World) {
    let files = world.machine("m1").files();
    for path in PATHS {
        files.write(path, content("former", path), 0o600);
    }
}

/// Which files are new; panics at one that is neither old nor new.
fn new_files(world: &World, at: &Point) -> usize {
    let files = world.machine("m1").files();
    let mut new = 0;
    for path in PATHS {
        let text = files.text(path).unwrap_or_default();
        if text == content("new", path) {
            new += 1;
        } else {
            assert_eq!(text, content("former", path), "{at}: {path}");
        }
    }
    let hosts = files.text("/etc/hosts").unwrap_or_default();
    assert!(
        hosts == FORMER_HOSTS || hosts == NEW_HOSTS,
        "{at}: {hosts:?}"
    );
    new
}

/// The points of an operation from its first to its last, in a life without faults.
async fn points_of(seed: u64, operation: impl Into<Operation>) -> Vec<Point> {
    let world = world(seed);
    prepare(&world);
    let session = session(&world, "desk", "m1").await;
    let before = world.points().len();
    session.run(operation.into()).await.unwrap();
    world.points().split_off(before)
}

/// What a replaced file holds after a power cut, for each seed.
fn replaced(is_synced: bool) -> BTreeSet<String> {
    let replace = |seed| {
        let disk = Disk::new(Files::default(), 1 << 20);
        disk.files.write("/etc/a", "former", 0o644);
        disk.write("/etc/a.new", "new one", 0o644).unwrap();
        if is_synced {
            disk.sync(&["/etc/a.new".to_owned()]);
        }
        disk.rename("/etc/a.new", "/etc/a").unwrap();
        disk.cut_power(&mut Random::new(seed));
        disk.files.text("/etc/a").unwrap()
    };
    (0..100).map(replace).collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_is_synced_survives_whole() {
    let texts = |texts: &[&str]| -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    };
    assert_eq!(replaced(true), texts(&["former", "new one"]));
    assert_eq!(replaced(false), texts(&["", "former", "new", "new one"]));
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_leaves_each_file_old_or_new() {
    let (mut lives, mut mixed, mut staged) = (0, 0, 0);
    for seed in 0..20 {
        for point in points_of(seed, placement("new")).await {
            let fault = Fault::PowerCut(Duration::from_secs(30));
            if !fault.applies_to(point.kind) {
                continue;
            }
            let world = world(seed);
            prepare(&world);
            let first = session(&world, "desk", "m1").await;
            world.set_faults(Faults::at(point.number, fault));
            let placed = first.perform(placement("new")).await;
            assert!(
                matches!(
                    placed,
                    Err(OperationError::Transport(TransportError::Lost(_)))
                ),
                "{point}: {placed:?}"
            );
            let new = new_files(&world, &point);
            mixed += usize::from(new > 0 && new < PATHS.len());
            let is_left = |path: &String| path.ends_with(".toots-new");
            staged += usize::from(world.machine("m1").files().below("").iter().any(is_left));
            tokio::time::sleep(Duration::from_secs(60)).await;
            let second = session(&world, "desk", "m1").await;
            second.perform(placement("new")).await.unwrap();
            assert_eq!(new_files(&world, &point), PATHS.len(), "{point}");
            let left = world.machine("m1").files().below("");
            assert_eq!(left.iter().find(|path| is_left(path)), None, "{point}");
            lives += 1;
        }
    }
    println!("{lives} power cuts: {mixed} left old and new files, {staged} left staged ones");
    assert!(lives >= 280 && mixed > 0 && staged > 0);
}

/// A host carries out what has arrived, whoever is left to hear of it.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_during_an_installation_ends_in_the_installed_state() {
    let install = || Install {
        package: Package::NfsClient,
        manager: PackageManager::Apt,
        deadline: LIMIT,
    };
    let (mut installed, mut absent) = (0, 0);
    for host_notices in [false, true] {
        for point in points_of(1, install()).await {
            let world = world(1);
            prepare(&world);
            let session = session(&world, "desk", "m1").await;
            let fault = Fault::ConnectionLost {
                noticed_after: Duration::ZERO,
                host_notices,
            };
            world.set_faults(Faults::at(point.number, fault));
            let answer = session.perform(install()).await;
            assert!(
                matches!(
                    answer,
                    Err(OperationError::Transport(TransportError::Lost(_)))
                ),
                "{point}: {answer:?}"
            );
            assert!(session.closed());
            let has_package = || {
                let state = world.machine("m1").state();
                state.packages.contains("nfs-client")
            };
            let is_answered = point.kind == PointKind::Answer;
            // What is unpacked is installed in the same moment.
            let is_last_step = matches!(
                point.name.as_str(),
                "Install unpacked" | "Install installed"
            );
            assert_eq!(has_package(), is_answered || is_last_step, "{point}");
            tokio::time::sleep(Duration::from_secs(60)).await;
            let has_arrived = !matches!(point.kind, PointKind::Send | PointKind::SendHalf);
            assert_eq!(has_package(), has_arrived, "{point}");
            installed += usize::from(has_arrived);
            absent += usize::from(!has_arrived);
        }
    }
    println!("connections lost: {installed} ended installed, {absent} without effect");
    assert!(installed > 8 && absent == 4);
}

/// Half an archive places nothing, and a killed controller leaves what the whole one places.
#[tokio::test(start_paused = true)]
async fn a_killed_controller_leaves_files_old_or_new() {
    let mut ends = BTreeMap::<usize, usize>::new();
    for point in points_of(3, placement("new")).await {
        let world = world(3);
        prepare(&world);
        let session = session(&world, "desk", "m1").await;
        world.set_faults(Faults::at(
            point.number,
            Fault::Controller(ControllerFault::Killed),
        ));
        let place = session.perform(placement("new"));
        let answer = tokio::time::timeout(LIMIT, place).await;
        assert!(answer.is_err(), "{point}: nothing returns to it");
        *ends.entry(new_files(&world, &point)).or_default() += 1;
        let is_sent = !matches!(point.kind, PointKind::Send | PointKind::SendHalf);
        let expected = if is_sent { PATHS.len() } else { 0 };
        assert_eq!(new_files(&world, &point), expected, "{point}");
    }
    println!("new files after the controller was killed: {ends:?}");
    assert_eq!(ends.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_leaves_nothing_staged() {
    let mut refused = 0;
    for point in points_of(4, placement("new")).await {
        let fault = Fault::DiskFull(Duration::from_secs(30));
        if !fault.applies_to(point.kind) {
            continue;
        }
        let world = world(4);
        prepare(&world);
        let session = session(&world, "desk", "m1").await;
        world.set_faults(Faults::at(point.number, fault));
        let answer = session.perform(placement("new")).await;
        if let Err(error) = &answer {
            assert!(matches!(error, OperationError::Failed { .. }), "{error}");
            refused += 1;
        }
        new_files(&world, &point);
        let is_staged = |path: &String| path.contains(".toots-new") || path.contains(".stage");
        let left = world.machine("m1").files().below("");
        assert_eq!(left.iter().find(|path| is_staged(path)), None, "{point}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        session.perform(placement("new")).await.unwrap();
        assert_eq!(new_files(&world, &point), PATHS.len());
    }
    println!("{refused} placements refused by a full disk");
    assert!(refused > 3);
}
