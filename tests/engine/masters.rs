//! Runs on clusters with other masters than the inventory, and on those without a record of them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use toots::host::StreamTarget;
use toots::spec::{MemberRecord, Membership, NodeRecord};

use super::*;

const CONF: &str = "clientPort=2181\nserverId=1\nserver.1=10.0.0.1:2888:3888:participant\n\
                    server.2=10.0.0.2:2888:3888:participant\n\
                    server.3=10.0.0.3:2888:3888:participant\n";

fn member_port(n: u8) -> StreamTarget {
    StreamTarget::Tcp {
        address: format!("10.0.0.{n}"),
        port: 2181,
    }
}

/// A master that was proven, with these records, and a running member.
fn master(n: u8, records: &[(&'static str, Vec<u8>)]) -> (HostName, Arc<FakeHost>) {
    let mut files = vec![("/etc/toots/proven/zookeeper", b"now".to_vec())];
    files.extend(records.iter().cloned());
    let session =
        observed(n, Observation::default(), files).serve(member_port(n), |mut far| async move {
            let mut word = [0; 4];
            far.read_exact(&mut word).await.unwrap();
            assert_eq!(&word, b"conf");
            far.write_all(CONF.as_bytes()).await.unwrap();
        });
    (host(n), Arc::new(session))
}

fn node(n: u8) -> (&'static str, Vec<u8>) {
    let record = NodeRecord {
        format: NodeRecord::FORMAT,
        cluster: "dc1".parse().unwrap(),
        cluster_id: "0123".into(),
        node: host(n),
        member: Some(n),
    };
    (NodeRecord::PATH, serde_json::to_vec(&record).unwrap())
}

fn members(serial: u64) -> (&'static str, Vec<u8>) {
    let member = |number: u8| MemberRecord {
        number,
        host: host(number),
        address: [10, 0, 0, number].into(),
    };
    let record = Membership {
        format: Membership::FORMAT,
        cluster_id: "0123".into(),
        serial,
        members: (1..=3).map(member).collect(),
        retired: Vec::new(),
    };
    (Membership::PATH, record.content())
}

/// The exit code of `up`, its warnings, and whether the running members were asked. Nothing but the
/// observation was sent to any host.
async fn run(text: &str, masters: Vec<(HostName, Arc<FakeHost>)>) -> (u8, String, bool) {
    let sessions: BTreeMap<_, _> = masters.into_iter().collect();
    let played: Vec<_> = sessions.values().cloned().collect();
    let heard = Arc::new(RecordedEvents::default());
    let result = engine::up(&context_of(text, Played { sessions }, &heard)).await;
    assert_eq!(result.changed, 0);
    let mut asked = false;
    for session in played {
        assert_eq!(session.operations().len(), 1, "the observation");
        asked |= session
            .targets()
            .iter()
            .any(|target| matches!(target, StreamTarget::Tcp { .. }));
    }
    let events = heard.0.lock().unwrap();
    let warnings = events.iter().filter_map(|event| match event {
        Event::Warning {
            host: None,
            text,
            hints,
        } => {
            let hints: Vec<String> = hints.iter().map(ToString::to_string).collect();
            Some(format!("{text} ({})", hints.join("; ")))
        }
        _ => None,
    });
    let warnings: Vec<String> = warnings.collect();
    (result.exit_code, warnings.join("\n"), asked)
}

#[tokio::test]
async fn up_refuses_other_masters_and_says_what_differs() {
    let text = INVENTORY.replace("10.0.0.3", "10.0.0.5");
    let refused = "masters are 10.0.0.1, 10.0.0.2, 10.0.0.3 in the cluster, the inventory lists \
                   10.0.0.1, 10.0.0.2, 10.0.0.5: toots does not change the set of masters yet; \
                   nothing was changed (set masters in the inventory back to 10.0.0.1, 10.0.0.2, \
                   10.0.0.3)";
    let recorded = vec![
        master(1, &[node(1), members(1)]),
        master(2, &[node(2), members(1)]),
        master(5, &[]),
    ];
    assert_eq!(run(&text, recorded).await, (4, refused.to_owned(), false));
    let made_before = vec![master(1, &[node(1)]), master(2, &[node(2)])];
    assert_eq!(run(&text, made_before).await, (4, refused.to_owned(), true));
}

/// The members are asked only when the records leave something open. What these machines lack is
/// refused after that, by the preflight checks.
#[tokio::test]
async fn members_are_asked_only_for_what_no_record_tells() {
    let recorded = vec![
        master(1, &[node(1), members(1)]),
        master(2, &[node(2), members(1)]),
    ];
    assert_eq!(
        run(INVENTORY, recorded).await,
        (4, String::new(), false),
        "the third master is down, and its number recorded"
    );
    let stale = vec![
        master(1, &[node(1), members(1)]),
        master(2, &[node(2), members(2)]),
    ];
    assert_eq!(run(INVENTORY, stale).await, (4, String::new(), true));
    let made_before = vec![master(1, &[node(1)]), master(2, &[node(2)])];
    assert_eq!(run(INVENTORY, made_before).await, (4, String::new(), true));
}

#[tokio::test]
async fn check_refuses_other_masters_too() {
    let text = INVENTORY.replace("10.0.0.3", "10.0.0.5");
    let masters = [
        master(1, &[node(1), members(1)]),
        master(2, &[node(2), members(1)]),
        master(5, &[]),
    ];
    let heard = Arc::new(RecordedEvents::default());
    let dial = Played {
        sessions: masters.into(),
    };
    let mut cx = context_of(&text, dial, &heard);
    cx.hosts.retain(|host| host.roles.contains(&Role::Master));
    let result = engine::check(&cx).await;
    assert_eq!(result.exit_code, 4);
    let error = result.error.unwrap();
    assert!(error.starts_with("masters are 10.0.0.1, 10.0.0.2, 10.0.0.3 in the cluster"));
    let events = heard.0.lock().unwrap();
    let is_of_machine =
        |e: &&Event| matches!(e, Event::HostFailed { host: h, .. } if *h == host(5));
    assert!(
        events.iter().any(|event| is_of_machine(&event)),
        "what the machines lack is found too"
    );
}
