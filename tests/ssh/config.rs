//! ssh_config against `ssh -G`: generated files, every keyword that both show.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use toots::spec::HostName;
use toots::transport::{HostSettings, SshOptions};

use crate::lab::{connector, settings};

const NAMES: [&str; 6] = ["h1", "H1", "web.example.com", "10.0.0.7", "db-2", "other"];
const PATTERNS: [&str; 11] = [
    "h1",
    "h?",
    "*",
    "*.example.com",
    "!h1 *",
    "10.0.0.*",
    "db-* !db-2",
    "H1",
    "other web*",
    "!other",
    "h1.example.com",
];
const LINES: [&str; 44] = [
    "HostName %h.example.com",
    "HostName 10.1.2.3",
    "HostName=Real.Example",
    "Hostname\t\"quoted.example\"",
    "User alice",
    "User = bob",
    "user \"carol\"",
    "Port 2222",
    "PORT=22",
    "Port 1 # comment",
    "IdentityFile ~/.ssh/one",
    "IdentityFile /abs/two",
    "IdentityFile \"~/with space\"",
    "IdentityFile ~/%n_%r_%p",
    "IdentityFile none",
    "IdentitiesOnly yes",
    "IdentitiesOnly no",
    "IdentityAgent /run/agent",
    "IdentityAgent ~/agent.sock",
    "CertificateFile ~/.ssh/one-cert.pub",
    "CertificateFile /abs/%h-cert.pub",
    "ProxyJump bastion",
    "ProxyJump ops@b1:2200,b2",
    "ProxyJump none",
    "ProxyCommand nc %h %p",
    "ProxyCommand none",
    "ConnectTimeout 5",
    "ConnectTimeout 1m30",
    "ServerAliveInterval 20",
    "ServerAliveInterval 2m",
    "ServerAliveCountMax 7",
    "UserKnownHostsFile ~/.ssh/kh /abs/kh2",
    "UserKnownHostsFile ~/kh_%h_%k",
    "UserKnownHostsFile none",
    "GlobalKnownHostsFile /abs/global",
    "HostKeyAlias alias",
    "HashKnownHosts yes",
    "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512",
    "KexAlgorithms curve25519-sha256",
    "Ciphers aes256-ctr,aes128-ctr",
    "MACs hmac-sha2-256",
    "AddressFamily inet6",
    "BindAddress 127.0.0.1",
    "ForwardAgent yes",
];
const MATCHES: [&str; 12] = [
    "host h1",
    "host *.example.com,10.*",
    "originalhost h1 user alice",
    "!user alice",
    "user alice,bob host *",
    "exec \"test %h = h1\"",
    "exec false",
    "localuser root",
    "final host *.example.com",
    "!final originalhost web*",
    "all",
    "final all",
];

fn block(rng: &mut StdRng, text: &mut String) {
    for _ in 0..rng.random_range(0..6) {
        let indent = ["", "  ", "\t"].choose(rng).unwrap();
        text.push_str(&format!("{indent}{}\n", LINES.choose(rng).unwrap()));
    }
}

fn generate(rng: &mut StdRng, include: Option<&Path>) -> String {
    let mut text = String::from("# generated\r\n\n");
    block(rng, &mut text);
    for _ in 0..rng.random_range(1..5) {
        if rng.random_bool(0.6) {
            text.push_str(&format!("Host {}\n", PATTERNS.choose(rng).unwrap()));
        } else {
            text.push_str(&format!("Match {}\n", MATCHES.choose(rng).unwrap()));
        }
        block(rng, &mut text);
        if let Some(path) = include.filter(|_| rng.random_bool(0.3)) {
            text.push_str(&format!("  Include {}\n", path.display()));
            block(rng, &mut text);
        }
    }
    text
}

/// The output of `ssh -G`, in the format of `toots ssh explain`.
fn openssh(file: &Path, name: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let out = Command::new("ssh")
        .args(["-T", "-G", "-F"])
        .arg(file)
        .arg(name)
        .output()
        .unwrap();
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let key = key.replace("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms");
        // Lists of files contain no spaces in the generated files; single files may.
        if key.ends_with("knownhostsfile") {
            values
                .entry(key)
                .or_default()
                .extend(value.split(' ').map(str::to_owned));
        } else {
            values.entry(key).or_default().push(value.to_owned());
        }
    }
    Ok(values)
}

struct Outcome {
    differences: Vec<String>,
    compared: usize,
}

async fn compare(dir: &Path, seed: u64) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let (main, included) = (dir.join("main"), dir.join("included"));
    fs::write(&included, generate(&mut rng, None)).unwrap();
    fs::write(&main, generate(&mut rng, Some(&included))).unwrap();
    let home = nix::unistd::User::from_uid(nix::unistd::Uid::current())
        .unwrap()
        .unwrap();
    let mut out = Outcome {
        differences: Vec::new(),
        compared: 0,
    };
    for name in NAMES {
        let host = HostSettings {
            dial: name.to_owned(),
            ..HostSettings::new(HostName::new(name).unwrap())
        };
        let shared = SshOptions {
            config_files: Some(vec![main.clone()]),
            home: None,
            agent_socket: None,
            ..settings()
        };
        let ours = connector(shared).explain(&host).await;
        let (ours, theirs) = match (ours, openssh(&main, name)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(_), Err(_)) => continue,
            (ours, theirs) => {
                out.differences.push(format!(
                    "seed {seed} {name}: one refuses: ours {ours:?}, ssh {theirs:?}"
                ));
                continue;
            }
        };
        let get = |k: &str| {
            ours.iter()
                .filter(|e| e.keyword.eq_ignore_ascii_case(k))
                .map(|e| (e.value.clone(), e.origin.clone()))
                .collect::<Vec<_>>()
        };
        let their_value = |k: &str| {
            theirs
                .get(k)
                .and_then(|v| v.first())
                .cloned()
                .unwrap_or_default()
        };
        for keyword in COMPARED {
            let mine = get(keyword);
            // toots' defaults are explicit; OpenSSH's are "no limit" and "never".
            if mine.iter().all(|(_, origin)| origin == "default") && !ALWAYS.contains(&keyword) {
                continue;
            }
            let expand = |v: &String| {
                let v = v
                    .replace("%h", &their_value("hostname"))
                    .replace("%n", name)
                    .replace("%r", &their_value("user"))
                    .replace("%p", &their_value("port"));
                v.strip_prefix('~')
                    .map_or(v.clone(), |rest| format!("{}{rest}", home.dir.display()))
            };
            let theirs: Vec<String> = theirs
                .get(keyword)
                .into_iter()
                .flatten()
                .map(expand)
                .filter(|v| !(v == "none" && keyword.ends_with("file")))
                .collect();
            let mine: Vec<String> = mine
                .into_iter()
                .map(|(v, _)| {
                    if keyword.contains("timeout") || keyword.contains("interval") {
                        v.trim_end_matches('s').to_owned()
                    } else {
                        v
                    }
                })
                .collect();
            out.compared += 1;
            let theirs = if theirs.is_empty() && mine == ["none"] {
                mine.clone()
            } else {
                theirs
            };
            if mine != theirs {
                out.differences.push(format!(
                    "seed {seed} {name} {keyword}: ours {mine:?}, ssh {theirs:?}"
                ));
            }
        }
    }
    out
}

const ALWAYS: [&str; 5] = ["hostname", "port", "user", "identitiesonly", "hostkeyalias"];
const COMPARED: [&str; 22] = [
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "identityagent",
    "certificatefile",
    "proxyjump",
    "proxycommand",
    "connecttimeout",
    "serveraliveinterval",
    "serveralivecountmax",
    "userknownhostsfile",
    "globalknownhostsfile",
    "hostkeyalias",
    "hashknownhosts",
    "hostkeyalgorithms",
    "kexalgorithms",
    "ciphers",
    "macs",
    "addressfamily",
    "bindaddress",
];

#[tokio::test]
async fn generated_files_are_read_as_ssh_reads_them() {
    if !Path::new("/usr/bin/ssh").exists() {
        println!("skipped: ssh is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut differences, mut compared) = (Vec::new(), 0);
    for seed in 0..120 {
        let outcome = compare(dir.path(), seed).await;
        compared += outcome.compared;
        differences.extend(outcome.differences);
        if differences.len() > 20 {
            break;
        }
    }
    println!("{compared} values compared");
    assert!(
        differences.is_empty(),
        "{}\n(of {compared})\n{}",
        differences.join("\n"),
        fs::read_to_string(dir.path().join("main")).unwrap()
    );
    assert!(compared > 2000, "only {compared} values were compared");
}

/// Each keyword that the installed `ssh` knows has a meaning for toots, and a misspelt one is
/// refused by both.
#[tokio::test(flavor = "multi_thread")]
async fn keywords_match_the_installed_ssh() {
    if !crate::lab::ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    fs::write(&file, "").unwrap();
    let keywords = openssh(&file, "h").unwrap();
    assert!(keywords.len() > 50, "{keywords:?}");
    let host = HostSettings::new(HostName::new("h").unwrap());
    let explain = async |text: String| {
        fs::write(&file, text).unwrap();
        let shared = SshOptions {
            config_files: Some(vec![file.clone()]),
            ..settings()
        };
        connector(shared)
            .explain(&host)
            .await
            .map_err(|error| error.to_string())
    };
    for (keyword, values) in &keywords {
        let value = values.first().filter(|value| !value.is_empty());
        let line = format!("{keyword} {}\n", value.map_or("none", String::as_str));
        if let Err(error) = explain(line).await {
            assert!(!error.contains("unknown keyword"), "{error}");
        }
    }
    let misspelt = explain("RevokedHostKey /etc/revoked\n".to_owned()).await;
    assert!(
        misspelt
            .unwrap_err()
            .contains("unknown keyword revokedhostkey")
    );
    assert!(openssh(&file, "h").is_err());
    let ignored = "IgnoreUnknown revoked*\nRevokedHostKey /etc/revoked\n".to_owned();
    assert!(explain(ignored).await.is_ok());
    for refused in ["KnownHostsCommand /bin/keys %H", "CanonicalizeHostname yes"] {
        let error = explain(format!("Host other\n {refused}\nHost h\n {refused}\n")).await;
        assert!(error.unwrap_err().contains("is not supported"), "{refused}");
        assert!(explain(format!("Host other\n {refused}\n")).await.is_ok());
    }
}
