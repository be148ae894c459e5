//! Servers with tight limits, jump hosts, proxies.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use toots::transport::{HostSettings, Session, SshSettings, Target, TransportError};

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
    let all = futures::future::join_all(runs).await;
    assert_eq!(all, (0..12).map(|n| format!("{n}\n")).collect::<Vec<_>>());
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
    let connector = connector(SshSettings {
        connect_timeout: Some(Duration::from_secs(60)),
        ..settings()
    });
    let host = sshd.host();
    let sessions = futures::future::join_all((0..30).map(|_| connector.connect(&host))).await;
    for session in sessions {
        assert_eq!(stdout(&*session.unwrap(), "echo in").await, "in\n");
    }
    assert!(
        sshd.log().contains("MaxStartups"),
        "the limit was never met"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_refuses_is_told_soon() {
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
    let line = |s: &Sshd| format!("[127.0.0.1]:{} {}\n", s.port, s.key("ed25519"));
    target.known(&(line(&first) + &line(&second) + &line(&target)));
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

    // each hop must be proven, and the error names the one that is not
    for unknown in [&first, &second, &target] {
        let all = [&first, &second, &target]
            .into_iter()
            .filter(|s| s.port != unknown.port)
            .map(line)
            .collect::<String>();
        target.known(&all);
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
    // accepts and says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let host = HostSettings {
        proxy_jump: Some(format!("root@127.0.0.1:{port}")),
        ..target.host()
    };
    let connector = connector(SshSettings {
        connect_timeout: Some(Duration::from_secs(2)),
        ..settings()
    });
    let start = Instant::now();
    let all = futures::future::join_all((0..50).map(|_| connector.connect(&host))).await;
    assert!(
        all.iter()
            .all(|r| matches!(r, Err(e) if e.to_string().contains("jump host root@127.0.0.1")))
    );
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let ring = target.at("config");
    fs::write(&ring, "Host a\n ProxyJump b\nHost b\n ProxyJump a\n").unwrap();
    let shared = SshSettings {
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
    assert!(error.to_string().contains("ring"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_was_lost_is_connected_anew() {
    if !ready() {
        return;
    }
    let (jump, target) = (server(""), server(""));
    fs::copy(target.at("authorized_keys"), jump.at("authorized_keys")).unwrap();
    let line = |s: &Sshd| format!("[127.0.0.1]:{} {}\n", s.port, s.key("ed25519"));
    target.known(&(line(&jump) + &line(&target)));
    let host = HostSettings {
        proxy_jump: Some(format!("root@127.0.0.1:{}", jump.port)),
        ..target.host()
    };
    let connector = connector(settings());
    let session = connector.connect(&host).await.unwrap();
    // the jump host's process for this connection is the peer of the target's
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
    let shared = SshSettings {
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
    let error = connector(SshSettings {
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
