//! Servers with tight limits, jump hosts, proxies.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use toots::spec::HostName;
use toots::transport::{HostSettings, Session, SshOptions, Target, TransportError};

use crate::lab::{Sshd, command, connector, ready, run, settings, stdout};

fn server(more: &str) -> Sshd {
    let sshd = Sshd::start(&["ed25519"], more);
    sshd.known_right("ed25519");
    sshd
}

async fn twelve_at_once(session: &Arc<dyn Session>) {
    let runs = (0..12).map(|n| {
        let session = session.clone();
        async move { stdout(&*session, &format!("sleep 0.1; echo {n}")).await }
    });
    let results = futures::future::join_all(runs).await;
    assert_eq!(
        results,
        (0..12).map(|n| format!("{n}\n")).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn few_sessions_are_enough() {
    if !ready() {
        return;
    }
    for max in [1, 2, 10] {
        let sshd = server(&format!("MaxSessions {max}"));
        let session = sshd.connect().await.unwrap();
        twelve_at_once(&session).await;
        twelve_at_once(&session).await;
    }
    let sshd = server("MaxSessions 2");
    let session = sshd.connect().await.unwrap();
    let held = session
        .open(Target::Command {
            command: "cat".to_owned(),
            privileged: false,
        })
        .await
        .unwrap();
    twelve_at_once(&session).await;
    drop(held);
    twelve_at_once(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_handshakes_at_once_are_enough() {
    if !ready() {
        return;
    }
    let sshd = server("MaxStartups 3:100:3\nLogLevel VERBOSE");
    let jump = server("");
    fs::copy(sshd.at("authorized_keys"), jump.at("authorized_keys")).unwrap();
    sshd.known(&(known_line(&sshd) + &known_line(&jump)));
    let behind = HostSettings {
        proxy_jump: Some(format!("root@127.0.0.1:{}", jump.port)),
        ..sshd.host()
    };
    for host in [sshd.host(), behind] {
        let connector = connector(SshOptions {
            connect_timeout: Some(Duration::from_secs(60)),
            ..settings()
        });
        let met = sshd.log().matches("MaxStartups").count();
        let sessions = futures::future::join_all((0..30).map(|_| connector.connect(&host))).await;
        for session in sessions {
            assert_eq!(stdout(&*session.unwrap(), "echo in").await, "in\n");
        }
        assert!(
            sshd.log().matches("MaxStartups").count() > met,
            "the limit was never met"
        );
    }
}

fn known_line(sshd: &Sshd) -> String {
    format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.key("ed25519"))
}

/// Greets on a port of its own and counts the clients that start a key exchange, which it never
/// answers.
async fn count_exchanges(count: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                stream.write_all(b"SSH-2.0-slow\r\n").await.unwrap();
                let mut lines = BufReader::new(stream);
                let mut greeting = String::new();
                lines.read_line(&mut greeting).await.unwrap();
                if lines.read_u8().await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    port
}

/// A host on a port of this machine.
fn on_port(port: u16) -> HostSettings {
    HostSettings {
        dial: "127.0.0.1".to_owned(),
        port: Some(port),
        ..HostSettings::new(HostName::new(format!("h{port}")).unwrap())
    }
}

/// Connects to the hosts at once and returns the number of key exchanges that started.
async fn exchanges_at_once(hosts: &[HostSettings], count: &AtomicUsize, expected: usize) -> usize {
    let connector = connector(SshOptions {
        connect_timeout: Some(Duration::from_secs(30)),
        ..settings()
    });
    let connecting = futures::future::join_all(hosts.iter().map(|host| connector.connect(host)));
    let settled = async {
        while count.load(Ordering::SeqCst) < expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Time for one too many.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    tokio::select! {
        _ = connecting => panic!("no server answers a key exchange"),
        () = settled => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => {}
    }
    count.load(Ordering::SeqCst)
}

async fn slow_servers(count: &Arc<AtomicUsize>) -> Vec<HostSettings> {
    let ports = (0..40).map(|_| count_exchanges(count.clone()));
    let ports = futures::future::join_all(ports).await;
    ports.into_iter().map(on_port).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_wait_only_for_the_same_server() {
    let count = Arc::new(AtomicUsize::new(0));
    let hosts = slow_servers(&count).await;
    assert_eq!(exchanges_at_once(&hosts, &count, 40).await, 40);

    let count = Arc::new(AtomicUsize::new(0));
    let port = count_exchanges(count.clone()).await;
    let hosts = vec![on_port(port); 40];
    assert_eq!(exchanges_at_once(&hosts, &count, 10).await, 10);
}

/// Whatever the route to it.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_through_the_same_jump_host_wait() {
    if !ready() {
        return;
    }
    let (first, last) = (server(""), server(""));
    fs::copy(last.at("authorized_keys"), first.at("authorized_keys")).unwrap();
    last.known(&(known_line(&first) + &known_line(&last)));
    let hop = |sshd: &Sshd| format!("root@127.0.0.1:{}", sshd.port);
    let routes = [hop(&last), format!("{},{}", hop(&first), hop(&last))];
    let count = Arc::new(AtomicUsize::new(0));
    let targets = slow_servers(&count).await;
    let hosts: Vec<HostSettings> = targets
        .into_iter()
        .zip(routes.iter().cycle())
        .map(|(target, route)| HostSettings {
            port: target.port,
            name: target.name,
            proxy_jump: Some(route.clone()),
            ..last.host()
        })
        .collect();
    assert_eq!(exchanges_at_once(&hosts, &count, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_port_is_reported_soon() {
    if !ready() {
        return;
    }
    let sshd = server("");
    let host = HostSettings {
        port: Some(crate::lab::free_port()),
        ..sshd.host()
    };
    let start = Instant::now();
    let error = connector(settings()).connect(&host).await.err().unwrap();
    assert!(
        matches!(&error, TransportError::Unreachable { why, .. } if why.contains("refused")),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(3));
}

fn accepted(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_hosts_are_proven_and_shared() {
    if !ready() {
        return;
    }
    let (first, second, target) = (server(""), server(""), server(""));
    fs::copy(target.at("authorized_keys"), first.at("authorized_keys")).unwrap();
    fs::copy(target.at("authorized_keys"), second.at("authorized_keys")).unwrap();
    target.known(&(known_line(&first) + &known_line(&second) + &known_line(&target)));
    let hops = format!(
        "root@127.0.0.1:{},root@127.0.0.1:{}",
        first.port, second.port
    );
    let host = HostSettings {
        proxy_jump: Some(hops),
        ..target.host()
    };
    let shared = connector(settings());
    let sessions = futures::future::join_all((0..12).map(|_| shared.connect(&host))).await;
    for session in sessions {
        let session = session.unwrap();
        assert!(
            stdout(&*session, "echo $SSH_CONNECTION")
                .await
                .ends_with(&format!(" {}\n", target.port))
        );
    }
    assert_eq!(
        (accepted(&first), accepted(&second), accepted(&target)),
        (1, 1, 12)
    );

    // Each hop must be verified, and the error names the one that is not.
    for unknown in [&first, &second, &target] {
        let results = [&first, &second, &target]
            .into_iter()
            .filter(|s| s.port != unknown.port)
            .map(known_line)
            .collect::<String>();
        target.known(&results);
        let before = (accepted(&first), accepted(&second), accepted(&target));
        let error = connector(settings()).connect(&host).await.err().unwrap();
        assert!(matches!(error, TransportError::Untrusted { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("[127.0.0.1]:{}", unknown.port)),
            "{error}"
        );
        let after = (accepted(&first), accepted(&second), accepted(&target));
        assert_eq!(
            after.2, before.2,
            "nobody logs in behind a hop that is not proven"
        );
        if unknown.port == first.port {
            assert_eq!(after, before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_jump_host_costs_its_deadline_once() {
    if !ready() {
        return;
    }
    let target = server("");
    // Accepts and sends nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let host = HostSettings {
        proxy_jump: Some(format!("root@127.0.0.1:{port}")),
        ..target.host()
    };
    let connector = connector(SshOptions {
        connect_timeout: Some(Duration::from_secs(2)),
        ..settings()
    });
    let start = Instant::now();
    let results = futures::future::join_all((0..50).map(|_| connector.connect(&host))).await;
    assert!(
        results
            .iter()
            .all(|r| matches!(r, Err(e) if e.to_string().contains("jump host root@127.0.0.1")))
    );
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let ring = target.at("config");
    fs::write(&ring, "Host a\n ProxyJump b\nHost b\n ProxyJump a\n").unwrap();
    let shared = SshOptions {
        config_files: Some(vec![ring]),
        ..settings()
    };
    let host = HostSettings {
        dial: "a".to_owned(),
        port: None,
        ..target.host()
    };
    let error = crate::lab::connector(shared)
        .connect(&host)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("form a loop"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_was_lost_is_connected_anew() {
    if !ready() {
        return;
    }
    let (jump, target) = (server(""), server(""));
    fs::copy(target.at("authorized_keys"), jump.at("authorized_keys")).unwrap();
    target.known(&(known_line(&jump) + &known_line(&target)));
    let host = HostSettings {
        proxy_jump: Some(format!("root@127.0.0.1:{}", jump.port)),
        ..target.host()
    };
    let connector = connector(settings());
    let session = connector.connect(&host).await.unwrap();
    // The jump host's process for this connection is the peer of the target's.
    let peer = stdout(&*session, "echo $SSH_CONNECTION | cut -d' ' -f2").await;
    let line = run("ss", &["-tnp", "sport", "=", &format!(":{}", peer.trim())]);
    let pid = line
        .split("pid=")
        .nth(1)
        .and_then(|p| p.split(',').next())
        .unwrap()
        .to_owned();
    run("kill", &["-9", &pid]);
    let lost = session.exec(command("true")).await.unwrap_err();
    assert!(matches!(lost, TransportError::Lost(_)), "{lost}");
    let again = connector.connect(&host).await.unwrap();
    assert_eq!(stdout(&*again, "echo back").await, "back\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_carries_the_connection() {
    if !ready() {
        return;
    }
    let sshd = server("");
    let config = sshd.at("config");
    let inner = format!(
        "ssh -F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {} -p {} -W %h:%p root@127.0.0.1",
        sshd.at("known_hosts").display(),
        sshd.at("id").display(),
        sshd.port
    );
    fs::write(
        &config,
        format!(
            "Host alias\n HostName 127.0.0.1\n HostKeyAlias [127.0.0.1]:%p\n ProxyCommand {inner}\n"
        )
        .replace("%p\n", &format!("{}\n", sshd.port)),
    )
    .unwrap();
    let shared = SshOptions {
        config_files: Some(vec![config.clone()]),
        ..settings()
    };
    let host = HostSettings {
        dial: "alias".to_owned(),
        ..sshd.host()
    };
    let session = connector(shared.clone()).connect(&host).await.unwrap();
    assert_eq!(stdout(&*session, "echo through").await, "through\n");
    fs::write(&config, "ProxyCommand false\n").unwrap();
    let error = connector(SshOptions {
        connect_timeout: Some(Duration::from_secs(2)),
        ..shared
    })
    .connect(&host)
    .await
    .err()
    .unwrap();
    assert!(
        matches!(error, TransportError::Unreachable { .. }),
        "{error}"
    );
}
