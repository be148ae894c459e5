//! Commands and streams.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use toots::transport::{Cost, Exec, HostSettings, SshOptions, SshTimeouts, Target, TransportError};

use crate::lab::{Sshd, command, connector, ready, settings, stdout};

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_with_input_output_and_status() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    assert_eq!(stdout(&*session, "echo $((6*7))").await, "42\n");
    let out = session
        .exec(command("echo out; echo err >&2; exit 3"))
        .await
        .unwrap();
    assert_eq!(
        (out.status, out.stdout.as_slice(), out.stderr.as_slice()),
        (3, b"out\n".as_slice(), b"err\n".as_slice())
    );
    let big: Bytes = (0..3_000_000u32)
        .map(|n| n as u8)
        .collect::<Vec<_>>()
        .into();
    let exec = Exec {
        stdin: big.clone(),
        max_output: 4_000_000,
        ..command("cat")
    };
    assert_eq!(session.exec(exec).await.unwrap().stdout, big);
    let out = session
        .exec(Exec {
            stdin: big,
            ..command("true")
        })
        .await
        .unwrap();
    assert_eq!(out.status, 0, "a command need not read its input");
    assert_eq!(
        session.cost(),
        Cost {
            connections: 1,
            login_shells: 1,
            execs: 4,
            streams: 0
        }
    );
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_bounded_in_time_and_output_and_need_a_status() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    let start = Instant::now();
    let slow = session
        .exec(Exec {
            deadline: Duration::from_millis(500),
            ..command("sleep 30")
        })
        .await;
    assert!(
        matches!(slow, Err(TransportError::Deadline { .. })),
        "{slow:?}"
    );
    let endless = session
        .exec(Exec {
            max_output: 1 << 20,
            ..command("cat /dev/zero")
        })
        .await;
    assert!(
        matches!(&endless, Err(TransportError::Command(why)) if why.contains("longer than")),
        "{endless:?}"
    );
    let killed = session.exec(command("kill -9 $$")).await;
    assert!(
        matches!(&killed, Err(TransportError::Command(why)) if why.contains("KILL")),
        "{killed:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    // An abandoned command does not keep its channel.
    for _ in 0..20 {
        let slow = session
            .exec(Exec {
                deadline: Duration::from_millis(30),
                ..command("sleep 0.3; cat")
            })
            .await;
        assert!(
            matches!(slow, Err(TransportError::Deadline { .. })),
            "{slow:?}"
        );
    }
    assert_eq!(stdout(&*session, "echo still here").await, "still here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_is_reported() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    stdout(&*session, "true").await;
    let (lost, ()) = tokio::join!(session.exec(command("sleep 30")), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sshd.signal_connections("-9");
    });
    assert!(matches!(lost, Err(TransportError::Lost(_))), "{lost:?}");
    let after = session.exec(command("true")).await;
    assert!(matches!(after, Err(TransportError::Lost(_))), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_lead_to_sockets_and_commands() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let unix = sshd.at("socket");
    let local = tokio::net::UnixListener::bind(&unix).unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let (mut r, mut w) = tcp.split();
        tokio::io::copy(&mut r, &mut w).await.unwrap();
    });
    tokio::spawn(async move {
        let (mut unix, _) = local.accept().await.unwrap();
        unix.write_all(b"from the socket").await.unwrap();
    });
    let data: Vec<u8> = (0..500_000u32).map(|n| (n / 7) as u8).collect();
    let (mut read, mut write) = tokio::io::split(
        session
            .open(Target::Tcp {
                address: "127.0.0.1".into(),
                port,
            })
            .await
            .unwrap(),
    );
    let sent = data.clone();
    tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    read.read_to_end(&mut back).await.unwrap();
    assert!(back == data);
    let mut text = String::new();
    let mut stream = session
        .open(Target::Unix {
            path: unix.display().to_string(),
        })
        .await
        .unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "from the socket");
    let refused = session
        .open(Target::Unix {
            path: "/nonexistent".into(),
        })
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, TransportError::Refused { .. }),
        "{refused:?}"
    );

    let open = |line: &str| {
        session.open(Target::Command {
            command: line.to_owned(),
            privileged: false,
        })
    };
    let mut good = open("head -c 5").await.unwrap();
    good.write_all(b"hello world").await.unwrap();
    let mut text = String::new();
    good.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    let mut bad = open("echo partial; echo no such engine >&2; exit 4")
        .await
        .unwrap();
    let mut got = Vec::new();
    let error = bad.read_to_end(&mut got).await.unwrap_err().to_string();
    assert!(
        error.contains("status 4") && error.contains("no such engine"),
        "{error}"
    );
    assert_eq!(got, b"partial\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_holds_up_nobody_for_long() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    let line = format!("echo $$ > {}; exec cat /dev/zero", sshd.at("pid").display());
    let mut unread = session
        .open(Target::Command {
            command: line,
            privileged: false,
        })
        .await
        .unwrap();
    let pid = loop {
        let written = std::fs::read_to_string(sshd.at("pid")).unwrap_or_default();
        if written.ends_with('\n') {
            break written;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    assert_eq!(stdout(&*session, "echo through").await, "through\n");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    // Abandoned, it has nobody to write to.
    while std::path::Path::new("/proc").join(pid.trim()).exists() {
        assert!(start.elapsed() < Duration::from_secs(150));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut buffer = vec![0; 1 << 20];
    let error = loop {
        match unread.read(&mut buffer).await {
            Ok(0) => panic!("a stream that was given up ended well"),
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    assert!(
        error.to_string().contains("the reader does not read"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_streams_give_their_channel_back() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let session = sshd.connect().await.unwrap();
    for _ in 0..30 {
        drop(
            session
                .open(Target::Command {
                    command: "cat".to_owned(),
                    privileged: false,
                })
                .await
                .unwrap(),
        );
    }
    assert_eq!(stdout(&*session, "echo free").await, "free\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_host_is_lost_after_keepalives() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    sshd.known_right("ed25519");
    let timeouts = SshTimeouts {
        keepalive: Duration::from_millis(500),
        keepalive_max: 2,
        ..SshTimeouts::default()
    };
    let session = connector(SshOptions {
        timeouts,
        ..settings()
    })
    .connect(&sshd.host())
    .await
    .unwrap();
    stdout(&*session, "true").await;
    sshd.signal_connections("-STOP");
    let start = Instant::now();
    let lost = session.exec(command("true")).await;
    sshd.signal_connections("-9");
    assert!(
        matches!(&lost, Err(TransportError::Lost(why)) if why.contains("keepalive")),
        "{lost:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_address_families_work() {
    if !ready() {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 on loopback");
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "ListenAddress ::1");
    let key = sshd.key("ed25519");
    sshd.known(&format!(
        "[::1]:{0} {key}\n[127.0.0.1]:{0} {key}\n",
        sshd.port
    ));
    for dial in ["::1", "127.0.0.1"] {
        let host = HostSettings {
            dial: dial.to_owned(),
            ..sshd.host()
        };
        let session = connector(settings()).connect(&host).await.unwrap();
        assert!(
            stdout(&*session, "echo $SSH_CONNECTION")
                .await
                .contains(dial)
        );
    }
    let config = sshd.at("config");
    std::fs::write(&config, "AddressFamily inet\n").unwrap();
    let only4 = SshOptions {
        config_files: Some(vec![config]),
        ..settings()
    };
    let error = connector(only4)
        .connect(&HostSettings {
            dial: "::1".to_owned(),
            ..sshd.host()
        })
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("no usable address"), "{error}");
}
