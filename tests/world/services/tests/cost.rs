//! What idle programs cost: a life of a cluster has a tenth of a second for everything.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::rig::Rig;

const ALL: &str = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
    slaves = [\"10.0.0.21\", \"10.0.0.22\", \"10.0.0.23\"]\n\
    edges = [\"10.0.0.31\", \"10.0.0.32\", \"10.0.0.33\"]\n\
    [network]\nvip = \"10.0.0.100\"\nnic = \"eth0\"\n\
    [openvpn]\nca = \"ca.crt\"\ncertificate = \"vpn.crt\"\nkey = \"vpn.key\"\n\
    [components]\ndnsmasq = true\nsupervisord = true\n";

const MINUTES: u64 = 10;

/// Components with what they need, and how often each may wake a minute.
const COMPONENTS: [(&str, &[&str], f64); 10] = [
    ("mesos-master", &[], 60.0),
    ("mesos-slave", &["mesos-master"], 60.0),
    ("marathon", &["mesos-master"], 60.0),
    ("chronos", &["mesos-master"], 60.0),
    ("registrator", &[], 60.0),
    ("consul-template", &[], 60.0),
    ("haproxy", &["consul-template"], 60.0),
    ("keepalived", &["consul-template", "haproxy"], 60.0),
    ("dnsmasq", &[], 60.0),
    ("supervisord", &[], 60.0),
];

/// What this thread took of a processor: the machine may be busy with other things.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// How often a paused runtime parks for each time that something wakes it.
fn parks_per_wakeup() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.worker_park_count(0);
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
        }
        (metrics.worker_park_count(0) - before) as f64 / 100.0
    })
}

/// How often the runtime woke in a minute with these components, each wherever it was rendered, and
/// the processor time of that minute.
fn measure(components: &[&str], parks_per_wakeup: f64) -> (f64, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let rig = Rig::new(ALL);
        rig.bring_up(components).await;
        sleep(Duration::from_secs(60)).await;
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.worker_park_count(0);
        let began = processor_time();
        sleep(Duration::from_secs(60 * MINUTES)).await;
        let wakeups = metrics.worker_park_count(0) - before;
        (
            wakeups as f64 / MINUTES as f64 / parks_per_wakeup,
            (processor_time() - began) / u32::try_from(MINUTES).expect("minutes"),
        )
    })
}

#[test]
fn idle_programs_rarely_wake() {
    let mut known: BTreeMap<Vec<&str>, f64> = BTreeMap::new();
    let parks_per_wakeup = parks_per_wakeup();
    let measure = |components: &[&str]| measure(components, parks_per_wakeup);
    known.insert(Vec::new(), measure(&[]).0);
    println!("wakeups a minute of an idle instance, and of everything with what it needs:");
    for (component, needs, limit) in COMPONENTS {
        let together: Vec<&str> = needs.iter().copied().chain([component]).collect();
        let (wakeups, took) = measure(&together);
        let own = (wakeups - known[&needs.to_vec()]) / 3.0;
        known.insert(together, wakeups);
        println!("  {component}: {own:.1} ({wakeups:.1}, {took:?})");
        assert!(own <= limit, "{component}: {own:.1}");
    }
    let began = processor_time();
    let everything: Vec<&str> = COMPONENTS
        .iter()
        .map(|(component, ..)| *component)
        .collect();
    let (wakeups, took) = measure(&everything);
    println!("everything, with the ZooKeeper and the Consul in memory: {wakeups:.1}, {took:?}");
    let took = processor_time() - began;
    println!("brought up and idle for {MINUTES} minutes: {took:?}");
}
