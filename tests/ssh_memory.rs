//! Ten hosts that send without end, in bounded memory. A process of its own, so that nothing else
//! is measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "ssh/fake.rs"]
#[allow(dead_code)]
mod fake;
#[path = "ssh/lab.rs"]
#[allow(dead_code)]
mod lab;

use std::time::Duration;

use fake::{Behaviour, Fake, Script};
use toots::transport::{Exec, Target, TransportError};

/// Peak memory of this process, in MiB.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_endless_hosts_stay_small() {
    if !lab::ready() {
        return;
    }
    let mut fakes = Vec::new();
    for _ in 0..10 {
        fakes.push(
            Fake::start(Behaviour {
                script: Script::Endless,
                ..Behaviour::default()
            })
            .await,
        );
    }
    let connector = lab::connector(lab::settings());
    let runs = fakes.iter().map(|fake| {
        let (connector, host) = (connector.clone(), fake.host());
        async move {
            let session = connector.connect(&host).await.unwrap();
            let exec = Exec {
                max_output: 1 << 20,
                deadline: Duration::from_secs(20),
                ..lab::command("anything")
            };
            let result = session.exec(exec).await;
            assert!(
                matches!(result, Err(TransportError::Command(_))),
                "{result:?}"
            );
            // A stream that is opened and not read.
            let stream = session
                .open(Target::Command {
                    command: "anything".to_owned(),
                    privileged: false,
                })
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(8)).await;
            drop(stream);
        }
    });
    futures::future::join_all(runs).await;
    match peak() {
        Some(peak) => assert!(
            peak < 256,
            "{peak} MiB, with the ten servers in the same process"
        ),
        None => println!("skipped: this system does not tell a process's memory"),
    }
}
