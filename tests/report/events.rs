//! Runs as streams of events.

use std::time::Duration;

use toots::event::{
    ComponentView, Event, Failure, HostResult, HostStatusView, Outcome, RunResult, ServiceRow,
    ServiceView, StatusReport, Totals, WebAddress,
};
use toots::report::ViewState;
use toots::spec::{ClusterName, ComponentName, HostName, ImageRef, Role};

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub fn cluster() -> ClusterName {
    ClusterName::new("dc1").unwrap()
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

pub fn started(command: &str, hosts: &[(&str, &[Role])]) -> Event {
    let hosts = hosts.iter().map(|(n, r)| (host(n), r.to_vec())).collect();
    Event::RunStarted {
        command: command.into(),
        cluster: cluster(),
        hosts,
    }
}

pub fn five() -> Event {
    use Role::{Edge, Master, Slave};
    started(
        "cluster up",
        &[
            ("m1", &[Master]),
            ("m2", &[Master]),
            ("m3", &[Master, Slave]),
            ("s1", &[Slave]),
            ("e1", &[Edge]),
        ],
    )
}

pub fn planned(name: &str, steps: usize) -> Event {
    Event::HostPlanned {
        host: host(name),
        steps,
    }
}

pub fn step(name: &str, phase: &str, step: &str) -> Event {
    Event::StepStarted {
        host: host(name),
        phase: phase.into(),
        step: step.into(),
    }
}

pub fn done(name: &str, step: &str, changed: bool, elapsed_ms: u64) -> Event {
    Event::StepFinished {
        host: host(name),
        step: step.into(),
        changed,
        elapsed_ms,
    }
}

fn phase_ended(name: &str) -> Event {
    Event::PhaseFinished {
        phase: name.into(),
        elapsed_ms: 1,
    }
}

pub fn phase(name: &str) -> Event {
    Event::PhaseStarted { phase: name.into() }
}

pub fn waiting(service: &str, missing: &str, elapsed_ms: u64) -> Event {
    Event::GateWaiting {
        service: service.into(),
        missing: missing.into(),
        elapsed_ms,
    }
}

pub fn gate_failed(service: &str, faults: &[&str]) -> Event {
    Event::GateFailed {
        service: service.into(),
        faults: text(faults),
        hints: Vec::new(),
    }
}

pub fn failed(name: &str, outcome: Outcome) -> Event {
    let failure = Failure {
        phase: "images".into(),
        step: "pull image registry.example/zookeeper:3.8".into(),
        cause: text(&["cannot pull registry.example/zookeeper:3.8", "connect to registry.example:443: connection refused"]),
        log: text(&["level=error msg=\"attempt 1\"", "level=error msg=\"attempt 2\""]),
        left: Some("2 of 9 steps done: Docker engine installed, directories made; no container was started".into()),
        hints: vec!["start the registry, then run: toots cluster up --limit s1".into(), "docker login registry.example tells more".into()],
    };
    Event::HostFailed {
        host: host(name),
        outcome,
        failure,
    }
}

/// One finding that refuses a host.
pub fn refused(name: &str, why: &str) -> Event {
    let failure = Failure {
        phase: "preflight".into(),
        step: "check the host".into(),
        cause: text(&[why]),
        log: Vec::new(),
        left: Some("nothing was changed".into()),
        hints: vec!["repair it".into()],
    };
    Event::HostFailed {
        host: host(name),
        outcome: Outcome::Failed,
        failure,
    }
}

pub fn warning(name: &str) -> Event {
    Event::warning(Some(host(name)), "clock is 2 s ahead of the other hosts")
}

/// A check with these findings and this result.
pub fn check(found: Vec<Event>) -> Vec<Event> {
    let masters: [(&str, &[Role]); 3] = ["m1", "m2", "m3"].map(|name| (name, &[Role::Master][..]));
    [vec![started("cluster check", &masters)], found].concat()
}

/// A plan with these changes on one host.
pub fn plan(changes: &[&str], exit_code: u8) -> Vec<Event> {
    let changes = changes.iter().map(|what| (host("m1"), (*what).to_owned()));
    vec![
        started("cluster plan", &[("m1", &[Role::Master])]),
        Event::Planned {
            changes: changes.collect(),
            records: Vec::new(),
        },
        result(exit_code, &[("m1", Outcome::Ok, 0)]),
    ]
}

pub fn services(ok: bool) -> Vec<ServiceRow> {
    let row = |service: &str, leader: Option<&str>, members: &str, proof: &str| ServiceRow {
        service: service.into(),
        healthy: true,
        leader: leader.map(str::to_owned),
        members: members.into(),
        proof: proof.into(),
        faults: Vec::new(),
        hints: Vec::new(),
    };
    let mut rows = vec![
        row(
            "zookeeper",
            Some("m2"),
            "3 of 3, 2 synced",
            "written through m1, read back from m2 and m3",
        ),
        row(
            "consul",
            Some("m1"),
            "3 voters, 5 alive",
            "consistent write at index 41",
        ),
        row(
            "mesos",
            Some("m3"),
            "3 in the log, 1 slave",
            "registry recovered",
        ),
        row("marathon", Some("m1"), "3", "active framework"),
        row("haproxy", None, "e1", "canary answered through e1:80"),
    ];
    if !ok {
        rows[1].healthy = false;
        rows[1].leader = None;
        rows[1].faults = text(&[
            "m1: no cluster leader",
            "m2: no cluster leader",
            "m3: does not answer on 10.0.0.13:8500: connection refused",
        ]);
    }
    rows
}

pub fn web() -> Vec<WebAddress> {
    let build = |service: &str, url: &str| WebAddress {
        service: service.into(),
        url: url.into(),
        reach: String::new(),
    };
    vec![
        build("mesos", "http://10.0.0.13:5050"),
        build("marathon", "http://10.0.0.11:8080"),
        build("consul", "http://10.0.0.11:8500"),
        build("haproxy", "http://10.0.0.31:81"),
    ]
}

pub fn summary(ok: bool) -> Event {
    let totals = Totals {
        hosts: 5,
        containers: 24,
        elapsed_ms: 41_200,
        longest: Some(("marathon".into(), 14_100)),
    };
    Event::Summary {
        cluster: cluster(),
        services: services(ok),
        web: web(),
        totals,
    }
}

pub fn result(exit_code: u8, ends: &[(&str, Outcome, usize)]) -> Event {
    let hosts = ends.iter().map(|(n, outcome, changed)| {
        let failed_step = (*outcome == Outcome::Failed).then(|| "pull image".to_owned());
        (
            host(n),
            HostResult {
                outcome: *outcome,
                changed: *changed,
                failed_step,
            },
        )
    });
    Event::Result(RunResult {
        exit_code,
        changed: ends.iter().map(|e| e.2).sum(),
        hosts: hosts.collect(),
        ..RunResult::default()
    })
}

/// A run with everything that can be shown, with its times.
pub fn run() -> Vec<(u64, Event)> {
    use Outcome::{Changed, Ok, Unreachable};
    let proof = "written through m1, read back from m2 and m3".to_owned();
    vec![
        (0, five()),
        (10, phase("connect")),
        (1_000, failed("s1", Unreachable)),
        (
            1_100,
            Event::PhaseFinished {
                phase: "connect".into(),
                elapsed_ms: 1_090,
            },
        ),
        (1_200, phase("images")),
        (1_200, planned("m1", 12)),
        (1_200, planned("m2", 12)),
        (1_200, planned("m3", 14)),
        (1_200, planned("e1", 0)),
        (1_300, step("m1", "images", "pull image zookeeper:3.8")),
        (1_300, step("m2", "images", "pull image zookeeper:3.8")),
        (
            2_000,
            Event::StepProgress {
                host: host("m1"),
                bytes: 34_200_000,
                total: Some(120_000_000),
                line: None,
            },
        ),
        (2_100, done("m2", "pull image zookeeper:3.8", true, 800)),
        (2_200, step("m2", "zookeeper", "create container zookeeper")),
        (2_300, step("m2", "consul", "write 4 files")),
        (2_400, done("m2", "write 4 files", false, 100)),
        (
            2_500,
            Event::Warning {
                host: Some(host("m3")),
                text: "the clock is 1.2 s behind the median".into(),
                hints: Vec::new(),
            },
        ),
        (2_600, phase("zookeeper")),
        (
            2_700,
            waiting("zookeeper", "m3 does not answer, m1 looks for a leader", 0),
        ),
        (13_000, waiting("zookeeper", "m3 does not answer", 10_300)),
        (
            24_000,
            Event::GatePassed {
                service: "zookeeper".into(),
                proof,
                elapsed_ms: 21_300,
            },
        ),
        (
            40_000,
            gate_failed("chronos", &["m1: no leader", "m2: 503"]),
        ),
        (41_200, summary(true)),
        (
            41_300,
            result(
                5,
                &[
                    ("m1", Changed, 11),
                    ("m2", Changed, 12),
                    ("m3", Changed, 14),
                    ("s1", Unreachable, 0),
                    ("e1", Ok, 0),
                ],
            ),
        ),
    ]
}

/// What is known at a time of a run.
pub fn state_at(events: &[(u64, Event)], until: u64) -> ViewState {
    let mut state = ViewState::default();
    for (at, event) in events.iter().filter(|(at, _)| *at <= until) {
        state.apply(event, ms(*at));
    }
    state
}

/// Two hundred slaves: some failed, some in progress, some done, some waiting.
pub fn two_hundred() -> ViewState {
    let names: Vec<_> = (1..=200).map(|i| format!("s{i}")).collect();
    let hosts: Vec<(&str, &[Role])> = names
        .iter()
        .map(|n| (n.as_str(), &[Role::Slave][..]))
        .collect();
    let mut state = ViewState::default();
    state.apply(&started("cluster up", &hosts), ms(0));
    state.apply(&phase("images"), ms(500));
    for (i, name) in names.iter().enumerate() {
        state.apply(&planned(name, 2), ms(1_000));
        match i % 8 {
            0 => state.apply(&failed(name, Outcome::Failed), ms(2_000)),
            1..=3 => state.apply(
                &step(name, "images", "pull image mesos-slave:1.11"),
                ms(3_000),
            ),
            4 | 5 => {
                for what in ["pull image", "create container mesos-slave"] {
                    state.apply(&done(name, what, true, 10), ms(4_000));
                }
            }
            _ => {}
        }
    }
    state
}

/// The creation of a bundle over a line that gets slower.
pub fn bundle() -> Vec<(u64, Event)> {
    let resolved = |image: &str, bytes| Event::ImageResolved {
        image: image.into(),
        digest: "sha256:0123".into(),
        platforms: text(&["linux/amd64", "linux/arm64"]),
        bytes,
    };
    let fetched = |image: &str, bytes| Event::ImageFetched {
        image: image.into(),
        bytes,
    };
    let progress = |bytes| Event::TransferProgress {
        bytes,
        total: 100_000_000,
    };
    let mut events = vec![
        (0, started("bundle create", &[])),
        (10, phase("resolve")),
        (800, resolved("haproxy:3.2", 60_000_000)),
        (900, resolved("r.example.com:5000/consul:1.22", 40_000_000)),
        (950, phase_ended("resolve")),
        (1_000, phase("download")),
        (1_000, progress(20_000_000)),
    ];
    events.extend((1..=10).map(|n| (1_000 + n * 500, progress(20_000_000 + n * 4_000_000))));
    events.push((6_000, fetched("haproxy:3.2", 60_000_000)));
    events.extend((1..=40).map(|n| (6_000 + n * 500, progress(60_000_000 + n * 1_000_000))));
    events.extend([
        (
            26_000,
            fetched("r.example.com:5000/consul:1.22", 40_000_000),
        ),
        (26_000, phase_ended("download")),
        (
            26_100,
            Event::BundleWritten {
                file: "dc1.tar".into(),
                images: 2,
                platforms: text(&["linux/amd64", "linux/arm64"]),
                bytes: 100_012_288,
                fetched: 80_000_000,
            },
        ),
        (26_100, result(0, &[])),
    ]);
    events
}

/// A cluster with an unhealthy component, an unreachable host and a service that is not proven.
pub fn status() -> StatusReport {
    let component =
        |name: &str, state: &str, health: Option<&str>, role: Option<&str>| ComponentView {
            component: ComponentName::new(name).unwrap(),
            state: state.into(),
            health: health.map(str::to_owned),
            role: role.map(str::to_owned),
            version: Some("3.8.0".into()),
            image: Some(ImageRef(format!("registry.example/{name}@sha256:0123"))),
        };
    let build = |name, error: Option<&str>, components| HostStatusView {
        host: host(name),
        error: error.map(str::to_owned),
        components,
    };
    let hosts = vec![
        build(
            "m1",
            None,
            vec![
                component("zookeeper", "running", Some("ok"), Some("follower")),
                component("consul", "restarting", Some("unhealthy"), None),
            ],
        ),
        build(
            "m10",
            Some("connect to 10.0.0.20:22: no route to host"),
            vec![],
        ),
        build(
            "e1",
            None,
            vec![component("haproxy", "running", None, None)],
        ),
    ];
    let services = services(false).into_iter().map(|row| ServiceView {
        quorum: row.leader.as_ref().map(|_| 2),
        members: 3,
        row,
    });
    StatusReport {
        cluster: cluster(),
        healthy: false,
        services: services.collect(),
        hosts,
        web: web(),
    }
}
