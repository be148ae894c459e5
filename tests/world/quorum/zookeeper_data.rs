//! ZooKeeper's recorded states of members with wiped, copied, older or foreign data.

use std::time::Duration;

use super::lab::{Lab, ZK_DATA, Zk, address, seconds};
use super::zookeeper_states::{ALL, HEALTHY, SOON, count, fill, leader, others, sorted, three};

/// Three members as the real one's default is: without data they found an ensemble.
async fn three_that_found() -> (Lab, u8) {
    let mut lab = Lab::new();
    for machine in ALL {
        lab.start_zk(&Zk::autocreate(machine));
    }
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    let leader = leader(&lab).await;
    (lab, leader)
}

pub async fn one_wiped() {
    let (mut lab, leader) = three_that_found().await;
    fill(&lab, leader, "/d", 200).await;
    for machine in [others(leader)[0], leader] {
        lab.kill(machine).await;
        lab.wipe_zk(machine);
        lab.start_zk(&Zk::autocreate(machine));
        let time = lab.until_zk(&ALL, &HEALTHY, SOON).await;
        assert!(time.as_secs_f64() < 2.0, "{time:?}");
        for machine in ALL {
            assert_eq!(count(&lab, machine, "/d").await, Some(200), "m{machine}");
        }
    }
}

/// Acknowledged writes are gone, as with the real one.
pub async fn wiped_and_lagging() {
    let (mut lab, leader) = three_that_found().await;
    let (lagging, wiped) = (others(leader)[0], others(leader)[1]);
    fill(&lab, leader, "/d", 50).await;
    lab.kill(lagging).await;
    fill(&lab, leader, "/d", 50).await;
    assert_eq!(count(&lab, wiped, "/d").await, Some(100));
    lab.kill(wiped).await;
    lab.kill(leader).await;
    lab.wipe_zk(wiped);
    lab.start_zk(&Zk::autocreate(lagging));
    lab.start_zk(&Zk::autocreate(wiped));
    lab.until_zk(&[lagging, wiped], &["L3/1 F3", "F3 L3/1"], SOON)
        .await;
    assert_eq!(
        count(&lab, wiped, "/d").await,
        Some(50),
        "acknowledged writes are lost"
    );
    lab.start_zk(&Zk::autocreate(leader));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for machine in ALL {
        assert_eq!(count(&lab, machine, "/d").await, Some(50), "m{machine}");
    }
}

/// Two wiped ones found an empty ensemble; the third one, of a later epoch, does not come in until
/// theirs has caught up, and then all look healthy with different data.
pub async fn two_wiped_first() {
    let (mut lab, _) = three_that_found().await;
    fill(&lab, 1, "/d", 200).await;
    // One more election, so that the third one's epoch is later.
    let first = leader(&lab).await;
    lab.kill(first).await;
    lab.start_zk(&Zk::autocreate(first));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for machine in ALL {
        lab.kill(machine).await;
    }
    lab.wipe_zk(1);
    lab.wipe_zk(2);
    lab.start_zk(&Zk::autocreate(1));
    lab.start_zk(&Zk::autocreate(2));
    let time = lab.until_zk(&ALL, &["F3 L3/1 x"], SOON).await;
    assert!(time.as_secs_f64() < 2.0, "{time:?}");
    assert_eq!(count(&lab, 1, "/d").await, None, "an empty ensemble serves");
    fill(&lab, 1, "/new", 5).await;
    lab.start_zk(&Zk::autocreate(3));
    for _ in 0..10 {
        seconds(1.2).await;
        assert_eq!(lab.zk_modes(&[3]).await, "-");
    }
    lab.kill(2).await;
    lab.start_zk(&Zk::autocreate(2));
    lab.until_zk(&ALL, &HEALTHY, Duration::from_secs(10)).await;
    assert_eq!(count(&lab, 3, "/d").await, Some(200));
    assert_eq!(
        count(&lab, 1, "/d").await,
        None,
        "all look healthy, the data differ"
    );
    fill(&lab, 1, "/more", 130).await;
    let mut digests = Vec::new();
    let mut mismatches = 0;
    for machine in ALL {
        let hash = lab.command(machine, "hash").await.unwrap();
        digests.push(
            hash["digests"]
                .as_array()
                .and_then(|all| all.last().cloned()),
        );
        let monitor = lab.command(machine, "monitor").await.unwrap();
        mismatches += u64::from(monitor["digest_mismatches_count"].as_u64().unwrap() > 0);
    }
    assert!(mismatches >= 1, "only mismatches of digests tell");
    assert_ne!(digests[0], digests[2], "{digests:?}");
    let views = lab.ensemble.members();
    assert!(
        views.iter().any(|view| view.digest != views[0].digest),
        "{views:?}"
    );
}

pub async fn two_wiped_beside_one() {
    let (mut lab, leader) = three_that_found().await;
    fill(&lab, leader, "/d", 200).await;
    for machine in others(leader) {
        lab.kill(machine).await;
        lab.wipe_zk(machine);
    }
    // Once the third one has noticed. Before that the two would elect one of themselves, as they do
    // when it is down.
    seconds(2.0).await;
    for machine in others(leader) {
        lab.start_zk(&Zk::autocreate(machine));
    }
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for machine in ALL {
        assert_eq!(count(&lab, machine, "/d").await, Some(200), "m{machine}");
    }
}

fn without_initialize(machine: u8) -> Zk {
    Zk {
        has_initialize: false,
        ..Zk::new(machine)
    }
}

pub async fn no_initialize() {
    let mut lab = Lab::new();
    for machine in ALL {
        lab.start_zk(&without_initialize(machine));
    }
    seconds(8.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "- - -");
    for machine in ALL {
        lab.kill(machine).await;
        let path = "/var/lib/toots/zookeeper/datalog/initialize";
        lab.files(machine).write(path, "", 0o644);
        lab.start_zk(&without_initialize(machine));
    }
    seconds(15.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "- - -", "too late");
}

pub async fn initialize() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, "/d", 100).await;
    for machine in ALL {
        let path = "/var/lib/toots/zookeeper/datalog/initialize";
        assert!(lab.files(machine).node(path).is_none(), "used up");
        lab.kill(machine).await;
    }
    for machine in others(leader) {
        lab.wipe_zk(machine);
        lab.start_zk(&without_initialize(machine));
    }
    seconds(10.0).await;
    assert_eq!(lab.zk_modes(&others(leader)).await, "- -");
    let epoch = format!("{}/currentEpoch", ZK_DATA[0]);
    assert_eq!(lab.files(others(leader)[0]).text(&epoch).unwrap(), "-1");
    lab.start_zk(&Zk::new(leader));
    seconds(44.0).await;
    assert_eq!(lab.zk_modes(&ALL).await, "- - -");
}

pub async fn one_wiped_without_initialize() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, "/d", 100).await;
    let (wiped, other) = (others(leader)[0], others(leader)[1]);
    lab.kill(wiped).await;
    lab.wipe_zk(wiped);
    lab.start_zk(&without_initialize(wiped));
    let time = lab.until_zk(&ALL, &HEALTHY, SOON).await;
    assert!(time.as_secs_f64() < 1.5, "{time:?}");
    assert_eq!(count(&lab, wiped, "/d").await, Some(100));
    for machine in ALL {
        lab.kill(machine).await;
    }
    lab.wipe_zk(wiped);
    lab.start_zk(&without_initialize(wiped));
    lab.start_zk(&Zk::new(other));
    seconds(12.0).await;
    assert_eq!(lab.zk_modes(&[wiped, other]).await, "- -");
    lab.start_zk(&Zk::new(leader));
    lab.until_zk(&ALL, &HEALTHY, Duration::from_secs(8)).await;
    assert_eq!(count(&lab, wiped, "/d").await, Some(100));
}

pub async fn older_copies() {
    let (mut lab, leader) = three_that_found().await;
    let followers = others(leader);
    fill(&lab, leader, "/d", 100).await;
    let copies: Vec<_> = followers
        .iter()
        .map(|machine| lab.copy(*machine, &ZK_DATA))
        .collect();
    fill(&lab, leader, "/d", 100).await;
    lab.kill(followers[0]).await;
    lab.put_back(followers[0], &ZK_DATA, &copies[0]);
    lab.start_zk(&Zk::autocreate(followers[0]));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    for machine in ALL {
        assert_eq!(count(&lab, machine, "/d").await, Some(200), "m{machine}");
    }
    for machine in ALL {
        lab.kill(machine).await;
    }
    for (machine, copy) in followers.iter().zip(&copies) {
        lab.put_back(*machine, &ZK_DATA, copy);
        lab.start_zk(&Zk::autocreate(*machine));
    }
    lab.until_zk(&followers, &["L3/1 F3", "F3 L3/1"], SOON)
        .await;
    assert_eq!(count(&lab, followers[0], "/d").await, Some(100));
    fill(&lab, followers[0], "/x", 1).await;
    lab.start_zk(&Zk::autocreate(leader));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    assert_eq!(
        count(&lab, leader, "/d").await,
        Some(100),
        "the newer data are given up"
    );
}

pub async fn foreign(is_later: bool) {
    let (mut other, _) = three_that_found().await;
    fill(&other, 1, "/foreign", 30).await;
    if is_later {
        for _ in 0..3 {
            let first = leader(&other).await;
            other.kill(first).await;
            other.start_zk(&Zk::autocreate(first));
            other.until_zk(&ALL, &HEALTHY, SOON).await;
        }
        // The later epoch is in its data only after a write.
        fill(&other, 1, "/foreign", 1).await;
    }
    let (mut lab, own_leader) = three_that_found().await;
    let machine = others(own_leader)[0];
    fill(&lab, own_leader, "/own", 40).await;
    let copy = other.copy(machine, &ZK_DATA);
    lab.kill(machine).await;
    lab.put_back(machine, &ZK_DATA, &copy);
    lab.start_zk(&Zk::autocreate(machine));
    if !is_later {
        lab.until_zk(&ALL, &HEALTHY, SOON).await;
        assert_eq!(count(&lab, machine, "/own").await, None);
        assert_eq!(
            count(&lab, machine, "/foreign").await,
            Some(30),
            "it keeps its own data"
        );
        seconds(1.0).await;
        let monitor = lab.command(machine, "monitor").await.unwrap();
        assert!(
            monitor["digest_mismatches_count"].as_u64().unwrap() > 0,
            "{monitor}"
        );
        return;
    }
    seconds(20.0).await;
    assert_eq!(sorted(&lab, &ALL).await, "- F3 L3/1");
    lab.kill(own_leader).await;
    seconds(3.0).await;
    assert_eq!(
        leader(&lab).await,
        machine,
        "the foreign one takes the lead"
    );
    lab.start_zk(&Zk::autocreate(own_leader));
    lab.until_zk(&ALL, &HEALTHY, SOON).await;
    assert_eq!(count(&lab, machine, "/foreign").await, Some(31));
}

pub async fn slow_sync() {
    let (mut lab, leader) = three().await;
    fill(&lab, leader, "/d", 100).await;
    let slow = others(leader)[0];
    lab.ensemble
        .slow_down(address(slow), Duration::from_secs(14));
    lab.kill(slow).await;
    lab.wipe_zk(slow);
    lab.start_zk(&without_initialize(slow));
    seconds(4.0).await;
    assert_eq!(lab.zk_modes(&[slow]).await, "-");
    assert_eq!(
        lab.zk_modes(&[leader]).await,
        "L3/2",
        "it counts one that still copies"
    );
    let zab = lab.command(slow, "zabstate").await.unwrap();
    assert_eq!(
        (&zab["voting"], &zab["zabstate"]),
        (&false.into(), &"".into())
    );
    let time = lab.until_zk(&ALL, &HEALTHY, Duration::from_secs(15)).await;
    assert!((8.0..14.0).contains(&time.as_secs_f64()), "{time:?}");

    lab.ensemble
        .slow_down(address(slow), Duration::from_secs(48));
    lab.kill(slow).await;
    lab.wipe_zk(slow);
    lab.start_zk(&without_initialize(slow));
    seconds(60.0).await;
    assert_eq!(
        lab.zk_modes(&[slow]).await,
        "-",
        "longer than the limit of the first sync"
    );
    lab.ensemble.slow_down(address(slow), Duration::ZERO);
    lab.until_zk(&ALL, &HEALTHY, Duration::from_secs(25)).await;
}

pub async fn three_to_five_and_back() {
    const FIVE: [u8; 5] = [1, 2, 3, 4, 5];
    let (mut lab, first) = three().await;
    fill(&lab, first, "/d", 50).await;
    for machine in [4, 5] {
        lab.start_zk(&without_initialize(machine).with_list(&FIVE));
    }
    seconds(3.0).await;
    assert_eq!(sorted(&lab, &FIVE).await, "F3 F3 F5 F5 L3/4");
    for machine in others(first).into_iter().chain([first]) {
        assert_eq!(lab.terminate(machine).await, Some(143));
        lab.start_zk(&Zk::new(machine).with_list(&FIVE));
        seconds(4.0).await;
    }
    assert_eq!(sorted(&lab, &FIVE).await, "F5 F5 F5 F5 L5/4");
    fill(&lab, 4, "/d", 50).await;
    for machine in [4, 5] {
        lab.kill(machine).await;
    }
    seconds(4.0).await;
    let last = leader(&lab).await;
    for machine in others(last).into_iter().chain([last]) {
        lab.kill(machine).await;
        lab.start_zk(&Zk::new(machine));
        seconds(4.0).await;
    }
    assert_eq!(sorted(&lab, &ALL).await, "F3 F3 L3/2");
    for machine in ALL {
        assert_eq!(count(&lab, machine, "/d").await, Some(100), "m{machine}");
    }
}

/// Another machine takes the number of one that is dead, which comes back later.
pub async fn new_address() {
    let (mut lab, _) = three().await;
    fill(&lab, 2, "/d", 50).await;
    lab.kill(1).await;
    let new = vec![(1, 4), (2, 2), (3, 3)];
    let listing = |machine: u8| Zk {
        list: new.clone(),
        ..without_initialize(machine)
    };
    lab.start_zk(&Zk {
        id: "1".into(),
        ..listing(4)
    });
    seconds(3.0).await;
    assert_eq!(sorted(&lab, &[4, 2, 3]).await, "F3 F3 L3/2");
    let first = leader(&lab).await;
    let mut order: Vec<u8> = [2, 3]
        .into_iter()
        .filter(|machine| *machine != first)
        .collect();
    order.extend([2, 3].into_iter().filter(|machine| *machine == first));
    for machine in order {
        assert_eq!(lab.terminate(machine).await, Some(143));
        lab.start_zk(&listing(machine));
        seconds(3.0).await;
    }
    assert_eq!(sorted(&lab, &[4, 2, 3]).await, "F3 F3 L3/2");
    for machine in [4, 2, 3] {
        assert_eq!(count(&lab, machine, "/d").await, Some(50), "m{machine}");
    }
    lab.start_zk(&Zk::new(1));
    seconds(4.0).await;
    assert_eq!(
        lab.zk_modes(&[1]).await,
        "F3",
        "it is taken in beside its successor"
    );
}
