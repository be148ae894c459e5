//! Broken and hostile hosts: bounded time, and no text of theirs that a terminal would obey.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use toots::transport::{Connector, Exec, HostSettings, SshOptions, Target, TransportError};

use crate::fake::{Behaviour, Fake, Script};
use crate::lab::{command, connector, ready, settings};

const LIMIT: Duration = Duration::from_secs(2);

fn hurried() -> Connector {
    connector(SshOptions {
        connect_timeout: Some(LIMIT),
        ..settings()
    })
}

fn short(line: &str) -> Exec {
    Exec {
        deadline: LIMIT,
        ..command(line)
    }
}

/// Fails to connect in time, with an error without control characters.
async fn fails(connector: &Connector, host: &HostSettings) -> TransportError {
    let start = Instant::now();
    let error = connector
        .connect(host)
        .await
        .err()
        .expect("a session with a broken host");
    assert!(
        start.elapsed() < LIMIT + Duration::from_secs(2),
        "{:?}: {error}",
        start.elapsed()
    );
    harmless(&error);
    error
}

fn harmless(error: &TransportError) {
    let text = error.to_string();
    let bad = |c: char| {
        c.is_control()
            || ('\u{80}'..='\u{9f}').contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
    };
    assert!(!text.chars().any(bad), "{text:?}");
    assert!(text.len() < 8192, "{} bytes", text.len());
}

/// Sends bytes once or repeatedly.
async fn say(mut stream: TcpStream, bytes: Vec<u8>, endless: bool) {
    while stream.write_all(&bytes).await.is_ok() && endless {}
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_do_not_speak_ssh() {
    if !ready() {
        return;
    }
    // EXT_INFO without extensions, before any key exchange.
    let ext_info = [0, 0, 0, 12, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(4096);
    let cases: [(&str, Vec<u8>, bool, &str); 7] = [
        ("silence", Vec::new(), false, "no answer"),
        (
            "partial banner",
            b"SSH-2.0-Open".to_vec(),
            false,
            "no answer",
        ),
        (
            "endless banner",
            vec![b'S'; 4096],
            true,
            "not an SSH server",
        ),
        (
            "endless lines",
            b"hello\x1b]52;c;x\x07\r\n".repeat(100),
            true,
            "not an SSH server",
        ),
        (
            "web server",
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            false,
            "no answer",
        ),
        (
            "messages before the key exchange",
            [b"SSH-2.0-x\r\n".to_vec(), ext_info].concat(),
            false,
            "",
        ),
        (
            "banner, then garbage",
            [b"SSH-2.0-x\r\n".to_vec(), vec![0xff; 65536]].concat(),
            false,
            "",
        ),
    ];
    for (name, bytes, endless, part) in cases {
        let fake = Fake::raw(move |stream, _| say(stream, bytes.clone(), endless)).await;
        let error = fails(&hurried(), &fake.host()).await;
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
}

/// Messages that no library sends by itself, sent with Python's SSH library, which can send any.
#[tokio::test(flavor = "multi_thread")]
async fn single_misplaced_messages() {
    if !ready() {
        return;
    }
    if !std::process::Command::new("/usr/bin/python3")
        .args(["-c", "import paramiko"])
        .output()
        .is_ok_and(|o| o.status.success())
    {
        println!("skipped: python3-paramiko is not installed");
        return;
    }
    let cases: [(&str, Right); 2] = [
        ("forged", |e| {
            matches!(e, TransportError::Command(_) | TransportError::Lost(_))
        }),
        ("flood", |e| {
            matches!(e, TransportError::Deadline { .. } | TransportError::Lost(_))
        }),
    ];
    for (mode, right) in cases {
        let dir = tempfile::tempdir().unwrap();
        let key = crate::lab::keygen(&dir.path().join("host"), "ed25519", "");
        crate::lab::keygen(&dir.path().join("id"), "ed25519", "");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh/raw.py");
        let mut server = tokio::process::Command::new("/usr/bin/python3")
            .args([script, mode, dir.path().join("host").to_str().unwrap()])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut port = String::new();
        tokio::io::BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut port)
            .await
            .unwrap();
        let port: u16 = port.trim().parse().unwrap();
        std::fs::write(
            dir.path().join("known_hosts"),
            format!("[127.0.0.1]:{port} {key}\n"),
        )
        .unwrap();
        let host = HostSettings {
            dial: "127.0.0.1".to_owned(),
            port: Some(port),
            user: Some("root".to_owned()),
            identity_files: vec![dir.path().join("id")],
            known_hosts_files: Some(vec![dir.path().join("known_hosts")]),
            ..HostSettings::new(toots::spec::HostName::new("m1").unwrap())
        };
        let session = hurried().connect(&host).await.unwrap();
        let start = Instant::now();
        let error = session.exec(short("anything")).await.unwrap_err();
        assert!(
            start.elapsed() < LIMIT + Duration::from_secs(2),
            "{mode}: {:?}",
            start.elapsed()
        );
        harmless(&error);
        assert!(right(&error), "{mode}: {error:?}");
        println!("{mode}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_silent_hosts_cost_as_much_as_a_single_host() {
    if !ready() {
        return;
    }
    let mut fakes = Vec::new();
    for _ in 0..50 {
        fakes.push(Fake::raw(|stream, _| say(stream, Vec::new(), false)).await);
    }
    let good = Fake::start(Behaviour::default()).await;
    let (connector, honest) = (hurried(), good.host());
    let start = Instant::now();
    let silent = futures::future::join_all(fakes.iter().map(|f| {
        let (connector, host) = (connector.clone(), f.host());
        async move { connector.connect(&host).await.err() }
    }));
    let (errors, session) = tokio::join!(silent, connector.connect(&honest));
    assert!(
        errors
            .iter()
            .all(|e| matches!(e, Some(TransportError::Deadline { .. })))
    );
    assert!(
        start.elapsed() < LIMIT + Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    session.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_between_connections_is_refused() {
    if !ready() {
        return;
    }
    let fake = Fake::start(Behaviour {
        new_key_each_time: true,
        ..Behaviour::default()
    })
    .await;
    hurried().connect(&fake.host()).await.unwrap();
    let error = fails(
        &hurried(),
        &HostSettings {
            accept_new_host_keys: true,
            ..fake.host()
        },
    )
    .await;
    assert!(
        matches!(&error, TransportError::Untrusted { why, .. } if why.contains("changed")),
        "{error}"
    );
    assert_eq!(
        fake.connections.load(Ordering::SeqCst),
        2,
        "a matter of trust is not tried again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_fail_or_succeed_by_half() {
    if !ready() {
        return;
    }
    for partial in [false, true] {
        let fake = Fake::start(Behaviour {
            reject: Some(partial),
            ..Behaviour::default()
        })
        .await;
        let error = fails(&hurried(), &fake.host()).await;
        assert!(
            matches!(error, TransportError::Authentication { .. }),
            "{error}"
        );
        assert_eq!(fake.offers.lock().unwrap().len(), 1);
        assert_eq!(
            fake.connections.load(Ordering::SeqCst),
            1,
            "a refused login is not tried again"
        );
    }
    let fake = Fake::start(Behaviour {
        leaves: true,
        ..Behaviour::default()
    })
    .await;
    let error = fails(&hurried(), &fake.host()).await;
    assert!(
        matches!(error, TransportError::Authentication { .. }),
        "{error}"
    );
}

/// Whether an error is the expected one.
type Right = fn(&TransportError) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_hosts_that_misbehave() {
    if !ready() {
        return;
    }
    let output = |statuses| Script::Output(b"out".to_vec(), b"err".to_vec(), statuses);
    let cases: [(&str, Script, Right); 7] = [
        ("no reply", Script::Silent, |e| {
            matches!(e, TransportError::Deadline { .. })
        }),
        ("refused", Script::Refuse, |e| {
            matches!(e, TransportError::Command(_))
        }),
        (
            "endless output",
            Script::Endless,
            |e| matches!(e, TransportError::Command(why) if why.contains("longer than")),
        ),
        ("drip", Script::Drip, |e| {
            matches!(e, TransportError::Deadline { .. })
        }),
        (
            "no status",
            output(0),
            |e| matches!(e, TransportError::Command(why) if why.contains("no exit status")),
        ),
        (
            "two statuses",
            output(2),
            |e| matches!(e, TransportError::Command(why) if why.contains("two exit statuses")),
        ),
        (
            "cut off",
            Script::Farewell("good\x1b[2Jbye".to_owned()),
            |e| matches!(e, TransportError::Lost(why) if why.contains("good\\\\x1b[2Jbye")),
        ),
    ];
    for (name, script, right) in cases {
        let fake = Fake::start(Behaviour {
            script,
            ..Behaviour::default()
        })
        .await;
        let session = hurried().connect(&fake.host()).await.unwrap();
        let start = Instant::now();
        let error = session.exec(short("anything")).await.unwrap_err();
        assert!(
            start.elapsed() < LIMIT + Duration::from_secs(2),
            "{name}: {:?}",
            start.elapsed()
        );
        harmless(&error);
        assert!(right(&error), "{name}: {error:?}");
        let stream = session
            .open(Target::Command {
                command: "anything".to_owned(),
                privileged: false,
            })
            .await;
        if let (Ok(mut stream), "no status" | "two statuses" | "refused" | "cut off") =
            (stream, name)
        {
            let mut got = Vec::new();
            let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut got))
                .await
                .unwrap();
            assert!(
                ended.is_err(),
                "{name}: a stream that did not end well looks as if it did"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_take_nothing_in() {
    if !ready() {
        return;
    }
    for window in [(0, 32768), (1 << 20, 0), (10, 1)] {
        let fake = Fake::start(Behaviour {
            script: Script::Silent,
            window,
            ..Behaviour::default()
        })
        .await;
        let session = hurried().connect(&fake.host()).await.unwrap();
        let start = Instant::now();
        let exec = Exec {
            stdin: Bytes::from(vec![7; 1 << 20]),
            ..short("anything")
        };
        let error = session.exec(exec).await.unwrap_err();
        assert!(
            start.elapsed() < LIMIT + Duration::from_secs(2),
            "{window:?}: {:?}",
            start.elapsed()
        );
        harmless(&error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_raw_and_messages_harmless() {
    if !ready() {
        return;
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    let nasty = "\x1b[2J\x1b]52;c;eA==\x07\x1bP$q\x1b\\\u{9b}2J\u{202e}\r\n"
        .as_bytes()
        .to_vec();
    let fake = Fake::start(Behaviour {
        script: Script::Output(every_byte.clone(), nasty.clone(), 1),
        ..Behaviour::default()
    })
    .await;
    let session = hurried().connect(&fake.host()).await.unwrap();
    let out = session.exec(short("anything")).await.unwrap();
    assert_eq!(
        (out.stdout, out.stderr),
        (every_byte.clone(), nasty.clone()),
        "bytes are data here"
    );
    let facts = [
        b"uid 1000\nsudo no ".to_vec(),
        every_byte,
        b"\ndoas no ".to_vec(),
        nasty,
    ]
    .concat();
    let fake = Fake::start(Behaviour {
        script: Script::Output(facts, Vec::new(), 1),
        ..Behaviour::default()
    })
    .await;
    let session = hurried().connect(&fake.host()).await.unwrap();
    let error = session.settle_privilege().await.unwrap_err();
    assert!(matches!(error, TransportError::Privilege { .. }), "{error}");
    harmless(&error);
    for lie in [
        &b"uid 0; touch /pwned\n"[..],
        b"uid -0\n",
        b"",
        b"uid\n",
        &[b'u'; 60_000],
    ] {
        let fake = Fake::start(Behaviour {
            script: Script::Output(lie.to_vec(), lie.to_vec(), 1),
            ..Behaviour::default()
        })
        .await;
        let session = hurried().connect(&fake.host()).await.unwrap();
        let error = session.settle_privilege().await.unwrap_err();
        harmless(&error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_when_that_is_allowed_and_not_for_ever() {
    if !ready() {
        return;
    }
    let asking = |rounds| Behaviour {
        reject: Some(false),
        questions: Some(rounds),
        ..Behaviour::default()
    };
    let fake = Fake::start(asking(2)).await;
    let ask = crate::login::Answer::new("123456");
    let connector = Connector::new(settings(), ask.clone());
    let error = connector.connect(&fake.host()).await.err().unwrap();
    assert!(
        error
            .hints()
            .iter()
            .any(|h| h.to_string().contains("--ask-password")),
        "{:?}",
        error.hints()
    );
    assert_eq!(ask.asked(), 0, "nobody is asked unless that is allowed");
    let allowed = HostSettings {
        keyboard_interactive: true,
        ..fake.host()
    };
    connector.connect(&allowed).await.unwrap();
    assert_eq!(ask.asked(), 2);
    let fake = Fake::start(asking(usize::MAX)).await;
    let allowed = HostSettings {
        keyboard_interactive: true,
        ..fake.host()
    };
    let error = connector.connect(&allowed).await.err().unwrap();
    harmless(&error);
    assert!(error.to_string().contains("without end"), "{error}");
}

/// An agent that records every byte.
fn listening_agent(path: &std::path::Path) -> Arc<Mutex<Vec<u8>>> {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (listener, log) = (UnixListener::bind(path).unwrap(), seen.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            log.lock().unwrap().extend_from_slice(b"connected ");
            let mut buffer = [0; 512];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                log.lock().unwrap().extend_from_slice(&buffer[..n]);
                // SSH_AGENT_FAILURE
                let _ = stream.write_all(&[0, 0, 0, 1, 5]).await;
            }
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_is_asked_before_the_host_is_trusted() {
    if !ready() {
        return;
    }
    let fake = Fake::start(Behaviour::default()).await;
    let known = std::fs::read_to_string(fake.known()).unwrap();
    let socket = fake.at("agent");
    let seen = listening_agent(&socket);
    let shared = SshOptions {
        agent_socket: Some(socket),
        connect_timeout: Some(LIMIT),
        ..settings()
    };
    let other = known.split(' ').next().unwrap().to_owned()
        + " "
        + &crate::lab::public(&fake.at("id"))
        + "\n";
    for text in ["", &other, &format!("{known}@revoked {known}")] {
        std::fs::write(fake.known(), text).unwrap();
        let error = connector(shared.clone())
            .connect(&fake.host())
            .await
            .err()
            .unwrap();
        assert!(matches!(error, TransportError::Untrusted { .. }), "{error}");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.lock().unwrap().len(), 0);
    assert!(fake.offers.lock().unwrap().is_empty());
    // The same agent is used once the host is verified, so the test can fail.
    std::fs::write(fake.known(), known).unwrap();
    connector(shared).connect(&fake.host()).await.unwrap();
    assert!(!seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_is_left() {
    if !ready() {
        return;
    }
    let fake = Fake::start(Behaviour::default()).await;
    let socket = fake.at("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    let shared = SshOptions {
        agent_socket: Some(socket),
        connect_timeout: Some(LIMIT),
        ..settings()
    };
    let start = Instant::now();
    let result = connector(shared).connect(&fake.host()).await;
    assert!(
        start.elapsed() < LIMIT + Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(
        result.err(),
        Some(TransportError::Deadline { .. }) | None
    ));
}
