//! What preflight finds, and how it is reported.

use toots::event::RunResult;
use toots::host::{Listener, StreamTarget};
use toots::spec::NodeRecord;

use super::*;

/// A machine that is too small and of an unknown architecture.
fn unsound(n: u8) -> Observation {
    let mut observation = sound(n);
    observation.facts.arch = "riscv64".into();
    observation.facts.mem_total_kib = 1024;
    observation
}

/// A machine that nothing is asked but the observation.
fn machine(n: u8, observation: Observation) -> (HostName, Arc<FakeHost>) {
    (host(n), Arc::new(observed(n, observation, Vec::new())))
}

/// A machine that belongs to another cluster.
fn foreign(n: u8, observation: Observation) -> (HostName, Arc<FakeHost>) {
    let record = NodeRecord {
        format: NodeRecord::FORMAT,
        cluster: "other".parse().unwrap(),
        cluster_id: "4567".into(),
        node: host(n),
        member: None,
    };
    let files = vec![(NodeRecord::PATH, serde_json::to_vec(&record).unwrap())];
    (host(n), Arc::new(observed(n, observation, files)))
}

/// Checks the hosts; the result, which is the last event. No host was asked for more than the
/// observation, so that nothing was changed and no lock was taken.
async fn check<const N: usize>(
    machines: [(HostName, Arc<FakeHost>); N],
    heard: &Arc<RecordedEvents>,
) -> RunResult {
    let inventory = inventory::parse(INVENTORY, "inventory.toml", Path::new(".")).unwrap();
    check_for(inventory, machines, heard).await
}

async fn check_for<const N: usize>(
    inventory: Inventory,
    machines: [(HostName, Arc<FakeHost>); N],
    heard: &Arc<RecordedEvents>,
) -> RunResult {
    let sessions = BTreeMap::from(machines);
    let played: Vec<_> = sessions.values().cloned().collect();
    let result = engine::check(&context_for(inventory, Played { sessions }, heard)).await;
    assert_eq!(result.changed, 0);
    for session in played {
        let operations = session.operations();
        let [Operation::Observe(observe)] = operations.as_slice() else {
            panic!("{operations:?}");
        };
        // The admin page of ZooKeeper listens on loopback: no other master connects to it.
        assert!(observe.reach.iter().all(|(_, port)| *port != 2182));
        let is_engine = |target: &StreamTarget| !matches!(target, StreamTarget::Tcp { .. });
        assert!(session.targets().iter().all(is_engine));
    }
    let events = heard.0.lock().unwrap();
    let results = events.iter().filter(|e| matches!(e, Event::Result(_)));
    assert_eq!(results.count(), 1);
    assert_eq!(events.last(), Some(&Event::Result(result.clone())));
    result
}

/// Host and text of each warning.
fn warnings(events: &RecordedEvents) -> Vec<(Option<HostName>, String)> {
    let events = events.0.lock().unwrap();
    let warnings = events.iter().filter_map(|event| match event {
        Event::Warning { host, text, .. } => Some((host.clone(), text.clone())),
        _ => None,
    });
    warnings.collect()
}

/// Host, outcome and cause of each failure.
fn failures(events: &RecordedEvents) -> Vec<(HostName, Outcome, String)> {
    let events = events.0.lock().unwrap();
    let failures = events.iter().filter_map(|event| match event {
        Event::HostFailed {
            host,
            outcome,
            failure,
        } => Some((host.clone(), *outcome, failure.cause.join(": "))),
        _ => None,
    });
    failures.collect()
}

const ARCHITECTURE: &str = "unsupported architecture \"riscv64\"";
const MEMORY: &str = "memory must be at least 512 MiB, got 1 MiB";

/// So that hosts with the same fault share its lines, and no fault looks like the cause of another.
#[tokio::test]
async fn each_reason_to_refuse_a_host_is_a_separate_failure() {
    let sessions = [1, 2, 3, 4].map(|n| machine(n, if n == 2 { unsound(n) } else { sound(n) }));
    let heard = Arc::new(RecordedEvents::default());
    let dial = Played {
        sessions: sessions.into(),
    };
    let result = engine::up(&context(dial, &heard)).await;
    assert_eq!((result.exit_code, result.changed), (4, 0));
    let refused = |why: &str| (host(2), Outcome::Failed, why.to_owned());
    assert_eq!(failures(&heard), [refused(ARCHITECTURE), refused(MEMORY)]);
    assert_eq!(result.error, Some(format!("10.0.0.2: {ARCHITECTURE}")));
}

/// These machines have no Engine, which `up` may install.
#[tokio::test]
async fn suitable_hosts_pass_the_check() {
    let heard = Arc::new(RecordedEvents::default());
    let result = check([1, 2, 3, 4].map(|n| machine(n, sound(n))), &heard).await;
    assert_eq!((result.exit_code, result.error), (0, None));
    assert!(result.hosts.values().all(|end| end.outcome == Outcome::Ok));
    assert_eq!((failures(&heard), warnings(&heard)), (vec![], vec![]));
}

#[tokio::test]
async fn check_warns_without_refusing() {
    let mut nameless = sound(2);
    nameless.facts.own_name_resolves_to.clear();
    let heard = Arc::new(RecordedEvents::default());
    let machines = [
        machine(1, sound(1)),
        machine(2, nameless),
        machine(3, sound(3)),
        machine(4, sound(4)),
    ];
    assert_eq!(check(machines, &heard).await.exit_code, 0);
    let text = "the host's own name \"h2\" does not resolve (add \"h2\" to /etc/hosts on the host)";
    assert_eq!(warnings(&heard), [(Some(host(2)), text.to_owned())]);
}

#[tokio::test]
async fn check_reports_every_finding_on_every_host() {
    let heard = Arc::new(RecordedEvents::default());
    let machines = [
        foreign(1, unsound(1)),
        machine(2, sound(2)),
        machine(3, unsound(3)),
        foreign(4, sound(4)),
    ];
    let result = check(machines, &heard).await;
    assert_eq!(result.exit_code, 4);
    let cluster = "belongs to cluster \"other\", the inventory describes \"dc1\"";
    let found = [
        (1, cluster),
        (4, cluster),
        (1, ARCHITECTURE),
        (1, MEMORY),
        (3, ARCHITECTURE),
        (3, MEMORY),
    ];
    let found = found.map(|(n, why)| (host(n), Outcome::Failed, why.to_owned()));
    assert_eq!(failures(&heard), found);
    assert_eq!(result.hosts[&host(2)].outcome, Outcome::Ok);
}

/// Where `up` ends for want of a majority.
#[tokio::test]
async fn check_goes_on_without_the_hosts_that_it_misses() {
    let heard = Arc::new(RecordedEvents::default());
    let result = check([machine(3, unsound(3)), machine(4, sound(4))], &heard).await;
    assert_eq!(result.exit_code, 3);
    let found: Vec<_> = failures(&heard)
        .into_iter()
        .map(|(host, outcome, _)| (host, outcome))
        .collect();
    assert_eq!(
        found,
        [
            (host(1), Outcome::Unreachable),
            (host(2), Outcome::Unreachable),
            (host(3), Outcome::Failed),
            (host(3), Outcome::Failed),
        ]
    );
}

/// A machine on which another program has the port of ZooKeeper.
fn occupied(n: u8) -> Observation {
    let mut observation = sound(n);
    observation.listeners.push(Listener {
        protocol: "tcp".into(),
        address: "::".parse().unwrap(),
        port: 2181,
        process: Some("java".into()),
        pid: Some(7),
        holders: vec![7],
        container: None,
    });
    observation
}

/// Three are masters, so that their ports and their connections are checked.
#[tokio::test]
async fn three_machines_without_an_inventory_are_checked_as_masters() {
    let machines: Vec<_> = (1..=3).map(|n| [10, 0, 0, n].into()).collect();
    let inventory = inventory::candidates(&machines, None, None).unwrap();
    let heard = Arc::new(RecordedEvents::default());
    let mut cut_off = sound(2);
    let peer = "10.0.0.1 port 2181".to_owned();
    cut_off.facts.reaches.insert(peer, false);
    let machines = [
        machine(1, occupied(1)),
        machine(2, cut_off),
        machine(3, sound(3)),
    ];
    let result = check_for(inventory, machines, &heard).await;
    assert_eq!(result.exit_code, 4);
    let found: Vec<_> = failures(&heard)
        .into_iter()
        .map(|(host, _, why)| (host, why))
        .collect();
    let port = "port 2181/tcp (zookeeper clients) is in use by java (pid 7)";
    let peer = "cannot connect to 10.0.0.1 port 2181";
    assert_eq!(
        found,
        [(host(1), port.to_owned()), (host(2), peer.to_owned())]
    );
}

#[tokio::test]
async fn two_machines_without_an_inventory_are_checked_without_roles() {
    let machines = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let inventory = inventory::candidates(&machines, None, None).unwrap();
    let heard = Arc::new(RecordedEvents::default());
    let machines = [machine(1, occupied(1)), machine(2, unsound(2))];
    let result = check_for(inventory, machines, &heard).await;
    assert_eq!(result.exit_code, 4);
    let refused = |why: &str| (host(2), Outcome::Failed, why.to_owned());
    assert_eq!(failures(&heard), [refused(ARCHITECTURE), refused(MEMORY)]);
    let assumed = warnings(&heard);
    assert_eq!(assumed.len(), 1, "{assumed:?}");
    assert!(assumed[0].0.is_none() && assumed[0].1.starts_with("unchecked: ports"));
}
