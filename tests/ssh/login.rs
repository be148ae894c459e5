//! Logins: kinds of keys, agents, certificates, passwords, and the number of attempts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use toots::spec::Secret;
use toots::transport::{Ask, Connector, HostSettings, SshOptions, TransportError};

use crate::lab::{Sshd, connector, keygen, ready, run, settings, stdout};

/// Answers every question with one text and counts them.
pub struct Answer(pub &'static str, pub AtomicU32);

impl Answer {
    pub fn new(text: &'static str) -> Arc<Self> {
        Arc::new(Self(text, AtomicU32::new(0)))
    }

    pub fn asked(&self) -> u32 {
        self.1.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Ask for Answer {
    async fn secret(&self, _question: &str) -> Option<Secret> {
        self.1.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some(Secret::new(self.0))
    }
}

/// A person who thinks before typing.
struct Slow(AtomicU32);

#[async_trait]
impl Ask for Slow {
    async fn secret(&self, _question: &str) -> Option<Secret> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(4)).await;
        Some(Secret::new("open sesame"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_outlives_the_deadline_and_the_hosts_patience() {
    if !ready() {
        return;
    }
    let sshd = server("LoginGraceTime 2\nLogLevel VERBOSE");
    keygen(&sshd.at("secret"), "ed25519", "open sesame");
    allow(&sshd, "secret");
    let ask = Arc::new(Slow(AtomicU32::new(0)));
    let shared = SshOptions {
        connect_timeout: Some(Duration::from_secs(3)),
        ..settings()
    };
    let session = Connector::new(shared, ask.clone())
        .connect(&with_keys(&sshd, &["secret"]))
        .await
        .unwrap();
    assert_eq!(stdout(&*session, "echo in").await, "in\n");
    assert_eq!(ask.0.load(Ordering::SeqCst), 1);
    assert_eq!(
        sshd.log().matches("Connection from").count(),
        2,
        "{}",
        sshd.log()
    );
}

/// An ssh-agent of our own.
struct AgentProcess {
    child: Child,
    socket: std::path::PathBuf,
}

impl AgentProcess {
    fn start(sshd: &Sshd, keys: &[&str]) -> Self {
        let socket = sshd.at("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let agent = Self { child, socket };
        for key in keys {
            let out = Command::new("ssh-add")
                .arg("-q")
                .arg(sshd.at(key))
                .env("SSH_AUTH_SOCK", &agent.socket)
                .output()
                .unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
        agent
    }

    fn settings(&self) -> SshOptions {
        SshOptions {
            agent_socket: Some(self.socket.clone()),
            ..settings()
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(more: &str) -> Sshd {
    let sshd = Sshd::start(&["ed25519"], more);
    sshd.known_right("ed25519");
    sshd
}

fn allow(sshd: &Sshd, name: &str) {
    let mut keys = fs::read_to_string(sshd.at("authorized_keys")).unwrap();
    keys.push_str(&fs::read_to_string(sshd.at(name).with_extension("pub")).unwrap());
    fs::write(sshd.at("authorized_keys"), keys).unwrap();
}

fn with_keys(sshd: &Sshd, names: &[&str]) -> HostSettings {
    HostSettings {
        identity_files: names.iter().map(|n| sshd.at(n)).collect(),
        ..sshd.host()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_file_format_works() {
    if !ready() {
        return;
    }
    let sshd = server("");
    for (name, kind) in [("k-ed", "ed25519"), ("k-ec", "ecdsa"), ("k-rsa", "rsa")] {
        keygen(&sshd.at(name), kind, "");
        allow(&sshd, name);
        let session = connector(settings())
            .connect(&with_keys(&sshd, &[name]))
            .await
            .unwrap();
        assert_eq!(stdout(&*session, "echo in").await, "in\n", "{kind}");
    }
    for (name, kind, format) in [
        ("p-rsa", "rsa", "PEM"),
        ("p-ec", "ecdsa", "PEM"),
        ("p8-rsa", "rsa", "PKCS8"),
        ("p8-ec", "ecdsa", "PKCS8"),
    ] {
        let path = sshd.at(name);
        let bits = if kind == "rsa" { "2048" } else { "256" };
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                kind,
                "-b",
                bits,
                "-m",
                format,
                "-N",
                "",
                "-f",
                path.to_str().unwrap(),
            ],
        );
        allow(&sshd, name);
        connector(settings())
            .connect(&with_keys(&sshd, &[name]))
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_is_used_with_sha2_only() {
    if !ready() {
        return;
    }
    // A server announces more than it is configured to accept, so the operator may have to choose,
    // as with ssh.
    let sshd = server("PubkeyAcceptedAlgorithms rsa-sha2-256");
    keygen(&sshd.at("k-rsa"), "rsa", "");
    allow(&sshd, "k-rsa");
    let config = sshd.at("config");
    fs::write(&config, "PubkeyAcceptedAlgorithms rsa-sha2-256\n").unwrap();
    let shared = SshOptions {
        config_files: Some(vec![config]),
        ..settings()
    };
    connector(shared.clone())
        .connect(&with_keys(&sshd, &["k-rsa"]))
        .await
        .unwrap();
    let error = connector(shared)
        .connect(&sshd.host())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("PubkeyAcceptedAlgorithms does not allow it"),
        "{error}"
    );
    let old = server("PubkeyAcceptedAlgorithms ssh-rsa");
    keygen(&old.at("k-rsa"), "rsa", "");
    allow(&old, "k-rsa");
    connector(settings())
        .connect(&with_keys(&old, &["k-rsa"]))
        .await
        .err()
        .unwrap();
    let log = old.log();
    assert!(
        log.contains("signature algorithm rsa-sha2-512 not in") && !log.contains("ssh-rsa not in"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_once_for_many_hosts_and_only_when_the_key_is_wanted() {
    if !ready() {
        return;
    }
    let (one, two) = (server(""), server(""));
    keygen(&one.at("secret"), "ed25519", "open sesame");
    allow(&one, "secret");
    fs::copy(one.at("authorized_keys"), two.at("authorized_keys")).unwrap();
    let ask = Answer::new("open sesame");
    let connector = Connector::new(settings(), ask.clone());
    let hosts = [
        with_keys(&one, &["secret"]),
        HostSettings {
            identity_files: vec![one.at("secret")],
            ..two.host()
        },
    ];
    let sessions =
        futures::future::join_all(hosts.iter().cycle().take(6).map(|h| connector.connect(h))).await;
    assert!(sessions.iter().all(Result::is_ok));
    assert_eq!(ask.asked(), 1);

    let wrong = Answer::new("wrong");
    let error = Connector::new(settings(), wrong.clone())
        .connect(&hosts[0])
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("wrong passphrase"), "{error}");
    assert_eq!(wrong.asked(), 3);

    let unwanted = server("");
    keygen(&unwanted.at("other"), "ed25519", "unneeded");
    let ask = Answer::new("unneeded");
    let error = Connector::new(settings(), ask.clone())
        .connect(&with_keys(&unwanted, &["other"]))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, TransportError::Authentication { .. }));
    assert_eq!(
        ask.asked(),
        0,
        "the host did not want the key, so it need not be opened"
    );
    let nobody = crate::lab::connector(settings())
        .connect(&hosts[0])
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(nobody.contains("no terminal to ask"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_signs_and_the_configured_key_goes_first() {
    if !ready() {
        return;
    }
    let sshd = server("MaxAuthTries 2\nLogLevel VERBOSE");
    let names: Vec<String> = (0..8).map(|n| format!("a{n}")).collect();
    names.iter().for_each(|n| {
        drop(keygen(
            &sshd.at(n),
            if n == "a7" { "rsa" } else { "ed25519" },
            "",
        ))
    });
    allow(&sshd, "a7");
    let agent = AgentProcess::start(&sshd, &names.iter().map(String::as_str).collect::<Vec<_>>());
    // Named by its public key only, the private key is only in the agent.
    fs::remove_file(sshd.at("a7")).unwrap();
    let host = HostSettings {
        identity_files: vec![sshd.at("a7.pub")],
        ..sshd.host()
    };
    connector(agent.settings()).connect(&host).await.unwrap();
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
    let by_private_name = HostSettings {
        identity_files: vec![sshd.at("a7")],
        ..sshd.host()
    };
    connector(agent.settings())
        .connect(&by_private_name)
        .await
        .unwrap();
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
    // Without a choice the server closes the connection after too many attempts, and the error says
    // so.
    let any = HostSettings {
        identity_files: Vec::new(),
        ..sshd.host()
    };
    let error = connector(agent.settings())
        .connect(&any)
        .await
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("Too many authentication failures") && text.contains("SHA256:"),
        "{text}"
    );
    assert!(
        error
            .hints()
            .iter()
            .any(|h| h.to_string().contains("identity_file")),
        "{:?}",
        error.hints()
    );
    let only = sshd.at("config");
    fs::write(&only, "IdentitiesOnly yes\n").unwrap();
    let shared = SshOptions {
        config_files: Some(vec![only]),
        ..agent.settings()
    };
    let error = connector(shared)
        .connect(&any)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("tried nothing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn user_certificates_work() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start_with(&["ed25519"], |dir| {
        keygen(&dir.join("ca"), "ed25519", "");
        format!("TrustedUserCAKeys {}\n", dir.join("ca.pub").display())
    });
    sshd.known_right("ed25519");
    let path = |n: &str| sshd.at(n).display().to_string();
    for (name, kind) in [("c-ed", "ed25519"), ("c-rsa", "rsa"), ("c-ec", "ecdsa")] {
        keygen(&sshd.at(name), kind, "");
        run(
            "ssh-keygen",
            &[
                "-q",
                "-s",
                &path("ca"),
                "-I",
                "me",
                "-n",
                "root",
                &path(&format!("{name}.pub")),
            ],
        );
        connector(settings())
            .connect(&with_keys(&sshd, &[name]))
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    // By CertificateFile, and with the private key in an agent.
    keygen(&sshd.at("far"), "ed25519", "");
    run(
        "ssh-keygen",
        &[
            "-q",
            "-s",
            &path("ca"),
            "-I",
            "me",
            "-n",
            "root",
            &path("far.pub"),
        ],
    );
    fs::rename(sshd.at("far-cert.pub"), sshd.at("elsewhere.pub")).unwrap();
    connector(settings())
        .connect(&with_keys(&sshd, &["far"]))
        .await
        .err()
        .unwrap();
    let config = sshd.at("config");
    fs::write(
        &config,
        format!("CertificateFile {}\n", path("elsewhere.pub")),
    )
    .unwrap();
    let agent = AgentProcess::start(&sshd, &["far"]);
    fs::remove_file(sshd.at("far")).unwrap();
    let shared = SshOptions {
        config_files: Some(vec![config]),
        ..agent.settings()
    };
    connector(shared)
        .connect(&with_keys(&sshd, &["far.pub"]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_methods_and_keys_and_tries_each_once() {
    if !ready() {
        return;
    }
    let sshd = server("LogLevel VERBOSE");
    keygen(&sshd.at("stranger"), "ed25519", "");
    keygen(&sshd.at("open"), "ed25519", "");
    fs::set_permissions(sshd.at("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let host = with_keys(&sshd, &["stranger", "absent", "open", "stranger"]);
    let error = connector(settings()).connect(&host).await.err().unwrap();
    let text = error.to_string();
    let print = run(
        "ssh-keygen",
        &["-lf", sshd.at("stranger.pub").to_str().unwrap()],
    );
    assert!(
        text.contains(print.split(' ').nth(1).unwrap()) && text.contains("publickey"),
        "{text}"
    );
    assert!(
        text.contains("absent") && text.contains("readable by other users"),
        "{text}"
    );
    assert!(
        error
            .hints()
            .iter()
            .any(|h| h.to_string().contains("ssh-copy-id")),
        "{:?}",
        error.hints()
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        sshd.log().matches("Failed publickey").count(),
        1,
        "{}",
        sshd.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_sent_only_when_asked_for() {
    if !ready() {
        return;
    }
    let Some(user) = crate::users::Account::new("tootspw", "Geheim-7%&'\"$x") else {
        return;
    };
    let sshd = server("PasswordAuthentication yes\nPubkeyAuthentication no");
    let ask = Answer::new("Geheim-7%&'\"$x");
    let connector = Connector::new(settings(), ask.clone());
    let host = HostSettings {
        user: Some(user.name.to_owned()),
        ..sshd.host()
    };
    let error = connector.connect(&host).await.err().unwrap();
    assert!(
        matches!(error, TransportError::Authentication { .. }),
        "{error}"
    );
    assert!(
        error
            .hints()
            .iter()
            .any(|h| h.to_string().contains("--ask-password")),
        "{:?}",
        error.hints()
    );
    assert_eq!(ask.asked(), 0);
    let host = HostSettings {
        password: true,
        ..host
    };
    for _ in 0..2 {
        let session = connector.connect(&host).await.unwrap();
        assert_eq!(stdout(&*session, "id -un").await, "tootspw\n");
    }
    assert_eq!(ask.asked(), 1);
    let wrong = Answer::new("wrong");
    let error = Connector::new(settings(), wrong.clone())
        .connect(&host)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("tried password"), "{error}");
    assert_eq!(wrong.asked(), 1);

    // A server that takes keys too, and a user who has none.
    let both = server("PasswordAuthentication yes");
    let keyless = HostSettings {
        user: Some(user.name.to_owned()),
        identity_files: vec![both.at("no-such-key")],
        password: true,
        ..both.host()
    };
    let asked = Answer::new("Geheim-7%&'\"$x");
    let session = Connector::new(settings(), asked.clone())
        .connect(&keyless)
        .await
        .unwrap();
    assert_eq!(stdout(&*session, "id -un").await, "tootspw\n");
    assert_eq!(asked.asked(), 1);
}
