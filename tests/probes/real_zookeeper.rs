//! The gate and the guard over three real ZooKeeper servers on loopback addresses (opt-in:
//! `TOOTS_TEST_ZOOKEEPER=1`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use toots::guard::{Standing, may_stop, order};
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use toots::probe::{Member, Ports, ProbeContext, Proof, Verdict, ask};
use toots::spec::HostName;

const JARS: [&str; 2] = [
    "/usr/share/java/zookeeper.jar",
    "/usr/share/java/servlet-api.jar",
];

/// A host with an address of the loopback network; its 127.0.0.1 is that address.
struct Loop {
    host: HostName,
    address: String,
}

#[async_trait]
impl HostSession for Loop {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        panic!("no operation is expected, got {operation:?}")
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        panic!("no lock is expected")
    }

    async fn open(&self, target: StreamTarget) -> Result<BoxStream, TransportError> {
        let StreamTarget::Tcp { port, .. } = target else {
            panic!("only TCP is expected")
        };
        let refused = |e: std::io::Error| TransportError::Refused {
            what: format!("port {port}"),
            why: e.to_string(),
        };
        Ok(Box::new(
            TcpStream::connect((self.address.as_str(), port))
                .await
                .map_err(refused)?,
        ))
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {}
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, number: u8, port: u16) -> Server {
    let data = dir.join(number.to_string());
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("myid"), number.to_string()).unwrap();
    let mut config = format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.{number}\n4lw.commands.whitelist=*\nadmin.serverPort={}\nadmin.serverAddress=127.0.0.{number}\n",
        data.display(),
        port + 1
    );
    for other in 1..=3 {
        config.push_str(&format!(
            "server.{other}=127.0.0.{other}:{}:{}\n",
            port + 2,
            port + 3
        ));
    }
    let file = data.join("zoo.cfg");
    std::fs::write(&file, config).unwrap();
    let log = std::fs::File::create(data.join("log")).unwrap();
    let child = Command::new("java")
        .args([
            "-Xmx128m",
            "-cp",
            &JARS.join(":"),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        ])
        .arg(&file)
        .current_dir(&data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Server(child)
}

/// Asks until the verdict is healthy, for a minute.
async fn wait_until_healthy(members: &[Member], proof: Proof, context: &ProbeContext) -> Verdict {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let verdict = ask("zookeeper", members, proof, context).await;
        if verdict.healthy {
            return verdict;
        }
        assert!(std::time::Instant::now() < end, "{verdict:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_proven_and_guarded() {
    if std::env::var_os("TOOTS_TEST_ZOOKEEPER").is_none() {
        println!("skipped: TOOTS_TEST_ZOOKEEPER is not set");
        return;
    }
    if let Some(missing) = JARS.iter().find(|j| !Path::new(j).exists()) {
        println!("skipped: {missing} is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut servers: Vec<Option<Server>> =
        (1..=3).map(|n| Some(start(dir.path(), n, port))).collect();
    let mut members: Vec<Member> = (1..=3u8)
        .map(|n| {
            let host = HostName::new(format!("m{n}")).unwrap();
            let address = format!("127.0.0.{n}");
            let session = Arc::new(Loop {
                host: host.clone(),
                address: address.clone(),
            }) as Arc<dyn HostSession>;
            Member {
                host,
                address: address.parse().unwrap(),
                member: Some(n),
                session: Some(session),
            }
        })
        .collect();
    let hosts: Vec<HostName> = members.iter().map(|m| m.host.clone()).collect();
    let context = ProbeContext {
        ports: Ports {
            zookeeper: port,
            zookeeper_admin: port + 1,
            ..Ports::default()
        },
        ..ProbeContext::default()
    };

    let started = std::time::Instant::now();
    let verdict = wait_until_healthy(&members, Proof::Write, &context).await;
    println!("first proof after {:?}", started.elapsed());
    assert_eq!(
        verdict.proof,
        "written through m1, m2 and m3, read back from each other"
    );
    assert_eq!(verdict.membership, "3 of 3, 2 synced");
    let again = std::time::Instant::now();
    assert!(
        ask("zookeeper", &members, Proof::Read, &context)
            .await
            .healthy
    );
    println!("read again in {:?}", again.elapsed());

    let leader = verdict.leader.clone().unwrap();
    let views = [verdict];
    assert!(
        hosts
            .iter()
            .all(|h| may_stop(h, Standing::Synced, &views).is_ok())
    );
    assert_eq!(order(&hosts, &views[0]).last(), Some(&leader));

    // The leader dies: unexpected it is a fault, expected it is reported, and nobody else may be
    // stopped.
    let position = hosts.iter().position(|h| *h == leader).unwrap();
    servers[position] = None;
    let verdict = ask("zookeeper", &members, Proof::Read, &context).await;
    assert!(!verdict.healthy, "{verdict:#?}");
    members[position].session = None;
    let verdict = wait_until_healthy(&members, Proof::Write, &context).await;
    assert_eq!(
        verdict.membership,
        format!("2 of 3, 1 synced; {leader} down")
    );
    let views = [verdict];
    let other = hosts.iter().find(|h| **h != leader).unwrap();
    let refusal = may_stop(other, Standing::Synced, &views)
        .unwrap_err()
        .to_string();
    assert_eq!(
        refusal,
        format!(
            "{leader} is down; stopping {other} would leave 1 of 3 members of zookeeper synced, 2 are required"
        )
    );
    assert!(may_stop(&leader, Standing::Unknown, &views).is_ok());

    // One more: the last one answers `imok`, which proves nothing.
    let second = hosts.iter().position(|h| h == other).unwrap();
    servers[second] = None;
    members[second].session = None;
    let verdict = ask("zookeeper", &members, Proof::Write, &context).await;
    assert!(
        !verdict.healthy && verdict.synced.len() < verdict.quorum,
        "{verdict:#?}"
    );
}
