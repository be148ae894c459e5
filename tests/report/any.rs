//! Arbitrary events and views, which must be shown without harm.

use proptest::prelude::*;
use toots::event::{
    ComponentView, Event, Failure, HostResult, HostStatusView, Outcome, RunResult, ServiceRow,
    ServiceView, StatusReport, Totals, WebAddress,
};
use toots::spec::{ClusterName, ComponentName, HostName, ImageRef, Remedy, Role};

fn cluster() -> ClusterName {
    ClusterName::new("dc1").unwrap()
}

fn any_text() -> impl Strategy<Value = String> {
    let hostile = "\x1b[2J\u{9b}\u{202e}日本語\t\r\n👩\u{200d}👩\u{200d}👧";
    prop_oneof![
        "[a-z ]{0,40}",
        any::<String>(),
        Just(hostile.to_owned()),
        "[日本é👍 ]{0,80}"
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any_text(), 0..3)
}

fn any_host() -> impl Strategy<Value = HostName> {
    prop_oneof![
        "[a-c]",
        Just("a-host-with-a-very-long-name.in.some.domain.example".to_owned())
    ]
    .prop_map(|n| HostName::new(&n).unwrap())
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Ok,
        Outcome::Changed,
        Outcome::Failed,
        Outcome::Unreachable,
        Outcome::Skipped,
    ])
}

fn hints() -> impl Strategy<Value = Vec<Remedy>> {
    texts().prop_map(|texts| texts.into_iter().map(Remedy::from).collect())
}

fn any_row() -> impl Strategy<Value = ServiceRow> {
    (
        any_text(),
        any::<bool>(),
        prop::option::of(any_text()),
        any_text(),
        any_text(),
        texts(),
        hints(),
    )
        .prop_map(
            |(service, healthy, leader, members, proof, faults, hints)| ServiceRow {
                service,
                healthy,
                leader,
                members,
                proof,
                faults,
                hints,
            },
        )
}

fn any_failure() -> impl Strategy<Value = Failure> {
    (
        any_text(),
        any_text(),
        texts(),
        texts(),
        prop::option::of(any_text()),
        hints(),
    )
        .prop_map(|(phase, step, cause, log, left, hints)| Failure {
            phase: phase.into(),
            step,
            cause,
            log,
            left,
            hints,
        })
}

fn any_result() -> impl Strategy<Value = Event> {
    let end = (any_outcome(), 0..9usize, prop::option::of(any_text()));
    let end = end.prop_map(|(outcome, changed, failed_step)| HostResult {
        outcome,
        changed,
        failed_step,
    });
    (
        any::<u8>(),
        any::<u32>(),
        prop::collection::btree_map(any_host(), end, 0..4),
    )
        .prop_map(|(exit_code, changed, hosts)| {
            Event::Result(RunResult {
                exit_code,
                changed: changed as usize,
                hosts,
                ..RunResult::default()
            })
        })
}

fn any_address() -> impl Strategy<Value = WebAddress> {
    (any_text(), any_text(), any_text()).prop_map(|(service, url, reach)| WebAddress {
        service,
        url,
        reach,
    })
}

fn any_summary() -> impl Strategy<Value = Event> {
    (
        prop::collection::vec(any_row(), 0..3),
        prop::collection::vec(any_address(), 0..3),
        any::<u64>(),
    )
        .prop_map(|(services, web, elapsed_ms)| {
            let totals = Totals {
                hosts: 3,
                containers: 9,
                elapsed_ms,
                longest: Some(("a\x1b".into(), elapsed_ms)),
            };
            Event::Summary {
                cluster: cluster(),
                services,
                web,
                totals,
            }
        })
}

fn any_host_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any_host(), 0..4usize).prop_map(|(host, steps)| Event::HostPlanned { host, steps }),
        (any_host(), any_text(), any_text()).prop_map(|(host, phase, step)| Event::StepStarted {
            host,
            phase: phase.into(),
            step
        }),
        (
            any_host(),
            any_text(),
            any::<u64>(),
            prop::option::of(any::<u64>()),
            prop::option::of(any_text())
        )
            .prop_map(|(host, step, bytes, total, line)| Event::StepProgress {
                host,
                step,
                bytes,
                total,
                line
            }),
        (any_host(), any_text(), any::<bool>(), any::<u64>()).prop_map(
            |(host, step, changed, elapsed_ms)| Event::StepFinished {
                host,
                step,
                changed,
                elapsed_ms
            }
        ),
        (any_host(), any_outcome(), any_failure()).prop_map(|(host, outcome, failure)| {
            Event::HostFailed {
                host,
                outcome,
                failure,
            }
        }),
        (prop::option::of(any_host()), any_text(), hints())
            .prop_map(|(host, text, hints)| Event::Warning { host, text, hints }),
    ]
}

fn any_bundle_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any_text(), any_text(), texts(), any::<u64>()).prop_map(
            |(image, digest, platforms, bytes)| Event::ImageResolved {
                image,
                digest,
                platforms,
                bytes
            }
        ),
        (any_text(), any::<u64>()).prop_map(|(image, bytes)| Event::ImageFetched { image, bytes }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(bytes, total)| Event::TransferProgress { bytes, total }),
        (any_text(), 0..9usize, texts(), any::<u64>(), any::<u64>()).prop_map(
            |(file, images, platforms, bytes, fetched)| Event::BundleWritten {
                file,
                images,
                platforms,
                bytes,
                fetched
            }
        ),
    ]
}

pub fn any_event() -> impl Strategy<Value = Event> {
    let roles = prop::sample::subsequence(Role::ALL.to_vec(), 0..=3);
    prop_oneof![
        (any_text(), prop::collection::vec((any_host(), roles), 0..4)).prop_map(
            |(command, hosts)| Event::RunStarted {
                command,
                cluster: cluster(),
                hosts
            }
        ),
        any_text().prop_map(|phase| Event::PhaseStarted {
            phase: phase.into()
        }),
        (any_text(), any::<u64>()).prop_map(|(phase, elapsed_ms)| Event::PhaseFinished {
            phase: phase.into(),
            elapsed_ms
        }),
        (any_text(), any_text(), any::<u64>()).prop_map(|(service, missing, elapsed_ms)| {
            Event::GateWaiting {
                service,
                missing,
                elapsed_ms,
            }
        }),
        (any_text(), any_text(), any::<u64>()).prop_map(|(service, proof, elapsed_ms)| {
            Event::GatePassed {
                service,
                proof,
                elapsed_ms,
            }
        }),
        (any_text(), texts(), hints()).prop_map(|(service, faults, hints)| Event::GateFailed {
            service,
            faults,
            hints
        }),
        any_host_event(),
        any_host_event(),
        any_bundle_event(),
        any_summary(),
        any_result(),
    ]
}

fn any_host_status() -> impl Strategy<Value = HostStatusView> {
    let optional = || prop::option::of(any_text());
    let component = (any_text(), optional(), optional(), optional(), optional());
    let component = component.prop_map(|(state, health, role, version, image)| ComponentView {
        component: ComponentName::new("zookeeper").unwrap(),
        state,
        health,
        role,
        version,
        image: image.map(ImageRef),
    });
    let components = prop::collection::vec(component, 0..3);
    (any_host(), optional(), components).prop_map(|(host, error, components)| HostStatusView {
        host,
        error,
        components,
    })
}

pub fn any_status() -> impl Strategy<Value = StatusReport> {
    let service = (any_row(), 0..9usize, prop::option::of(0..9usize));
    let service = service.prop_map(|(row, members, quorum)| ServiceView {
        row,
        members,
        quorum,
    });
    (
        any::<bool>(),
        prop::collection::vec(service, 0..4),
        prop::collection::vec(any_host_status(), 0..4),
        prop::collection::vec(any_address(), 0..3),
    )
        .prop_map(|(healthy, services, hosts, web)| StatusReport {
            cluster: cluster(),
            healthy,
            services,
            hosts,
            web,
        })
}
