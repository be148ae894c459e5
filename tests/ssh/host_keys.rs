//! Which hosts are trusted: every case is run with toots and with `ssh`, on the same files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toots::transport::{HostSettings, SshOptions, TransportError};

use crate::lab::{Sshd, connector, keygen, public, ready, run, settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Trusted,
    /// The key is refused.
    Untrusted,
    /// The known_hosts file cannot be used.
    Unreadable,
}
use Verdict::{Trusted, Unreadable, Untrusted};

/// The expected verdict of `ssh`.
#[derive(Debug, Clone, Copy)]
enum Theirs {
    Same,
    /// ssh trusts what toots does not, for this reason.
    Laxer(&'static str),
}
use Theirs::{Laxer, Same};

enum Known {
    Text(String),
    /// Something that is not a readable file, created at this path.
    Made(fn(&Path)),
}

struct Case<'a> {
    name: &'a str,
    sshd: &'a Sshd,
    known: Known,
    accept_new: bool,
    /// `HostKeyAlias`.
    alias: Option<&'a str>,
    dial: &'a str,
    ours: Verdict,
    theirs: Theirs,
}

fn case<'a>(name: &'a str, sshd: &'a Sshd, known: String, ours: Verdict) -> Case<'a> {
    Case {
        name,
        sshd,
        known: Known::Text(known),
        accept_new: false,
        alias: None,
        dial: "127.0.0.1",
        ours,
        theirs: Same,
    }
}

impl<'a> Case<'a> {
    fn accepting(mut self) -> Self {
        self.accept_new = true;
        self
    }

    fn alias(mut self, alias: &'a str) -> Self {
        self.alias = Some(alias);
        self
    }

    fn dial(mut self, dial: &'a str) -> Self {
        self.dial = dial;
        self
    }

    fn but_ssh(mut self, reason: &'static str) -> Self {
        self.theirs = Laxer(reason);
        self
    }

    fn place(&self, who: &str) -> PathBuf {
        let path = self.sshd.at(&format!(
            "known-{who}-{}",
            self.name.replace([' ', '/'], "-")
        ));
        match &self.known {
            Known::Text(text) => fs::write(&path, text).unwrap(),
            Known::Made(make) => make(&path),
        }
        path
    }

    async fn check(&self) -> Result<(), String> {
        let config = self.sshd.at("config");
        fs::write(
            &config,
            self.alias
                .map(|a| format!("HostKeyAlias {a}\n"))
                .unwrap_or_default(),
        )
        .unwrap();
        let (mine, yours) = (self.place("toots"), self.place("ssh"));
        let host = HostSettings {
            dial: self.dial.to_owned(),
            known_hosts_files: Some(vec![mine.clone()]),
            accept_new_host_keys: self.accept_new,
            ..self.sshd.host()
        };
        let shared = SshOptions {
            config_files: Some(vec![config.clone()]),
            ..settings()
        };
        let shared = SshOptions {
            home: Some(self.sshd.dir.path().to_owned()),
            ..shared
        };
        let result = connector(shared).connect(&host).await;
        let ours = match &result {
            Ok(_) => Trusted,
            Err(TransportError::Untrusted { .. }) => Untrusted,
            Err(TransportError::Settings(_)) => Unreadable,
            Err(other) => return Err(format!("{}: {other}", self.name)),
        };
        let text = result.err().map(|e| e.to_string()).unwrap_or_default();
        let checking = if self.accept_new {
            "StrictHostKeyChecking=accept-new"
        } else {
            "StrictHostKeyChecking=yes"
        };
        let config = format!("-F{}", config.display());
        let (status, said) =
            self.sshd
                .openssh(self.dial, &yours, &[checking, "HashKnownHosts=no", &config]);
        let theirs = match status {
            Some(0) => Trusted,
            Some(255) if said.contains("verification failed") || said.contains("REVOKED") => {
                Untrusted
            }
            other => return Err(format!("{}: ssh ended with {other:?}: {said}", self.name)),
        };
        if ours != self.ours {
            return Err(format!(
                "{}: toots says {ours:?} ({text}), not {:?}; ssh says {theirs:?}",
                self.name, self.ours
            ));
        }
        let agree = (ours == Trusted) == (theirs == Trusted);
        match self.theirs {
            Same if !agree => {
                return Err(format!(
                    "{}: toots says {ours:?} ({text}), ssh {theirs:?} ({said})",
                    self.name
                ));
            }
            Laxer(reason) if agree => {
                return Err(format!(
                    "{}: ssh agrees, so this is no longer stricter: {reason}",
                    self.name
                ));
            }
            Laxer(reason) => println!("{}: stricter than ssh: {reason}", self.name),
            Same => {}
        }
        if let (Known::Text(before), Same) = (&self.known, self.theirs) {
            let (a, b) = (
                fs::read_to_string(&mine).unwrap(),
                fs::read_to_string(&yours).unwrap(),
            );
            if !a.starts_with(before.as_str()) || a.trim_end() != b.trim_end() {
                return Err(format!(
                    "{}: the files differ afterwards:\n{a}---\n{b}",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

async fn check_all(cases: Vec<Case<'_>>) {
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(why) = case.check().await {
            wrong.push(why);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn other_key(sshd: &Sshd, kind: &str, name: &str) -> String {
    let path = sshd.at(name);
    if !path.exists() {
        keygen(&path, kind, "");
    }
    public(&path)
}

fn hashed(sshd: &Sshd, name: &str, key: &str) -> String {
    let path = sshd.at("to-hash");
    fs::write(&path, format!("{name} {key}\n")).unwrap();
    run("ssh-keygen", &["-q", "-H", "-f", path.to_str().unwrap()]);
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_keys() {
    if !ready() {
        return;
    }
    let (ed, ec) = (Sshd::start(&["ed25519"], ""), Sshd::start(&["ecdsa"], ""));
    let both = Sshd::start(&["ed25519", "ecdsa", "rsa"], "");
    let at = |s: &Sshd, key: &str| format!("[127.0.0.1]:{} {key}\n", s.port);
    let (key, other) = (ed.key("ed25519"), other_key(&ed, "ed25519", "other"));
    let right = at(&ed, &key);
    let cases = vec![
        case("same key", &ed, right.clone(), Trusted),
        case("other key", &ed, at(&ed, &other), Untrusted),
        case("other key accept-new", &ed, at(&ed, &other), Untrusted).accepting(),
        case("other algorithm", &ec, at(&ec, &other), Untrusted),
        case(
            "other algorithm accept-new",
            &ec,
            at(&ec, &other),
            Untrusted,
        )
        .accepting(),
        case("unknown", &ed, String::new(), Untrusted),
        case("unknown accept-new", &ed, String::new(), Trusted).accepting(),
        case(
            "unknown accept-new keeps the rest",
            &ed,
            format!("# c\r\nh2 {other}\n\nbad line\n"),
            Trusted,
        )
        .accepting(),
        case(
            "two keys of one algorithm",
            &ed,
            at(&ed, &other) + &right,
            Trusted,
        ),
        case(
            "revoked",
            &ed,
            right.clone() + "@revoked " + &at(&ed, &key),
            Untrusted,
        ),
        case(
            "revoked everywhere",
            &ed,
            format!("{right}@revoked * {key}\n"),
            Untrusted,
        ),
        case(
            "revoked accept-new",
            &ed,
            format!("@revoked * {key}\n"),
            Untrusted,
        )
        .accepting(),
        case(
            "revoked for others",
            &ed,
            format!("{right}@revoked h2 {key}\n"),
            Trusted,
        ),
        case("wildcard", &ed, format!("* {key}\n"), Trusted),
        case("wildcard other key", &ed, format!("* {other}\n"), Untrusted).accepting(),
        case(
            "wildcard with port",
            &ed,
            format!("[127.0.0.?]:* {key}\n"),
            Trusted,
        ),
        // Excluded under its own name, the key still counts for the name without port.
        case(
            "negated",
            &ed,
            format!("*,![127.0.0.1]:{} {key}\n", ed.port),
            Trusted,
        ),
        case(
            "negated both",
            &ed,
            format!("*,![127.0.0.1]:{},!127.0.0.1 {key}\n", ed.port),
            Untrusted,
        ),
        case(
            "negated accept-new",
            &ed,
            format!("*,![127.0.0.1]:{} {other}\n", ed.port),
            Trusted,
        )
        .accepting(),
        case("tab", &ed, right.replace(' ', "\t"), Trusted),
        case(
            "tab other key",
            &ed,
            at(&ed, &other).replace(' ', "\t"),
            Untrusted,
        )
        .accepting(),
        case("carriage return", &ed, right.replace('\n', "\r\n"), Trusted),
        case(
            "comment",
            &ed,
            format!("# c\n  {} comment with words\n", right.trim()),
            Trusted,
        ),
        case(
            "letter case",
            &ed,
            format!("WEB.Example.COM {key}\n"),
            Trusted,
        )
        .alias("web.example.com"),
        case(
            "letter case other key",
            &ed,
            format!("WEB.Example.COM {other}\n"),
            Untrusted,
        )
        .alias("Web.example.com")
        .accepting(),
        case(
            "hashed",
            &ed,
            hashed(&ed, &format!("[127.0.0.1]:{}", ed.port), &key),
            Trusted,
        ),
        case(
            "hashed other key",
            &ed,
            hashed(&ed, &format!("[127.0.0.1]:{}", ed.port), &other),
            Untrusted,
        )
        .accepting(),
        case("hashed of another", &ed, hashed(&ed, "h2", &key), Untrusted),
        case("without port", &ed, format!("127.0.0.1 {key}\n"), Trusted),
        case(
            "without port other key",
            &ed,
            format!("127.0.0.1 {other}\n"),
            Untrusted,
        ),
        case(
            "other port",
            &ed,
            format!("[127.0.0.1]:1 {key}\n"),
            Untrusted,
        ),
        case(
            "list of names",
            &ed,
            format!("h9,[127.0.0.1]:{},h8 {key}\n", ed.port),
            Trusted,
        ),
        case("alias", &ed, format!("web {key}\n"), Trusted).alias("web"),
        case("alias hides the address", &ed, right.clone(), Untrusted).alias("web"),
        case(
            "by name",
            &ed,
            format!("[localhost]:{} {key}\n", ed.port),
            Trusted,
        )
        .dial("LOCALHOST"),
        case(
            "broken lines around",
            &ed,
            format!("nonsense\n@what * {key}\n* ssh-ed25519 AAAA\n{right}"),
            Trusted,
        ),
        case(
            "unreadable record accept-new",
            &ed,
            format!("[127.0.0.1]:{} ssh-ed25519 AAAA\n", ed.port),
            Untrusted,
        )
        .accepting()
        .but_ssh(
            "a host with any record is not new; ssh takes a line that it cannot read for no record",
        ),
        case(
            "second algorithm recorded",
            &both,
            at(&both, &both.key("ecdsa")),
            Trusted,
        ),
        case(
            "third algorithm recorded",
            &both,
            at(&both, &both.key("rsa")),
            Trusted,
        ),
        // The recorded algorithms are offered in toots' order, not in that of the file, so the
        // other one of two is presented.
        case(
            "right algorithm of a list",
            &both,
            at(&both, &other_key(&both, "ed25519", "x")) + &at(&both, &both.key("ecdsa")),
            Untrusted,
        ),
    ];
    check_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read() {
    if !ready() {
        return;
    }
    let ed = Sshd::start(&["ed25519"], "");
    let made = |name, make: fn(&Path), ours| Case {
        known: Known::Made(make),
        ..case(name, &ed, String::new(), ours)
    };
    let reason = "a file that cannot be read is an error, never an empty file";
    check_all(vec![
        made("absent", |_| {}, Untrusted),
        made("directory", |p| fs::create_dir(p).unwrap(), Unreadable),
        made(
            "directory accept-new",
            |p| fs::create_dir(p).unwrap(),
            Unreadable,
        )
        .accepting()
        .but_ssh(reason),
        made(
            "ring of links",
            |p| std::os::unix::fs::symlink(p, p).unwrap(),
            Unreadable,
        ),
        made(
            "ring of links accept-new",
            |p| std::os::unix::fs::symlink(p, p).unwrap(),
            Unreadable,
        )
        .accepting()
        .but_ssh(reason),
    ])
    .await;
    let path = ed.known("");
    let host = HostSettings {
        known_hosts_files: Some(vec![path.join("below")]),
        accept_new_host_keys: true,
        ..ed.host()
    };
    let below = connector(settings()).connect(&host).await.err().unwrap();
    assert!(matches!(below, TransportError::Settings(_)), "{below}");
}

/// root may read everything, so the test runs itself again as nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const WHERE: &str = "TOOTS_TEST_AS_NOBODY";
    if let Some(known) = std::env::var_os(WHERE) {
        assert!(fs::read(&known).is_err(), "nobody may not read it");
        for accept_new_host_keys in [false, true] {
            let host = HostSettings {
                dial: "127.0.0.1".to_owned(),
                known_hosts_files: Some(vec![known.clone().into()]),
                accept_new_host_keys,
                ..HostSettings::new(toots::spec::HostName::new("m1").unwrap())
            };
            let error = connector(settings()).connect(&host).await.err().unwrap();
            assert!(
                matches!(&error, TransportError::Settings(why) if why.contains("Permission denied")),
                "{error:?}"
            );
        }
        return;
    }
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (program, known) = (dir.path().join("test"), dir.path().join("known_hosts"));
    // nobody may not enter the folder in which the test was built.
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::write(&known, "").unwrap();
    fs::set_permissions(&known, fs::Permissions::from_mode(0o600)).unwrap();
    let run = std::process::Command::new(&program)
        .args(["--exact", "host_keys::a_file_without_permission"])
        .env(WHERE, &known)
        .current_dir("/")
        .gid(65534)
        .uid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// A server with a host certificate made by these arguments of ssh-keygen.
fn certified(arguments: &[&str]) -> Sshd {
    Sshd::start_with(&["ed25519"], |dir| {
        let at = |n: &str| dir.join(n).display().to_string();
        keygen(&dir.join("ca"), "ed25519", "");
        keygen(&dir.join("ca2"), "ecdsa", "");
        let mut wildcard = vec!["-q", "-s"];
        let (ca, key) = (at("ca"), at("ed25519.pub"));
        wildcard.extend([ca.as_str(), "-I", "test"]);
        wildcard.extend(arguments);
        wildcard.push(&key);
        run("ssh-keygen", &wildcard);
        format!("HostCertificate {}\n", at("ed25519-cert.pub"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates() {
    if !ready() {
        return;
    }
    let good = certified(&["-h", "-n", "127.0.0.1,web.example.com"]);
    let wild = certified(&["-h", "-n", "*.example.com"]);
    let nameless = certified(&["-h"]);
    let expired = certified(&["-h", "-n", "127.0.0.1", "-V", "-2d:-1d"]);
    let early = certified(&["-h", "-n", "127.0.0.1", "-V", "+1d:+2d"]);
    let user = certified(&["-n", "127.0.0.1"]);
    let option = certified(&["-h", "-n", "127.0.0.1", "-O", "critical:x=y"]);
    let ca = |s: &Sshd, names: &str| format!("@cert-authority {names} {}\n", public(&s.at("ca")));
    let wildcard = |s: &Sshd| ca(s, "*");
    let plain = |s: &Sshd| format!("[127.0.0.1]:{} {}\n", s.port, s.key("ed25519"));
    let wrong = |s: &Sshd| format!("@cert-authority * {}\n", public(&s.at("ca2")));
    check_all(vec![
        case("authority", &good, wildcard(&good), Trusted),
        case(
            "authority for this name",
            &good,
            ca(&good, "*.example.com"),
            Trusted,
        )
        .alias("web.example.com"),
        case(
            "authority for other names",
            &good,
            ca(&good, "*.example.org"),
            Untrusted,
        )
        .alias("web.example.com"),
        case("other authority", &good, wrong(&good), Untrusted),
        case(
            "other authority beside a record",
            &good,
            wrong(&good) + &plain(&good),
            Trusted,
        ),
        case("no authority beside a record", &good, plain(&good), Trusted),
        case(
            "principal of another host",
            &good,
            wildcard(&good),
            Untrusted,
        )
        .alias("db.example.com"),
        case("wildcard principal", &wild, wildcard(&wild), Untrusted).alias("web.example.com"),
        case(
            "wildcard principal compared exactly",
            &wild,
            wildcard(&wild),
            Trusted,
        )
        .alias("*.example.com"),
        case("no principals", &nameless, wildcard(&nameless), Trusted),
        case("expired", &expired, wildcard(&expired), Untrusted),
        case(
            "expired beside a record",
            &expired,
            wildcard(&expired) + &plain(&expired),
            Trusted,
        ),
        case("not yet valid", &early, wildcard(&early), Untrusted),
        case("certificate for users", &user, wildcard(&user), Untrusted),
        case("critical option", &option, wildcard(&option), Untrusted),
        case(
            "revoked authority",
            &good,
            format!("{}@revoked * {}\n", wildcard(&good), public(&good.at("ca"))),
            Untrusted,
        ),
        case(
            "revoked key",
            &good,
            format!("{}@revoked * {}\n", wildcard(&good), good.key("ed25519")),
            Untrusted,
        ),
        case(
            "authority with port",
            &good,
            ca(&good, &format!("[127.0.0.1]:{}", good.port)),
            Trusted,
        ),
        case(
            "authority without port",
            &good,
            ca(&good, "127.0.0.1"),
            Trusted,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_key_costs_a_handshake_and_no_login() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "LogLevel DEBUG1");
    let other = other_key(&sshd, "ed25519", "other");
    sshd.known(&format!("# one\n[127.0.0.1]:{} {other}\n", sshd.port));
    let error = sshd.connect().await.err().unwrap();
    let fingerprint = |name: &str| {
        run("ssh-keygen", &["-lf", sshd.at(name).to_str().unwrap()])
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let text = error.to_string();
    for part in [
        "known_hosts:2",
        &fingerprint("other.pub"),
        &fingerprint("ed25519.pub"),
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let log = sshd.log();
    assert_eq!(log.matches("Connection from 127.0.0.1").count(), 1, "{log}");
    assert!(!log.contains("userauth-request"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_shown_and_recorded() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "LogLevel DEBUG1");
    let known = sshd.known("# mine\n");
    let connector = connector(settings());
    let shown = connector.host_key(&sshd.host()).await.unwrap();
    let listed = run(
        "ssh-keygen",
        &["-lf", sshd.at("ed25519.pub").to_str().unwrap()],
    );
    assert!(listed.contains(shown.fingerprint().split(' ').nth(1).unwrap()));
    assert!(!shown.recorded && shown.name().starts_with("[127.0.0.1]:"));
    assert_eq!(fs::read_to_string(&known).unwrap(), "# mine\n");
    assert!(shown.record().unwrap());
    assert!(!shown.record().unwrap(), "once is enough");
    assert!(connector.host_key(&sshd.host()).await.unwrap().recorded);
    assert_eq!(
        sshd.openssh("127.0.0.1", &known, &["StrictHostKeyChecking=yes"])
            .0,
        Some(0)
    );
    connector.connect(&sshd.host()).await.unwrap();
    assert!(
        !sshd
            .log()
            .split("Accepted publickey")
            .next()
            .unwrap()
            .contains("userauth-request for user nobody")
    );
    assert_eq!(
        fs::metadata(&known).unwrap().permissions().mode() & 0o7000,
        0
    );
}
